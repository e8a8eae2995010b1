//! Points at which the crash tests kill this process: before and after each change of what is on disk or in the kernel.
//!
//! Without the feature `fault-points` nothing of this is there: [`around`] is the change itself. With it, the variable
//! `WINDLASS_FAULT_POINTS` says what happens at a point:
//!
//! - `record FILE`: a line is written there, `<process> <point> <how often it was there>`;
//! - `kill MARK <line>`: at that point the process is killed, once: `MARK` is made before;
//! - `kill-all MARK <line>`: so are the other processes of ours that have the variable, but not those on their way to
//!   become a container's.
#![cfg_attr(not(feature = "fault-points"), allow(unused_variables, reason = "names are for the tests alone"))]

use std::path::Path;

/// Makes a change, between two points that have its name.
#[inline(always)]
pub fn around<T>(name: &str, change: impl FnOnce() -> T) -> T {
    #[cfg(feature = "fault-points")]
    armed::reached(&format!("before {name}"));
    let result = change();
    #[cfg(feature = "fault-points")]
    armed::reached(&format!("after {name}"));
    result
}

/// The same for a change of one file; the name of the file belongs to that of the points.
#[inline(always)]
pub fn around_file<T>(name: &str, file: &Path, change: impl FnOnce() -> T) -> T {
    #[cfg(feature = "fault-points")]
    return around(&format!("{name} {}", armed::general(file)), change);
    #[cfg(not(feature = "fault-points"))]
    change()
}

/// What a process of ours that is started without our environment needs of it; nothing without the feature.
#[must_use]
pub fn environment() -> Vec<std::ffi::CString> {
    #[cfg(feature = "fault-points")]
    return armed::environment();
    #[cfg(not(feature = "fault-points"))]
    Vec::new()
}

/// The number of our protocol, or that of `WINDLASS_PROTOCOL`: another version of this program.
#[must_use]
pub fn protocol(number: u32) -> u32 {
    #[cfg(feature = "fault-points")]
    return std::env::var(armed::PROTOCOL).ok().and_then(|text| text.parse().ok()).unwrap_or(number);
    #[cfg(not(feature = "fault-points"))]
    number
}

#[cfg(feature = "fault-points")]
mod armed {
    use std::collections::BTreeMap;
    use std::ffi::CString;
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;
    use std::sync::{Mutex, OnceLock, PoisonError};

    const VARIABLE: &str = "WINDLASS_FAULT_POINTS";
    pub(super) const PROTOCOL: &str = "WINDLASS_PROTOCOL";

    struct Order {
        all: bool,
        kill: bool,
        file: String,
        line: String,
        /// The process that read it: one that was cloned from it is another.
        pid: u32,
        role: String,
    }

    fn order() -> Option<&'static Order> {
        static ORDER: OnceLock<Option<Order>> = OnceLock::new();
        ORDER.get_or_init(read).as_ref()
    }

    fn read() -> Option<Order> {
        let text = std::env::var(VARIABLE).ok()?;
        let mut words = text.splitn(3, ' ');
        let what = words.next()?;
        let name = std::env::args_os().next()?.to_string_lossy().into_owned();
        let role = name.rsplit('/').next().unwrap_or_default().trim_start_matches("windlass-");
        Some(Order {
            all: what == "kill-all",
            kill: what != "record",
            file: words.next()?.to_owned(),
            line: words.next().unwrap_or_default().to_owned(),
            pid: std::process::id(),
            role: if role == "windlass" { "command".to_owned() } else { role.to_owned() },
        })
    }

    pub(super) fn environment() -> Vec<CString> {
        let set = |name: &str| CString::new(format!("{name}={}", std::env::var(name).ok()?)).ok();
        [VARIABLE, PROTOCOL].into_iter().filter_map(set).collect()
    }

    pub(super) fn reached(name: &str) {
        static COUNTS: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
        let Some(order) = order() else { return };
        let role = if std::process::id() == order.pid { order.role.as_str() } else { "clone" };
        let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let line = format!("{role} {name} {count}");
        drop(counts);
        if !order.kill {
            if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(&order.file) {
                let _ = file.write_all(format!("{line}\n").as_bytes());
            }
        } else if line == order.line && OpenOptions::new().write(true).create_new(true).open(&order.file).is_ok() {
            if order.all {
                relatives(order).into_iter().for_each(kill);
            }
            kill(std::process::id());
        }
    }

    /// The other processes with the same order, the keeper first so that it brings nobody back.
    fn relatives(order: &Order) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            // One that is in a pid namespace of its own is about to be a container's.
            let status = String::from_utf8_lossy(&read("status")).into_owned();
            let levels = status.lines().find_map(|line| line.strip_prefix("NSpid:")).map(str::split_whitespace);
            if pid != std::process::id()
                && has(&read("environ"), &format!("{VARIABLE}=kill-all {} ", order.file))
                && levels.is_some_and(|levels| levels.count() == 1)
            {
                found.push((!has(&read("cmdline"), "windlass-keeper"), pid));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, pid)| pid).collect()
    }

    fn kill(pid: u32) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// The name of a file, the same in every run: without ids and numbers.
    pub(super) fn general(file: &Path) -> String {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut text = String::new();
        let mut run = String::new();
        for c in name.chars().chain(['\0']) {
            if c.is_ascii_digit() || ('a'..='f').contains(&c) {
                run.push(c);
                continue;
            }
            let is_id = run.len() >= 6 || run.chars().any(|c| c.is_ascii_digit());
            text.push_str(if is_id { "#" } else { &run });
            run.clear();
            if c != '\0' {
                text.push(c);
            }
        }
        text
    }
}
