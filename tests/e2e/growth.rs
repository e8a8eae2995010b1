//! Work that grows with what a file, an image or a container holds grows no faster than that.
//!
//! What is compared is time of the processor that our own processes have used, never time that has passed: a busy machine
//! changes little of it. A step that looks at each for each shows a hundredfold between two sizes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use support::layer::Layer;
use support::layout::{Compression, Layout};
use windlass::state::Paths;

use crate::crash::{keeper, supervisor};
use crate::env::{PATIENCE, TestEnv};
use crate::watch::Watch;

/// Hundredths of a second that a process and those that it has waited for have used.
fn used(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything: state, ten fields, and then the four times.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// The same for all of a project: keeper, supervisor and containers, those that have ended too.
fn used_by(env: &TestEnv) -> u64 {
    let keeper = keeper(env);
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
    used(keeper) + pids.map(used).sum::<u64>()
}

/// Runs a command that must succeed, and answers with what it has used itself.
#[track_caller]
fn run(env: &TestEnv, arguments: &[&str]) -> u64 {
    run_into(env, arguments, Path::new("/dev/null"))
}

#[track_caller]
fn run_into(env: &TestEnv, arguments: &[&str], output: &Path) -> u64 {
    let mut command: Command = env.command(arguments);
    let mut child = command.stdout(fs::File::create(output).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    // Looked at before it is waited for: what is left of a process still has its times.
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    let used = used(pid);
    assert!(child.wait().unwrap().success(), "{arguments:?}");
    used
}

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// Tenfold the size costs no more than thirty times what it did to get there. `work` says what has been used; a machine
/// that is busy at the wrong moment gets another try.
#[track_caller]
fn linear(what: &str, sizes: &[usize], mut work: impl FnMut(usize) -> u64) {
    let mut least = vec![u64::MAX; sizes.len()];
    for _ in 0..3 {
        for (size, least) in sizes.iter().zip(&mut least) {
            *least = work(*size).min(*least);
        }
        if is_linear(&least) {
            return;
        }
    }
    panic!("{what}: hundredths of a second for {sizes:?}: {least:?}");
}

fn is_linear(used: &[u64]) -> bool {
    let steps: Vec<u64> = used.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    steps.windows(2).all(|pair| pair[1] <= 30 * pair[0] + 25)
}

#[test]
fn a_step_for_each_of_each_is_found() {
    assert!(is_linear(&[5, 5, 6, 20]) && is_linear(&[5, 15, 110, 1_200]) && is_linear(&[30, 20, 25, 40]));
    assert!(is_linear(&[20, 200, 2_000]) && !is_linear(&[5, 5, 6, 106]) && !is_linear(&[5, 6, 105, 10_000]));
}

#[test]
fn variables() {
    let env = TestEnv::new("many-variables");
    linear("up", &SIZES, |size| {
        let lines = |prefix: &str, from, to| -> String { (from..to).map(|n| format!("{prefix}VAR_{n}=x\n")).collect() };
        env.file("more.env", &lines("", 0, size / 2));
        let list = lines("      - ", size / 2, size);
        let service = "x-windlass: { rootfs: host }, network_mode: none, command: sleep 1000, stop_signal: SIGKILL";
        let service = service.replace(", ", "\n    ");
        env.file(
            "compose.yaml",
            &format!("services:\n  box:\n    {service}\n    env_file: more.env\n    environment:\n{list}"),
        );
        let before = if size == SIZES[0] { 0 } else { used_by(&env) };
        let own = run(&env, &["up", "-d"]);
        let up = own + used_by(&env) - before;
        assert_eq!(env.sh("box", "env | grep -c ^VAR_"), size.to_string());
        up
    });
    env.ok(&["up", "-d"]);
    let mut arguments = vec!["exec".to_owned(), "-T".to_owned()];
    linear("exec", &SIZES, |size| {
        while arguments.len() < 2 + 2 * size {
            arguments.extend(["-e".to_owned(), format!("MORE_{}=x", arguments.len())]);
        }
        arguments.truncate(2 + 2 * size);
        let more = ["box", "true"].map(str::to_owned);
        let all: Vec<&str> = arguments.iter().chain(&more).map(String::as_str).collect();
        let before = used_by(&env);
        let own = run(&env, &all);
        own + used_by(&env) - before
    });
    env.down();
}

#[test]
fn what_a_service_lists() {
    let env = TestEnv::new("many-entries");
    let list = |key: &str, size: usize, item: &dyn Fn(usize) -> String| {
        let items: String = (0..size).map(|n| format!("      - \"{}\"\n", item(n))).collect();
        format!("    {key}:\n{items}")
    };
    linear("config and create", &SIZES, |size| {
        let entries = [
            list("labels", size, &|n| format!("label.{n}=x")),
            list("extra_hosts", size, &|n| format!("host{n}:10.1.{}.{}", n / 250, n % 250 + 1)),
            list("expose", size, &|n| (n + 1).to_string()),
            list("group_add", size.min(1_000), &|n| (n + 1_000).to_string()),
        ];
        env.file(
            "compose.yaml",
            &format!(
                "services:\n  box:\n    x-windlass: {{ rootfs: host }}\n    command: sleep 1000\n{}",
                entries.concat()
            ),
        );
        run(&env, &["config"]) + run(&env, &["up", "--no-start"])
    });
    env.down();
}

/// Loads an image of one layer.
fn load(env: &TestEnv, layer: Layer) -> u64 {
    let folder = env.folder().join("image");
    let architecture = windlass::image::platform::Platform::host().architecture;
    let mut layout = Layout::create(&folder, &architecture).unwrap();
    let layer = layout.layer(&layer.finish().unwrap(), Compression::Zstd).unwrap();
    layout.image("many:1", &serde_json::json!({}), &[layer]).unwrap();
    layout.finish().unwrap();
    let used = run(env, &["image", "load", "-i", "image"]);
    fs::remove_dir_all(folder).unwrap();
    used
}

#[test]
fn entries_of_a_layer() {
    let env = TestEnv::new("many-files");
    let many = |size: usize, entry: &dyn Fn(Layer, usize) -> Layer| (0..size).fold(Layer::default(), entry);
    linear("files and links", &SIZES, |size| {
        load(
            &env,
            many(size, &|layer, n| {
                let layer = layer.file(&format!("folder/file{n}"), 0o644, b"").unwrap();
                layer.link(&format!("folder/link{n}"), "file0").unwrap()
            }),
        )
    });
    linear("folders, with and without an entry", &SIZES[..3], |size| {
        load(
            &env,
            many(size, &|layer, n| {
                let layer = layer.folder(&format!("top{n}"), 0o750, (1, 1)).unwrap();
                layer.file(&format!("top{n}/inner/file"), 0o644, b"").unwrap()
            }),
        )
    });
    linear("deletions", &SIZES, |size| {
        load(&env, many(size, &|layer, n| layer.file(&format!("d/.wh.{n}"), 0, b"").unwrap()))
    });
    linear("folders in folders", &[20, 200, 2_000], |depth| {
        load(&env, Layer::default().file(&format!("{}file", "d/".repeat(depth)), 0o644, b"").unwrap())
    });
}

#[test]
fn images_that_are_here() {
    let mut load = Vec::new();
    let sizes = [10, 100, 1_000];
    let mut pull = Vec::new();
    for size in sizes {
        let env = TestEnv::new("many-images");
        let architecture = windlass::image::platform::Platform::host().architecture;
        let mut layout = Layout::create(&env.folder().join("image"), &architecture).unwrap();
        let layer = Layer::default().file("x", 0o644, b"").unwrap().finish().unwrap();
        let layer = layout.layer(&layer, Compression::Zstd).unwrap();
        for n in 0..size {
            // Every other one is the same by another name.
            let config = serde_json::json!({ "Cmd": [(n / 2).to_string()] });
            layout.image(&format!("many:{n}"), &config, std::slice::from_ref(&layer)).unwrap();
        }
        layout.finish().unwrap();
        load.push(run(&env, &["image", "load", "-i", "image"]));
        let services: String = (0..size).map(|n| format!("  s{n}: {{ image: 'many:{n}' }}\n")).collect();
        env.file("compose.yaml", &format!("services:\n{services}"));
        pull.push(run(&env, &["pull", "--policy", "missing"]));
    }
    assert!(is_linear(&load), "load: {load:?}");
    assert!(is_linear(&pull), "pull: {pull:?}");
}

#[test]
fn connections() {
    let env = TestEnv::with(
        "many-visits",
        r#"
services:
  web: { image: "busybox:1.35", command: httpd -f -p 80 -h /etc, ports: ["127.0.0.1::80"], stop_signal: SIGKILL }
"#,
    );
    env.ok(&["up", "-d"]);
    let port = env.ok(&["port", "web", "80"]).stdout.trim().to_owned();
    let ask = || -> std::io::Result<()> {
        let mut client = TcpStream::connect(&port)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer)?;
        if answer.starts_with(b"HTTP/1") { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
    };
    support::eventually("the service answers", PATIENCE, || ask().map_err(|error| error.to_string()));
    let supervisor = supervisor(&env).unwrap();
    linear("one after the other", &[10, 100, 1_000], |size| {
        let before = used(supervisor);
        (0..size).for_each(|_| ask().unwrap());
        used(supervisor) - before
    });
    env.down();
}

#[test]
fn lines_of_a_log() {
    let env = TestEnv::new("many-lines");
    let service = |size: usize| {
        format!(
            "  s{size}: {{ x-windlass: {{ rootfs: host }}, network_mode: none, init: true, \
             command: [sh, -c, \"seq -f 'line %080g' {size}; exec sleep 1000\"] }}\n"
        )
    };
    env.file("compose.yaml", &format!("services:\n{}", SIZES.map(service).concat()));
    let output = env.folder().join("output");
    let lines = || fs::read_to_string(&output).unwrap().lines().count();
    linear("written", &SIZES, |size| {
        let name = format!("s{size}");
        let first = size == SIZES[0];
        let before = if first { 0 } else { used_by(&env) };
        run(&env, &["up", "-d", "--force-recreate", &name]);
        support::eventually("all is stored", PATIENCE, || {
            let found = env.ok(&["logs", "--no-log-prefix", "--tail", "1", &name]).stdout;
            if found.trim_end().ends_with(&format!("0{size}")) { Ok(()) } else { Err(found) }
        });
        used_by(&env) - before
    });
    linear("read", &SIZES, |size| {
        let used = run_into(&env, &["logs", &format!("s{size}")], &output);
        assert_eq!(lines(), size);
        used
    });
    // The end of a log is found without reading the rest.
    let tail = |size: usize| run_into(&env, &["logs", "--tail", "5", &format!("s{size}")], &output);
    let (short, long) = (tail(SIZES[0]), tail(SIZES[3]));
    assert!(long <= short + 5, "{long} after {short} hundredths of a second");
    linear("followed", &SIZES, |size| {
        let mut following = env.start(&["logs", "-f", "--no-log-prefix", &format!("s{size}")]);
        following.wait_for(&format!("0{size}\n"));
        let used = used(following.pid());
        following.signal(nix::sys::signal::Signal::SIGINT);
        following.finish(PATIENCE);
        used
    });
    env.down();
}

#[test]
fn events() {
    let env = TestEnv::with(
        "many-events",
        "services: { box: { x-windlass: { rootfs: host }, command: sleep 1000, stop_signal: SIGKILL } }",
    );
    env.ok(&["up", "-d"]);
    let journal = Paths::from_home(Some(&env.home())).project(env.name()).events();
    let begin = fs::read(&journal).unwrap();
    let line = begin.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    let output = env.folder().join("output");
    linear("events", &SIZES, |size| {
        fs::write(&journal, line.repeat(size)).unwrap();
        let used = run_into(&env, &["events", "--since", "2000-01-01", "--until", "0s"], &output);
        assert_eq!(fs::read_to_string(&output).unwrap().lines().count(), size);
        used
    });
    fs::write(&journal, begin).unwrap();
    env.down();
}

#[test]
fn folders_that_are_watched() {
    let env = TestEnv::with(
        "many-folders",
        r#"
services:
  box:
    x-windlass: { rootfs: host }
    command: sleep 1000
    stop_signal: SIGKILL
    develop: { watch: [{ path: ./src, action: sync, target: /app }] }
"#,
    );
    let make = |top: &str, size: usize| {
        for n in 0..size {
            env.file(&format!("src/{top}/d{}/d{n}/file", n % 10), "x");
        }
    };
    env.ok(&["up", "-d"]);
    linear("watch", &[10, 100, 1_000], |size| {
        make("before", size);
        let before = used_by(&env);
        let mut watch = Watch::start(&env, &[]);
        make("after", size);
        env.file("src/last", &size.to_string());
        watch.applied("src/last");
        fs::rename(env.folder().join("src/after"), env.folder().join("away")).unwrap();
        env.file("src/gone", &size.to_string());
        watch.applied("src/gone");
        let used = used(watch.pid()) + used_by(&env) - before;
        watch.end();
        fs::remove_dir_all(env.folder().join("away")).unwrap();
        fs::remove_dir_all(env.folder().join("src")).unwrap();
        fs::create_dir(env.folder().join("src")).unwrap();
        used
    });
    env.down();
}
