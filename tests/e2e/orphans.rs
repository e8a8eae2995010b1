//! Containers that the file does not know.

use crate::env::TestEnv;

const BOX: &str = "{ x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }";

fn files(env: &TestEnv) {
    env.file("compose.yaml", &format!("services: {{ foo: {BOX}, old: {BOX} }}\n"));
    env.file("new.yaml", &format!("services: {{ foo: {BOX} }}\n"));
}

fn services(env: &TestEnv) -> Vec<String> {
    let rows = env.ps();
    let mut services: Vec<String> =
        rows.iter().map(|row| row["Service"].as_str().unwrap_or_default().to_owned()).collect();
    services.sort();
    services
}

#[test]
fn they_are_told_ignored_or_removed() {
    let mut env = TestEnv::new("orphaned");
    files(&env);
    env.ok(&["up", "-d"]);
    for arguments in [&["up", "-d"][..], &["create"], &["--dry-run", "up", "-d"]] {
        let output = env.ok(&[&["-f", "new.yaml"], arguments].concat());
        assert!(output.stderr.contains("found orphan containers (orphaned-old-1)"), "{}", output.text());
    }
    env.set("COMPOSE_IGNORE_ORPHANS", "1");
    for arguments in [&["up", "-d"][..], &["create"], &["run", "--rm", "-T", "foo", "true"]] {
        let output = env.ok(&[&["-f", "new.yaml"], arguments].concat());
        assert!(!output.stderr.contains("found orphan"), "{}", output.text());
    }
    let output = env.fails(&["-f", "new.yaml", "up", "-d", "--remove-orphans"]);
    assert!(output.stderr.contains("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans"), "{}", output.text());
    assert_eq!(services(&env), ["foo", "old"]);
    env.set("COMPOSE_IGNORE_ORPHANS", "false");
    env.set("COMPOSE_REMOVE_ORPHANS", "true");
    env.ok(&["-f", "new.yaml", "up", "-d"]);
    assert_eq!(services(&env), ["foo"]);
    env.set("COMPOSE_REMOVE_ORPHANS", "");
    env.ok(&["up", "-d"]);
    env.ok(&["-f", "new.yaml", "down", "-t", "0"]);
    assert_eq!(services(&env), ["old"]);
    env.set("COMPOSE_REMOVE_ORPHANS", "1");
    env.ok(&["-f", "new.yaml", "down", "-t", "0"]);
    env.assert_nothing_left();
}

#[test]
fn a_run_that_has_ended_is_one() {
    let env = TestEnv::new("orphaned-run");
    files(&env);
    env.ok(&["run", "-T", "foo", "true"]);
    env.ok(&["run", "-d", "foo", "sleep", "1000"]);
    let output = env.ok(&["up", "-d"]);
    assert_eq!(output.stderr.matches("orphaned-run-foo-run-").count(), 1, "{}", output.text());
    env.ok(&["up", "-d", "--remove-orphans"]);
    assert_eq!(services(&env), ["foo", "foo", "old"], "the one that runs stays");
    // A service whose profile is off is none.
    env.file("compose.yaml", &format!("services: {{ foo: {BOX}, old: {{ <<: {BOX}, profiles: [x] }} }}\n"));
    assert!(!env.ok(&["up", "-d"]).stderr.contains("found orphan"));
    env.down();
}

#[test]
fn a_variable_that_is_not_set_anywhere_takes_nothing_away() {
    let env =
        TestEnv::with("run-unset", "services: { a: { x-windlass: { rootfs: host }, environment: { KEPT: file } } }\n");
    assert_eq!(
        env.ok(&["run", "--rm", "-T", "-e", "KEPT", "-e", "OTHER", "a", "sh", "-c", "echo $KEPT"]).stdout,
        "file\n"
    );
    assert_eq!(env.ok(&["run", "--rm", "-T", "-e", "KEPT=", "a", "sh", "-c", "echo [$KEPT]"]).stdout, "[]\n");
    env.down();
}

#[test]
fn a_sibling_that_nobody_asks_for_may_need_what_is_off() {
    let file = format!(
        "services:\n  a: {BOX}\n  b: {{ <<: {BOX}, depends_on: [c] }}\n  c: {{ <<: {BOX}, profiles: [off] }}\n"
    );
    let env = TestEnv::with("siblings", &file);
    env.ok(&["up", "-d", "a"]);
    assert_eq!(services(&env), ["a"]);
    for arguments in [&["up", "-d", "b"][..], &["up", "-d"]] {
        let output = env.fails(arguments);
        assert!(output.stderr.contains("depends on \"c\", whose profile is not active"), "{}", output.text());
    }
    env.file("compose.yaml", &file.replace("depends_on: [c]", ""));
    env.down();
}
