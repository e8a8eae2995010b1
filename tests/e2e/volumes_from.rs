//! Services that mount what other containers do (`volumes_from`).

use std::fs;

use crate::env::TestEnv;

const BOX: &str = "x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }\n";

/// A parent with a bind, a named and an anonymous volume, and those who take them.
fn family(name: &str) -> TestEnv {
    let stack = r#"
services:
  db: { <<: *box, volumes: ["./bound:/bound", "named:/named", "/anonymous"], tmpfs: /memory }
  web: { <<: *box, volumes_from: [db] }
  reader: { <<: *box, volumes_from: ["db:ro"], volumes: ["./own:/bound"] }
  by_name: { <<: *box, volumes_from: ["container:NAME-db-1:rw"] }
  last: { <<: *box, volumes_from: [web] }
volumes: { named: }
"#;
    let env = TestEnv::with(name, &format!("{BOX}{}", stack.replace("NAME", name)));
    env.file("bound/from", "the folder\n");
    env.file("own/from", "its own\n");
    env
}

const TARGETS: [&str; 3] = ["/bound", "/named", "/anonymous"];

fn volumes(env: &TestEnv) -> usize {
    let entries = fs::read_dir(env.home().join("data/volumes")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().join("_data").is_dir()).count()
}

#[track_caller]
fn assert_shared(env: &TestEnv, service: &str) {
    for target in TARGETS {
        env.sh("db", &format!("echo {target} > {target}/note"));
        assert_eq!(env.sh(service, &format!("cat {target}/note")), target, "{service}");
        env.sh(service, &format!("echo of {service} > {target}/note"));
        assert_eq!(env.sh("db", &format!("cat {target}/note")), format!("of {service}"));
    }
}

#[test]
fn files_are_seen_from_both_containers() {
    let env = family("inherit");
    let config = env.ok(&["config"]).stdout;
    assert!(config.contains("volumes_from:\n      - db:ro\n"), "{config}");
    env.ok(&["up", "-d"]);
    assert_shared(&env, "web");
    assert_shared(&env, "by_name");
    assert_shared(&env, "last");
    // What is in memory only is nobody else's.
    env.sh("db", "echo x > /memory/note");
    assert_eq!(env.sh("web", "ls -d /memory 2>/dev/null || echo none"), "none");
    // Its own mounts win, and the others are only read.
    assert_eq!(env.sh("reader", "cat /bound/from"), "its own");
    assert_eq!(env.sh("reader", "cat /named/note /anonymous/note"), "of last\nof last");
    let written =
        env.sh("reader", "for f in /bound /named /anonymous; do (echo > $f/x) 2>/dev/null && echo $f; done; true");
    assert_eq!(written, "/bound");
    assert_eq!(volumes(&env), 2);
    assert!(env.ok(&["--dry-run", "up", "-d"]).text().contains("nothing to do"));
    env.ok(&["restart", "-t", "0"]);
    assert_shared(&env, "last");
    env.ok(&["down", "-t", "0", "-v"]);
    assert_eq!(volumes(&env), 0);
    env.down();
}

#[test]
fn a_child_never_takes_the_volumes_of_its_parent_away() {
    let env = family("keeper");
    env.ok(&["up", "-d", "web"]);
    env.sh("db", "echo kept > /anonymous/note");
    let kept = |when: &str| assert_eq!(env.sh("db", "cat /anonymous/note"), "kept", "{when}");
    env.ok(&["rm", "-s", "-f", "-v", "web"]);
    kept("rm -v");
    assert_eq!(env.ok(&["run", "--rm", "-T", "web", "cat", "/anonymous/note"]).stdout.trim(), "kept");
    kept("run --rm");
    let ids = || (env.ps_field("db", "ID"), env.ps_field("web", "ID"));
    env.ok(&["up", "-d", "web"]);
    let before = ids();
    // With the parent as it is there is nothing of its own to renew.
    env.ok(&["up", "-d", "-V", "--no-deps", "web"]);
    assert_eq!(ids(), before);
    kept("up -V");
    // One that is made anew with what it had is no reason to make the other anew.
    env.ok(&["up", "-d", "--force-recreate", "--no-deps", "db"]);
    env.ok(&["up", "-d", "web"]);
    let now = ids();
    assert!(now.0 != before.0 && now.1 == before.1, "{before:?} {now:?}");
    assert_eq!(env.sh("web", "cat /anonymous/note"), "kept");
    // With other volumes it is.
    let renew = ["up", "-d", "-V", "--force-recreate", "--no-deps", "db"];
    env.ok(&renew);
    let plan = env.ok(&["--dry-run", "up", "-d", "web"]).stderr;
    assert!(plan.contains("takes volumes from db, which has other ones now"), "{plan}");
    env.ok(&["up", "-d", "web"]);
    assert_ne!(ids().1, now.1);
    assert_eq!(env.sh("web", "ls /anonymous"), "");
    env.sh("db", "echo new > /anonymous/note");
    assert_eq!(env.sh("web", "cat /anonymous/note"), "new");
    // In one go, too; and what nobody has any more is gone.
    let before = ids();
    let plan = env.ok(&["--dry-run", "up", "-d", "-V", "db", "web"]).stderr;
    assert!(plan.contains("takes volumes from db, which has other ones now"), "{plan}");
    env.ok(&["up", "-d", "-V", "db", "web"]);
    let now = ids();
    assert!(now.0 != before.0 && now.1 != before.1);
    env.sh("db", "echo newer > /anonymous/note");
    assert_eq!(env.sh("web", "cat /anonymous/note"), "newer");
    env.ok(&["down", "-t", "0", "-v"]);
    assert_eq!(volumes(&env), 1, "the one that was let go of when nobody asked for its end");
    env.ok(&["volume", "prune", "-f"]);
    assert_eq!(volumes(&env), 0);
    env.down();
}

