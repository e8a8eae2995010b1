//! What a person sees and types while `up` or `watch` is in the foreground.

use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;

use crate::env::{PATIENCE, TestEnv};
use crate::lifecycle::running_pid_of;
use crate::terminal::Terminal;

const TALKING: &str = r#"
services:
  web: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, command: ["sh", "-c", "echo web here; while :; do test -e /marks/web && echo web again && rm /marks/web; sleep 0.02; done"], volumes: ["./marks:/marks"] }
  db: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, command: ["sh", "-c", "echo db here; while :; do test -e /marks/db && echo db again && rm /marks/db; sleep 0.02; done"], volumes: ["./marks:/marks"] }
"#;

const MENU: &str = " w watch   d detach   r restart   l logs   s shell   q stop";

/// Lets a service of [`TALKING`] write another line.
fn speak(env: &TestEnv, service: &str) {
    env.file(&format!("marks/{service}"), "");
}

/// The last row with anything on it.
fn bottom(picture: &[String]) -> &str {
    picture.iter().rev().find(|row| !row.is_empty()).map_or("", String::as_str)
}

#[track_caller]
fn wait_for_menu(terminal: &mut Terminal, line: &str) {
    support::eventually("the menu is at the bottom", PATIENCE, || {
        let picture = terminal.picture();
        if bottom(&picture) == line { Ok(()) } else { Err(picture.join("\n")) }
    });
}

#[test]
fn keys_restart_open_a_shell_choose_lines_and_detach() {
    let env = TestEnv::with("menu-keys", TALKING);
    let mut terminal = Terminal::start(&env, &["up"]);
    terminal.wait_to_see("web here");
    terminal.wait_to_see("db here");
    wait_for_menu(&mut terminal, MENU);
    assert!(!terminal.modes().contains(LocalFlags::ICANON), "a key counts without Enter");
    assert!(terminal.modes().contains(LocalFlags::ISIG), "Ctrl-C is the terminal's own");
    // Lines go above it.
    speak(&env, "web");
    terminal.wait_to_see("web-1  | web again");
    wait_for_menu(&mut terminal, MENU);
    // By name.
    let before = running_pid_of(&env, "db");
    terminal.type_text("r");
    terminal.wait_to_see(" restart which? 1 web  2 db ›");
    terminal.type_text("db\r");
    support::eventually("the service is restarted", PATIENCE, || match running_pid_of(&env, "db") {
        after if after.is_some() && after != before => Ok(()),
        after => Err(format!("{before:?} {after:?}")),
    });
    wait_for_menu(&mut terminal, MENU);
    // By number.
    terminal.type_text("s2");
    terminal.wait_to_see("Shell in menu-keys-db-1");
    terminal.type_text("echo in-$((40 + 2))\r");
    terminal.wait_to_see("in-42");
    terminal.type_text("exit\r");
    wait_for_menu(&mut terminal, MENU);
    // One service's lines, with those before; then all again.
    terminal.type_text("lweb\r");
    terminal.wait_to_see("Lines of web alone");
    speak(&env, "db");
    speak(&env, "web");
    support::eventually("both have spoken", PATIENCE, || {
        let lines = env.ok(&["logs", "db"]).stdout;
        if lines.contains("db again") { Ok(()) } else { Err(lines) }
    });
    terminal.wait_to_see("web again");
    assert!(!terminal.screen().contains("db again"), "{}", terminal.picture().join("\n"));
    terminal.type_text("l");
    terminal.wait_to_see("Lines of all services");
    wait_for_menu(&mut terminal, MENU);
    speak(&env, "db");
    terminal.wait_to_see("db again");
    terminal.type_text("d");
    assert_eq!(terminal.finish(), 0);
    assert!(terminal.modes().contains(LocalFlags::ICANON | LocalFlags::ECHO), "the terminal is as it was");
    assert_eq!((env.ps_field("web", "State"), env.ps_field("db", "State")), ("running".into(), "running".into()));
    env.down();
}

