//! `ps`, `ls`, `version`, `config`: what there is.

use crate::env::{PATIENCE, TestEnv};

const STACK: &str = r#"
services:
  web: { image: "busybox:1.35", command: sleep 1000, expose: ["8080"], labels: { flavour: vanilla }, stop_signal: SIGKILL }
  once: { image: "busybox:1.35", command: sh -c "exit 3" }
"#;

#[test]
fn ps_lists_what_runs_as_a_table_and_as_json() {
    let env = TestEnv::with("listing", STACK);
    assert!(env.ok(&["ps"]).stdout.starts_with("NAME"), "an empty project has a table too");
    env.ok(&["up", "-d"]);
    support::eventually("once has ended", PATIENCE, || {
        let state = env.ps_field("once", "State");
        if state == "exited" { Ok(()) } else { Err(state) }
    });
    let table = env.ok(&["ps"]).stdout;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]);
    assert!(table.contains("listing-web-1") && !table.contains("listing-once-1"), "{table}");
    assert!(
        table.contains("busybox:1.35") && table.contains("\"sleep 1000\"") && table.contains("8080/tcp"),
        "{table}"
    );
    assert!(env.ok(&["ps", "-a"]).stdout.contains("Exited (3)"));
    let web = env.ps().into_iter().find(|row| row["Service"] == "web").unwrap();
    for (key, value) in
        [("Name", "listing-web-1"), ("Project", "listing"), ("State", "running"), ("Image", "busybox:1.35")]
    {
        assert_eq!(web[key], value, "{key}");
    }
    let labels = web["Labels"].as_str().unwrap();
    for label in [
        "flavour=vanilla",
        "com.docker.compose.project=listing",
        "com.docker.compose.service=web",
        "com.docker.compose.container-number=1",
    ] {
        assert!(labels.split(',').any(|found| found == label), "{label} in {labels}");
    }
    assert_eq!(env.ok(&["ps", "-a", "--services"]).stdout.lines().count(), 2);
    assert_eq!(env.ok(&["ps", "-q", "web"]).stdout.trim().len(), 64);
    env.down();
}

#[test]
fn ls_lists_projects() {
    let env = TestEnv::with("project-list", STACK);
    env.ok(&["up", "-d"]);
    support::eventually("the one-shot has ended", PATIENCE, || {
        let table = env.ok(&["ls"]).stdout;
        let right = table.contains("project-list") && table.contains("running(1)") && table.contains("compose.yaml");
        if right { Ok(()) } else { Err(table) }
    });
    let json: serde_json::Value = serde_json::from_str(&env.ok(&["ls", "--format", "json"]).stdout).unwrap();
    assert_eq!(json[0]["Name"], "project-list");
    env.down();
    assert!(!env.ok(&["ls"]).stdout.contains("project-list"));
}

#[test]
fn commands_find_a_project_by_name_alone() {
    let env = TestEnv::with("by-name", STACK);
    env.ok(&["up", "-d"]);
    std::fs::remove_file(env.folder().join("compose.yaml")).unwrap();
    assert!(env.ok(&["-p", "by-name", "ps"]).stdout.contains("by-name-web-1"));
    env.ok(&["-p", "by-name", "exec", "-T", "web", "true"]);
    env.ok(&["-p", "by-name", "down", "-v"]);
    env.assert_nothing_left();
    env.file("compose.yaml", STACK);
}

#[test]
fn version_and_config_need_no_project_to_run() {
    let env = TestEnv::with("stopped", STACK);
    assert!(env.ok(&["version"]).stdout.contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(env.ok(&["version", "--short"]).stdout.trim(), env!("CARGO_PKG_VERSION"));
    assert!(env.ok(&["config"]).stdout.contains("name: stopped"));
    assert_eq!(env.ok(&["config", "--services"]).stdout, "once\nweb\n");
    assert_eq!(env.ok(&["config", "-q"]).stdout, "");
}

#[test]
fn ps_and_ls_choose() {
    let once_ends = |env: &TestEnv| {
        support::eventually("once has ended", PATIENCE, || {
            let state = env.ps_field("once", "State");
            if state == "exited" { Ok(()) } else { Err(state) }
        });
    };
    let env = TestEnv::with(
        "choosing",
        "services:\n  web: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }\n  once: { x-windlass: { rootfs: host }, command: sh -c 'exit 3' }\n",
    );
    env.ok(&["up", "-d"]);
    once_ends(&env);
    let names = |arguments: &[&str]| env.ok(&[&["ps", "--format", "{{.Service}}"], arguments].concat()).stdout;
    assert_eq!(names(&[]), "web\n");
    assert_eq!(names(&["-a"]), "once\nweb\n");
    assert_eq!(names(&["--status", "exited"]), "once\n");
    assert_eq!(names(&["--status", "exited", "--status", "running"]), "once\nweb\n");
    assert_eq!(names(&["--filter", "status=running"]), "web\n");
    assert_eq!(names(&["-a", "once"]), "once\n");
    assert!(env.fails(&["ps", "--filter", "name=web"]).stderr.contains("unknown filter"));
    assert_eq!(env.ok(&["ps", "--services"]).stdout, "web\n");
    // A service that the file has no more.
    env.file("compose.yaml", "services:\n  once: { x-windlass: { rootfs: host }, command: sh -c 'exit 3' }\n");
    env.ok(&["up", "-d", "once"]);
    once_ends(&env);
    assert_eq!(names(&["--orphans=false"]), "");
    assert_eq!(names(&[]), "web\n");
    let ls = |arguments: &[&str]| env.ok(&[&["ls", "-q"], arguments].concat()).stdout;
    assert_eq!(ls(&["--filter", "name=choos"]), "choosing\n");
    assert_eq!(ls(&["--filter", "name=other"]), "");
    assert!(env.ok(&["ls"]).stdout.contains("running(1)"));
    assert!(env.ok(&["ls", "-a"]).stdout.contains("exited(1), running(1)"));
    env.down();
}

#[test]
fn down_takes_the_images_that_nothing_else_uses() {
    let file = "services: { one: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL } }";
    let env = TestEnv::with("rmi", file);
    let images = || env.ok(&["image", "ls", "-q"]).stdout.lines().count();
    env.ok(&["up", "-d"]);
    env.ok(&["-p", "rmi-other", "up", "-d"]);
    assert!(env.ok(&["down", "--rmi", "all"]).stderr.contains("still in use"));
    assert_eq!(images(), 1);
    env.ok(&["-p", "rmi-other", "up", "-d"]);
    env.ok(&["-p", "rmi-other", "down", "--rmi", "local"]);
    assert_eq!(images(), 1);
    env.ok(&["up", "-d"]);
    env.ok(&["down", "--rmi", "all"]);
    assert_eq!(images(), 0);
    assert!(env.fails(&["down", "--rmi", "some"]).stderr.contains("[possible values: all, local]"));
}
