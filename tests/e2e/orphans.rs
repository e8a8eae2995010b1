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
fn a_run_to_a_pipe_tells_of_them_too() {
    let env = TestEnv::new("orphaned-piped");
    files(&env);
    env.ok(&["up", "-d"]);
    let told = |text: &str| text.lines().find(|line| line.contains("found orphan")).map(str::to_owned);
    let up = env.ok(&["-f", "new.yaml", "up", "-d"]);
    let run = env.ok(&["-f", "new.yaml", "run", "--rm", "-T", "foo", "echo", "said"]);
    assert_eq!(run.stdout, "said\n", "that is the command's alone");
    assert!(told(&up.stderr).is_some());
    assert_eq!(told(&run.stderr), told(&up.stderr), "{}", run.text());
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.text());
    env.down();
}

#[test]
fn what_a_profile_turns_off_goes_on() {
    let env = TestEnv::with(
        "profiled",
        &format!(
            "services: {{ foo: {BOX}, extra: {{ <<: {BOX}, profiles: [more], networks: [two], volumes: ['kept:/k'] }}, third: {{ <<: {BOX}, networks: [three], volumes: ['gone:/g'] }} }}\nnetworks: {{ two: , three: }}\nvolumes: {{ kept: , gone: }}\n"
        ),
    );
    env.ok(&["--profile", "more", "up", "-d"]);
    assert_eq!(services(&env), ["extra", "foo", "third"], "the list has all that there is");
    let listed = env.ok(&["ps", "--orphans=false", "--format", "{{.Service}}"]).stdout;
    assert_eq!(listed, "foo\nthird\n", "but for those that the files do not have now");
    let plan = env.ok(&["--dry-run", "down", "-v"]).stderr;
    assert!(plan.contains("extra stays, because its profile is off"), "{plan}");
    assert!(plan.contains("remove network profiled_three") && !plan.contains("remove network profiled_two"), "{plan}");
    let output = env.ok(&["down", "-v", "--remove-orphans", "-t", "0"]);
    for text in [
        "extra stays, because its profile is off: take it down too with `--profile more`, or everything with `--profile '*'`",
        "network profiled_two stays: it is still in use",
        "volume profiled_kept stays: it is still in use",
    ] {
        assert!(output.stderr.contains(text), "{}", output.text());
    }
    assert_eq!(services(&env), ["extra"]);
    let names = |what: &str, format: &str| env.ok(&[what, "ls", "--format", format]).stdout;
    let networks = names("network", "{{.Name}}");
    assert!(networks.contains("profiled_two") && !networks.contains("profiled_three"), "{networks}");
    assert_eq!(names("volume", "{{.Name}}"), "profiled_kept\n");
    // Stopped, it is for `rm` of its profile alone.
    env.ok(&["--profile", "more", "stop", "-t", "0"]);
    assert!(env.ok(&["rm", "-f"]).text().contains("No stopped containers"));
    assert!(env.ok(&["--profile", "*", "rm", "-f"]).text().contains("profiled-extra-1"));
    env.ok(&["--profile", "more", "up", "-d"]);
    env.ok(&["down", "-t", "0", "extra"]);
    assert_eq!(services(&env), ["foo", "third"], "it is named");
    env.ok(&["--profile", "more", "up", "-d"]);
    // By its name alone, all of it.
    env.ok(&["-p", "profiled", "down", "-v", "-t", "0"]);
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
