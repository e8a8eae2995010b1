//! Images that are mounted (`type: image`).

use std::io::ErrorKind;
use std::net::TcpListener;

use crate::env::TestEnv;

const HOST: &str = "x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL";

/// Makes `parts:1` of a container in which `script` ran.
fn make(env: &TestEnv, script: &str) {
    env.file(
        "make.yaml",
        "services: { maker: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL, network_mode: none } }\n",
    );
    env.ok(&["-f", "make.yaml", "up", "-d"]);
    env.ok(&["-f", "make.yaml", "exec", "-T", "maker", "sh", "-c", script]);
    env.ok(&["-f", "make.yaml", "commit", "maker", "parts:1"]);
    env.ok(&["-f", "make.yaml", "rm", "-s", "-f", "maker"]);
}

fn mounts(env: &TestEnv, entries: &[(&str, &str)]) {
    let mut text = format!("services:\n  a:\n    {}\n    volumes:\n", HOST.replace(", ", "\n    "));
    for (target, subpath) in entries {
        let options = if subpath.is_empty() { String::new() } else { format!(", image: {{ subpath: '{subpath}' }}") };
        text += &format!("      - {{ type: image, source: 'parts:1', target: {target}{options} }}\n");
    }
    env.file("compose.yaml", &text);
}

fn images(env: &TestEnv) -> String {
    env.ok(&["image", "ls"]).stdout
}

#[test]
fn an_image_is_mounted_whole_or_in_part_and_stays() {
    let env = TestEnv::new("parts");
    let links = "ln -s /etc /data/out; ln -s ../../../../../../etc/passwd /data/up";
    make(&env, &format!("mkdir -p /data/sub; echo one > /data/sub/file; rm /etc/group; {links}"));
    let entries =
        [("/whole", ""), ("/sub", "data/sub"), ("/one", "data/sub/file"), ("/out", "data/out"), ("/up", "data/up")];
    mounts(&env, &entries);
    let config = env.ok(&["config"]).stdout;
    assert!(config.contains("type: image") && config.contains("subpath: data/sub\n"), "{config}");
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("a", "cat /whole/data/sub/file /sub/file /one"), "one\none\none");
    let written =
        env.sh("a", "for f in /whole/x /sub/x /sub/file /one; do (echo x > $f) 2>/dev/null && echo $f; done; true");
    assert_eq!(written, "", "it is read-only");
    // Links of the image lead to what the image has: what was deleted in it is on the host only.
    assert_eq!(
        env.sh("a", "ls /whole/etc/group /out/group 2>/dev/null; cmp /up /whole/etc/passwd && ls /out/passwd"),
        "/out/passwd"
    );
    let id = env.ps_field("a", "ID");
    env.ok(&["up", "-d"]);
    assert_eq!(env.ps_field("a", "ID"), id);
    env.ok(&["image", "prune", "-a", "-f"]);
    assert!(images(&env).contains("parts"), "a container mounts it");
    assert!(env.fails(&["image", "rm", "parts:1"]).stderr.contains("parts-a-1"));
    // The same name for another image is another configuration.
    make(&env, "mkdir -p /data/sub; echo two > /data/sub/file; ln -s /etc /data/out; ln -s /etc/passwd /data/up");
    let plan = env.ok(&["--dry-run", "up", "-d"]).stderr;
    assert!(plan.contains("parts:1 changed"), "{plan}");
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("a", "cat /sub/file /one"), "two\ntwo");
    assert_ne!(env.ps_field("a", "ID"), id);
    env.ok(&["restart", "-t", "0"]);
    assert_eq!(env.sh("a", "cat /sub/file"), "two");
    env.down();
    env.ok(&["image", "prune", "-a", "-f"]);
    assert!(!images(&env).contains("parts"), "nobody mounts it any more");
}

