//! `volume`, `network`, `system`: what all projects have, and getting rid of it.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::env::TestEnv;

const STACK: &str = r#"
services:
  web: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ["data:/data", "/anonymous"], networks: [front, back] }
volumes: { data: { labels: { tier: one } } }
networks: { front: { labels: { side: outer } }, back: { internal: true } }
"#;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn volumes_are_listed_inspected_and_removed_when_nobody_uses_them() {
    let env = TestEnv::with("cellar", STACK);
    assert_eq!(env.ok(&["volume", "ls"]).stdout, "DRIVER    VOLUME NAME\n");
    env.ok(&["up", "-d"]);
    assert_eq!(env.ok(&["volume", "ls", "-q"]).stdout.lines().count(), 2);
    let ls = |filter: &str| env.ok(&["volume", "ls", "-q", "--filter", filter]).stdout;
    assert_eq!(ls("label=tier=one"), "cellar_data\n");
    assert_eq!(ls("name=lar_da"), "cellar_data\n");
    assert_eq!(ls("dangling=true"), "");
    assert_eq!(ls("project=cellar").lines().count(), 2);
    env.sh("web", "head -c 5000 /dev/zero > /data/file");
    assert_eq!(
        env.ok(&["volume", "ls", "--filter", "name=data", "--format", "{{.Name}} {{.Links}} {{.Size}}"]).stdout,
        "cellar_data 1 5kB\n"
    );
    let described = json(&env.ok(&["volume", "inspect", "cellar_data"]).stdout);
    assert_eq!(described[0]["Labels"]["tier"], "one");
    let place = described[0]["Mountpoint"].as_str().unwrap().to_owned();
    assert_eq!(fs::metadata(format!("{place}/file")).unwrap().len(), 5000);
    assert_eq!(env.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "cellar_data"]).stdout.trim(), place);
    assert!(env.fails(&["volume", "inspect", "none"]).stderr.contains("no such volume"));
    // In use it stays, whatever is asked.
    let fault = env.fails(&["volume", "rm", "cellar_data"]);
    assert!(fault.stderr.contains("in use by cellar-web-1"), "{}", fault.stderr);
    env.ok(&["volume", "prune", "-a", "-f"]);
    assert_eq!(env.ok(&["volume", "ls", "-q"]).stdout.lines().count(), 2);
    env.ok(&["down"]);
    // Without -a only what has no name goes.
    let pruned = env.ok(&["volume", "prune", "-f"]).stdout;
    assert!(pruned.contains("Total reclaimed space") && !pruned.contains("cellar_data"), "{pruned}");
    assert_eq!(env.ok(&["volume", "ls", "-q"]).stdout, "cellar_data\n");
    assert!(env.fails(&["volume", "rm", "none"]).stderr.contains("no such volume"));
    env.ok(&["volume", "rm", "-f", "none"]);
    assert_eq!(env.ok(&["volume", "rm", "cellar_data"]).stdout, "cellar_data\n");
    assert!(!std::path::Path::new(&place).exists());
    env.down();
}

#[test]
fn a_volume_of_two_projects_stays_for_the_second() {
    let env = TestEnv::new("sharing");
    assert_eq!(env.ok(&["volume", "create", "--label", "kept=yes", "common"]).stdout, "common\n");
    let service =
        "{ x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, volumes: ['common:/data'] }";
    env.file("compose.yaml", &format!("services: {{ a: {service} }}\nvolumes: {{ common: {{ name: common }} }}\n"));
    env.file(
        "other.yaml",
        &format!("name: sharing-too\nservices: {{ b: {service} }}\nvolumes: {{ common: {{ external: true }} }}\n"),
    );
    env.ok(&["up", "-d"]);
    env.ok(&["-f", "other.yaml", "up", "-d"]);
    env.sh("a", "echo for both > /data/file");
    let down = env.ok(&["down", "-v", "-t", "1"]);
    assert!(
        down.stderr.contains("still in use") || down.stderr.contains("is used by sharing-too-b-1"),
        "{}",
        down.text()
    );
    let output = env.ok(&["-f", "other.yaml", "exec", "-T", "b", "cat", "/data/file"]);
    assert_eq!(output.stdout, "for both\n");
    assert!(env.fails(&["volume", "rm", "common"]).stderr.contains("in use by sharing-too-b-1"));
    env.ok(&["-f", "other.yaml", "down", "-t", "1"]);
    env.ok(&["volume", "rm", "common"]);
    env.down();
}