#[test]
fn a_second_up_attaches_to_what_runs() {
    let env = TestEnv::with("menu-second", TALKING);
    env.ok(&["up", "-d"]);
    let before = running_pid_of(&env, "web");
    let mut terminal = Terminal::start(&env, &["up"]);
    wait_for_menu(&mut terminal, MENU);
    speak(&env, "web");
    terminal.wait_to_see("web-1  | web again");
    assert_eq!(running_pid_of(&env, "web"), before, "nothing was made anew");
    // Two can look at once.
    let mut other = env.start(&["up"]);
    support::eventually("the other one shows its lines, too", PATIENCE, || {
        speak(&env, "db");
        let shown = other.stdout();
        if shown.contains("db again") { Ok(()) } else { Err(shown) }
    });
    terminal.type_text("q");
    assert_eq!(terminal.finish(), 130);
    assert_eq!(env.ps_field("web", "State"), "exited");
    assert_eq!(other.finish(PATIENCE).code, 0, "what it looked at has ended");
    env.down();
}

#[test]
fn watching_goes_on_and_off() {
    let env = TestEnv::with(
        "menu-watch",
        r#"
services:
  app:
    x-windlass: { rootfs: host }
    stop_signal: SIGKILL
    command: sleep 1000
    develop: { watch: [{ action: sync, path: ./src, target: /opt/app }] }
"#,
    );
    env.file("src/a", "one");
    let mut terminal = Terminal::start(&env, &["up"]);
    wait_for_menu(&mut terminal, MENU);
    terminal.type_text("w");
    wait_for_menu(&mut terminal, &MENU.replace("w watch", "w watch off"));
    env.file("src/a", "two");
    support::eventually("the edit is copied", PATIENCE, || env.asks("app", "cat /opt/app/a", "two"));
    terminal.type_text("w");
    wait_for_menu(&mut terminal, MENU);
    // One service: nothing is asked.
    let before = running_pid_of(&env, "app");
    terminal.type_text("r");
    support::eventually("the service is restarted", PATIENCE, || match running_pid_of(&env, "app") {
        after if after.is_some() && after != before => Ok(()),
        after => Err(format!("{before:?} {after:?}")),
    });
    wait_for_menu(&mut terminal, MENU);
    terminal.type_text("\x03");
    assert_eq!(terminal.finish(), 130);
    assert_eq!(env.ps_field("app", "State"), "exited");
    // `watch` has the keys, too; leaving it stops nothing.
    let mut terminal = Terminal::start(&env, &["watch"]);
    wait_for_menu(&mut terminal, " w watch off   r restart   l logs   s shell   q quit");
    terminal.type_text("q");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(env.ps_field("app", "State"), "running");
    env.down();
}

#[test]
fn every_end_gives_the_terminal_back() {
    let env = TestEnv::with("menu-ends", TALKING);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut terminal = Terminal::start(&env, &["up"]);
        wait_for_menu(&mut terminal, MENU);
        terminal.signal(signal);
        terminal.finish();
        assert!(terminal.modes().contains(LocalFlags::ICANON | LocalFlags::ECHO), "{signal}");
        assert!(!bottom(&terminal.picture()).contains("detach"), "{signal}: {:?}", terminal.picture());
    }
    // So does a program on the terminal.
    env.ok(&["up", "-d"]);
    let mut terminal = Terminal::start(&env, &["exec", "web", "sh", "-c", "echo in-it; exec sleep 1000"]);
    terminal.wait_to_see("in-it");
    support::eventually("each key is the program's", PATIENCE, || {
        if terminal.modes().contains(LocalFlags::ISIG) { Err("not raw".to_owned()) } else { Ok(()) }
    });
    terminal.signal(Signal::SIGTERM);
    terminal.finish();
    assert!(terminal.modes().contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
    // And `run` gives the signal to its command.
    let script = "trap 'echo heard; exit 7' TERM; echo in-it; while :; do sleep 0.02; done";
    let mut terminal = Terminal::start(&env, &["run", "--rm", "web", "sh", "-c", script]);
    terminal.wait_to_see("in-it");
    support::eventually("each key is the program's", PATIENCE, || {
        if terminal.modes().contains(LocalFlags::ISIG) { Err("not raw".to_owned()) } else { Ok(()) }
    });
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.finish(), 7);
    assert!(terminal.screen().contains("heard"), "{}", terminal.screen());
    env.down();
}

