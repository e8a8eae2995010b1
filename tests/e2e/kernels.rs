//! The core of these tests on other kernels, with cgroup v2 alone: this very program, in emulated machines.

use std::path::{Path, PathBuf};

use support::machine::Machine;

/// Tells the tests in a machine where the registry of the images is.
pub const REGISTRY: &str = "WINDLASS_TEST_REGISTRY";

/// What a kernel may do in its own way: start, limits, freeze, kill, names, ports, volumes, survival.
const CORE: &[&str] = &[
    "containers::",
    "limits::",
    "names::",
    "ports::",
    "volumes::",
    "crash::a_dead",
    "crash::after",
    "lifecycle::pause",
    "lifecycle::kill",
];
/// Their images are too much to unpack for an emulated machine.
const LARGE: &[&str] = &["containers::commands_environment_and_folders", "ports::udp_ports_answer"];

fn core_on(suite: &str, version: &str) {
    if std::env::var_os(REGISTRY).is_some() {
        return; // This is a machine already.
    }
    if !Machine::possible() {
        eprintln!("SKIPPED: no emulator for x86-64 here, so nothing was seen on Linux {version}");
        return;
    }
    let binary = PathBuf::from(crate::env::binary());
    let tests = std::env::current_exe().unwrap();
    // The address of this machine's loopback, as the emulator shows it.
    let registry = crate::registry().replace("127.0.0.1", "10.0.2.2");
    // An emulated processor is slow: what failed has a second chance.
    let script = format!(
        r#"export {REGISTRY}={registry}
mkdir -p {artifacts}
{tests} --test-threads 1 {skipped} {core} > /tmp/log 2>&1 && {{ cat /tmp/log; exit 0; }}
cat /tmp/log
failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' /tmp/log)
[ -n "$failed" ] && {tests} --exact --test-threads 1 $failed 2>&1
"#,
        artifacts = Path::new(env!("CARGO_TARGET_TMPDIR")).display(),
        tests = tests.display(),
        skipped = LARGE.iter().map(|name| format!("--skip {name}")).collect::<Vec<_>>().join(" "),
        core = CORE.join(" "),
    );
    let machine = Machine::ready(suite).unwrap_or_else(|error| panic!("no machine: {error:?}"));
    let outcome = machine.run(&[&binary, &tests], &script).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(outcome.text.contains(&format!("machine: Linux {version}.")), "another kernel:\n{}", outcome.text);
    assert!(outcome.code == Some(0), "on Linux {version}:\n{}", outcome.text);
    assert!(outcome.text.contains("limits::memory_is_limited ... ok"), "no test of limits ran:\n{}", outcome.text);
}

#[test]
fn linux_5_10() {
    core_on("bullseye", "5.10");
}

#[test]
fn linux_6_1() {
    core_on("bookworm", "6.1");
}

#[test]
fn linux_6_12() {
    core_on("trixie", "6.12");
}
