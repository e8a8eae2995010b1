//! Flags of `image`, `network`, `volume` and `system` that no other test sees.

use serde_json::Value;

use crate::env::TestEnv;

fn inspected(env: &TestEnv, arguments: &[&str]) -> Value {
    let mut all: Value = serde_json::from_str(&env.ok(arguments).stdout).unwrap();
    all[0].take()
}

#[test]
fn networks_are_made_as_the_flags_say() {
    let file = "services: { a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL, networks: [net] } }\n\
                networks: { net: { external: true, name: sub-made } }\n";
    let env = TestEnv::with("sub-net", file);
    env.ok(&[
        "network",
        "create",
        "--driver",
        "bridge",
        "--subnet",
        "10.214.91.0/24",
        "--gateway",
        "10.214.91.254",
        "--ip-range",
        "10.214.91.64/26",
        "--aux-address",
        "router=10.214.91.64",
        "--internal",
        "--label",
        "team=a",
        "--opt",
        "com.docker.network.driver.mtu=1300",
        "--attachable",
        "sub-made",
    ]);
    env.ok(&["up", "-d"]);
    let made = inspected(&env, &["network", "inspect", "sub-made"]);
    let pool = &made["IPAM"]["Config"][0];
    assert_eq!((&pool["Subnet"], &pool["Gateway"]), (&"10.214.91.0/24".into(), &"10.214.91.254".into()), "{made:#}");
    assert_eq!((&made["Internal"], &made["Labels"]["team"]), (&true.into(), &"a".into()), "{made:#}");
    let containers = made["Containers"].as_object().unwrap();
    let address = containers.values().next().unwrap()["IPv4Address"].as_str().unwrap();
    assert_eq!(address, "10.214.91.65/24", "the first of the range that is free");
    assert_eq!(env.sh("a", "cat /sys/class/net/eth0/mtu").trim(), "1300");
    assert!(
        env.fails(&["network", "create", "--driver", "overlay", "x"])
            .stderr
            .contains("the driver `overlay` is not supported")
    );

    env.ok(&["network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd00:214:91::/64", "sub-six"]);
    let six = inspected(&env, &["network", "inspect", "sub-six"]);
    assert_eq!((&six["EnableIPv4"], &six["EnableIPv6"]), (&false.into(), &true.into()), "{six:#}");
    assert_eq!(env.ok(&["network", "ls", "-q"]).stdout.lines().count(), 2);
    assert!(env.ok(&["network", "ls", "-q", "--no-trunc"]).stdout.lines().all(|id| id.len() == 64));
    env.ok(&["down", "-t", "0"]);
    env.fails(&["network", "rm", "sub-made", "sub-six", "sub-none"]);
    env.ok(&["network", "rm", "--force", "sub-none"]);
    env.assert_nothing_left();
}

#[test]
fn a_place_in_a_network_is_as_the_flags_say() {
    let file = "services: { a: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL } }\n";
    let env = TestEnv::with("sub-place", file);
    env.ok(&["network", "create", "sub-place-out"]);
    env.ok(&["up", "-d"]);
    let way_out = || env.sh("a", "awk '$2 == \"00000000\" { print $1 }' /proc/net/route").trim().to_owned();
    env.ok(&["network", "connect", "sub-place-out", "a"]);
    env.ok(&["network", "disconnect", "--force", "sub-place-out", "a"]);
    assert_eq!(way_out(), "eth0");
    let flags = ["--link-local-ip", "169.254.7.7", "--gw-priority", "5"];
    env.ok(&[&["network", "connect"], &flags[..], &["sub-place-out", "a"]].concat());
    assert_eq!(way_out(), "eth1");
    assert!(env.sh("a", "cat /proc/net/fib_trie").contains("169.254.7.7"));
    env.ok(&["network", "disconnect", "sub-place-out", "a"]);
    assert_eq!(way_out(), "eth0");
    env.ok(&["down", "-t", "0"]);
    env.ok(&["network", "rm", "sub-place-out"]);
    env.assert_nothing_left();
}