#[test]
fn narrow_wide_and_no_terminals() {
    let env = TestEnv::with("menu-widths", TALKING);
    let mut terminal = Terminal::sized(&env, &["up"], 20, 40);
    wait_for_menu(&mut terminal, " w  d  r  l  s  q  ? help");
    let picture = terminal.picture();
    assert!(picture.iter().any(|row| row.starts_with("[+] up")), "{picture:#?}");
    let rows = picture.iter().filter(|row| row.contains("menu-widths-web-1")).count();
    assert_eq!(rows, 1, "a container has one row: {picture:#?}");
    assert!(picture.iter().any(|row| row.contains("✔") && row.contains("Started")), "{picture:#?}");
    terminal.type_text("?");
    terminal.wait_to_see("r  restart a service");
    terminal.type_text("q");
    terminal.finish();
    let mut terminal = Terminal::sized(&env, &["up"], 20, 200);
    wait_for_menu(&mut terminal, MENU);
    let row = terminal.wait_to_see("Container menu-widths-web-1");
    assert!(row.contains("Started") && row.ends_with('s'), "{row:?}");
    terminal.type_text("q");
    terminal.finish();
    // Without colours, and without anything that moves the cursor.
    let mut terminal = Terminal::start(&env, &["--ansi", "never", "up"]);
    terminal.wait_for("web here");
    assert!(!terminal.screen().contains('\x1b'), "{:?}", terminal.screen());
    terminal.type_text("\x03");
    terminal.finish();
    // Redirected: lines, no keys.
    let mut up = env.start(&["up"]);
    up.wait_for("web here");
    up.signal(Signal::SIGINT);
    let output = up.finish(PATIENCE);
    assert!(!output.text().contains('\x1b') && !output.text().contains("detach"), "{}", output.text());
    assert!(output.stderr.contains(" Container menu-widths-web-1  Started"), "{}", output.text());
    env.down();
}

#[test]
fn up_shows_what_is_waited_for_and_where_the_time_went() {
    let env = TestEnv::with(
        "menu-waits",
        r#"
services:
  web: { x-windlass: { rootfs: host }, stop_signal: SIGKILL, command: sleep 1000, depends_on: { db: { condition: service_healthy } } }
  db:
    x-windlass: { rootfs: host }
    stop_signal: SIGKILL
    command: sleep 1000
    volumes: ["./marks:/marks"]
    healthcheck: { test: ["CMD", "test", "-e", "/marks/ready"], interval: 50ms, retries: 1000000 }
"#,
    );
    env.file("marks/x", "");
    let mut terminal = Terminal::start(&env, &["up", "-d"]);
    let row = terminal.wait_to_see("Waiting for db to be healthy");
    assert!(row.contains("Container menu-waits-web-1"), "{row}");
    // A wait that is long enough to be shown also where something else took its time.
    support::eventually("the wait has lasted a while", PATIENCE, || {
        let row = terminal.wait_to_see("Waiting for db to be healthy");
        let seconds = row.trim_end().strip_suffix('s').and_then(|row| row.rsplit(' ').next()?.parse::<f64>().ok());
        if seconds.is_some_and(|seconds| seconds >= 0.3) { Ok(()) } else { Err(row) }
    });
    let picture = terminal.picture();
    let place = |name: &str| picture.iter().position(|row| row.contains(name)).unwrap();
    assert!(place("Network") < place("menu-waits-db-1"), "{picture:#?}");
    assert!(place("menu-waits-db-1") < place("menu-waits-web-1"), "what is needed comes first: {picture:#?}");
    env.file("marks/ready", "");
    assert_eq!(terminal.finish(), 0);
    terminal.wait_to_see("[+] up 3/3");
    terminal.wait_to_see("wait ");
    env.down();
}

#[test]
fn ctrl_c_during_a_restart_stops_and_a_second_one_forces() {
    let env = TestEnv::with(
        "menu-force",
        "services: { deaf: { x-windlass: { rootfs: host }, stop_grace_period: 1h, command: [sh, -c, \"trap 'echo heard' TERM; echo here; while :; do sleep 0.05; done\"] } }",
    );
    let mut terminal = Terminal::start(&env, &["up"]);
    terminal.wait_to_see("here");
    wait_for_menu(&mut terminal, MENU);
    terminal.type_text("r");
    terminal.wait_to_see("Restarting");
    terminal.type_text("\x03");
    terminal.wait_to_see("Gracefully stopping... (press Ctrl+C again to force)");
    terminal.type_text("\x03");
    assert_eq!(terminal.finish(), 130);
    assert_eq!(env.ps_field("deaf", "State"), "exited", "it is not started again");
    assert!(!terminal.screen().contains("waiting for another"), "{}", terminal.screen());
    env.down();
}
