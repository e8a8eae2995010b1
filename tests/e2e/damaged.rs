//! Every kind of record on disk, damaged in every way: other projects go on, the project is told which file it is or
//! does without, and `down` ends with everything gone.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};

use crate::crash::supervisor;
use crate::env::TestEnv;

const STACK: &str = r#"
services:
  web: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL, volumes: ["data:/data"] }
  once: { x-windlass: { rootfs: host }, command: "true" }
volumes: { data: }
"#;

const OTHER: &str = r#"
name: damaged-other
services:
  web: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["data:/data"] }
volumes: { data: }
"#;

/// The first file below a folder for which `meant` holds.
fn first(folder: PathBuf, meant: impl Fn(&str, &str) -> bool) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let holds = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        meant(&name, &text)
    };
    files.into_iter().find(holds).unwrap_or_else(|| panic!("nothing is meant in {}", folder.display()))
}

/// Each kind of `docs/reference/files.md`, and where one of this project is.
fn kinds(env: &TestEnv) -> Vec<(&'static str, PathBuf)> {
    let (data, run) = (env.home().join("data"), env.home().join("run/projects").join(env.name()));
    let project = data.join("projects").join(env.name());
    let container = |service: &str| {
        let id = env.ok(&["ps", "-aq", service]).stdout.trim().to_owned();
        project.join("containers").join(id)
    };
    let id = env.ok(&["images", "--format", "json"]).stdout;
    let id = id.split("sha256:").nth(1).map(|rest| rest[..64].to_owned()).unwrap_or_default();
    let lower = fs::read_to_string(container("web").join("record.json")).unwrap();
    let layer = lower.split("layers/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    vec![
        ("lease", first(data.join("networks"), |name, _| name.contains(&env.id()))),
        ("project", project.join("project.json")),
        ("container", container("web").join("record.json")),
        ("state", container("web").join("state.json")),
        ("exit", container("once").join("exit.json")),
        ("log", container("web").join("log.json")),
        ("events", project.join("events.json")),
        ("volume", data.join("volumes").join(format!("{}_data", env.name())).join("volume.json")),
        ("keeper", run.join("keeper.json")),
        ("image name", first(data.join("images/names"), |_, text| text.contains("busybox:1.35"))),
        ("image", data.join("images/images").join(format!("{id}.json"))),
        ("layer", data.join("images/layers").join(layer).join("layer.json")),
    ]
}

/// Whatever a crash of the machine, a disk or a person may leave in a record's place.
const DAMAGES: [&str; 5] = ["truncated", "empty", "garbled", "newer", "a folder"];

fn damage(path: &Path, how: &str) {
    let text = fs::read(path).unwrap_or_default();
    match how {
        "truncated" => fs::write(path, &text[..text.len() / 2]).unwrap(),
        "empty" => fs::write(path, "").unwrap(),
        "garbled" => fs::write(path, vec![0x9e; text.len().max(1)]).unwrap(),
        "newer" => fs::write(path, br#"{"version":99,"what":"ever"}"#).unwrap(),
        _ => {
            let _ = fs::remove_file(path);
            fs::create_dir_all(path.join("in it")).unwrap();
        }
    }
}

#[test]
fn no_record_stops_another_project_or_the_end_of_its_own() {
    let env = TestEnv::with("damaged", STACK);
    let other = env.file("other.yaml", OTHER);
    let other = |arguments: &[&str]| env.ok(&[&["-f", other.to_str().unwrap()], arguments].concat());
    other(&["up", "-d"]);
    env.ok(&["up", "-d"]);
    let names: Vec<&str> = kinds(&env).into_iter().map(|(name, _)| name).collect();
    for kind in names {
        for how in DAMAGES {
            let what = format!("{kind}, {how}");
            let (_, path) = kinds(&env).into_iter().find(|(name, _)| *name == kind).unwrap();
            damage(&path, how);
            // The next one reads what is on disk.
            kill(supervisor_of(&env), Signal::SIGKILL).unwrap();
            for arguments in [&["up", "-d", "--force-recreate", "-t", "0"][..], &["ps"], &["exec", "-T", "web", "true"]]
            {
                let output = other(arguments);
                assert!(!output.stderr.contains("panicked"), "{what}: {}", output.text());
            }
            if kind == "container" {
                let pruned = env.ok(&["image", "prune", "-af"]);
                // A newer one may well say which image it is of; this one does not.
                assert!(pruned.stderr.contains(path.to_str().unwrap()), "{what}: {}", pruned.text());
                assert!(env.ok(&["image", "ls"]).stdout.contains("busybox"), "{what}: {}", pruned.text());
            }
            let output = env.run(&["up", "-d"]);
            let named = output.stderr.contains(path.to_str().unwrap());
            assert!(output.code == 0 || named, "{what}: fails without naming {}: {}", path.display(), output.text());
            let says_what_to_do = output.stderr.contains("hint:");
            assert!(output.code == 0 || says_what_to_do, "{what}: no remedy: {}", output.text());
            let down = env.run(&["down", "-v", "-t", "0"]);
            assert_eq!(down.code, 0, "{what}: {}", down.text());
            env.assert_nothing_left_but(&["damaged-other"]);
            let output = env.run(&["up", "-d"]);
            assert_eq!(output.code, 0, "{what}: the next up: {}", output.text());
        }
    }
    env.ok(&["down", "-v", "-t", "0"]);
    other(&["down", "-v", "-t", "0"]);
    env.assert_nothing_left();
}

/// As the processes of the machine say: the keeper's own record may be the one that is damaged.
fn supervisor_of(env: &TestEnv) -> nix::unistd::Pid {
    let record = env.home().join("run/projects").join(env.name()).join("keeper.json");
    if fs::read(&record)
        .is_ok_and(|text| serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|it| it["pid"].is_i64()))
        && let Some(pid) = supervisor(env)
    {
        return pid;
    }
    let mut pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.find(|pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
        String::from_utf8_lossy(words.first().unwrap_or(&&b""[..])).contains("supervisor")
            && words.last() == Some(&env.name().as_bytes())
            && words.iter().any(|word| String::from_utf8_lossy(word).starts_with(&*env.home().to_string_lossy()))
    });
    nix::unistd::Pid::from_raw(found.expect("there is a supervisor"))
}
