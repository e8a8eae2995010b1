//! What a container can use up for us has bounds: whatever it does, commands get their answer and `down` its end.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::crash::{keeper, supervisor};
use crate::env::{PATIENCE, TestEnv};

/// How long a command may take here: far less than any of the waits that would hide a fault.
const PROMPT: Duration = Duration::from_secs(15);

fn descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn limit(pid: Pid, most: usize) {
    let limits = format!("--nofile={most}:{most}");
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &limits]).status().unwrap();
    assert!(status.success());
}

/// Another supervisor, which learns at its start how many descriptors it may have.
fn with_descriptors(env: &TestEnv, most: usize) -> Pid {
    limit(keeper(env), most);
    let old = supervisor(env).unwrap();
    kill(old, Signal::SIGKILL).unwrap();
    support::eventually("there is another supervisor", PATIENCE, || match supervisor(env) {
        Some(pid) if pid != old => Ok(()),
        other => Err(format!("{other:?}")),
    });
    env.ok(&["up", "-d"]);
    supervisor(env).unwrap()
}

fn ask(client: &mut TcpStream) -> Result<(), String> {
    let mut answer = || -> std::io::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
        client.read_exact(&mut [0])
    };
    answer().map_err(|error| error.to_string())
}

fn prompt(env: &TestEnv, arguments: &[&str]) -> String {
    let begin = Instant::now();
    let output = env.ok(arguments);
    assert!(begin.elapsed() < PROMPT, "{arguments:?} took {:?}", begin.elapsed());
    output.text()
}

#[test]
fn connections_to_a_published_port_leave_room_for_commands() {
    let env = TestEnv::with(
        "many-connections",
        r#"
services:
  web: { image: "busybox:1.35", command: httpd -f -p 80 -h /etc, ports: ["127.0.0.1::80"], stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    let supervisor = with_descriptors(&env, 256);
    let port = env.ok(&["port", "web", "80"]).stdout.trim().to_owned();
    support::eventually("the service answers", PATIENCE, || ask(&mut TcpStream::connect(&port).unwrap()));
    let mut clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&port).unwrap()).collect();
    // The first is served, so the proxy has looked at its queue; those beyond the bound wait in it.
    ask(&mut clients[0]).unwrap();
    for _ in 0..3 {
        assert!(prompt(&env, &["exec", "-T", "web", "echo", "answers"]).contains("answers"));
        prompt(&env, &["ps"]);
    }
    assert!(descriptors(supervisor) < 180, "{} are open", descriptors(supervisor));
    // Whoever waited is served once there is room.
    let mut last = clients.pop().unwrap();
    clients.clear();
    ask(&mut last).unwrap();
    let _clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&port).unwrap()).collect();
    prompt(&env, &["down", "-t", "1"]);
    env.assert_nothing_left();
}

#[test]
fn a_supervisor_without_a_descriptor_left_says_so_and_goes_down() {
    let env = TestEnv::with(
        "no-descriptors",
        r#"services: { web: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL } }"#,
    );
    env.ok(&["up", "-d"]);
    let supervisor = supervisor(&env).unwrap();
    // Room for a connection, but not for all that comes with a start.
    let open = descriptors(supervisor);
    for room in (1..=9).rev() {
        let begin = Instant::now();
        limit(supervisor, open + room);
        let _ = env.run(&["exec", "-T", "web", "true"]);
        assert!(begin.elapsed() < PROMPT, "with {room} it took {:?}", begin.elapsed());
    }
    prompt(&env, &["ps"]);
    prompt(&env, &["down", "-t", "1"]);
    env.assert_nothing_left();
}

#[test]
fn what_a_probe_leaves_behind_may_write_for_ever() {
    let env = TestEnv::with(
        "endless-probe",
        r#"
services:
  web:
    image: "busybox:1.35"
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: { test: "for n in 1 2 3 4; do cat /dev/zero & done; exit 0", interval: 1s }
"#,
    );
    env.ok(&["up", "-d", "--wait"]);
    assert!(prompt(&env, &["exec", "-T", "web", "echo", "answers"]).contains("answers"));
    prompt(&env, &["down", "-t", "1"]);
    env.assert_nothing_left();
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    let env = TestEnv::with(
        "endless-line",
        r#"
services:
  web:
    image: "busybox:1.35"
    command: sh -c "head -c 200m /dev/zero | tr '\\0' x; sleep 1000"
    stop_signal: SIGKILL
    logging: { options: { max-size: 1m, max-file: "2" } }
"#,
    );
    env.ok(&["up", "-d"]);
    let supervisor = supervisor(&env).unwrap();
    support::eventually("all is read", PATIENCE, || {
        let top = env.ok(&["exec", "-T", "web", "ps"]).stdout;
        if top.contains("sleep 1000") && !top.contains("tr ") { Ok(()) } else { Err(top) }
    });
    let status = fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(peak < 100 * 1024, "{peak} kB");
    prompt(&env, &["down", "-t", "1"]);
    env.assert_nothing_left();
}

