//! Published ports and the way out.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use crate::env::{PATIENCE, Running, TestEnv};
use crate::net::{Outside, free_port, get_eventually, host_address, loopback, try_get};

#[test]
fn a_published_port_answers_on_every_address_of_the_host() {
    let port = free_port();
    let env = TestEnv::with(
        "published",
        &format!(
            r#"
services:
  web:
    image: "busybox:1.35"
    command: sh -c "echo hello > /tmp/index.html && exec httpd -f -p 80 -h /tmp"
    ports: ["{port}:80"]
    stop_signal: SIGKILL
  asker: {{ image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }}
"#
        ),
    );
    env.ok(&["up", "-d"]);
    assert_eq!(get_eventually(port, "/"), "hello\n");
    assert_eq!(try_get((Ipv6Addr::LOCALHOST, port).into(), "/").as_deref(), Ok("hello\n"));
    assert_eq!(try_get((host_address(), port).into(), "/").as_deref(), Ok("hello\n"));
    // From a container, through the host and back; also from the one that serves it.
    let host = host_address();
    for service in ["asker", "web"] {
        let said = env.sh(service, &format!("printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 {host} {port} | tail -n 1"));
        assert_eq!(said, "hello", "{service}");
    }
    let outside = Outside::new();
    let said = outside
        .command("wget")
        .args(["-T", "5", "-q", "-O", "-", &format!("http://{}:{port}/", outside.host())])
        .output();
    let said = said.unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello\n", "{}", String::from_utf8_lossy(&said.stderr));

    let row = env.ps_field("web", "Publishers");
    assert!(row.contains(&format!("\"PublishedPort\":{port}")) && row.contains("\"TargetPort\":80"), "{row}");
    assert!(env.ok(&["ps"]).stdout.contains(&format!("0.0.0.0:{port}->80/tcp")));
    env.down();
    assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok(), "the port is free again");
}

#[test]
fn udp_ports_answer_from_the_address_that_was_asked() {
    let port = free_port();
    let env = TestEnv::with(
        "udp",
        &format!(
            r#"
services:
  echo:
    image: "python:3.13"
    init: true
    command:
      - python3
      - -c
      - |
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("", 53))
        while True:
            data, peer = s.recvfrom(2000)
            s.sendto(b"echo " + data, peer)
    ports: ["{port}:53/udp"]
    stop_signal: SIGKILL
"#
        ),
    );
    env.ok(&["up", "-d"]);
    let targets: [SocketAddr; 3] = [loopback(port), (Ipv6Addr::LOCALHOST, port).into(), (host_address(), port).into()];
    for target in targets {
        let any: SocketAddr =
            if target.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(target).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        support::eventually(&format!("{target} answers"), PATIENCE, || {
            socket.send(b"hi").map_err(|error| error.to_string())?;
            let mut answer = [0; 100];
            let count = socket.recv(&mut answer).map_err(|error| error.to_string())?;
            if &answer[..count] == b"echo hi" { Ok(()) } else { Err("another answer".into()) }
        });
    }
    env.down();
}

#[test]
fn ports_bind_where_the_file_says_and_may_be_any() {
    let (one, two) = (free_port(), free_port());
    let env = TestEnv::with(
        "bindings",
        &format!(
            r#"
services:
  web:
    image: "busybox:1.35"
    command: httpd -f -p 80 -h /etc
    stop_signal: SIGKILL
    ports:
      - "127.0.0.1:{one}:80"
      - "80"
      - target: 80
        published: "{two}"
        host_ip: 127.0.0.1
        protocol: tcp
        mode: host
"#
        ),
    );
    env.ok(&["up", "-d"]);
    for port in [one, two] {
        assert!(get_eventually(port, "/hostname").len() > 1);
        assert!(try_get((host_address(), port).into(), "/hostname").is_err(), "{port} is bound to loopback alone");
    }
    let rows: Vec<serde_json::Value> = serde_json::from_str(&env.ps_field("web", "Publishers")).unwrap();
    let any = rows
        .iter()
        .filter_map(|row| row["PublishedPort"].as_u64())
        .find(|port| *port != u64::from(one) && *port != u64::from(two));
    let any = u16::try_from(any.expect("a port was chosen")).unwrap();
    assert!(get_eventually(any, "/hostname").len() > 1);
    env.down();
}

#[test]
fn a_taken_port_is_found_before_anything_starts() {
    let port = free_port();
    let holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    let env = TestEnv::with(
        "taken",
        &format!(
            r#"
services:
  first: {{ image: "busybox:1.35", command: sh -c "echo ran > /marks/first; sleep 1000", volumes: ["./marks:/marks"], stop_signal: SIGKILL }}
  web: {{ image: "busybox:1.35", command: httpd -f -p 80, ports: ["{port}:80"], depends_on: [first], stop_signal: SIGKILL }}
"#
        ),
    );
    let output = env.fails(&["up", "-d"]);
    assert!(output.stderr.contains(&port.to_string()), "the message names the port: {}", output.stderr);
    assert!(output.stderr.contains("web"), "the message names the service: {}", output.stderr);
    assert!(!env.folder().join("marks/first").exists(), "nothing has started");
    env.down();
    drop(holder);
    env.ok(&["up", "-d"]);
    env.down();
}

#[test]
fn containers_reach_the_outside_with_the_hosts_address() {
    let env = TestEnv::with(
        "outbound",
        r#"services: { box: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL } }"#,
    );
    env.ok(&["up", "-d"]);
    let outside = Outside::new();
    // A server there that answers with the address of whoever asks; it knows no way to a container.
    let script = r#"
        use IO::Socket::INET; $| = 1;
        my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die "$!";
        print "ready\n";
        while (my $peer = $server->accept) { print $peer $peer->peerhost, "\n"; close $peer }
    "#;
    let mut command = outside.command("perl");
    command.args(["-e", script]);
    let mut server = Running::start(command, "a server on another machine".into());
    server.wait_for("ready");
    assert_eq!(env.sh("box", &format!("nc -w 5 {} 8080", outside.address())), outside.host());
    env.down();
}