#[test]
fn networks_are_listed_inspected_and_removed_when_nobody_uses_them() {
    let env = TestEnv::with("wires", STACK);
    env.ok(&["up", "-d"]);
    let ls = |filter: &str| {
        env.ok(&["network", "ls", "--filter", filter, "--format", "{{.Name}} {{.Driver}} {{.Internal}}"]).stdout
    };
    assert_eq!(ls("project=wires"), "wires_back bridge true\nwires_front bridge false\n");
    assert_eq!(ls("label=side=outer"), "wires_front bridge false\n");
    assert_eq!(ls("dangling=true"), "");
    let table = env.ok(&["network", "ls"]).stdout;
    assert!(table.starts_with("NETWORK ID") && table.contains("wires_front"), "{table}");
    let described = json(&env.ok(&["network", "inspect", "wires_front"]).stdout);
    let containers = described[0]["Containers"].as_object().unwrap();
    let (id, endpoint) = containers.iter().next().unwrap();
    assert_eq!(id, env.ok(&["ps", "-q"]).stdout.trim());
    let address = endpoint["IPv4Address"].as_str().unwrap().split('/').next().unwrap();
    assert!(env.sh("web", "cat /etc/hosts; ip -o -4 addr 2>/dev/null || cat /proc/net/fib_trie").contains(address));
    let bridge = described[0]["Options"]["com.docker.network.bridge.name"].as_str().unwrap();
    let link = std::path::Path::new("/sys/class/net").join(bridge);
    assert!(link.exists());
    let fault = env.fails(&["network", "rm", "wires_front"]);
    assert!(fault.stderr.contains("in use"), "{}", fault.stderr);
    env.ok(&["network", "prune", "-f"]);
    assert!(link.exists());
    assert!(env.fails(&["network", "rm", "none"]).stderr.contains("no such network"));
    env.ok(&["network", "rm", "-f", "none"]);
    env.ok(&["rm", "-sf"]);
    let short = described[0]["Id"].as_str().unwrap()[..12].to_owned();
    env.ok(&["network", "rm", &short]);
    assert!(!link.exists());
    env.down();
}

#[test]
fn df_adds_up_what_is_there() {
    let env = TestEnv::with("sizes", STACK);
    env.ok(&["up", "-d"]);
    env.sh("web", "head -c 300000 /dev/zero > /data/file; head -c 20000 /dev/zero > /srv/own");
    let rows = |format: &str| env.ok(&["system", "df", "--format", format]).stdout;
    assert!(
        rows("{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}")
            .contains("Local Volumes 2 2 300kB 0B (0%)")
    );
    assert!(rows("{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}}").contains("Containers 1 1 20kB"));
    let table = env.ok(&["system", "df"]).stdout;
    assert!(
        table.starts_with("TYPE")
            && ["Images", "Containers", "Local Volumes", "Logs"].iter().all(|kind| table.contains(kind)),
        "{table}"
    );
    let detailed = env.ok(&["system", "df", "-v"]).stdout;
    assert!(detailed.contains("sizes_data") && detailed.contains("sizes-web-1"), "{detailed}");
    env.down();
}

#[test]
fn prune_cleans_up_after_the_dead_and_leaves_the_living_alone() {
    let env = TestEnv::with("survivor", STACK);
    env.ok(&["up", "-d"]);
    // What a killed project of another home would leave: nobody keeps this id.
    let id = format!("{:08x}", 0xdead_0000_u32 | (std::process::id() & 0xffff));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let link = format!("wl{id}b0");
    let table = format!("windlass-{id}");
    run("ip", &["link", "add", &link, "type", "bridge"]);
    run("nft", &["add", "table", "inet", &table]);
    run("nft", &["add", "chain", "inet", &table, "nat"]);
    let groups: Vec<_> = ["memory", "unified", "."]
        .iter()
        .map(|hierarchy| std::path::Path::new("/sys/fs/cgroup").join(hierarchy).join("windlass"))
        .filter(|folder| folder.is_dir())
        .map(|folder| folder.join(&id).join("gone"))
        .collect();
    assert!(!groups.is_empty());
    groups.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    let output = env.ok(&["system", "prune", "-f"]).stdout;
    assert!(output.contains(&id), "{output}");
    assert!(!std::path::Path::new("/sys/class/net").join(&link).exists());
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&tables.stdout).contains(&table));
    assert!(groups.iter().all(|folder| !folder.parent().unwrap().exists()));
    // The living one goes on.
    assert!(!output.contains(&env.id()) && !output.contains("survivor"), "{output}");
    assert_eq!(env.ps_field("web", "State"), "running");
    assert!(env.sh("web", "cat /proc/net/dev").contains("eth0"));
    env.down();
}
