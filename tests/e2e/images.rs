//! `pull` and `image`

use std::process::{Command, Stdio};

use crate::env::TestEnv;

#[test]
fn images_are_pulled_listed_inspected_and_removed() {
    let env = TestEnv::with(
        "image-commands",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL } }"#,
    );
    let output = env.ok(&["pull"]);
    assert_eq!(output.stdout, "", "progress goes to standard error");
    assert!(env.ok(&["image", "ls"]).stdout.contains("busybox"));
    env.ok(&["image", "pull", &format!("{}/library/busybox:1.35", crate::registry())]);
    let inspected = env.ok(&["image", "inspect", "busybox:1.35"]).stdout;
    assert!(inspected.contains("sha256:") && inspected.contains("\"sh\""), "{inspected}");
    assert!(env.ok(&["image", "history", "busybox:1.35"]).stdout.lines().count() >= 2);
    env.ok(&["image", "tag", "busybox:1.35", "mine:2"]);
    env.ok(&["image", "rm", "busybox:1.35"]);
    env.ok(&["up", "-d", "--pull", "missing"]);
    assert!(env.fails(&["image", "inspect", "never:1"]).stderr.contains("never:1"));
    env.down();
    env.ok(&["image", "prune", "--all", "--force"]);
    assert!(!env.ok(&["image", "ls"]).stdout.contains("busybox"));
}

#[test]
fn images_travel_as_files_and_through_pipes() {
    let env = TestEnv::with(
        "travel",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL } }"#,
    );
    env.ok(&["pull"]);
    env.ok(&["image", "save", "-o", "box.tar", "busybox:1.35"]);
    env.ok(&["image", "rm", "busybox:1.35"]);
    env.ok(&["image", "load", "-i", "box.tar"]);
    env.ok(&["up", "-d", "--pull", "never"]);
    env.down();

    let other = TestEnv::with(
        "arrival",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL } }"#,
    );
    let mut save = env.command(&["image", "save", "busybox:1.35"]).stdout(Stdio::piped()).spawn().unwrap();
    let load = other.command(&["image", "load"]).stdin(save.stdout.take().unwrap()).output().unwrap();
    assert!(save.wait().unwrap().success());
    assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    other.ok(&["up", "-d", "--pull", "never"]);
    other.down();

    // An OCI layout, as other tools write it.
    let third = TestEnv::with(
        "layout",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL } }"#,
    );
    let tar = third.folder().join("layout.tar");
    let packed = Command::new("tar").arg("-C").arg(crate::layout()).arg("-cf").arg(&tar).arg(".").status().unwrap();
    assert!(packed.success());
    third.ok(&["image", "load", "-i", "layout.tar"]);
    third.ok(&["up", "-d", "--pull", "never"]);
    third.down();
}
