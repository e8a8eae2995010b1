//! Volumes and networks that exist in another form than the file's.

use std::fs;

use crate::env::TestEnv;
use crate::terminal::Terminal;

const FILE: &str = r#"
services:
  a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["vol:/v"] }
  b: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
volumes:
  vol: { driver_opts: { type: none, o: bind, device: "FOLDER" }, labels: { kind: LABEL } }
"#;

fn write(env: &TestEnv, folder: &str, label: &str) {
    let folder = env.folder().join(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("name"), folder.file_name().unwrap().as_encoded_bytes()).unwrap();
    env.file("compose.yaml", &FILE.replace("FOLDER", folder.to_str().unwrap()).replace("LABEL", label));
}

fn seen(env: &TestEnv) -> String {
    env.sh("a", "cat /v/name")
}

#[test]
fn a_changed_volume_is_made_anew_only_when_a_person_says_so() {
    let env = TestEnv::new("redefined");
    write(&env, "one", "x");
    env.ok(&["up", "-d"]);
    assert_eq!(seen(&env), "one");
    let (a, b) = (env.ps_field("a", "ID"), env.ps_field("b", "ID"));
    write(&env, "two", "x");
    let said = "volume redefined_vol exists but doesn't match configuration in compose file (driver_opts.device";
    for arguments in [&["up", "-d"][..], &["create"], &["--dry-run", "up", "-d"]] {
        let output = env.ok(arguments);
        assert!(output.stderr.contains(said), "{}", output.text());
        assert_eq!((seen(&env), env.ps_field("a", "ID")), ("one".to_owned(), a.clone()), "{arguments:?}");
    }
    let plan = env.ok(&["--dry-run", "up", "-d", "-y"]).stderr;
    assert!(plan.contains("remove volume redefined_vol: its configuration changed"), "{plan}");
    assert_eq!(seen(&env), "one");
    // On a terminal it is asked; no answer is a no.
    let mut terminal = Terminal::start(&env, &["up", "-d"]);
    terminal.wait_for("Recreate (data will be lost)?");
    terminal.type_text("\n");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(seen(&env), "one");
    let mut terminal = Terminal::start(&env, &["up", "-d"]);
    terminal.wait_for("Recreate (data will be lost)?");
    terminal.type_text("y\n");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(seen(&env), "two");
    assert_ne!(env.ps_field("a", "ID"), a);
    assert_eq!(env.ps_field("b", "ID"), b, "it does not mount it");
    assert!(!env.ok(&["up", "-d"]).stderr.contains("doesn't match"));
    write(&env, "one", "x");
    env.ok(&["up", "-d", "-y"]);
    assert_eq!(seen(&env), "one");
    write(&env, "two", "x");
    env.ok(&["create", "-y"]);
    env.ok(&["start"]);
    assert_eq!(seen(&env), "two");
    assert_eq!(env.ps().len(), 2);
    assert!(env.folder().join("two/name").exists(), "what was bound is not the volume's own");
    env.down();
}

#[test]
fn labels_are_composes_and_the_files() {
    let env = TestEnv::new("relabelled");
    write(&env, "one", "first");
    env.ok(&["up", "-d"]);
    let id = env.ps_field("a", "ID");
    let label = |key: &str| {
        let format = format!("{{{{ index .Labels \"{key}\" }}}}");
        env.ok(&["volume", "inspect", "-f", &format, "relabelled_vol"]).stdout.trim().to_owned()
    };
    assert_eq!(label("com.docker.compose.project"), "relabelled");
    assert_eq!(label("com.docker.compose.volume"), "vol");
    assert!(!label("com.docker.compose.version").is_empty());
    assert_eq!(label("com.docker.compose.config-hash").len(), 64);
    assert_eq!(label("kind"), "first");
    let listed = env.ok(&["volume", "ls", "-q", "--filter", "label=com.docker.compose.project=relabelled"]).stdout;
    assert_eq!(listed, "relabelled_vol\n");
    let network =
        "{{ index .Labels \"com.docker.compose.network\" }} {{ index .Labels \"com.docker.compose.config-hash\" }}";
    let network = env.ok(&["network", "inspect", "-f", network, "relabelled_default"]).stdout;
    assert!(network.starts_with("default ") && network.trim().len() == 64 + 8, "{network}");
    // Another label is no reason to lose anything.
    write(&env, "one", "second");
    env.ok(&["up", "-d"]);
    assert_eq!((label("kind"), env.ps_field("a", "ID")), ("second".to_owned(), id));
    env.down();
}

#[test]
fn a_volume_that_outlived_down_is_not_created() {
    let env = TestEnv::new("outlived");
    write(&env, "one", "x");
    let created = "Volume outlived_vol";
    assert!(env.ok(&["up", "-d"]).stderr.contains(created));
    env.ok(&["down", "-t", "0"]);
    let output = env.ok(&["up", "-d"]);
    assert!(!output.stderr.contains(created), "{}", output.text());
    env.down();
}

#[test]
fn anonymous_volumes_alone_are_renewed() {
    let env = TestEnv::with(
        "renewed",
        "services:\n  a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: [/anon] }\n  \
         b: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }\n",
    );
    env.ok(&["up", "-d"]);
    env.sh("a", "touch /anon/file");
    let (a, b) = (env.ps_field("a", "ID"), env.ps_field("b", "ID"));
    env.ok(&["up", "-d", "-V"]);
    assert_ne!(env.ps_field("a", "ID"), a);
    assert_eq!(env.ps_field("b", "ID"), b, "it has none");
    assert_eq!(env.sh("a", "ls /anon"), "");
    env.down();
}
