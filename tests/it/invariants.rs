//! The invariants of `ARCHITECTURE.md` that show in the text of the code.
//!
//! A rule may have exceptions: each has its reason, and counts its places, so that it goes with the last of them.

use std::collections::BTreeSet;

use crate::tidy::{Source, sources};

/// A file below `src`, how many lines of it do not follow the rule, and why they may.
type Exception = (&'static str, usize, &'static str);

/// Fails where code of `scope` has more faults than its exceptions say, or fewer.
#[track_caller]
fn holds(rule: &str, exceptions: &[Exception], scope: &[&str], is_fault: impl Fn(&str) -> bool) {
    let mut told = Vec::new();
    let mut unseen: BTreeSet<&str> = exceptions.iter().map(|(file, ..)| *file).collect();
    let in_scope = |source: &Source| scope.is_empty() || scope.contains(&source.module().as_str());
    for source in sources().iter().filter(|source| !source.is_test() && in_scope(source)) {
        let path = source.path.to_string_lossy();
        unseen.remove(&*path);
        let known = exceptions.iter().find(|(file, ..)| *file == path).map_or(0, |(_, count, _)| *count);
        let found: Vec<(usize, &str)> = source.code().filter(|(_, line)| is_fault(line)).collect();
        if found.len() != known {
            told.push(format!("src/{path}: {} of these, and {known} have a reason", found.len()));
            told.extend(found.iter().map(|(number, line)| format!("    {number}: {}", line.trim())));
        }
    }
    told.extend(unseen.iter().map(|file| format!("src/{file}: is not there any more")));
    assert!(told.is_empty(), "{rule}:\n{}", told.join("\n"));
}

fn has_any(line: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| line.contains(part))
}

/// What is said literally in `.join("…")`, up to the first `/`.
fn joined(line: &str) -> Vec<&str> {
    let literals = line.split(".join(\"").skip(1).filter_map(|rest| rest.split_once('"'));
    literals.map(|(literal, _)| literal.split('/').next().unwrap_or_default()).collect()
}

/// Names of what `state::paths` hands out, of which nobody else says what is in it.
const FOLDERS_OF_STATE: [&str; 11] = [
    ".data().join(\"",
    ".run().join(\"",
    ".images().join(\"",
    ".toolchains().join(\"",
    ".volumes().join(\"",
    ".networks().join(\"",
    ".projects().join(\"",
    ".running().join(\"",
    ".containers().join(\"",
    ".upper().join(\"",
    ".work().join(\"",
];

#[test]
fn only_state_builds_a_path_below_the_roots() {
    const EXCEPTIONS: &[Exception] = &[
        ("image/host/mod.rs", 1, "where an overlay of the host's root is within a container's folder: relative"),
        ("image/host/snapshot.rs", 5, "`etc` of a root file system"),
        ("image/store/mod.rs", 2, "`images` within the store of images, whose folder `state` names"),
    ];
    let sources = sources();
    let layout = sources.iter().find(|source| source.path.ends_with("state/paths.rs")).unwrap();
    let names: BTreeSet<&str> = layout.code().flat_map(|(_, line)| joined(line)).collect();
    assert!(names.contains("record.json") && names.contains("containers"), "{names:?}");
    let others: BTreeSet<String> = sources.iter().map(Source::module).filter(|module| module != "state").collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    holds("paths come from `state::paths`", EXCEPTIONS, &others, |line| {
        has_any(line, &FOLDERS_OF_STATE) || joined(line).iter().any(|name| names.contains(name))
    });
}

#[test]
fn only_the_side_of_the_keeper_clones() {
    const EXCEPTIONS: &[Exception] = &[
        ("sys/clone.rs", 4, "the calls themselves"),
        ("keeper/process.rs", 1, "the keeper leaves the one who started it, before anything else"),
        ("runtime/exec.rs", 2, "a further process of a container, by the keeper and by its copy"),
        ("runtime/init.rs", 1, "`init: true`, in the container"),
        ("runtime/intermediate.rs", 1, "by the keeper's copy, which joins namespaces first"),
        ("runtime/match_user.rs", 1, "a user namespace for a mount, by the keeper's copy"),
        ("runtime/start.rs", 2, "the first process of a container, by the keeper"),
    ];
    holds("never clone from a process that has threads", EXCEPTIONS, &[], |line| {
        has_any(line, &["clone3(", "SYS_clone", "::fork(", "fn fork("])
    });
}

