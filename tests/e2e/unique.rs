//! Names of containers: one has each.

use crate::env::TestEnv;

const BOX: &str = "x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL";

#[track_caller]
fn refused(env: &TestEnv, arguments: &[&str], reasons: &[&str]) {
    let output = env.fails(arguments);
    for reason in reasons {
        assert!(output.stderr.contains(reason), "{reason}:\n{}", output.text());
    }
}

#[test]
fn two_services_cannot_have_one_name() {
    let env = TestEnv::with(
        "unique",
        &format!(
            "services:\n  a: {{ {BOX}, container_name: unique-same }}\n  b: {{ {BOX}, container_name: unique-same }}\n"
        ),
    );
    refused(&env, &["up", "-d"], &["services \"a\" and \"b\" have the same `container_name`", "compose.yaml:3"]);
    assert_eq!(env.run(&["ps", "-aq"]).stdout, "");
    // One that another service gets by itself.
    env.file("compose.yaml", &format!("services:\n  a: {{ {BOX} }}\n  b: {{ {BOX}, container_name: unique-a-1 }}\n"));
    refused(&env, &["up", "-d"], &["services a and b would both make a container unique-a-1"]);
    assert!(env.ps().is_empty(), "nothing was made");
    // One that a running container has is not to be had, and that container goes on.
    env.ok(&["up", "-d", "b"]);
    refused(&env, &["up", "-d", "a"], &["unique-a-1 of service a is in use by a container of service b"]);
    assert_eq!(env.ps_field("b", "State"), "running");
    env.file("compose.yaml", &format!("services:\n  c: {{ {BOX}, container_name: unique-a-1 }}\n"));
    refused(&env, &["up", "-d"], &["in use by a container of service b", "--remove-orphans"]);
    env.ok(&["up", "-d", "--remove-orphans"]);
    assert_eq!(env.ps().len(), 1);
    assert_eq!(env.ps_field("c", "Name"), "unique-a-1");
    env.down();
}

#[test]
fn two_projects_cannot_have_one_name() {
    let file = format!("services:\n  a: {{ {BOX}, container_name: unique-shared }}\n");
    let env = TestEnv::with("unique-here", &file);
    env.ok(&["up", "-d"]);
    let there = ["-p", "unique-there"];
    refused(
        &env,
        &[&there[..], &["up", "-d"]].concat(),
        &[
            "the container name unique-shared of service a is in use by container",
            "of service a in project unique-here",
        ],
    );
    assert_eq!(env.ok(&[&there[..], &["ps", "-aq"]].concat()).stdout, "");
    assert_eq!(env.ps_field("a", "State"), "running");
    // Two at once: one of them gets it.
    env.ok(&["down", "-t", "0"]);
    let both = [env.start(&["up", "-d"]), env.start(&[&there[..], &["up", "-d"]].concat())];
    let codes = both.map(|running| running.finish(crate::env::PATIENCE).code);
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    let here = env.ok(&["ps", "-aq"]).stdout.lines().count();
    let away = env.ok(&[&there[..], &["ps", "-aq"]].concat()).stdout.lines().count();
    assert_eq!(here + away, 1);
    env.ok(&[&there[..], &["down", "-t", "0"]].concat());
    env.down();
}

#[test]
fn run_takes_no_name_twice() {
    let env = TestEnv::with("unique-run", &format!("services:\n  a: {{ {BOX} }}\n"));
    env.ok(&["run", "-d", "--name", "unique-one", "a"]);
    refused(
        &env,
        &["run", "-d", "--name", "unique-one", "a"],
        &["the container name unique-one of service a is in use"],
    );
    assert_eq!(env.ps().len(), 1);
    env.down();
}
