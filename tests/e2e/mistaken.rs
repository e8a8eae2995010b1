//! A name that nothing has: the same words from every command, the name that was probably meant, and code 1.

use windlass::cli::complete::command;

use crate::env::{Output, TestEnv};

const STACK: &str = "
services:
  web: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, scale: 2 }
  database: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
";

/// Every command that takes the name of a service, with `wbe` in each place where one goes.
const PLACES: &[&[&str]] = &[
    &["attach", "wbe"],
    &["commit", "wbe"],
    &["config", "wbe"],
    &["config", "--hash", "wbe"],
    &["cp", "wbe:/etc/hostname", "."],
    &["cp", "compose.yaml", "wbe:/"],
    &["create", "wbe"],
    &["create", "--scale", "wbe=2"],
    &["down", "wbe"],
    &["events", "--until", "1s", "wbe"],
    &["exec", "-T", "wbe", "true"],
    &["explain", "wbe"],
    &["export", "wbe"],
    &["graph", "wbe"],
    &["images", "wbe"],
    &["kill", "wbe"],
    &["logs", "wbe"],
    &["logs", "-f", "web", "wbe"],
    &["pause", "wbe"],
    &["port", "wbe", "80"],
    &["ps", "wbe"],
    &["pull", "wbe"],
    &["restart", "wbe"],
    &["rm", "-f", "wbe"],
    &["run", "-T", "wbe"],
    &["scale", "wbe=2"],
    &["shell", "wbe"],
    &["start", "wbe"],
    &["stats", "--no-stream", "wbe"],
    &["stop", "wbe"],
    &["top", "wbe"],
    &["unpause", "wbe"],
    &["up", "-d", "wbe"],
    &["up", "-d", "--scale", "wbe=2"],
    &["up", "--attach", "wbe"],
    &["up", "--no-attach", "wbe"],
    &["up", "--exit-code-from", "wbe"],
    &["volumes", "wbe"],
    &["wait", "wbe"],
    &["watch", "wbe"],
];

fn assert_told(arguments: &[&str], output: &Output) {
    assert_eq!(output.code, 1, "{arguments:?}: {}", output.text());
    let said = "error: no such service: wbe\n\nhint: did you mean `web`?\n";
    assert!(output.stderr.ends_with(said), "{arguments:?}: {}", output.text());
    assert_eq!(output.stdout, "", "{arguments:?}");
}

#[test]
fn a_service_that_is_not_there_has_the_same_words_everywhere() {
    let env = TestEnv::with("mistaken", STACK);
    for arguments in PLACES {
        if arguments[0] != "events" {
            assert_told(arguments, &env.run(arguments));
        }
    }
    env.ok(&["up", "-d"]);
    for arguments in PLACES {
        assert_told(arguments, &env.run(arguments));
        // By its name alone, without a look at the file.
        let file = ["config", "create", "explain", "graph", "pull", "run", "scale", "shell", "up", "watch"];
        if !file.contains(&arguments[0]) {
            let named = [&["-p", "mistaken"], *arguments].concat();
            assert_told(&named, &env.run(&named));
        }
    }
    assert_eq!(env.ps().len(), 3, "nothing of it changed anything");
    let far = env.fails(&["logs", "mailer"]).stderr;
    assert!(far.contains("hint: the services are database, web\n") || far.contains("web, database"), "{far}");
    env.down();
}

/// A new command that takes a service belongs into the table.
#[test]
fn every_command_with_a_service_is_in_the_table() {
    let takes = |command: &clap::Command| {
        let names = ["services", "service", "only", "scale"];
        command.get_positionals().any(|argument| names.contains(&argument.get_id().as_str()))
    };
    for command in command().get_subcommands().filter(|command| takes(command)) {
        assert!(PLACES.iter().any(|arguments| arguments[0] == command.get_name()), "{}", command.get_name());
    }
}

#[test]
fn a_replica_that_is_not_there_is_told_with_those_that_are() {
    let env = TestEnv::with("replica", STACK);
    env.ok(&["up", "-d"]);
    for arguments in [
        &["attach", "--index", "7", "web"][..],
        &["commit", "--index", "7", "web"],
        &["cp", "--index", "7", "web:/etc/hostname", "."],
        &["cp", "--index", "7", "compose.yaml", "web:/"],
        &["exec", "-T", "--index", "7", "web", "true"],
        &["export", "--index", "7", "web"],
        &["logs", "--index", "7", "web"],
        &["port", "--index", "7", "web", "80"],
    ] {
        let output = env.run(arguments);
        assert_eq!(output.code, 1, "{arguments:?}: {}", output.text());
        let said = "error: service \"web\" has no container 7\n\nhint: --index takes 1, 2\n";
        assert!(output.stderr.ends_with(said), "{arguments:?}: {}", output.text());
    }
    // Of which service?
    let output = env.fails(&["logs", "--index", "1"]);
    assert!(output.code == 2 && output.stderr.contains("one service"), "{}", output.text());
    env.down();
}