#[test]
fn what_cannot_be_mounted_of_an_image_is_told_with_its_place() {
    let env = TestEnv::new("lacking");
    mounts(&env, &[("/x", "")]);
    let missing = env.fails(&["up", "-d", "--pull", "never"]);
    assert!(missing.stderr.contains("parts:1") && missing.stderr.contains("compose.yaml:7:"), "{}", missing.stderr);
    make(&env, "mkdir /data; ln -s loop /data/loop; ln -s /proc/self/root/etc /data/magic");
    for (subpath, said) in [
        ("nowhere", "the image parts:1 has no `nowhere`"),
        ("data/magic", "the image parts:1 has no `data/magic`"),
        ("../etc", "`../etc` leads out of the image parts:1"),
        ("/etc", "`/etc` leads out of the image parts:1"),
        ("data/loop", "`data/loop` of the image parts:1 cannot be read"),
    ] {
        mounts(&env, &[("/x", subpath)]);
        for command in [&["up", "-d"][..], &["create"], &["run", "--rm", "a", "true"], &["--dry-run", "up", "-d"]] {
            let output = env.fails(command);
            assert!(output.stderr.contains(said) && output.stderr.contains("compose.yaml:7:"), "{}", output.stderr);
        }
        assert!(env.ps().is_empty());
    }
    env.down();
}

#[test]
fn images_that_are_mounted_are_pulled_with_the_others() {
    let env = TestEnv::with(
        "mounted",
        &format!("services: {{ a: {{ {HOST}, volumes: [{{ type: image, source: 'busybox:1.35', target: /x }}] }} }}\n"),
    );
    let plan = env.ok(&["--dry-run", "up", "-d"]).stderr;
    assert!(plan.contains("pull image busybox:1.35") && !images(&env).contains("busybox"), "{plan}");
    env.ok(&["pull"]);
    assert!(images(&env).contains("busybox"));
    env.ok(&["image", "rm", "busybox:1.35"]);
    env.ok(&["create"]);
    env.ok(&["start"]);
    assert_eq!(env.sh("a", "test -x /x/bin/busybox && echo there"), "there");
    env.down();
}

#[test]
fn a_service_stands_for_its_image() {
    let env = TestEnv::with(
        "standing",
        &format!(
            "services:\n  a: {{ {HOST}, volumes: [{{ type: image, source: tool, target: /x }}] }}\n  \
             tool: {{ image: 'busybox:1.35', profiles: [never] }}\n"
        ),
    );
    assert!(env.ok(&["config"]).stdout.contains("source: tool\n"));
    let plan = env.ok(&["--dry-run", "up", "-d"]).stderr;
    assert!(plan.contains("pull image busybox:1.35"), "{plan}");
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("a", "test -x /x/bin/busybox && echo there"), "there");
    assert!(env.ok(&["--dry-run", "up", "-d"]).text().contains("nothing to do"));
    env.file(
        "compose.yaml",
        &format!("services:\n  a: {{ {HOST}, volumes: [{{ type: image, source: a, target: /x }}] }}\n"),
    );
    let text = env.fails(&["up", "-d"]).stderr;
    assert!(
        text.contains("service \"a\" has neither an image nor a build") && text.contains("compose.yaml:2:"),
        "{text}"
    );
    env.down();
}

#[test]
fn what_is_here_is_not_asked_for_again_when_only_the_missing_is_pulled() {
    let mut env = TestEnv::with(
        "asked",
        &format!("services: {{ a: {{ {HOST}, volumes: [{{ type: image, source: 'busybox:1.35', target: /x }}] }} }}\n"),
    );
    env.ok(&["pull", "--policy", "missing"]);
    assert!(images(&env).contains("busybox"));
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    registry.set_nonblocking(true).unwrap();
    env.set("WINDLASS_REGISTRY_MIRROR", &format!("http://{}", registry.local_addr().unwrap()));
    env.ok(&["pull", "--policy", "missing"]);
    assert_eq!(registry.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody asks it");
    env.down();
}
