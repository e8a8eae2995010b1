use std::time::Instant;

use windlass::record::*;

use crate::engine::Call;
use crate::project::{TestProject, eventually};

pub const TESTS: &[(&str, fn())] = &[
    ("health::a_service_is_seen_to_be_ready_at_once", a_service_is_seen_to_be_ready_at_once),
    ("health::an_unhealthy_service_says_why", an_unhealthy_service_says_why),
    ("health::a_probe_that_hangs_is_killed", a_probe_that_hangs_is_killed),
];

fn spec(test: &str, interval_ms: u64, timeout_ms: u64, retries: u32) -> HealthSpec {
    HealthSpec {
        test: HealthTest::Shell(test.into()),
        interval_ms,
        timeout_ms,
        start_period_ms: 0,
        start_interval_ms: 5000,
        retries,
    }
}

fn a_service_is_seen_to_be_ready_at_once() {
    let project = TestProject::new();
    let mut record = project.record("web", "sleep 0.3; touch /tmp/ready; while true; do sleep 1; done");
    record.health = Some(spec("test -e /tmp/ready", 30_000, 30_000, 3));
    let begin = Instant::now();
    let id = project.run(&record);
    project.ok(Call::Wait(id.clone(), Condition::ServiceHealthy));
    let took = begin.elapsed().as_millis();
    println!("    ready after 300 ms, seen after {took} ms");
    assert!((300..1500).contains(&took), "{took} ms");
    let Status::Running { health: Some(health), .. } = project.state(&id).status else { panic!() };
    assert_eq!(health.status, HealthStatus::Healthy);
    assert_eq!(health.failing_streak, 0);
    project.finish(&[&id]);
}

fn an_unhealthy_service_says_why() {
    let project = TestProject::new();
    let mut record = project.record("web", "echo cannot bind; while true; do sleep 1; done");
    record.health = Some(spec("echo no answer from port 80; exit 3", 100, 30_000, 2));
    let id = project.run(&record);
    let failure = project.call(Call::Wait(id.clone(), Condition::ServiceHealthy)).unwrap_err();
    assert!(failure.contains("shop-web-1 is unhealthy"), "{failure}");
    assert!(failure.contains("no answer from port 80") && failure.contains("cannot bind"), "{failure}");
    let Status::Running { health: Some(health), .. } = project.state(&id).status else { panic!() };
    assert_eq!(health.log.last().unwrap().exit_code, Some(3));
    project.finish(&[&id]);
}

fn a_probe_that_hangs_is_killed() {
    let project = TestProject::new();
    let mut record = project.record("web", "while true; do sleep 1; done");
    record.health = Some(spec("echo waiting; sleep 1000", 50, 100, 1));
    let id = project.run(&record);
    let failure = project.call(Call::Wait(id.clone(), Condition::ServiceHealthy)).unwrap_err();
    assert!(failure.contains("longer than 100ms") && failure.contains("waiting"), "{failure}");
    let Status::Running { pid, .. } = project.state(&id).status else { panic!() };
    // One `sleep` is the container's own loop, another may be a probe that runs right now.
    eventually("probes are gone", || {
        let _ = pid;
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let sleeping = processes
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| line == b"sleep\x001000\x00");
        sleeping.count() <= 1
    });
    project.finish(&[&id]);
}
