//! What `up` makes anew, why, and how.

use std::fs;
use std::time::Instant;

use support::eventually;

use crate::env::{PATIENCE, TestEnv};
use crate::lifecycle::pid_of;

#[test]
fn a_dry_run_says_what_changed_and_where() {
    let file = "services:\n  web:\n    x-windlass: { rootfs: host }\n    command: sleep 1000\n    stop_signal: SIGKILL\n    environment:\n      DEBUG: \"0\"\n";
    let env = TestEnv::with("reasons", file);
    env.ok(&["up", "-d"]);
    assert!(env.ok(&["--dry-run", "up"]).text().contains("nothing to do"));
    env.file("compose.yaml", &file.replace("\"0\"", "\"1\""));
    let before = env.ps_field("web", "ID");
    let output = env.ok(&["--dry-run", "up", "-d"]);
    let expected = "recreate container reasons-web-1: environment.DEBUG \"0\" → \"1\" (compose.yaml:7)";
    assert!(output.stderr.contains(expected), "{}", output.text());
    assert_eq!(output.stderr.matches("environment.DEBUG").count(), 1, "a reason is told once: {}", output.text());
    assert_eq!(env.ps_field("web", "ID"), before);
    env.ok(&["up", "-d"]);
    assert_eq!(env.sh("web", "echo $DEBUG"), "1");
    env.down();
}

#[test]
fn contents_are_inputs() {
    let env = TestEnv::with(
        "contents",
        r#"
services:
  secret: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, secrets: [token] }
  config: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, configs: [{ source: conf, uid: "5" }] }
  variables: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, env_file: own.env }
secrets: { token: { file: ./token } }
configs: { conf: { file: ./conf } }
"#,
    );
    for file in ["token", "conf", "own.env"] {
        env.file(file, "A=1\n");
    }
    env.ok(&["up", "-d"]);
    let ids = || ["secret", "config", "variables"].map(|service| env.ps_field(service, "ID"));
    let before = ids();
    env.ok(&["up", "-d"]);
    assert_eq!(ids(), before);
    for (place, file, reason) in [
        (0, "token", "the content of secrets.token changed"),
        (1, "conf", "the content of configs.conf changed"),
        (2, "own.env", "environment.A \"1\" → \"2\""),
    ] {
        let before = ids();
        env.file(file, "A=2\n");
        let output = env.ok(&["--dry-run", "up", "-d"]);
        assert!(output.stderr.contains(reason), "{}", output.text());
        env.ok(&["up", "-d"]);
        let now = ids();
        for other in 0..3 {
            assert_eq!(now[other] == before[other], other != place, "{file}: {other}");
        }
    }
    assert_eq!(env.sh("config", "cat /conf"), "A=2");
    env.down();
}

#[test]
fn a_changed_network_keeps_its_containers() {
    let file = |subnet: &str| {
        format!(
            r#"
x-box: &box {{ x-windlass: {{ rootfs: host }}, command: sleep 1000, stop_signal: SIGKILL }}
services: {{ web: *box, db: *box }}
networks: {{ default: {{ ipam: {{ config: [{{ subnet: {subnet} }}] }} }} }}
"#
        )
    };
    let env = TestEnv::with("renumbered", &file("10.213.7.0/24"));
    env.ok(&["up", "-d"]);
    let ids = (env.ps_field("web", "ID"), env.ps_field("db", "ID"));
    assert!(env.sh("web", "getent hosts db").starts_with("10.213.7."));
    env.file("compose.yaml", &file("10.213.8.0/24"));
    // Also what is not named has to follow.
    env.ok(&["up", "-d", "web"]);
    assert_eq!((env.ps_field("web", "ID"), env.ps_field("db", "ID")), ids);
    assert!(env.sh("web", "getent hosts db").starts_with("10.213.8."));
    assert!(env.sh("db", "getent hosts web").starts_with("10.213.8."));
    env.ok(&["up", "-d"]);
    env.down();
}

