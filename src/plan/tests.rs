//! Plans as text: what is wanted and what is there in, operations out.

use std::path::Path;

use super::desired::{OnFailure, Update};
use super::down::down;
use super::install::step;
use super::observed::Observed;
use super::options::{DownOptions, Names, UpOptions};
use super::reconcile::up;
use super::sample::{desired, existing, exited, needs, record, running};
use super::{Desired, Install, Plan};
use crate::record::Condition;
use crate::state::Paths;
use crate::volumes::VolumeSpec;

fn plan(desired: &Desired, observed: &Observed, options: &UpOptions) -> Plan {
    let paths = Paths::from_home(Some(Path::new("/home"))).project("shop");
    let mut next = 0;
    let mut new_id = || {
        next += 1;
        format!("new{next}")
    };
    up(desired, observed, options, &mut Names { paths: &paths, volumes: Path::new("/volumes"), new_id: &mut new_id })
}

#[test]
fn a_first_up_creates_everything_and_starts_in_order() {
    let wanted = desired(vec![needs(record("web"), "db", Condition::ServiceHealthy), record("db")]);
    let plan = plan(&wanted, &Observed::default(), &UpOptions::default());
    insta::assert_snapshot!(plan, @r"
    [] -> #0 create container shop-db-1 (not found)
    [0] -> #1 start container shop-db-1 (not found)
    [] -> #2 create container shop-web-1 (not found)
    [2, 1] -> #3 start container shop-web-1 (not found)
    ");
}

#[test]
fn a_second_up_has_nothing_to_do() {
    let wanted = desired(vec![record("web")]);
    let observed = Observed { containers: vec![existing(record("web"), 1, running())], ..Observed::default() };
    assert!(plan(&wanted, &observed, &UpOptions::default()).operations.is_empty());
}

#[test]
fn a_change_recreates_and_says_what_changed() {
    let mut changed = record("web");
    changed.config_hash = "other".into();
    changed.config = serde_json::json!({"environment": {"DEBUG": "1"}});
    let observed = Observed { containers: vec![existing(record("web"), 1, running())], ..Observed::default() };
    let plan = plan(&desired(vec![changed]), &observed, &UpOptions::default());
    insta::assert_snapshot!(plan, @r#"
    [] -> #0 recreate container shop-web-1 (environment.DEBUG "0" → "1")
    [0] -> #1 stop container shop-web-1 (environment.DEBUG "0" → "1")
    [0, 1] -> #2 start container shop-web-1 (environment.DEBUG "0" → "1")
    [1, 2] -> #3 remove container shop-web-1 (environment.DEBUG "0" → "1")
    "#);
}

#[test]
fn packages_are_there_before_a_container_is_and_are_installed_once() {
    let mut wanted = desired(vec![record("web"), record("worker")]);
    let volume = VolumeSpec {
        name: "shop_install-1".into(),
        key: String::new(),
        driver: "local".into(),
        driver_opts: Default::default(),
        labels: Default::default(),
        external: false,
    };
    wanted.volumes.push(volume.clone());
    for service in &mut wanted.services {
        service.install = Some(Install {
            volume: volume.clone(),
            args: vec!["npm".into(), "ci".into()],
            working_dir: "/app".into(),
            locks: Default::default(),
            lock: "package-lock.json".into(),
            open: false,
            way_out: None,
        });
    }
    let first = plan(&wanted, &Observed::default(), &UpOptions::default());
    insta::assert_snapshot!(first, @r"
    [] -> #0 create volume shop_install-1 (not found)
    [0] -> #1 install the packages of web (not installed)
    [0, 1] -> #2 create container shop-web-1 (not found)
    [2] -> #3 start container shop-web-1 (not found)
    [0, 1] -> #4 create container shop-worker-1 (not found)
    [4] -> #5 start container shop-worker-1 (not found)
    ");
    // Stopped, and its packages were lost with the power; and one that runs with what nobody knows.
    let containers = vec![existing(record("web"), 1, exited(0)), existing(record("worker"), 1, running())];
    let mut observed = Observed { containers, ..Observed::default() };
    observed.volumes.insert(volume.name.clone());
    let lost = plan(&wanted, &observed, &UpOptions::default());
    insta::assert_snapshot!(lost, @r"
    [] -> #0 install the packages of web (not installed)
    [0] -> #1 start container shop-web-1 (not running)
    [0] -> #2 recreate container shop-worker-1 (its packages are not those of package-lock.json)
    [2] -> #3 stop container shop-worker-1 (its packages are not those of package-lock.json)
    [2, 3] -> #4 start container shop-worker-1 (its packages are not those of package-lock.json)
    [3, 4] -> #5 remove container shop-worker-1 (its packages are not those of package-lock.json)
    ");
    observed.installed.insert(volume.name);
    observed.containers[0] = existing(record("web"), 1, running());
    assert!(plan(&wanted, &observed, &UpOptions::default()).operations.is_empty());
    // What is left of a step whose packages are not wanted any more.
    let install = wanted.services[0].install.clone().unwrap();
    let mut left = existing(step(&wanted.services[0], &install).template, 1, exited(137));
    left.record.name = "shop-web-install".into();
    observed.containers.push(left);
    insta::assert_snapshot!(plan(&wanted, &observed, &UpOptions::default()), @r"
    [] -> #0 stop container shop-web-install (an install step that was interrupted)
    [0] -> #1 remove container shop-web-install (an install step that was interrupted)
    ");
}

#[test]
fn scaling_down_removes_the_outdated_first_then_the_highest() {
    let mut wanted = desired(vec![record("web")]);
    wanted.services[0].replicas = 2;
    let mut old = existing(record("web"), 1, running());
    old.record.config_hash = "old".into();
    let observed = Observed {
        containers: vec![old, existing(record("web"), 2, running()), existing(record("web"), 3, running())],
        ..Observed::default()
    };
    insta::assert_snapshot!(plan(&wanted, &observed, &UpOptions::default()), @r"
    [] -> #0 stop container shop-web-1 (more replicas than wanted)
    [0] -> #1 remove container shop-web-1 (more replicas than wanted)
    ");
}

#[test]
fn a_one_shot_that_did_its_work_is_not_run_again() {
    let web = needs(record("web"), "migrate", Condition::ServiceCompletedSuccessfully);
    let wanted = desired(vec![web.clone(), record("migrate")]);
    let observed = |code| Observed {
        containers: vec![existing(web.clone(), 1, running()), existing(record("migrate"), 1, exited(code))],
        ..Observed::default()
    };
    assert!(plan(&wanted, &observed(0), &UpOptions::default()).operations.is_empty());
    insta::assert_snapshot!(plan(&wanted, &observed(1), &UpOptions::default()),
        @"[] -> #0 start container shop-migrate-1 (not running)");
}

#[test]
fn orphans_are_named_and_removed_when_asked() {
    let observed = Observed { containers: vec![existing(record("old"), 1, running())], ..Observed::default() };
    let wanted = desired(vec![]);
    let kept = plan(&wanted, &observed, &UpOptions::default());
    assert!(kept.operations.is_empty());
    assert!(kept.warnings[0].contains("shop-old-1"));
    let removed = plan(&wanted, &observed, &UpOptions { remove_orphans: true, ..UpOptions::default() });
    insta::assert_snapshot!(removed, @r"
    [] -> #0 stop container shop-old-1 (its service is not in the file any more)
    [0] -> #1 remove container shop-old-1 (its service is not in the file any more)
    ");
}

#[test]
fn down_stops_dependents_first_and_removes_all_at_once() {
    let observed = Observed {
        containers: vec![
            existing(record("db"), 1, running()),
            existing(needs(record("web"), "db", Condition::ServiceStarted), 1, running()),
        ],
        networks: ["shop_default".to_owned()].into(),
        volumes: ["shop_data".to_owned()].into(),
        ..Observed::default()
    };
    let options = DownOptions { volumes: true, ..DownOptions::default() };
    insta::assert_snapshot!(down(&observed, &options), @r"
    [] -> #0 stop container shop-web-1 (down)
    [0] -> #1 stop container shop-db-1 (down)
    [0, 1] -> #2 remove container shop-db-1, shop-web-1 (down)
    [2] -> #3 remove network shop_default (down)
    [2] -> #4 remove volume shop_data (--volumes)
    ");
}

#[test]
fn what_wants_to_be_restarted_with_a_replaced_service_is_stopped_before_it() {
    let mut web = needs(record("web"), "db", Condition::ServiceHealthy);
    web.depends_on[0].restart = true;
    let app = needs(record("app"), "db", Condition::ServiceStarted);
    let mut changed = record("db");
    changed.config_hash = "other".into();
    let observed = Observed {
        containers: vec![
            existing(web.clone(), 1, running()),
            existing(app.clone(), 1, running()),
            existing(record("db"), 1, running()),
        ],
        ..Observed::default()
    };
    insta::assert_snapshot!(plan(&desired(vec![web, app, changed]), &observed, &UpOptions::default()), @r"
    [] -> #0 stop container shop-web-1 (something that it depends on is made anew)
    [] -> #1 recreate container shop-db-1 (its configuration changed)
    [1, 0] -> #2 stop container shop-db-1 (its configuration changed)
    [1, 2] -> #3 start container shop-db-1 (its configuration changed)
    [2, 3] -> #4 remove container shop-db-1 (its configuration changed)
    [0, 3] -> #5 start container shop-web-1 (something that it depends on is made anew)
    ");
}

#[test]
fn a_change_has_its_place_and_contents_stay_secret() {
    let mut changed = record("web");
    changed.config_hash = "other".into();
    changed.config =
        serde_json::json!({"environment": {"DEBUG": "0"}, "contents": {"secrets.token": "2"}, "user": "me"});
    let mut old = record("web");
    old.config = serde_json::json!({"environment": {"DEBUG": "0"}, "contents": {"secrets.token": "1"}});
    let mut wanted = desired(vec![changed]);
    wanted.services[0].places.insert("user".into(), "compose.yaml:7".into());
    let observed = Observed { containers: vec![existing(old, 1, running())], ..Observed::default() };
    let plan = plan(&wanted, &observed, &UpOptions::default());
    assert_eq!(plan.operations[0].cause, "the content of secrets.token changed, user (none) → \"me\" (compose.yaml:7)");
}

fn replicas(count: u32) -> (Desired, Observed) {
    let mut changed = record("web");
    changed.config_hash = "other".into();
    let mut wanted = desired(vec![changed]);
    wanted.services[0].replicas = count;
    let containers = (1..=count).map(|number| existing(record("web"), number, running())).collect();
    (wanted, Observed { containers, ..Observed::default() })
}

#[test]
fn an_update_goes_in_batches() {
    let (mut wanted, observed) = replicas(2);
    wanted.services[0].update = Some(Update {
        parallelism: 1,
        delay_ms: 10,
        monitor_ms: 0,
        start_first: false,
        max_failure_ratio: 0.0,
        on_failure: OnFailure::Pause,
    });
    insta::assert_snapshot!(plan(&wanted, &observed, &UpOptions::default()), @r"
    [] -> #0 recreate container shop-web-1 (its configuration changed)
    [0] -> #1 stop container shop-web-1 (its configuration changed)
    [0, 1] -> #2 start container shop-web-1 (its configuration changed)
    [1, 2] -> #3 remove container shop-web-1 (its configuration changed)
    [2] -> #4 wait for container shop-web-1 (its configuration changed)
    [4] -> #5 wait 10 ms before the next of web (deploy.update_config.delay)
    [5] -> #6 recreate container shop-web-2 (its configuration changed)
    [6] -> #7 stop container shop-web-2 (its configuration changed)
    [6, 7] -> #8 start container shop-web-2 (its configuration changed)
    [7, 8] -> #9 remove container shop-web-2 (its configuration changed)
    [8] -> #10 wait for container shop-web-2 (its configuration changed)
    ");
}

#[test]
fn an_update_survives_a_part_of_its_containers() {
    let update = |max_failure_ratio, on_failure| Update {
        parallelism: 1,
        delay_ms: 0,
        monitor_ms: 0,
        start_first: false,
        max_failure_ratio,
        on_failure,
    };
    let tolerated = |ratio, count| update(ratio, OnFailure::Rollback).tolerated(count);
    assert_eq!([tolerated(0.0, 9), tolerated(0.3, 3), tolerated(0.34, 3), tolerated(1.0, 3)], [0, 0, 1, 3]);
    assert_eq!([tolerated(-1.0, 3), tolerated(f64::NAN, 3)], [0, 0]);
    assert_eq!(update(0.0, OnFailure::Continue).tolerated(2), usize::MAX);
}

#[test]
fn a_new_container_may_run_before_the_old_one_is_stopped() {
    let (mut wanted, observed) = replicas(1);
    wanted.services[0].update = Some(Update {
        parallelism: 1,
        delay_ms: 0,
        monitor_ms: 0,
        start_first: true,
        max_failure_ratio: 0.0,
        on_failure: OnFailure::Pause,
    });
    insta::assert_snapshot!(plan(&wanted, &observed, &UpOptions::default()), @r"
    [] -> #0 recreate container shop-web-1 (its configuration changed)
    [0] -> #1 start container shop-web-1 (its configuration changed)
    [1] -> #2 wait for container shop-web-1 (its configuration changed)
    [2] -> #3 stop container shop-web-1 (its configuration changed)
    [3, 1] -> #4 remove container shop-web-1 (its configuration changed)
    ");
}