#[test]
fn images_come_and_are_shown_as_the_flags_say() {
    let file = "services: { web: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL } }\n";
    let env = TestEnv::with("sub-image", file);
    let pulled = env.ok(&["image", "pull", "--quiet", "busybox:1.35"]);
    assert!(pulled.stdout.contains("busybox:1.35") && pulled.stderr.is_empty(), "{}", pulled.text());
    assert!(env.ok(&["image", "ls", "--digests"]).stdout.contains(" sha256:"));
    assert_eq!(env.ok(&["image", "ls", "-q", "--filter", "reference=nothing"]).stdout, "");
    assert_ne!(env.ok(&["image", "ls", "-q", "--filter", "reference=busybox"]).stdout, "");
    assert_eq!(env.ok(&["image", "ls", "--all", "--format", "{{.Repository}}"]).stdout, "busybox\n");
    // An image that is saved by its id has no name.
    let id = env.ok(&["image", "ls", "-q", "--no-trunc"]).stdout.trim().to_owned();
    env.ok(&["image", "save", "-o", "image.tar", &id]);
    assert!(env.ok(&["image", "rm", "--no-prune", "busybox:1.35"]).stdout.contains("Deleted: "));
    let loaded = env.ok(&["image", "load", "--quiet", "--name", "named:1", "-i", "image.tar"]);
    assert!(loaded.stdout.contains("named:1") && loaded.stderr.is_empty(), "{}", loaded.text());
    env.ok(&["image", "prune", "-a", "--force", "--filter", "label=nowhere"]);
    assert_eq!(env.ok(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).stdout, "named:1\n");
    env.ok(&["image", "prune", "-a", "--force"]);
    assert_eq!(env.ok(&["image", "ls", "-q"]).stdout, "");

    env.ok(&["up", "-d"]);
    env.sh("web", "head -c 3000000 /dev/zero > /big");
    env.ok(&["commit", "--message", "said", "web", "made:1"]);
    let history = |flags: &[&str]| env.ok(&[&["image", "history"], flags, &["made:1"]].concat()).stdout;
    assert!(history(&["--format", "{{.Comment}}"]).lines().any(|line| line == "said"));
    assert!(history(&["--format", "{{.Size}}"]).lines().next().unwrap().contains("MB"));
    let exact = history(&["--human=false", "--format", "{{.Size}}"]);
    assert!(exact.lines().next().unwrap().parse::<u64>().unwrap() >= 3_000_000, "{exact}");
    assert!(!history(&["--quiet"]).contains("said"));
    env.down();
}

#[test]
fn volumes_and_leftovers_are_as_the_flags_say() {
    let file = "services: { web: { image: 'busybox:1.35', command: sleep 1000, stop_signal: SIGKILL, volumes: [/anonymous] } }\n";
    let env = TestEnv::with("sub-volume", file);
    env.ok(&["volume", "create", "--driver", "local", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "sub-tmpfs"]);
    let volume = inspected(&env, &["volume", "inspect", "sub-tmpfs"]);
    assert_eq!(volume["Options"]["type"], "tmpfs", "{volume:#}");
    assert!(env.fails(&["volume", "create", "--driver", "nfs", "x"]).stderr.contains("asks for driver `nfs`"));
    env.ok(&["volume", "rm", "sub-tmpfs"]);

    env.ok(&["up", "-d"]);
    env.ok(&["down", "-t", "0"]);
    let volumes = || env.ok(&["volume", "ls", "-q"]).stdout.lines().count();
    let images = || env.ok(&["image", "ls", "-q"]).stdout.lines().count();
    env.ok(&["system", "prune", "--force"]);
    assert_eq!((volumes(), images()), (1, 1));
    env.ok(&["system", "prune", "--force", "--volumes"]);
    assert_eq!((volumes(), images()), (0, 1));
    env.ok(&["system", "prune", "--force", "--all"]);
    assert_eq!((volumes(), images()), (0, 0));
    env.assert_nothing_left();
}
