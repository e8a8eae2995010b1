//! `port`, `top`, `images`, `volumes`, and the formats of lists.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::env::TestEnv;
use crate::net;

/// Runs on the machine's own files: it needs no image.
const HOST: &str = "x-windlass: { rootfs: host }, stop_signal: SIGKILL";

#[test]
fn port_prints_where_to_connect() {
    let (web, dns) = (net::free_port(), net::free_port());
    let env = TestEnv::with(
        "where",
        &format!(
            r#"
services:
  web:
    x-windlass: {{ rootfs: host }}
    stop_signal: SIGKILL
    command: python3 -c "import socket; s = socket.create_server(('', 80)); [s.accept()[0].sendall(b'here') for _ in iter(int, 1)]"
    ports: ["127.0.0.1:{web}:80", "127.0.0.1:{dns}:53/udp"]
  idle: {{ {HOST}, command: sleep 1000 }}
"#
        ),
    );
    assert!(env.fails(&["port", "web", "80"]).stderr.contains("web"));
    env.ok(&["up", "-d"]);
    let address = env.ok(&["port", "web", "80"]).stdout;
    assert_eq!(address, format!("127.0.0.1:{web}\n"));
    support::eventually("the printed address answers", crate::env::PATIENCE, || {
        let mut answer = String::new();
        let mut stream = TcpStream::connect(address.trim()).map_err(|error| error.to_string())?;
        stream.write_all(b"x").and_then(|()| stream.read_to_string(&mut answer)).map_err(|error| error.to_string())?;
        if answer == "here" { Ok(()) } else { Err(answer) }
    });
    for arguments in [["port", "web", "--protocol", "udp", "53"], ["port", "--index", "1", "web", "53/udp"]] {
        assert_eq!(env.ok(&arguments).stdout, format!("127.0.0.1:{dns}\n"));
    }
    assert!(env.fails(&["port", "web", "53"]).stderr.contains("no port 53/tcp"));
    assert!(env.fails(&["port", "idle", "80"]).stderr.contains("publishes none"));
    assert!(env.fails(&["port", "--index", "2", "web", "80"]).stderr.contains("container 2"));
    assert!(env.fails(&["port", "nobody", "80"]).stderr.contains("no such service"));
    assert!(env.fails(&["port", "web", "0"]).stderr.contains("not a port"));
    env.down();
}

#[test]
fn top_lists_the_processes_that_are_there() {
    let env = TestEnv::with(
        "processes",
        &format!(
            "services:\n  a: {{ {HOST}, command: [sh, -c, 'sleep 4711 & exec sleep 4712'], user: '65534' }}\n  b: {{ {HOST}, command: sleep 4713 }}\n"
        ),
    );
    assert_eq!(env.ok(&["top"]).stdout, "", "nothing runs, nothing is shown");
    env.ok(&["up", "-d"]);
    let mut table = String::new();
    support::eventually("both processes of a are listed", crate::env::PATIENCE, || {
        table = env.ok(&["top"]).stdout;
        if table.contains("sleep 4711") && table.contains("sleep 4712") { Ok(()) } else { Err(table.clone()) }
    });
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        // The numbers are the host's.
        let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", cells[3])).unwrap();
        assert_eq!(arguments.trim_end_matches('\0').replace('\0', " "), cells[9..].join(" "));
        assert_eq!(cells[2], if cells[0] == "a" { "nobody" } else { "root" }, "{line}");
    }
    let one = env.ok(&["top", "b"]).stdout;
    assert!(one.contains("sleep 4713") && !one.contains("4711"), "{one}");
    assert!(env.fails(&["top", "nobody"]).stderr.contains("no such service"));
    env.down();
}