/// Nothing can be written any more, not even an empty file, and all that is to go goes at the first attempt.
#[test]
fn a_full_disk_keeps_nothing_from_being_removed() {
    for full_of in ["bytes", "files"] {
        let mut env = TestEnv::with(
            "full",
            r#"
services:
  web: { x-windlass: { rootfs: host }, command: "sh -c 'while :; do date; sleep 0.1; done'", init: true }
  db: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["data:/data", /cache] }
  last: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
volumes: { data: }
"#,
        );
        let disk = env.folder().join("disk");
        fs::create_dir(&disk).unwrap();
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64m,nr_inodes=20000")).unwrap();
        env.set("WINDLASS_HOME", disk.join("home").to_str().unwrap());
        env.ok(&["up", "-d"]);
        if full_of == "bytes" {
            assert!(fs::write(disk.join("filling"), vec![0; 128 << 20]).is_err());
        } else {
            fs::create_dir(disk.join("filling")).unwrap();
            let made = (0..30_000).take_while(|n| fs::write(disk.join(format!("filling/{n}")), "").is_ok()).count();
            assert!(made < 30_000);
        }
        assert!(prompt(&env, &["exec", "-T", "db", "echo", "answers"]).contains("answers"));
        prompt(&env, &["ps"]);
        prompt(&env, &["logs", "web"]);
        prompt(&env, &["kill", "last"]);
        prompt(&env, &["rm", "-f", "last"]);
        prompt(&env, &["stop", "-t", "1", "web"]);
        prompt(&env, &["down", "-v", "-t", "1"]);
        let left: Vec<_> = fs::read_dir(disk.join("home/data/volumes")).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        support::eventually("the disk is not used any more", PATIENCE, || {
            umount2(&disk, MntFlags::empty()).map_err(|error| error.to_string())
        });
    }
}

/// No process is kept for what does not run, and what they knew is known to the next ones.
#[test]
fn nothing_runs_when_nothing_of_a_project_does() {
    let env = TestEnv::with(
        "at-rest",
        r#"
services:
  web: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL, ports: ["80"], volumes: [/cache] }
  job: { image: "busybox:1.35", command: echo done }
"#,
    );
    env.ok(&["up", "-d"]);
    let gone = |keeper: Pid| {
        support::eventually("keeper and supervisor have ended", PATIENCE, || match kill(keeper, None) {
            Err(_) => Ok(()),
            Ok(()) => Err(format!("{keeper} lives")),
        });
        assert!(!env.home().join("run/projects/at-rest").exists());
    };
    let first = keeper(&env);
    let port = env.ok(&["port", "web", "80"]).stdout;
    let address = env.sh("web", "hostname -i");
    env.sh("web", "echo kept > /cache/file");
    env.ok(&["stop"]);
    gone(first);
    assert_eq!(env.ps_field("web", "State"), "exited");
    assert_eq!(env.ok(&["logs", "--no-log-prefix", "job"]).stdout, "done\n");
    env.ok(&["start", "web"]);
    assert_eq!(env.ok(&["port", "web", "80"]).stdout, port);
    assert_eq!(env.sh("web", "hostname -i"), address);
    assert_eq!(env.sh("web", "cat /cache/file"), "kept");
    let second = keeper(&env);
    env.ok(&["kill", "web"]);
    gone(second);
    let output = env.ok(&["down"]);
    assert!(output.stderr.contains("Network at-rest_default  Removed"), "{}", output.text());
    env.assert_nothing_left();
}

/// `down` waits for what `run --rm` is still removing.
#[test]
fn what_goes_with_its_end_is_gone_when_down_has_come_back() {
    let env = TestEnv::with(
        "going",
        r#"services: { job: { image: "busybox:1.35", command: "true", volumes: [/a, /b, /c] } }"#,
    );
    for _ in 0..4 {
        env.ok(&["run", "--rm", "job", "sh", "-c", "for n in $(seq 300); do echo > /a/$n; done"]);
        let left = || -> Vec<_> { fs::read_dir(env.home().join("data/volumes")).unwrap().flatten().collect() };
        assert!(left().is_empty(), "removed is told before the volumes are gone: {:?}", left());
        env.ok(&["down", "-v"]);
        assert!(left().is_empty(), "{:?}", left());
    }
    env.assert_nothing_left();
}