#[test]
fn whoever_clones_has_no_threads() {
    holds("the keeper and its copies have one thread", &[], &["keeper", "runtime"], |line| {
        has_any(line, &["thread::spawn", "thread::scope", "thread::Builder", "spawn_blocking", "spawn_scoped", "tokio::"])
            // They wait in a thread.
            || has_any(line, &["Lock::acquire(", "Lock::acquire_shared("])
    });
}

/// A clock that wakes.
const CLOCKS: [&str; 9] = [
    "sleep(",
    "sleep_until(",
    "time::interval",
    "poll_interval(",
    "recv_timeout(",
    ".wait_timeout(",
    ".wait_timeout_while(",
    "Expiration::Interval",
    "set_read_timeout(",
];

#[test]
fn nothing_is_looked_at_again_and_again_without_a_reason() {
    const EXCEPTIONS: &[Exception] = &[
        // Looked at again: what ARCHITECTURE.md says about time.
        ("engine/client.rs", 1, "whether the supervisor that is waited for is stopped"),
        ("message/rpc/client.rs", 4, "whether the supervisor that is waited for is stopped, and a limit"),
        ("state/lock.rs", 1, "whether the holder of a lock is stopped"),
        ("supervisor/link.rs", 2, "whether the keeper that is waited for is stopped"),
        ("network/bridge.rs", 1, "the kernel deletes a link in some milliseconds"),
        ("runtime/cgroup/mod.rs", 2, "the kernel empties and removes a control group in some milliseconds"),
        ("serve/process.rs", 2, "the end: idle for so long; and the project's lock, free in some milliseconds"),
        ("watch/polled.rs", 1, "folders on file systems without events"),
        // Not looked at again: a limit, a pause, or a time that a person asked for.
        ("cli/npm.rs", 1, "a limit for a program"),
        ("cli/ui/progress/mod.rs", 1, "the next frame of what moves on a terminal"),
        ("image/registry/http.rs", 1, "a pause before a registry is asked again"),
        ("image/registry/web.rs", 1, "a pause before a server is asked again"),
        ("message/rpc/server.rs", 1, "a pause after the kernel had no descriptor"),
        ("network/dns/server.rs", 1, "a pause after the kernel had no descriptor"),
        ("network/firewall/firewalld.rs", 1, "a limit for a program"),
        ("network/ports/tcp.rs", 1, "a pause after the kernel had no descriptor"),
        ("serve/operations.rs", 2, "`monitor` and `delay` of an update"),
        ("network/dns/upstream.rs", 2, "the next server when one is silent; a limit for an answer"),
        ("supervisor/container.rs", 1, "a grace period"),
        ("supervisor/exec.rs", 1, "a limit for a program"),
        ("supervisor/mending.rs", 3, "a change of the network has settled; a pause after that"),
        ("supervisor/output.rs", 1, "what was written is on disk after a while"),
        ("supervisor/probe.rs", 1, "the interval of a health check"),
        ("supervisor/start.rs", 1, "the delay of a restart"),
        ("supervisor/stop.rs", 1, "a limit for the kernel, after SIGKILL"),
    ];
    holds("waiting is by event", EXCEPTIONS, &[], |line| has_any(line, &CLOCKS));
}

#[test]
fn a_plan_is_pure() {
    holds("a plan is made of what it is told", &[], &["plan"], |line| {
        let clock = ["::now()", ".elapsed()", "SystemTime", "time::Instant", "new_container_id"];
        let world =
            ["std::env", "std::process", "std::io", "std::thread", "tokio::", "nix::", "rustix::", "crate::sys"];
        let files =
            ["fs::", "std::fs", ".exists()", ".is_file()", ".is_dir()", ".metadata()", ".canonicalize(", "read_dir("];
        let records = ["state::record", "state::Lock", "Store::open", "Store::new", "inventory::"];
        [&clock[..], &world, &files, &records].iter().any(|parts| has_any(line, parts))
    });
}

#[test]
fn compose_reads_through_its_file_source_alone() {
    const EXCEPTIONS: &[Exception] = &[("compose/files.rs", 4, "the file source that reads this machine's files")];
    holds("no I/O in compose", EXCEPTIONS, &["compose", "language", "diag"], |line| {
        let world =
            ["std::env", "std::process", "std::thread", "tokio::", "nix::", "rustix::", "::now()", ".elapsed()"];
        let files = [
            "std::fs::",
            "use std::fs",
            "fs::read",
            "fs::metadata",
            "File::open",
            ".exists()",
            "read_dir(",
            ".canonicalize(",
        ];
        has_any(line, &world) || has_any(line, &files)
    });
}