#[test]
fn images_are_those_of_the_containers() {
    let env = TestEnv::with(
        "pictures",
        &format!(
            "services:\n  web: {{ image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL }}\n  own: {{ {HOST}, command: sleep 1000 }}\n"
        ),
    );
    env.ok(&["up", "-d"]);
    let table = env.ok(&["images"]).stdout;
    let head: Vec<&str> = table.lines().next().unwrap().split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(head, ["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"]);
    let web = table.lines().find(|line| line.starts_with("pictures-web-1")).unwrap();
    assert!(web.contains("busybox") && web.contains("1.35") && web.contains("linux/"), "{table}");
    let id = env.ok(&["images", "-q", "web"]).stdout;
    assert_eq!(id.trim().len(), 64);
    assert!(web.contains(&id[..12]), "{table}");
    let listed = env.ok(&["image", "ls", "-q", "--no-trunc"]).stdout;
    assert!(listed.contains(id.trim()), "{listed} has no {id}");
    let json: serde_json::Value = serde_json::from_str(&env.ok(&["images", "--format", "json", "web"]).stdout).unwrap();
    assert_eq!(json[0]["ContainerName"], "pictures-web-1");
    assert_eq!((&json[0]["Repository"], &json[0]["Tag"]), (&"busybox".into(), &"1.35".into()));
    assert!(json[0]["Size"].as_u64().unwrap() > 100_000);
    assert!(env.ok(&["images", "own"]).stdout.contains("rootfs: host"));
    env.down();
}

#[test]
fn volumes_are_those_of_the_project_or_of_some_services() {
    let env = TestEnv::with(
        "vessels",
        &format!(
            "services:\n  a: {{ {HOST}, command: sleep 1000, volumes: ['data:/data'] }}\n  b: {{ {HOST}, command: sleep 1000, volumes: ['more:/data'] }}\nvolumes: {{ data: {{ labels: {{ tier: one }} }}, more: {{}} }}\n"
        ),
    );
    env.ok(&["up", "-d"]);
    let table = env.ok(&["volumes"]).stdout;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [vec!["DRIVER", "VOLUME", "NAME"], vec!["local", "vessels_data"], vec!["local", "vessels_more"]]);
    assert_eq!(env.ok(&["volumes", "-q", "b"]).stdout, "vessels_more\n");
    assert_eq!(env.ok(&["volumes", "--format", "{{.Name}} {{.Label \"tier\"}}", "a"]).stdout, "vessels_data one\n");
    let json: serde_json::Value = serde_json::from_str(&env.ok(&["volumes", "--format", "json", "a"]).stdout).unwrap();
    env.sh("a", "echo kept > /data/file");
    let place = std::path::Path::new(json["Mountpoint"].as_str().unwrap()).join("file");
    assert_eq!(std::fs::read_to_string(place).unwrap(), "kept\n");
    assert!(env.fails(&["volumes", "nobody"]).stderr.contains("no such service"));
    env.down();
}

#[test]
fn formats_are_gos_templates() {
    let port = net::free_port();
    let env = TestEnv::with(
        "formats",
        &format!(
            "services:\n  web: {{ {HOST}, command: sleep 1000, ports: ['127.0.0.1:{port}:80'], labels: {{ tier: front }} }}\n"
        ),
    );
    env.ok(&["up", "-d"]);
    let ps = |format: &str| env.ok(&["ps", "--format", format]).stdout;
    assert_eq!(ps("{{.Name}}\\t{{.State}}"), "formats-web-1\trunning\n");
    assert_eq!(
        ps("{{range .Publishers}}{{.URL}}:{{.PublishedPort}}->{{.TargetPort}}{{end}}"),
        format!("127.0.0.1:{port}->80\n")
    );
    assert_eq!(ps("{{.Publishers}}"), format!("[{{127.0.0.1 80 {port} tcp}}]\n"));
    assert_eq!(ps("{{if eq .State \"running\"}}{{upper .Service}}{{else}}-{{end}} {{.Label \"tier\"}}"), "WEB front\n");
    assert_eq!(ps("table {{.Service}}\\t{{.State}}"), "SERVICE   STATE\nweb       running\n");
    let json: serde_json::Value = serde_json::from_str(&ps("{{json .}}")).unwrap();
    assert_eq!(json, serde_json::from_str::<serde_json::Value>(&ps("json")).unwrap());
    assert!(env.fails(&["ps", "--format", "{{.Nome}}"]).stderr.contains("no field `.Nome`"));
    assert!(env.fails(&["ps", "--format", "{{.Name"]).stderr.contains("has no end"));
    assert_eq!(env.ok(&["ls", "--format", "{{.Name}} {{.Status}}"]).stdout, "formats running(1)\n");
    env.down();
}
