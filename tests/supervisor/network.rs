use std::io::{Read, Write};
use std::net::TcpStream;

use windlass::network::spec::{PortSpec, Protocol};
use windlass::record::*;

use crate::engine::Call;
use crate::project::{TestProject, eventually};

pub const TESTS: &[(&str, fn())] = &[
    ("network::names_and_ports", names_and_ports),
    ("network::a_taken_port_is_found_first_and_free_after_a_stop", a_taken_port_is_found_first_and_free_after_a_stop),
    ("network::a_container_in_the_network_of_another", a_container_in_the_network_of_another),
    ("network::ten_at_once", ten_at_once),
    ("network::fifty_services_need_little_memory", fifty_services_need_little_memory),
];

pub fn port(target: u16, published: Option<u16>) -> PortSpec {
    PortSpec {
        host_ip: Some("127.0.0.1".parse().unwrap()),
        published: published.map(|port| (port, port)),
        target,
        protocol: Protocol::Tcp,
    }
}

/// A web server that serves one word.
pub fn server(project: &TestProject, name: &str) -> ContainerRecord {
    let script =
        "trap 'exit 0' TERM; mkdir -p /www; echo hello > /www/index.html; httpd -f -p 80 -h /www & echo up; wait";
    let mut record = project.record(name, script);
    record.endpoints = vec![project.endpoint(name)];
    record
}

pub fn fetch(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.ends_with("hello\n").then_some(text)
}

pub fn published(project: &TestProject, id: &str) -> u16 {
    project.state(id).ports.first().unwrap().published
}

fn names_and_ports() {
    let project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let mut web = server(&project, "web");
    web.ports = vec![port(80, None)];
    let web = project.run(&web);
    eventually("the published port answers", || fetch(published(&project, &web)).is_some());
    let mut client =
        project.record("client", "until wget -q -O - http://web/; do sleep 0.05; done; cat /etc/resolv.conf");
    client.endpoints = vec![project.endpoint("client")];
    let client = project.run(&client);
    assert_eq!(project.ok(Call::WaitExit(client.clone())), 0);
    let log = project.log(&client);
    assert!(log.contains("hello\n") && log.contains("nameserver 127.0.0.11"), "{log}");
    project.finish(&[&web, &client]);
}

fn a_taken_port_is_found_first_and_free_after_a_stop() {
    let project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port();
    let mut web = server(&project, "web");
    web.ports = vec![port(80, Some(number))];
    let error = project.call(Call::Reserve(Box::new(web.clone()))).unwrap_err();
    assert!(error.contains(&number.to_string()), "{error}");
    drop(taken);
    project.ok(Call::Reserve(Box::new(web.clone())));
    assert!(std::net::TcpListener::bind(("127.0.0.1", number)).is_err());
    let id = project.run(&web);
    for _ in 0..5 {
        eventually("the published port answers", || fetch(number).is_some());
        project.ok(Call::Stop(vec![id.clone()], None));
        assert!(project.state(&id).ports.is_empty());
        drop(std::net::TcpListener::bind(("127.0.0.1", number)).expect("the port is free after the stop"));
        project.ok(Call::Start(vec![id.clone()]));
    }
    project.finish(&[&id]);
}