#[test]
fn what_asks_for_it_is_restarted_with_what_is_replaced() {
    let file = r#"
x-box: &box { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL }
services:
  db: { <<: *box, environment: { N: "1" } }
  web: { <<: *box, depends_on: { db: { condition: service_started, restart: true } } }
  app: { <<: *box, depends_on: [db] }
"#;
    let env = TestEnv::with("follows", file);
    env.ok(&["up", "-d"]);
    let before = (env.ps_field("db", "ID"), env.ps_field("web", "ID"), pid_of(&env, "web"), pid_of(&env, "app"));
    env.file("compose.yaml", &file.replace("N: \"1\"", "N: \"2\""));
    env.ok(&["up", "-d"]);
    assert_ne!(env.ps_field("db", "ID"), before.0);
    assert_eq!(env.ps_field("web", "ID"), before.1);
    assert_ne!(pid_of(&env, "web"), before.2);
    assert_eq!(pid_of(&env, "app"), before.3);
    env.down();
}

/// Each container notes its life in `marks/order`.
const UPDATED: &str = r#"
services:
  web:
    x-windlass: { rootfs: host }
    volumes: ["./marks:/marks"]
    environment: { VERSION: "1" }
    command: ["sh", "-c", "echo up $$VERSION >> /marks/order; trap 'echo down $$VERSION >> /marks/order; exit 0' TERM; while :; do sleep 0.02; done"]
    healthcheck: { test: ["CMD-SHELL", "test $$VERSION != bad && grep -q \"up $$VERSION\" /marks/order"], interval: 50ms, retries: 4 }
    deploy: { replicas: 2, update_config: UPDATE }
"#;

