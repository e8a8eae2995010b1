//! How long a start takes. Not a test: `cargo test --release --test runtime bench -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use windlass::keeper::protocol::{KeeperEvent, KeeperRequest};
use windlass::runtime::spec::{NetworkNamespace, Seccomp};

use crate::support::{Direct, new_network};

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (least, middle, most) = (times[0], times[times.len() / 2], times[times.len() * 9 / 10]);
    println!("{what:44} min {least:>9.1?}  p50 {middle:>9.1?}  p90 {most:>9.1?}");
}

#[test]
#[ignore = "a measurement"]
fn start_times() {
    let mut keeper = Direct::new();
    let network = new_network();
    let mut measure = |what: &str, change: &dyn Fn(&mut windlass::runtime::spec::ContainerSpec)| {
        let (mut started, mut ended) = (vec![], vec![]);
        for _ in 0..100 {
            let mut spec = keeper.spec(&["/bin/true"]);
            change(&mut spec);
            let begin = Instant::now();
            keeper.request_start(&spec, (spec.namespaces.network == NetworkNamespace::Passed).then_some(&network));
            let (event, _fds) = keeper.event();
            assert!(matches!(event, KeeperEvent::Started { .. }), "{event:?}");
            started.push(begin.elapsed());
            let (event, _) = keeper.event();
            assert!(matches!(event, KeeperEvent::Exited { .. }), "{event:?}");
            ended.push(begin.elapsed());
            keeper.send(&KeeperRequest::Forget { container: spec.id }, &[]);
        }
        report(&format!("{what}: started"), started);
        report(&format!("{what}: started and ended"), ended);
    };
    measure("default, host network", &|_| {});
    measure("default, network of its own", &|spec| spec.namespaces.network = NetworkNamespace::Passed);
    measure("without seccomp", &|spec| spec.security.seccomp = Seccomp::Unconfined);
    measure("privileged", &|spec| spec.security.privileged = true);

    let mut many = vec![];
    for _ in 0..10 {
        let specs: Vec<_> = (0..10).map(|_| keeper.spec(&["sleep", "1000"])).collect();
        let begin = Instant::now();
        for spec in &specs {
            keeper.request_start(spec, None);
        }
        let mut pidfds = vec![];
        for _ in &specs {
            let (event, mut fds) = keeper.event();
            assert!(matches!(event, KeeperEvent::Started { .. }), "{event:?}");
            pidfds.push(fds.remove(0));
        }
        many.push(begin.elapsed());
        for pidfd in &pidfds {
            rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL).unwrap();
        }
        for _ in &specs {
            assert!(matches!(keeper.event().0, KeeperEvent::Exited { .. }));
        }
        for spec in &specs {
            keeper.send(&KeeperRequest::Forget { container: spec.id.clone() }, &[]);
        }
    }
    report("ten at once: all started", many);
    let status = std::fs::read_to_string(format!("/proc/{}/status", keeper.child.id())).unwrap();
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("RssAnon")) {
        println!("the keeper's {line}");
    }
}