#[test]
fn images_and_words_of_docker_get_answers() {
    let env = TestEnv::with("docker-words", STACK);
    for (arguments, answer) in [
        (&["pull", "nginx:1.27"][..], "windlass image pull nginx:1.27"),
        (&["run", "-T", "nginx:1.27"], "image: \"nginx:1.27\""),
        (&["images", "--nope"], "unexpected argument"),
        (&["container", "ls"], "windlass ps -a"),
        (&["build"], "windlass image load"),
        (&["inspect", "web"], "windlass ps --format json"),
        (&["login"], "config.json"),
        (&["rmi", "x"], "windlass image rm"),
        (&["info"], "windlass system df"),
        (&["ps", "--no-build"], "does not build images yet"),
        (&["ps", "-f", "x.yaml"], "before the command"),
    ] {
        let output = env.fails(arguments);
        assert!(output.stderr.contains(answer), "{arguments:?}: {}", output.text());
        assert!(!output.stderr.contains("similar"), "{arguments:?}: {}", output.text());
    }
    let unknown = env.fails(&["top", "-x"]).stderr;
    assert!(unknown.contains("unexpected argument '-x'") && !unknown.contains("as a value"), "{unknown}");
    assert_eq!(env.ok(&["-v"]).stdout, format!("windlass {}\n", env!("CARGO_PKG_VERSION")));
    let help = env.ok(&["help"]).stdout;
    assert!(help.contains("Get inside:\n  exec"), "{help}");
    assert!(env.ok(&["help", "up"]).stdout.contains("--force-recreate"));
    assert!(env.ok(&["help", "image", "load"]).stdout.contains("--platform"));
    // As pflag reads it: the last one counts.
    env.ok(&["ps", "-a", "-a", "--format", "json", "--format", "table"]);
    env.ok(&["up", "-d", "-d", "-t", "3", "-t", "1"]);
    assert!(env.ok(&["--progress", "json", "--progress", "quiet", "up", "-d"]).stderr.is_empty());
    env.down();
}

#[test]
fn what_a_flag_of_run_says_is_not_the_files_fault() {
    let env = TestEnv::with(
        "run-blame",
        "services: { box: { x-windlass: { rootfs: host }, user: root, command: echo file, cap_add: [CHOWN] } }",
    );
    for (flags, place) in [
        (&["-u", "nosuch", "box"][..], "--user"),
        (&["--cap-add", "NOPE", "box"], "--cap-add"),
        (&["--entrypoint", "/nosuch", "box"], "--entrypoint"),
        (&["box", "nosuch"], "\"nosuch\": executable file not found"),
    ] {
        let output = env.fails(&[&["run", "--rm", "-T"], flags].concat());
        let told = &output.stderr;
        assert!(told.contains(place) && !told.contains("compose.yaml:"), "{flags:?}: {}", output.text());
    }
    env.down();
}

#[test]
fn config_tells_what_up_would_refuse() {
    let env = TestEnv::with(
        "config-unfit",
        "services:\n  box:\n    image: nothing\n    stop_signal: SIGNOPE # why\n    dns: [nonsense]\n",
    );
    let shown = env.ok(&["config"]);
    assert!(shown.stdout.contains("stop_signal: SIGNOPE"), "it is printed: {}", shown.text());
    for (place, mark) in [
        ("compose.yaml:4:5", "stop_signal: SIGNOPE # why\n  |     ^^^^^^^^^^^^^^^^^^^^\n"),
        ("compose.yaml:5:11", "dns: [nonsense]\n  |           ^^^^^^^^\n"),
    ] {
        assert!(shown.stderr.contains(place) && shown.stderr.contains(mark), "{}", shown.text());
    }
    assert!(shown.stderr.contains("warning: services.box.stop_signal"), "{}", shown.text());
    // The same for editors, and as an error where it is one.
    let told: serde_json::Value = serde_json::from_str(&env.ok(&["config", "-q", "--format", "json"]).stdout).unwrap();
    let lines: Vec<_> = told.as_array().unwrap().iter().map(|found| found["place"]["line"].as_u64()).collect();
    assert_eq!(lines, [Some(4), Some(5)], "{told}");
    let refused = env.fails(&["up", "-d"]);
    assert!(
        refused.stderr.contains("error: services.box.dns[0]") && refused.stderr.contains("^^^^^^^^"),
        "{}",
        refused.text()
    );
    let refused = env.fails(&["--progress", "json", "up", "-d"]);
    let told: serde_json::Value = serde_json::from_str(refused.stderr.trim()).unwrap();
    assert_eq!((told[0]["severity"].as_str(), told[0]["place"]["line"].as_u64()), (Some("error"), Some(4)), "{told}");
}
