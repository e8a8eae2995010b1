//! Which image a service gets: when the registry is asked again, how an image may be named, and for which machine it is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::json;
use support::layer::Layer;
use support::layout::{Compression, Layout};

use crate::env::TestEnv;

/// The registry behind a door that counts who comes.
struct Door {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Door {
    fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || carry(client));
            }
        });
        Self { port, came }
    }

    /// Whether somebody has come since the last time.
    fn was_asked(&self) -> bool {
        self.came.swap(0, Ordering::Relaxed) > 0
    }
}

fn carry(client: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(crate::registry())?;
    let (mut up, mut back) = (server.try_clone()?, client.try_clone()?);
    let other = std::thread::spawn(move || io::copy(&mut &server, &mut back));
    io::copy(&mut &client, &mut up)?;
    up.shutdown(std::net::Shutdown::Write)?;
    let _ = other.join();
    Ok(())
}

/// All names of images were pulled this long ago.
fn make_old(env: &TestEnv, age: Duration) {
    for name in fs::read_dir(env.home().join("data/images/names")).unwrap() {
        let file = File::options().write(true).open(name.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
}

const HOUR: u64 = 60 * 60;

#[test]
fn an_image_is_asked_for_again_when_it_is_old() {
    let env = TestEnv::new("policies");
    let door = Door::open();
    let policy = |policy: &str| {
        let image = format!("127.0.0.1:{}/library/busybox:1.35", door.port);
        env.file("compose.yaml", &format!("services: {{ box: {{ image: '{image}', pull_policy: {policy} }} }}"));
    };
    policy("missing");
    env.ok(&["up", "--no-start"]);
    assert!(door.was_asked());
    for (text, fresh, old) in [
        ("daily", 23 * HOUR, 25 * HOUR),
        ("weekly", 6 * 24 * HOUR, 8 * 24 * HOUR),
        ("every_12h", 11 * HOUR, 13 * HOUR),
        ("every_1d6h", 29 * HOUR, 31 * HOUR),
        ("every_90m", HOUR, 2 * HOUR),
    ] {
        policy(text);
        make_old(&env, Duration::from_secs(fresh));
        env.ok(&["up", "--no-start"]);
        assert!(!door.was_asked(), "{text} after {fresh} seconds");
        make_old(&env, Duration::from_secs(old));
        env.ok(&["up", "--no-start"]);
        assert!(door.was_asked(), "{text} after {old} seconds");
        // What was asked for a moment ago is fresh, though nothing new came.
        env.ok(&["up", "--no-start"]);
        assert!(!door.was_asked(), "{text} a moment after");
    }
    for text in ["missing", "if_not_present", "never"] {
        policy(text);
        make_old(&env, Duration::from_secs(1_000 * HOUR));
        env.ok(&["up", "--no-start"]);
        assert!(!door.was_asked(), "{text}");
    }
    policy("always");
    env.ok(&["up", "--no-start"]);
    assert!(door.was_asked());
    env.down();
}

fn inspected(env: &TestEnv, image: &str) -> serde_json::Value {
    let shown: serde_json::Value = serde_json::from_str(&env.ok(&["image", "inspect", image]).stdout).unwrap();
    shown[0].clone()
}

#[test]
fn a_service_names_its_image_by_id_and_by_digest() {
    let env = TestEnv::with("by-id", "services: { box: { image: 'busybox:1.35' } }");
    env.ok(&["pull"]);
    let image = inspected(&env, "busybox:1.35");
    let id = image["Id"].as_str().unwrap().to_owned();
    let digest = image["RepoDigests"][0].as_str().unwrap().split_once('@').unwrap().1.to_owned();
    let hex = |id: &str, length: usize| id["sha256:".len()..][..length].to_owned();
    for name in [
        id.clone(),
        hex(&id, 64),
        hex(&id, 12),
        format!("sha256:{}", hex(&id, 10)),
        hex(&digest, 12),
        digest.clone(),
        format!("busybox@{digest}"),
        format!("busybox:1.35@{digest}"),
        format!("busybox:whatever@{digest}"),
    ] {
        let compose = format!(
            "services: {{ box: {{ image: '{name}', pull_policy: never, command: sleep 1000, stop_signal: SIGKILL }} }}"
        );
        env.file("compose.yaml", &compose);
        let output = env.run(&["up", "-d"]);
        assert_eq!(output.code, 0, "{name}: {}", output.text());
        assert_eq!(env.ok(&["images", "-q"]).stdout.trim(), hex(&id, 64), "{name}");
        assert_eq!(inspected(&env, &name)["Id"], id.as_str(), "{name}");
        let before = env.ps_field("box", "ID");
        env.ok(&["up", "-d"]);
        assert_eq!(env.ps_field("box", "ID"), before, "{name}: nothing has changed");
    }
    for (name, word) in [
        (format!("sha256:{}", "0".repeat(64)), "only a name can be pulled"),
        ("sha256:xyz".to_owned(), "sha256:xyz"),
        (format!("busybox@sha256:{}", "0".repeat(64)), "never"),
    ] {
        env.file("compose.yaml", &format!("services: {{ box: {{ image: '{name}', pull_policy: never }} }}"));
        let refused = env.fails(&["up", "-d"]);
        assert!(refused.stderr.contains(word), "{name}: {}", refused.text());
    }
    env.down();
}

#[test]
fn a_beginning_that_fits_several_images_is_refused_with_their_names() {
    let env = TestEnv::new("ambiguous");
    let host = windlass::image::platform::Platform::host();
    let mut layout = Layout::create(&env.folder().join("image"), &host.architecture).unwrap();
    let layer = Layer::default().file("x", 0o644, b"").unwrap().finish().unwrap();
    let layer = layout.layer(&layer, Compression::Gzip).unwrap();
    // More than there are digits, so that two begin alike.
    for number in 0..17 {
        let config = json!({ "Cmd": ["x"], "Labels": { "number": number.to_string() } });
        layout.image(&format!("alike:{number}"), &config, std::slice::from_ref(&layer)).unwrap();
    }
    layout.finish().unwrap();
    env.ok(&["image", "load", "-i", "image"]);
    let ids: BTreeSet<String> =
        (0..17).map(|number| inspected(&env, &format!("alike:{number}"))["Id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 17);
    let ids: Vec<&str> = ids.iter().map(|id| &id["sha256:".len()..]).collect();
    let pair = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]).unwrap();
    let start = format!("sha256:{}", &pair[0][..1]);
    env.file("compose.yaml", &format!("services: {{ box: {{ image: '{start}' }} }}"));
    for arguments in [&["up", "-d"][..], &["image", "inspect", &start], &["image", "rm", &start]] {
        let refused = env.fails(arguments);
        let shown = |id: &str| refused.stderr.contains(&id[..12]);
        assert!(shown(pair[0]) && shown(pair[1]) && refused.stderr.contains("alike:"), "{}", refused.text());
    }
}

/// The images here are each there for this machine and for one that nobody has.
#[test]
fn an_image_for_another_machine_leaves_the_native_one_its_name() {
    let env = TestEnv::with(
        "platforms",
        r#"
services:
  native: { image: "busybox:1.35", command: sleep 1000, stop_signal: SIGKILL }
  other: { image: "busybox:1.35", platform: linux/s390x, command: sleep 1000 }
"#,
    );
    // First of all: the name alone must not come to mean what the other one asked for.
    env.ok(&["pull", "other"]);
    env.ok(&["up", "--no-start"]);
    let containers = || {
        let mut rows: Vec<String> = env.ps().iter().map(|row| format!("{} {}", row["Service"], row["ID"])).collect();
        rows.sort();
        rows
    };
    let images = |service: &str| env.ok(&["images", "-q", service]).stdout.trim().to_owned();
    let platform = |id: &str| inspected(&env, id)["Architecture"].as_str().unwrap().to_owned();
    let (native, other) = (images("native"), images("other"));
    assert_eq!(platform(&native), windlass::image::platform::Platform::host().architecture);
    assert_eq!(platform(&other), "s390x");
    let before = containers();
    let commands: [&[&str]; 8] = [
        &["pull", "other"],
        &["pull", "native"],
        &["pull"],
        &["pull", "--policy", "missing"],
        &["create", "other"],
        &["create", "--pull", "always", "other"],
        &["create", "--pull", "always", "native"],
        &["create"],
    ];
    for command in commands {
        env.ok(command);
        env.ok(&["up", "--no-start"]);
        assert_eq!(containers(), before, "made anew after {command:?}");
    }
    env.ok(&["up", "-d", "native"]);
    env.ok(&["up", "-d", "native"]);
    assert_eq!((images("native"), images("other")), (native.clone(), other.clone()));
    assert_eq!(containers(), before);
    // Each is shown, and goes by its own id.
    let listed = env.ok(&["image", "ls", "--no-trunc"]).stdout;
    assert!(listed.contains(&native) && listed.contains(&other), "{listed}");
    env.down();
    env.ok(&["image", "rm", &other]);
    let listed = env.ok(&["image", "ls", "--no-trunc"]).stdout;
    assert!(listed.contains(&native) && !listed.contains(&other), "{listed}");
    env.ok(&["up", "--no-start", "--pull", "never", "native"]);
    let refused = env.fails(&["up", "--no-start", "--pull", "never", "other"]);
    assert!(refused.stderr.contains("linux/s390x"), "{}", refused.text());
    env.down();
}
