//! `cp`, `export`, `commit`: files in and out of containers, running or not.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;

use crate::env::{Output, PATIENCE, TestEnv};

const STACK: &str = r#"
services:
  web:
    x-windlass: { rootfs: host }
    stop_signal: SIGKILL
    command: [sh, -c, "mkdir -p /srv/data && echo inside > /srv/data/file && ln -s file /srv/data/link && touch /srv/ready && exec sleep 1000"]
    volumes: ["data:/var/data", "./shared:/shared"]
  done: { x-windlass: { rootfs: host }, command: [sh, -c, "echo over > /srv/over; echo kept > /var/data/kept"], volumes: ["data:/var/data"] }
volumes: { data: {} }
"#;

fn up(name: &str) -> TestEnv {
    let env = TestEnv::with(name, STACK);
    fs::create_dir(env.folder().join("shared")).unwrap();
    env.ok(&["up", "-d"]);
    support::eventually("web is ready and done has ended", PATIENCE, || {
        let ready = env.run(&["exec", "-T", "web", "test", "-e", "/srv/ready"]).code == 0;
        let done = env.ps_field("done", "State");
        if ready && done == "exited" { Ok(()) } else { Err(format!("{ready} {done}")) }
    });
    env
}

/// Runs a command with bytes on its standard input and its standard output in a file.
fn pipe(env: &TestEnv, arguments: &[&str], input: &[u8], output: &Path) -> Output {
    let mut command = env.command(arguments);
    command.stdin(Stdio::piped()).stdout(fs::File::create(output).unwrap()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may refuse before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    let ended = child.wait_with_output().unwrap();
    Output {
        code: ended.status.code().unwrap_or(-1),
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

fn tar(arguments: &[&str]) -> String {
    let output = std::process::Command::new("tar").args(arguments).output().unwrap();
    assert!(output.status.success(), "tar {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cp_copies_out_of_a_running_container() {
    let env = up("copy-out");
    let at = |path: &str| env.folder().join(path);
    env.ok(&["cp", "web:/srv/data/file", "new"]);
    env.ok(&["cp", "web:/srv/data", "."]);
    env.ok(&["cp", "web:/srv/data/.", "shared"]);
    for path in ["new", "data/file", "shared/file"] {
        assert_eq!(fs::read_to_string(at(path)).unwrap(), "inside\n", "{path}");
    }
    assert_eq!(fs::read_link(at("data/link")).unwrap(), Path::new("file"));
    env.ok(&["cp", "web:srv/data/link", "as-link"]);
    env.ok(&["cp", "-L", "web:/srv/data/link", "followed"]);
    assert!(at("as-link").is_symlink() && fs::symlink_metadata(at("followed")).unwrap().is_file());
    // Mounted files, too.
    env.sh("web", "echo volume > /var/data/v; echo bound > /shared/b");
    env.ok(&["cp", "web:/var/data/v", "v"]);
    assert_eq!(fs::read_to_string(at("v")).unwrap(), "volume\n");
    // Owners come with -a; set-id bits never without.
    env.sh("web", "echo x > /srv/owned; chown 1234:2345 /srv/owned; chmod 4751 /srv/owned");
    env.ok(&["cp", "web:/srv/owned", "plain"]);
    env.ok(&["cp", "-a", "web:/srv/owned", "archived"]);
    let mode = |path: &str| fs::metadata(at(path)).map(|m| (m.uid(), m.gid(), m.mode() & 0o7777)).unwrap();
    assert_eq!(mode("plain"), (0, 0, 0o751));
    assert_eq!(mode("archived"), (1234, 2345, 0o4751));
    for (arguments, text) in [
        (["cp", "web:/srv/none", "x"], "does not exist"),
        (["cp", "web:/srv/data", "new"], "not a directory"),
        (["cp", "nobody:/x", "x"], "no such service"),
        (["cp", "web:/x", "done:/x"], "between services"),
        (["cp", "a", "b"], "in a container"),
    ] {
        let fault = env.fails(&arguments);
        assert!(fault.stderr.contains(text), "{arguments:?}: {}", fault.stderr);
    }
    env.down();
}

#[test]
fn cp_copies_into_containers() {
    let env = up("copy-in");
    fs::create_dir_all(env.folder().join("tree/sub")).unwrap();
    let file = env.file("tree/sub/file", "from the machine");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    chown(&file, Some(1234), Some(2345)).unwrap();
    env.ok(&["cp", "tree", "web:/srv"]);
    assert_eq!(
        env.sh("web", "cat /srv/tree/sub/file; stat -c ' %u:%g %a' /srv/tree/sub/file"),
        "from the machine 0:0 640"
    );
    env.ok(&["cp", "-a", "tree/.", "web:/srv/tree"]);
    assert_eq!(env.sh("web", "stat -c '%u:%g' /srv/tree/sub/file"), "1234:2345");
    env.ok(&["cp", "tree/sub/file", "web:/var/data/"]);
    env.ok(&["cp", "tree/sub/file", "web:/srv/data/link"]);
    assert_eq!(env.sh("web", "cat /var/data/file /srv/data/file"), "from the machine".repeat(2));
    assert!(env.fails(&["cp", "tree", "web:/srv/data/file"]).stderr.contains("not a directory"));
    assert!(env.fails(&["cp", "none", "web:/srv"]).stderr.contains("does not exist"));
    // A bound folder is two ways to one file.
    env.file("shared/same", "still here");
    assert!(env.fails(&["cp", "shared/same", "web:/shared/same"]).stderr.contains("same"));
    env.ok(&["cp", "shared/same", "web:/shared/"]);
    assert_eq!(fs::read_to_string(env.folder().join("shared/same")).unwrap(), "still here");
    env.down();
}

#[test]
fn cp_works_on_a_container_that_does_not_run() {
    let env = up("copy-still");
    let at = |path: &str| env.folder().join(path);
    env.ok(&["cp", "done:/srv/over", "over"]);
    env.ok(&["cp", "done:/var/data/kept", "kept"]);
    assert_eq!(fs::read_to_string(at("over")).unwrap() + &fs::read_to_string(at("kept")).unwrap(), "over\nkept\n");
    env.file("in", "into a still container");
    env.ok(&["cp", "in", "done:/srv/in"]);
    env.ok(&["cp", "in", "done:/var/data/in"]);
    env.ok(&["cp", "done:/srv/in", "back"]);
    assert_eq!(fs::read_to_string(at("back")).unwrap(), "into a still container");
    assert_eq!(env.sh("web", "cat /var/data/in"), "into a still container", "the volume is that of the others");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("copy-still"), "mounts are private");
    env.down();
}

#[test]
fn cp_reads_and_writes_archives() {
    let env = up("copy-tar");
    let archive = env.folder().join("out.tar");
    let output = pipe(&env, &["cp", "web:/srv/data", "-"], b"", &archive);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let archive_name = archive.to_str().unwrap();
    let names = tar(&["-tf", archive_name]);
    assert_eq!(names, "data/\ndata/file\ndata/link\n");
    let null = Path::new("/dev/null");
    let bytes = fs::read(&archive).unwrap();
    let output = pipe(&env, &["cp", "-", "web:/var"], &bytes, null);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(env.sh("web", "cat /var/data/file; readlink /var/data/link"), "inside\nfile");
    assert!(pipe(&env, &["cp", "-", "web:/nowhere"], &bytes, null).stderr.contains("does not exist"));
    assert!(pipe(&env, &["cp", "-", "web:/srv/data/file"], &bytes, null).stderr.contains("not a directory"));
    assert!(pipe(&env, &["cp", "-", "web:/srv"], b"no archive at all", null).code == 1);
    env.down();
}

#[test]
fn cp_copies_to_every_replica_or_to_one() {
    let env = TestEnv::with(
        "copy-all",
        "services: { web: { x-windlass: { rootfs: host }, command: sleep 1000, scale: 2, stop_signal: SIGKILL } }",
    );
    env.ok(&["up", "-d"]);
    env.file("both", "both");
    env.file("one", "one");
    let told = env.ok(&["cp", "both", "web:/srv/both"]).stderr;
    assert!(told.contains("copy-all-web-1") && told.contains("copy-all-web-2"), "{told}");
    env.ok(&["cp", "--index", "2", "one", "web:/srv/one"]);
    let has = |index: &str, path: &str| env.run(&["exec", "-T", "--index", index, "web", "test", "-e", path]).code == 0;
    assert!(has("1", "/srv/both") && has("2", "/srv/both"));
    assert!(!has("1", "/srv/one") && has("2", "/srv/one"));
    env.ok(&["cp", "--index", "2", "web:/srv/one", "back"]);
    assert!(env.fails(&["cp", "web:/srv/one", "back"]).stderr.contains("does not exist"));
    assert!(env.fails(&["cp", "--index", "3", "one", "web:/"]).stderr.contains("container 3"));
    env.down();
}

/// The container swaps a folder for a link to the machine's own while files are copied through it.
#[test]
fn a_hostile_container_gets_nothing_of_the_machine() {
    let env = TestEnv::new("hostile");
    let outside = env.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    env.file("outside/secret", "secret of the machine");
    env.file("compose.yaml", &format!(
        r#"
services:
  bad:
    x-windlass: {{ rootfs: host }}
    stop_signal: SIGKILL
    command:
      - sh
      - -c
      - |
        mkdir -p /srv/real && echo own > /srv/real/secret && ln -s {outside} /srv/absolute && ln -s ../../../../../../../..{outside} /srv/relative
        ln -s /proc/1/root/{outside}/secret /srv/magic
        touch /srv/ready
        while :; do ln -sfn {outside} /srv/swap; rm /srv/swap; mkdir /srv/swap; echo own > /srv/swap/secret; rm -r /srv/swap; done
"#,
        outside = outside.display()
    ));
    env.ok(&["up", "-d"]);
    support::eventually("it is ready", PATIENCE, || {
        match env.run(&["exec", "-T", "bad", "test", "-e", "/srv/ready"]).code {
            0 => Ok(()),
            code => Err(format!("{code}")),
        }
    });
    env.file("evil", "overwritten");
    for way in ["absolute", "relative"] {
        env.fails(&["cp", &format!("bad:/srv/{way}/secret"), "stolen"]);
        env.fails(&["cp", "evil", &format!("bad:/srv/{way}/secret")]);
        env.fails(&["cp", "evil", &format!("bad:/srv/{way}/new")]);
    }
    env.run(&["cp", "-L", "bad:/srv/magic", "stolen"]);
    for _ in 0..30 {
        env.run(&["cp", "bad:/srv/swap/secret", "stolen"]);
        env.run(&["cp", "evil", "bad:/srv/swap/secret"]);
        env.run(&["cp", "bad:/srv", "whole"]);
    }
    let stolen = fs::read_to_string(env.folder().join("stolen")).unwrap_or_default();
    assert!(!stolen.contains("machine"), "{stolen}");
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret of the machine");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was made outside");
    env.down();
}

#[test]
fn export_writes_the_containers_own_files() {
    let env = up("exported");
    env.ok(&["export", "-o", "web.tar", "web"]);
    let path = env.folder().join("web.tar");
    let names = tar(&["-tf", path.to_str().unwrap()]);
    let has = |name: &str| names.lines().any(|line| line == name);
    assert!(has("srv/data/file") && has("srv/data/link"), "{names}");
    assert!(!names.lines().any(|line| line.starts_with("proc/1") || line.starts_with("sys/kernel")));
    assert!(has("var/data/") && !has("var/data/kept"), "volumes are left out");
    assert_eq!(tar(&["-xOf", path.to_str().unwrap(), "srv/data/file"]), "inside\n");
    let still = env.folder().join("still.tar");
    let output = pipe(&env, &["export", "done"], b"", &still);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(tar(&["-xOf", still.to_str().unwrap(), "srv/over"]), "over\n");
    assert!(!env.folder().join("web.tar.partial").exists());
    env.down();
}

#[test]
fn commit_makes_an_image_of_what_a_container_changed() {
    let env = TestEnv::with(
        "committed",
        r#"
services:
  web:
    image: "busybox:1.35"
    stop_signal: SIGKILL
    command: [sh, -c, "mkdir -p /srv/deep && echo new > /srv/deep/file && ln /srv/deep/file /srv/hard && rm /etc/passwd && rm -r /var/spool; mkdir -p /etc/fresh; touch /ready; exec sleep 1000"]
    environment: { FROM: service }
  own: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    support::eventually("it is ready", PATIENCE, || {
        match env.run(&["exec", "-T", "web", "test", "-e", "/ready"]).code {
            0 => Ok(()),
            code => Err(format!("{code}")),
        }
    });
    let arguments = [
        "commit",
        "-m",
        "why",
        "-a",
        "somebody",
        "-c",
        "CMD [\"cat\",\"/srv/deep/file\"]",
        "-c",
        "LABEL tier=one",
        "web",
        "mine:1",
    ];
    let id = env.ok(&arguments).stdout.trim().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(env.ps_field("web", "State"), "running", "it goes on");
    for _ in 0..10 {
        env.ok(&["commit", "web"]);
        assert_eq!(env.ps_field("web", "State"), "running", "it goes on when the command returns");
    }
    let inspect = |format: &str| env.ok(&["image", "inspect", "-f", format, "mine:1"]).stdout.trim().to_owned();
    assert_eq!(inspect("{{.Id}} {{.Author}} {{index .Config.Labels \"tier\"}}"), format!("{id} somebody one"));
    assert_eq!(inspect("{{json .Config.Cmd}}"), r#"["cat","/srv/deep/file"]"#);
    assert!(inspect("{{json .Config.Env}}").contains("FROM=service"));
    assert!(env.ok(&["image", "history", "--no-trunc", "mine:1"]).stdout.contains("why"));
    // A container of it has what was added, and not what was removed; the archive is whole, too.
    env.file("again.yaml", "name: committed\nservices: { again: { image: 'mine:1', pull_policy: never, command: [sh, -c, 'cat /srv/hard; ls -d /etc/passwd /var/spool /etc/fresh; stat -c %h /srv/hard'] } }\n");
    let output = env.ok(&["-f", "again.yaml", "up", "--no-log-prefix"]);
    let lines: Vec<&str> = output.stdout.lines().filter(|line| !line.contains("exited with")).collect();
    assert_eq!(lines, ["new", "/etc/fresh", "2"], "{}", output.text());
    env.ok(&["image", "save", "-o", "mine.tar", "mine:1"]);
    assert!(env.fails(&["commit", "own"]).stderr.contains("not made of an image"));
    assert!(env.fails(&["commit", "-c", "COPY a b", "web"]).stderr.contains("COPY a b"));
    assert!(env.fails(&["commit", "nobody"]).stderr.contains("no such service"));
    env.down();
}
