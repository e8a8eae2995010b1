//! What the tab key proposes.

use crate::env::TestEnv;

/// As fish asks, with the last word under way; flags are left out.
fn proposed(env: &TestEnv, line: &[&str]) -> Vec<String> {
    let mut command = env.command(&[&["--", "windlass"], line].concat());
    let output = command.env("COMPLETE", "fish").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().map(|line| line.split('\t').next().unwrap().to_owned());
    let mut words: Vec<String> = words.filter(|word| !word.starts_with("--")).collect();
    words.sort();
    words
}

#[test]
fn services_that_fit_the_command_are_proposed() {
    let file = "x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }\nservices: { a: *box, b: *box, c: *box, d: *box, e: { <<: *box, profiles: [more] } }\n";
    let env = TestEnv::with("proposals", file);
    env.ok(&["up", "-d", "a", "b", "c"]);
    env.ok(&["stop", "b"]);
    env.ok(&["pause", "c"]);
    for (command, services) in [
        ("exec", &["a", "c"][..]),
        ("stop", &["a", "c"]),
        ("start", &["b"]),
        ("unpause", &["c"]),
        ("logs", &["a", "b", "c"]),
        ("up", &["a", "b", "c", "d", "e"]),
    ] {
        assert_eq!(proposed(&env, &[command, ""]), services, "{command}");
    }
    assert_eq!(proposed(&env, &["--profile", ""]), ["more"]);
    assert_eq!(proposed(&env, &["up", "--scale", "a"]), ["a="]);
    assert_eq!(proposed(&env, &["ps", "--format", "{{.Serv"]), ["{{.Service}}"]);
    assert!(proposed(&env, &["-f", ""]).contains(&"compose.yaml".to_owned()));
    // The file and the project of the line itself.
    env.file("other/compose.yaml", "services: { z: { image: z } }\n");
    assert_eq!(proposed(&env, &["-f", "other/compose.yaml", "up", ""]), ["z"]);
    assert_eq!(proposed(&env, &["-p", "not-up", "exec", ""]), Vec::<String>::new());
    env.down();
}