#[test]
fn volumes_of_the_image_give_way_to_those_of_the_parent() {
    let env = TestEnv::with(
        "gives-way",
        &format!(
            "{BOX}services:\n  \
             db: {{ <<: *box, volumes: [/data] }}\n  \
             cache: {{ image: 'redis:8', command: sleep 1000, stop_signal: SIGKILL, volumes_from: [db] }}\n  \
             own: {{ <<: *box, volumes: [/data], volumes_from: [db] }}\n"
        ),
    );
    env.ok(&["up", "-d"]);
    env.sh("db", "echo x > /data/note");
    assert_eq!(env.sh("cache", "cat /data/note"), "x");
    assert_eq!(env.sh("own", "ls /data"), "");
    env.down();
}

#[test]
fn volumes_of_another_project_are_taken_too() {
    let env = TestEnv::with(
        "lender",
        &format!("{BOX}services:\n  db: {{ <<: *box, volumes: [/data, 'named:/named'] }}\nvolumes: {{ named: }}\n"),
    );
    env.file(
        "away.yaml",
        &format!("{BOX}services:\n  web: {{ <<: *box, volumes_from: ['container:lender-db-1:ro'] }}\n"),
    );
    let away = |arguments: &[&str]| env.run(&[&["-p", "borrower", "-f", "away.yaml"], arguments].concat());
    for command in [&["up", "-d"][..], &["--dry-run", "up", "-d"], &["run", "--rm", "web", "true"]] {
        let output = away(command);
        assert_eq!(output.code, 1, "{}", output.text());
        let text = output.text();
        assert!(text.contains("there is no container lender-db-1 to take volumes from"), "{text}");
        assert!(text.contains("away.yaml:3:"), "{text}");
    }
    env.ok(&["up", "-d"]);
    let up = || {
        let output = away(&["up", "-d"]);
        assert_eq!(output.code, 0, "{}", output.text());
    };
    let sh = |script: &str| away(&["exec", "-T", "web", "sh", "-c", script]).stdout.trim().to_owned();
    up();
    let shared = |text: &str| {
        env.sh("db", &format!("echo {text} | tee /data/note > /named/note"));
        assert_eq!(
            sh("cat /data/note /named/note; (echo > /data/x) 2>/dev/null || echo only read"),
            format!("{text}\n{text}\nonly read")
        );
    };
    shared("one");
    // The volumes are in use by the other.
    env.ok(&["up", "-d", "-V", "--force-recreate"]);
    assert_eq!(sh("cat /data/note"), "one");
    up();
    shared("two");
    assert_eq!(away(&["down", "-t", "0", "-v"]).code, 0);
    assert_eq!(env.sh("db", "cat /data/note"), "two");
    env.ok(&["down", "-t", "0", "-v"]);
    env.ok(&["volume", "prune", "-f"]);
    assert_eq!(volumes(&env), 0);
    env.down();
}

#[test]
fn what_cannot_be_taken_is_told_with_its_place() {
    let env = TestEnv::new("untaken");
    for (services, place, said) in [
        ("web: { <<: *box, volumes_from: ['db:rx'] }", "compose.yaml:3:", "there is no mode `rx` to take volumes in"),
        ("web: { <<: *box, volumes_from: ['container:x:z'] }", "compose.yaml:3:", "there is no mode `z`"),
        ("web: { <<: *box, volumes_from: ['container:'] }", "compose.yaml:3:", "names nobody to take volumes from"),
        ("web: { <<: *box, volumes_from: [dv] }", "compose.yaml:3:", "did you mean `db`?"),
        ("web: { <<: *box, volumes_from: [web] }", "compose.yaml:3:", "web → web"),
        (
            "web: { <<: *box, volumes_from: [b] }\n  b: { <<: *box, volumes_from: [web] }",
            "compose.yaml:",
            "wait for each other",
        ),
        (
            "web: { <<: *box, volumes_from: ['container:untaken-web-1'] }",
            "compose.yaml:3:",
            "web takes volumes from itself",
        ),
        (
            "web: { <<: *box, container_name: ww, volumes_from: ['container:untaken-b-2'] }\n  b: { <<: *box, volumes_from: ['container:ww'] }",
            "compose.yaml:3:",
            "web takes volumes from b, which needs web itself",
        ),
    ] {
        env.file("compose.yaml", &format!("{BOX}services:\n  {services}\n  db: {{ <<: *box, volumes: [/data] }}\n"));
        for command in [&["up", "-d"][..], &["--dry-run", "up", "-d"]] {
            let text = env.fails(command).stderr;
            assert!(text.contains(said) && text.contains(place), "{services}: {text}");
        }
        assert!(env.ps().is_empty());
    }
    env.file(
        "compose.yaml",
        &format!("{BOX}services:\n  web: {{ <<: *box, volumes_from: [db] }}\n  db: {{ <<: *box, volumes: [/data] }}\n"),
    );
    let text = env.fails(&["up", "-d", "--no-deps", "web"]).stderr;
    assert!(text.contains("db has no container to take volumes from") && text.contains("compose.yaml:3:"), "{text}");
    env.down();
}
