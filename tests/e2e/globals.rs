//! Flags of all commands, by what they leave on the machine.

use crate::env::TestEnv;

fn names(env: &TestEnv, kind: &str) -> Vec<String> {
    let filter = format!("label=com.docker.compose.project={}", env.name());
    let format = ["--format", "{{.Name}}"];
    let listed = env.ok(&[&[kind, "ls", "--filter", &filter], &format[..]].concat()).stdout;
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn all_resources_are_those_that_no_service_uses_too() {
    let env = TestEnv::with("unused", "services: {}\nnetworks: { n: { labels: { kind: x } } }\nvolumes: { v: }\n");
    let refused = env.fails(&["up", "-d"]);
    assert!(refused.stderr.contains("no service selected") && refused.stderr.contains("--all-resources"));
    assert_eq!((names(&env, "network"), names(&env, "volume")), (vec![], vec![]));
    let plan = env.ok(&["--all-resources", "--dry-run", "up", "-d"]).stderr;
    assert!(plan.contains("create network unused_n") && plan.contains("create volume unused_v"), "{plan}");
    assert_eq!((names(&env, "network"), names(&env, "volume")), (vec![], vec![]));
    // A foreground `up` has nothing to wait for.
    env.ok(&["--all-resources", "up"]);
    assert_eq!(names(&env, "network"), ["unused_n"]);
    assert_eq!(names(&env, "volume"), ["unused_v"]);
    let labels = "{{ index .Labels \"com.docker.compose.network\" }} {{ index .Labels \"kind\" }}";
    assert_eq!(env.ok(&["network", "inspect", "-f", labels, "unused_n"]).stdout.trim(), "n x");
    let label = "{{ index .Labels \"com.docker.compose.volume\" }}";
    assert_eq!(env.ok(&["volume", "inspect", "-f", label, "unused_v"]).stdout.trim(), "v");
    assert_eq!(env.ok(&["volumes", "-q"]).stdout, "unused_v\n");
    assert!(env.ok(&["--all-resources", "config"]).stdout.contains("unused_v"));
    env.ok(&["down"]);
    assert_eq!((names(&env, "network"), names(&env, "volume")), (vec![], vec!["unused_v".to_owned()]));
    env.ok(&["--all-resources", "create"]);
    assert_eq!(names(&env, "network"), ["unused_n"]);
    env.down();
    assert_eq!(names(&env, "volume"), [""; 0]);
    // A file without the key `services`; and beside services, what these do not use.
    env.file("compose.yaml", "networks: { n: }\n");
    env.ok(&["--all-resources", "up", "-d"]);
    assert_eq!(names(&env, "network"), ["unused_n"]);
    env.down();
    let box_ = "services: { a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL } }\n";
    env.file("compose.yaml", &format!("{box_}networks: {{ n: }}\nvolumes: {{ v: }}\n"));
    env.ok(&["up", "-d"]);
    assert_eq!((names(&env, "network"), names(&env, "volume")), (vec!["unused_default".to_owned()], vec![]));
    let id = env.ps_field("a", "ID");
    env.ok(&["--all-resources", "up", "-d", "a"]);
    assert_eq!((names(&env, "network").len(), names(&env, "volume").len()), (2, 1));
    assert_eq!(env.ps_field("a", "ID"), id);
    env.down();
}

#[test]
fn names_as_compose_v1_made_them() {
    let mut env = TestEnv::with(
        "joined",
        "services: { a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }, built: { build: ., profiles: [b] } }\n",
    );
    let listed = |env: &TestEnv| {
        let mut names: Vec<String> = env.ps().iter().map(|row| row["Name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    env.ok(&["--compatibility", "up", "-d"]);
    assert_eq!(listed(&env), ["joined_a_1"]);
    let id = env.ps_field("a", "ID");
    // The name alone makes no other container of it.
    env.ok(&["up", "-d", "--scale", "a=2"]);
    assert_eq!(listed(&env), ["joined-a-2", "joined_a_1"]);
    let ids: Vec<String> = env.ps().iter().map(|row| row["ID"].as_str().unwrap().to_owned()).collect();
    assert!(ids.contains(&id), "{ids:?}");
    env.ok(&["stop", "a"]);
    env.ok(&["--compatibility", "start", "a"]);
    let images = |env: &TestEnv| env.ok(&["--profile", "b", "config", "--images"]).stdout;
    assert_eq!(images(&env), "joined-built\n");
    env.file(".env", "COMPOSE_COMPATIBILITY=true\n");
    assert_eq!(images(&env), "joined_built\n");
    env.ok(&["up", "-d", "--scale", "a=2", "--force-recreate"]);
    assert_eq!(listed(&env), ["joined_a_1", "joined_a_2"]);
    env.ok(&["run", "-d", "a", "sleep", "1000"]);
    assert!(listed(&env).iter().any(|name| name.starts_with("joined_a_run_")), "{:?}", listed(&env));
    // The shell has the last word.
    env.set("COMPOSE_COMPATIBILITY", "0");
    assert_eq!(images(&env), "joined-built\n");
    env.down();
}