fn a_container_in_the_network_of_another() {
    use windlass::runtime::spec::NetworkNamespace;
    let project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let web = server(&project, "web");
    let mut beside =
        project.record("beside", "until wget -q -O - http://127.0.0.1/; do sleep 0.05; done; cat /etc/hosts");
    beside.spec.namespaces.network = NetworkNamespace::Container(web.id.clone());
    project.ok(Call::Create(Box::new(web.clone())));
    project.ok(Call::Create(Box::new(beside.clone())));
    let error = project.call(Call::Start(vec![beside.id.clone()])).unwrap_err();
    assert!(error.contains("shop-web-1") && error.contains("not running"), "{error}");
    project.ok(Call::Start(vec![web.id.clone()]));
    project.ok(Call::Start(vec![beside.id.clone()]));
    assert_eq!(project.ok(Call::WaitExit(beside.id.clone())), 0);
    let log = project.log(&beside.id);
    assert!(log.contains("hello\n") && log.contains(&web.spec.hostname), "{log}");
    let mut none = project.record("none", "ls /sys/class/net");
    none.endpoints = vec![];
    let none = project.run(&none);
    project.ok(Call::WaitExit(none.clone()));
    assert_eq!(project.log(&none), "lo\n");
    let mut host = project.record("host", "ls /sys/class/net; hostname");
    host.spec.namespaces.network = NetworkNamespace::Host;
    let host = project.run(&host);
    project.ok(Call::WaitExit(host.clone()));
    assert!(project.log(&host).contains(&format!("wl{}", project.project.id())), "{}", project.log(&host));
    project.finish(&[&web.id, &beside.id, &none, &host]);
}

fn ten_at_once() {
    let project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let records: Vec<ContainerRecord> = (0..10).map(|number| server(&project, &format!("s{number}"))).collect();
    for record in &records {
        project.ok(Call::Create(Box::new(record.clone())));
    }
    let ids: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
    let begin = std::time::Instant::now();
    project.ok(Call::Start(ids.clone()));
    println!("    ten started in {:?}", begin.elapsed());
    for id in &ids {
        eventually("it listens to signals", || project.log(id).contains("up"));
    }
    let begin = std::time::Instant::now();
    project.ok(Call::Stop(ids.clone(), None));
    println!("    ten stopped in {:?}", begin.elapsed());
    let begin = std::time::Instant::now();
    project.ok(Call::Remove(ids, false));
    println!("    ten removed in {:?}", begin.elapsed());
    project.finish(&[]);
}

/// With a published port, names, a log and a health check each.
fn fifty_services_need_little_memory() {
    let project = TestProject::new();
    project.ok(Call::Network(Box::new(project.network())));
    let mut ids = Vec::new();
    for number in 0..50 {
        let name = format!("s{number}");
        let script = "trap 'exit 0' TERM; echo up; sleep 1000 & wait";
        let mut record = project.record(&name, script);
        record.endpoints = vec![project.endpoint(&name)];
        record.ports = vec![port(80, None)];
        record.health = Some(HealthSpec {
            test: HealthTest::Command(vec!["/bin/true".into()]),
            interval_ms: 30_000,
            timeout_ms: 5000,
            start_period_ms: 0,
            start_interval_ms: 5000,
            retries: 3,
        });
        project.ok(Call::Create(Box::new(record.clone())));
        ids.push(record.id);
    }
    let begin = std::time::Instant::now();
    project.ok(Call::Start(ids.clone()));
    println!("    fifty started in {:?}", begin.elapsed());
    for id in &ids {
        project.ok(Call::Wait(id.clone(), Condition::ServiceHealthy));
    }
    println!("    fifty healthy in {:?}", begin.elapsed());
    // Threads for what blocks end when they are idle.
    eventually("the supervisor is at rest", || {
        std::fs::read_dir(format!("/proc/{}/task", project.supervisor_pid())).is_ok_and(|tasks| tasks.count() == 1)
    });
    let threads = std::fs::read_dir(format!("/proc/{}/task", project.keeper_pid())).unwrap().count();
    assert_eq!(threads, 1, "it clones");
    let mut total = 0;
    for (role, pid) in [("keeper", project.keeper_pid()), ("supervisor", project.supervisor_pid())] {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let field = |name: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        println!("    {role}: {} KiB proportional, {} KiB anonymous", field("Pss:"), field("Anonymous:"));
        total += field("Pss:");
    }
    assert!(total <= 25 * 1024, "{total} KiB");
    let begin = std::time::Instant::now();
    project.ok(Call::Stop(ids.clone(), None));
    println!("    fifty stopped in {:?}", begin.elapsed());
    let begin = std::time::Instant::now();
    project.ok(Call::Remove(ids, false));
    println!("    fifty removed in {:?}", begin.elapsed());
    project.finish(&[]);
}
