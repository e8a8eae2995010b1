//! What a keeper does for those that come after it, and after itself.

use std::fs;
use std::os::fd::OwnedFd;

use windlass::keeper::protocol::{ExitRecord, KeeperEvent, KeeperRequest};
use windlass::runtime::spec::ExitStatus;
use windlass::state::record;

use crate::support::{Direct, drain, groups, read_until, until};

#[test]
fn its_containers_end_with_the_test_that_commands_it() {
    let mut keeper = Direct::new();
    let spec = keeper.spec(&["sleep", "1000"]);
    let running = keeper.start(&spec);
    drop(keeper);
    until("the container has ended", || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(running.pid).unwrap()).is_err()
    });
    assert!(groups(&spec.cgroup.path).is_empty());
}

#[test]
fn a_container_outlives_its_keeper_and_another_one_adopts_it() {
    let mut first = Direct::new();
    let spec = first.shell("echo one; while ! test -e /tmp/go; do sleep 0.01; done; echo two; exit 5");
    let running = first.start(&spec);
    read_until(&running.fds[1], "one");
    let (pipes, exit_record) = (first.run_folder(&spec), first.exit_record(&spec));
    let start_time = windlass::state::process::start_time_of_any(running.pid).unwrap();
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    // As if the supervisor had died too: nobody holds the pipes for a moment, but the container.
    let pid = running.pid;
    drop(running);

    let mut second = Direct::new();
    let adopt = || KeeperRequest::Adopt {
        spec: Box::new(spec.clone()),
        pid,
        start_time,
        pipes: pipes.clone(),
        exit_record: exit_record.clone(),
    };
    second.send(&adopt(), &[]);
    let (KeeperEvent::Running { container, pid: told, .. }, fds) = second.event() else { panic!("not adopted") };
    assert_eq!((container.as_str(), told, fds.len()), (spec.id.as_str(), pid, 4));
    fs::write(spec.rootfs.upper.join("tmp/go"), "").unwrap_or_else(|_| {
        // The folder is not in the upper layer yet: through the container's own root.
        fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    });
    let (KeeperEvent::Exited { status, .. }, _) = second.event() else { panic!("no end") };
    // Where the kernel keeps the status for whoever holds the pidfd it is known, else that is said.
    assert!(matches!(status, ExitStatus::Code(5) | ExitStatus::Unknown), "{status:?}");
    assert_eq!(drain(&fds[2]), "two\n");
    assert_eq!(record::read::<ExitRecord>(&exit_record).unwrap().unwrap().status, status);
    until("the control groups are gone", || groups(&spec.cgroup.path).is_empty());
    second.send(&KeeperRequest::Forget { container: spec.id.clone() }, &[]);

    // A process that is gone, or another one with its number, is not adopted: its end is told.
    second.send(&adopt(), &[]);
    assert!(matches!(second.event().0, KeeperEvent::Running { .. }));
    let (KeeperEvent::Exited { status: again, .. }, _) = second.event() else { panic!("no end") };
    assert_eq!(again, status);
}

#[test]
fn what_is_held_and_released() {
    let mut keeper = Direct::new();
    let count = |keeper: &Direct| fs::read_dir(format!("/proc/{}/fd", keeper.child.id())).unwrap().count();
    let before = count(&keeper);
    let file: OwnedFd = fs::File::open("/dev/null").unwrap().into();
    keeper.send(&KeeperRequest::Hold { key: "a".into() }, &[&file, &file]);
    until("two more", || count(&keeper) == before + 2);
    keeper.send(&KeeperRequest::Hold { key: "a".into() }, &[&file]);
    until("replaced", || count(&keeper) == before + 1);
    keeper.send(&KeeperRequest::Release { key: "a".into() }, &[]);
    until("none", || count(&keeper) == before);

    // Nor does a container leave anything behind.
    let spec = keeper.shell("true");
    keeper.run(&spec);
    let exec = keeper.spec(&["sleep", "1000"]);
    let running = keeper.start(&exec);
    keeper.kill(running);
    let bad = keeper.spec(&["nonesuch"]);
    keeper.failure(&bad);
    until("none", || count(&keeper) == before);
}

#[test]
fn a_container_is_not_started_twice() {
    let mut keeper = Direct::new();
    let spec = keeper.spec(&["sleep", "1000"]);
    let running = keeper.start(&spec);
    keeper.request_start(&spec, None);
    let (KeeperEvent::Failed { error, .. }, _) = keeper.event() else { panic!("it started") };
    assert!(error.to_string().contains("runs already"), "{error}");
    keeper.kill(running);
}

#[test]
fn many_at_once() {
    let mut keeper = Direct::new();
    let specs: Vec<_> = (0..30).map(|n| keeper.shell(&format!("echo {n}; exit {n}"))).collect();
    for spec in &specs {
        keeper.request_start(spec, None);
    }
    let (mut started, mut ended) = (0, vec![]);
    while ended.len() < specs.len() {
        match keeper.event().0 {
            KeeperEvent::Started { .. } => started += 1,
            KeeperEvent::Exited { container, status, .. } => ended.push((container, status)),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(started, specs.len());
    for (n, spec) in specs.iter().enumerate() {
        let (_, status) = ended.iter().find(|(id, _)| *id == spec.id).unwrap();
        assert_eq!(*status, ExitStatus::Code(n as i32));
        keeper.send(&KeeperRequest::Forget { container: spec.id.clone() }, &[]);
        keeper.assert_clean(spec);
    }
}
