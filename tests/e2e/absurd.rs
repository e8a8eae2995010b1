//! Images whose configuration says what no honest one does.

use std::fs;

use serde_json::{Value, json};
use support::layout::{INDEX, MANIFEST, blob_path, digest, read_json};

use crate::env::TestEnv;

/// Writes an OCI layout of the busybox image with another configuration, as `absurd:1`.
fn write_image(env: &TestEnv, change: &Value) {
    let cache = crate::layout();
    let find = |index: &Value, wanted: &dyn Fn(&Value) -> bool| -> Value {
        let members = index["manifests"].as_array().unwrap();
        members.iter().find(|member| wanted(member)).unwrap().clone()
    };
    let read = |descriptor: &Value| read_json(&blob_path(&cache, descriptor["digest"].as_str().unwrap())).unwrap();
    let name = |member: &Value| {
        let name = member["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or_default();
        name.ends_with("busybox:1.35")
    };
    let index = read(&find(&read_json(&cache.join("index.json")).unwrap(), &name));
    let host = windlass::image::platform::Platform::host().architecture;
    let mut manifest = read(&find(&index, &|member| member["platform"]["architecture"] == host.as_str()));
    let mut config = read(&manifest["config"]);
    for (key, value) in change.as_object().unwrap() {
        config["config"][key] = value.clone();
    }
    let layout = env.folder().join("image");
    let _ = fs::remove_dir_all(&layout);
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let write = |content: &[u8], media_type: &str| {
        let digest = digest(content);
        fs::write(blob_path(&layout, &digest), content).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
    };
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        fs::copy(blob_path(&cache, digest), blob_path(&layout, digest)).unwrap();
    }
    manifest["config"] = write(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let mut descriptor = write(manifest.to_string().as_bytes(), MANIFEST);
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": "absurd:1" });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn what_no_container_can_be_made_of_is_refused_in_words() {
    let env = TestEnv::new("absurd");
    let many = |size: usize, item: &dyn Fn(usize) -> String| -> Value {
        Value::Object((0..size).map(|n| (item(n), json!({}))).collect())
    };
    for (name, refused, change) in [
        ("a user of a megabyte", "has no user", json!({ "User": "u".repeat(1 << 20) })),
        ("a user of many parts", "has no user `a`", json!({ "User": "a:b:c:d" })),
        ("a user with a zero byte", "has no user", json!({ "User": "ro\0ot" })),
        ("a user of the largest number", "too large", json!({ "User": "4294967295" })),
        ("volumes", "lists 100000 volumes", json!({ "Volumes": many(100_000, &|n| format!("/v/{n}")) })),
        ("a volume that leads out", "", json!({ "Volumes": { "../../../../etc/x": {}, "/../../y": {} } })),
        ("a volume with a zero byte", "for the volume at", json!({ "Volumes": { "/a\0b": {} } })),
        ("a volume over everything", "other than /", json!({ "Volumes": { "/": {} } })),
        ("a volume over the kernel's", "over /proc", json!({ "Volumes": { "/proc": {}, "/sys": {} } })),
        ("a long volume", "for the volume at", json!({ "Volumes": { format!("/{}", "v".repeat(300)): {} } })),
        (
            "ports",
            "",
            json!({ "ExposedPorts": { "0/tcp": {}, "99999/tcp": {}, "x/y/z": {}, "": {}, "80-90/tcp": {}, "-1": {} } }),
        ),
        ("many ports", "", json!({ "ExposedPorts": many(100_000, &|n| format!("{n}/tcp")) })),
        ("a command with a zero byte", "NUL", json!({ "Cmd": ["sl\0eep", "1"] })),
        ("a command of nothing", "the command is empty", json!({ "Cmd": [""], "Entrypoint": null })),
        ("no command", "names no command", json!({ "Cmd": [], "Entrypoint": [] })),
        ("a long command", "argument list too long", json!({ "Cmd": ["echo", "x".repeat(1 << 20)] })),
        ("variables", "NUL", json!({ "Env": ["", "=", "=x", "A", "A\0B=c", "B=\0", "C=\n\u{1b}[31m"] })),
        (
            "many variables",
            "argument list too long",
            json!({ "Env": (0..10_000).map(|n| format!("V{n}={}", "x".repeat(400))).collect::<Vec<_>>() }),
        ),
        ("a working directory elsewhere", "", json!({ "WorkingDir": "../../../.." })),
        ("a working directory with a zero byte", "working directory", json!({ "WorkingDir": "/a\0b" })),
        ("a working directory of a descriptor", "working directory", json!({ "WorkingDir": "/proc/self/fd/7" })),
        ("a working directory that is a file", "not a directory", json!({ "WorkingDir": "/bin/busybox/x" })),
        ("a signal", "", json!({ "StopSignal": "SIGNOTHING" })),
        ("a signal beyond all", "", json!({ "StopSignal": "4000000000" })),
        (
            "a health check",
            "no command",
            json!({ "Healthcheck": { "Test": ["WHATEVER", "\0"], "Interval": -5, "Retries": -1 } }),
        ),
        (
            "a health check at no interval",
            "",
            json!({ "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Interval": 1, "Timeout": 1 } }),
        ),
        (
            "labels",
            "",
            json!({ "Labels": { "": "", "a\0b": "\0", "com.docker.compose.project": "other", "\u{1b}[31m": "\n" } }),
        ),
        ("a shell", "", json!({ "Shell": ["", "\0"], "Healthcheck": { "Test": ["CMD-SHELL", "true"] } })),
    ] {
        write_image(&env, &change);
        env.file("compose.yaml", "services: { box: { image: 'absurd:1', pull_policy: never, stop_signal: SIGKILL } }");
        let load = env.run(&["image", "load", "-i", "image"]);
        let last = if load.code == 0 { env.run(&["up", "-d"]) } else { load };
        let text = last.text();
        assert_eq!(last.code, i32::from(!refused.is_empty()), "{name}: {text}");
        assert!(last.stderr.contains(refused) && !text.contains("panicked"), "{name}: {text}");
        // Whatever it holds, a person can read what is said of it.
        assert!(last.stderr.len() < 4_000, "{name}: {} bytes", last.stderr.len());
        env.ok(&["ps", "-a"]);
        env.ok(&["image", "ls"]);
        env.down();
    }
}
