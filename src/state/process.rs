//! Whether a process that was written down is still the same one: numbers are used again, and a reboot ends them all.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// Different after every boot.
///
/// # Errors
/// When `/proc` is not there.
pub fn boot_id() -> io::Result<String> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(KNOWN.get_or_init(|| text.trim().to_owned()).clone())
}

/// When the process began, in ticks since the boot; `None` when there is none of that number, or only its zombie.
///
/// # Errors
/// When `/proc` is not there.
pub fn start_time(pid: i32) -> io::Result<Option<u64>> {
    Ok(stat(pid)?.filter(|stat| !matches!(stat.state, 'Z' | 'X')).map(|stat| stat.began))
}

/// The same, also of a process that has ended and that nobody has waited for.
///
/// # Errors
/// When there is none of that number.
pub fn start_time_of_any(pid: i32) -> io::Result<u64> {
    stat(pid)?.map(|stat| stat.began).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Whose child the process is, also of one that has ended and that nobody has waited for.
#[must_use]
pub fn parent(pid: i32) -> Option<i32> {
    stat(pid).ok().flatten().map(|stat| stat.parent)
}

/// What a process is doing, in a letter of `proc_pid_stat(5)`; `None` when there is none of that number.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    stat(pid).ok().flatten().map(|stat| stat.state)
}

/// Which namespace of a kind (`net`, `ipc`, ...) a process is in: what tells it from every other one.
///
/// # Errors
/// When the process has ended.
pub fn namespace(pid: i32, kind: &str) -> io::Result<(u64, u64)> {
    let found = fs::metadata(format!("/proc/{pid}/ns/{kind}"))?;
    Ok((found.dev(), found.ino()))
}

/// The arguments of a process, each with a zero byte behind it; nothing of one that has ended.
#[must_use]
pub fn command_line(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// What the kernel says of a process, `proc_pid_stat(5)`.
struct Stat {
    state: char,
    parent: i32,
    began: u64,
}

fn stat(pid: i32) -> io::Result<Option<Stat>> {
    let text = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        // ESRCH: it ended between open and read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The name in parentheses may hold anything, parentheses and blanks too.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect::<Vec<_>>());
    let Some(fields) = fields else { return Ok(None) };
    let state = fields.first().and_then(|field| field.chars().next()).unwrap_or('?');
    let number = |index: usize| fields.get(index).copied();
    let parent = number(1).and_then(|parent| parent.parse().ok());
    let began = number(19).and_then(|ticks| ticks.parse().ok());
    Ok(parent.zip(began).map(|(parent, began)| Stat { state, parent, began }))
}

/// Whether it still runs. When that cannot be found out it is taken to.
#[must_use]
pub fn is_alive(pid: i32, started: u64, boot: &str) -> bool {
    let same_boot = boot_id().is_ok_and(|now| now == boot);
    same_boot && start_time(pid).map_or(true, |now| now == Some(started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_process_of_the_same_boot_is_alive() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap().unwrap();
        let boot = boot_id().unwrap();
        assert!(is_alive(pid, started, &boot));
        assert!(!is_alive(pid, started + 1, &boot));
        assert!(!is_alive(pid, started, "another"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let child_pid = i32::try_from(child.id()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while start_time(child_pid).unwrap().is_some() {
            assert!(std::time::Instant::now() < deadline, "a zombie counts as alive");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(start_time(child_pid).unwrap(), None);
    }
}