fn marks(env: &TestEnv) -> Vec<String> {
    let text = fs::read_to_string(env.folder().join("marks/order")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_update_starts_first_or_stops_first() {
    for (name, order, expected) in [
        ("update-start-first", "start-first", ["up 2", "down 1", "up 2", "down 1"]),
        ("update-stop-first", "stop-first", ["down 1", "up 2", "down 1", "up 2"]),
    ] {
        let file = UPDATED.replace("UPDATE", &format!("{{ order: {order}, delay: 10ms }}"));
        let env = TestEnv::with(name, &file);
        env.ok(&["up", "-d", "--wait"]);
        fs::write(env.folder().join("marks/order"), "up 1\n").unwrap();
        env.file("compose.yaml", &file.replace("VERSION: \"1\"", "VERSION: \"2\""));
        env.ok(&["up", "-d"]);
        support::eventually("all is noted", PATIENCE, || {
            let marks = marks(&env);
            if marks.len() == 5 { Ok(()) } else { Err(format!("{marks:?}")) }
        });
        assert_eq!(marks(&env)[1..], expected, "{order}");
        assert_eq!(env.ps().len(), 2);
        env.down();
    }
}

#[test]
fn a_failed_update_pauses() {
    let file = UPDATED.replace("UPDATE", "{ order: start-first }");
    let env = TestEnv::with("update-fails", &file);
    env.ok(&["up", "-d", "--wait"]);
    let old: Vec<serde_json::Value> = env.ps().iter().map(|row| row["ID"].clone()).collect();
    env.file("compose.yaml", &file.replace("VERSION: \"1\"", "VERSION: bad"));
    let output = env.fails(&["up", "-d"]);
    assert!(output.stderr.contains("is unhealthy"), "{}", output.text());
    let now = env.ps();
    for id in old {
        let row = now.iter().find(|row| row["ID"] == id).expect("the old containers are left");
        assert_eq!(row["State"], "running");
    }
    // The next one puts things right.
    env.file("compose.yaml", &file);
    env.ok(&["up", "-d", "--wait"]);
    assert_eq!(env.ps().len(), 2);
    env.down();
}

#[test]
fn a_failed_update_is_rolled_back() {
    for order in ["start-first", "stop-first"] {
        let update = format!("{{ order: {order}, failure_action: rollback }}");
        let file = UPDATED.replace("UPDATE", &update).replace("replicas: 2", "replicas: 3");
        let env = TestEnv::with(&format!("rollback-{order}"), &file);
        env.ok(&["up", "-d", "--wait"]);
        let hashes = || -> Vec<String> {
            let rows = env.ps();
            rows.iter().map(|row| row["Labels"].as_str().unwrap_or_default().to_owned()).map(hash_of).collect()
        };
        let before = hashes();
        env.file("compose.yaml", &file.replace("VERSION: \"1\"", "VERSION: bad"));
        let output = env.fails(&["up", "-d"]);
        assert!(output.stderr.contains("is rolled back"), "{}", output.text());
        assert!(output.stderr.contains("as before the update"), "{}", output.text());
        assert_eq!(hashes(), before, "{order}");
        support::eventually("all are healthy again", PATIENCE, || {
            let healthy = env.ps().iter().filter(|row| row["Health"] == "healthy").count();
            if healthy == 3 { Ok(()) } else { Err(format!("{:?}", env.ps())) }
        });
        // What runs now is what the old file says: nothing is left to do for it.
        env.file("compose.yaml", &file);
        assert!(!env.ok(&["up", "--dry-run", "-d"]).stderr.contains("create"));
        env.down();
    }
}

/// Of three containers one may fail, when it is a third.
#[test]
fn an_update_tolerates_the_ratio_of_failures_that_it_is_told_to() {
    let file = r#"
services:
  web:
    x-windlass: { rootfs: host }
    volumes: ["./marks:/marks"]
    environment: { VERSION: "1" }
    command: sleep 1000
    stop_signal: SIGKILL
    # Of the second version, the first container that is asked never becomes healthy.
    healthcheck: { test: ["CMD-SHELL", "test $$VERSION = 1 || { mkdir /marks/first && hostname > /marks/first/who; ! grep -qs $$(hostname) /marks/first/who; }"], interval: 50ms, retries: 4 }
    deploy: { replicas: 3, update_config: { failure_action: pause, max_failure_ratio: RATIO } }
"#;
    for (ratio, code, new) in [("0.34", 0, 3), ("0.3", 1, 1)] {
        let file = file.replace("RATIO", ratio);
        let env = TestEnv::with(&format!("ratio-{}", new), &file);
        std::fs::create_dir(env.folder().join("marks")).unwrap();
        env.ok(&["up", "-d", "--wait"]);
        let old: Vec<_> = env.ps().iter().map(|row| row["ID"].clone()).collect();
        env.file("compose.yaml", &file.replace("VERSION: \"1\"", "VERSION: \"2\""));
        let output = env.run(&["up", "-d"]);
        assert_eq!(output.code, code, "{}", output.text());
        assert_eq!(output.stderr.contains("goes on in spite of"), code == 0, "{}", output.text());
        assert_eq!(env.ps().iter().filter(|row| !old.contains(&row["ID"])).count(), new);
        env.down();
    }
}

#[test]
fn a_rollback_goes_as_its_own_settings_say() {
    for (order, expected) in [("start-first", ["up 1", "down 2"]), ("stop-first", ["down 2", "up 1"])] {
        let deploy = format!("{{ failure_action: rollback }}, rollback_config: {{ order: {order} }}");
        let file = UPDATED.replace("UPDATE", &deploy).replace("replicas: 2", "replicas: 1");
        // The second version starts, and is not healthy.
        let file = file.replace("$$VERSION != bad", "$$VERSION != 2");
        let env = TestEnv::with(&format!("roll-{order}"), &file);
        env.ok(&["up", "-d", "--wait"]);
        env.file("compose.yaml", &file.replace("VERSION: \"1\"", "VERSION: \"2\""));
        let output = env.fails(&["up", "-d"]);
        assert!(output.stderr.contains("as before the update"), "{}", output.text());
        support::eventually("all is noted", PATIENCE, || {
            let marks = marks(&env);
            if marks.len() >= 5 { Ok(()) } else { Err(format!("{marks:?}")) }
        });
        assert_eq!(marks(&env)[..3], ["up 1", "down 1", "up 2"]);
        assert_eq!(marks(&env)[3..], expected, "{order}");
        env.down();
    }
}

fn hash_of(labels: String) -> String {
    let hash = labels.split(',').find(|label| label.starts_with("com.docker.compose.config-hash="));
    hash.expect("every container has a hash").to_owned()
}

#[test]
fn explain_says_what_would_become_of_a_service() {
    let file = "services:\n  web: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, environment: { N: '1' } }\n";
    let env = TestEnv::with("explain-service", file);
    env.ok(&["up", "-d"]);
    assert!(env.ok(&["explain", "web"]).stdout.contains("web is as the files say"));
    let before = env.ps_field("web", "ID");
    env.file("compose.yaml", &file.replace("'1'", "'2'"));
    let said = env.ok(&["explain", "web"]).stdout;
    let reason = "recreate container explain-service-web-1: environment.N \"1\" → \"2\" (compose.yaml:2)";
    assert!(said.contains(reason), "{said}");
    assert!(env.ok(&["up", "--dry-run", "--no-deps", "web"]).stderr.contains(reason));
    let data: serde_json::Value =
        serde_json::from_str(&env.ok(&["explain", "--format", "json", "web"]).stdout).unwrap();
    assert_eq!(data["steps"][0], reason);
    assert_eq!(env.ps_field("web", "ID"), before, "nothing was done");
    env.down();
}

#[test]
fn what_changes_nothing_makes_nothing_anew() {
    let file = |service: &str| {
        format!("x-windlass: {{ rootfs: host }}\n    command: sleep 1000\n    stop_signal: SIGKILL\n{service}")
    };
    let file = |service: &str| format!("services:\n  a:\n    {}", file(service));
    let first = "    environment: { A: '1', B: '2' }\n    labels: [\"x=1\", \"y=2\"]\n    mem_limit: 1G\n    cap_add: [NET_ADMIN, SYS_TIME]\n    \
                 volumes: [\"./d:/d\", \"./e:/e\"]\n    ulimits: { nofile: 2048 }\n    stop_grace_period: 90s\n    tmpfs: /t\n";
    let env = TestEnv::with("unchanged", &file(first));
    env.ok(&["up", "-d"]);
    let id = env.ps_field("a", "ID");
    env.file("own.env", "B=2\n");
    for other in [
        // Order, forms, comments, anchors, and where a value comes from.
        "    # said\n    x-note: 1\n    labels: { y: '2', x: '1' }\n    environment: [\"B=2\", \"A=1\"]\n    mem_limit: 1024m\n    cap_add: [SYS_TIME, NET_ADMIN]\n    \
         volumes:\n      - { type: bind, source: ./e, target: /e, bind: { create_host_path: true } }\n      - ./d:/d\n    ulimits: { nofile: { soft: 2048, hard: 2048 } }\n    stop_grace_period: 1m30s\n    tmpfs: [/t]\n",
        "    environment: { A: '1' }\n    env_file: own.env\n    labels: { x: '1', y: '2' }\n    mem_limit: 1073741824\n    cap_add: &caps [NET_ADMIN, SYS_TIME]\n    \
         volumes: [\"./d:/d\", \"./e:/e\"]\n    ulimits: { nofile: 2048 }\n    stop_grace_period: 90s\n    tmpfs: /t\n    profiles: []\n    x-more: *caps\n    deploy: { replicas: 1, labels: { z: '3' } }\n",
    ] {
        env.file("compose.yaml", &file(other));
        let plan = env.ok(&["--dry-run", "up", "-d"]).stderr;
        assert!(plan.contains("nothing to do"), "{plan}");
        env.ok(&["up", "-d"]);
        assert_eq!(env.ps_field("a", "ID"), id);
    }
    env.file("compose.yaml", &file(&first.replace("1G", "2G")));
    assert!(env.ok(&["--dry-run", "up", "-d"]).stderr.contains("recreate container unchanged-a-1: mem_limit"));
    env.down();
}

/// An update of two containers, and what becomes of it.
struct Pace {
    update: &'static str,
    rollback: &'static str,
    version: &'static str,
    /// From the update on every version is bad.
    broken: bool,
    code: i32,
    said: &'static str,
    /// There is a second between the first container and the other.
    rests: bool,
}

/// A bad version, or every one once there is `marks/broken`, ends soon after `marks/end` is there.
const PACED: &str = r#"
services:
  web:
    x-windlass: { rootfs: host }
    volumes: ["./marks:/marks"]
    environment: { VERSION: "1" }
    command:
      - sh
      - -c
      - |
        test $$VERSION = bad || test -e /marks/broken || exec sleep 1000
        until test -e /marks/end; do sleep 0.05; done
        sleep 0.3
        exit 1
    stop_signal: SIGKILL
    deploy: { replicas: 2, update_config: UPDATE, rollback_config: ROLLBACK }
"#;

#[test]
fn updates_and_rollbacks_go_at_their_own_pace() {
    let bad = "{ parallelism: 2, monitor: 1h, failure_action: rollback }";
    let two = "{ parallelism: 2, delay: 1h }";
    let rest = "{ parallelism: 1, delay: 1s }";
    let good = Pace { update: two, rollback: "{}", version: "2", broken: false, code: 0, said: "", rests: false };
    let back = Pace { update: bad, version: "bad", code: 1, said: "as before the update", ..good };
    let cases = [
        Pace { ..good },
        Pace { update: rest, rests: true, ..good },
        Pace { rollback: two, ..back },
        Pace { rollback: rest, rests: true, ..back },
        Pace {
            rollback: "{ parallelism: 2, monitor: 1h }",
            broken: true,
            said: "the rollback of web failed too",
            ..back
        },
        Pace {
            rollback: "{ parallelism: 2, monitor: 1h, max_failure_ratio: 1 }",
            broken: true,
            said: "in spite of",
            ..back
        },
    ];
    // Each has a home of its own, and most of the time of each is waiting.
    std::thread::scope(|scope| {
        for (number, case) in cases.iter().enumerate() {
            scope.spawn(move || paced(number, case));
        }
    });
}

fn paced(number: usize, case: &Pace) {
    let file = PACED.replace("UPDATE", case.update).replace("ROLLBACK", case.rollback);
    let env = TestEnv::with(&format!("pace-{number}"), &file);
    env.ok(&["up", "-d"]);
    env.file("marks/end", "");
    if case.broken {
        env.file("marks/broken", "");
    }
    env.file("compose.yaml", &file.replace("VERSION: \"1\"", &format!("VERSION: \"{}\"", case.version)));
    let begin = Instant::now();
    let output = env.run(&["up", "-d"]);
    let took = begin.elapsed();
    assert_eq!(output.code, case.code, "{number}: {}", output.text());
    assert!(output.stderr.contains(case.said), "{number}: {}", output.text());
    assert!(took.as_secs() >= 1 || !case.rests, "{number}: {took:?}");
    env.down();
}

#[test]
fn an_update_that_is_not_watched_ends_before_its_version_does() {
    let file = PACED.replace("UPDATE", "{ parallelism: 2, monitor: 0s }").replace("ROLLBACK", "{}");
    let env = TestEnv::with("pace-blind", &file);
    env.ok(&["up", "-d"]);
    env.file("compose.yaml", &file.replace("VERSION: \"1\"", "VERSION: \"bad\""));
    env.ok(&["up", "-d"]);
    env.file("marks/end", "");
    eventually("both have ended", PATIENCE, || match env.ok(&["ps", "-q"]).stdout.lines().count() {
        0 => Ok(()),
        running => Err(format!("{running} run")),
    });
    env.down();
}
