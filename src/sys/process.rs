//! What a process does to itself between clone and exec.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Closes every descriptor but those given (and takes no notice of who owned them): for a cloned process that will
/// soon execute another program and drops nothing of what it copied.
///
/// # Errors
/// As `close_range(2)`.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut first = 0;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: plain integers; the caller is a process that no longer uses what it owned.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives every signal its default action (Rust ignores SIGPIPE, and ignored signals stay ignored over an exec) and
/// unblocks them all.
pub fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: sets the default disposition; fails harmlessly for SIGKILL, SIGSTOP and the C library's own.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: `set` is initialised by sigemptyset before use.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Starts a new session keyring, so that the container sees none of its parent's keys.
///
/// # Errors
/// `ENOSYS` when the kernel has no keyrings; `EDQUOT` when the user has too many.
pub fn new_session_keyring(name: &CStr) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name is a C string that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Blocks every signal of this process: they wait for [`next_signal`].
pub fn block_signals() {
    // SAFETY: `set` is initialised by sigfillset before use.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits for a blocked signal and takes it.
#[must_use]
pub fn next_signal() -> i32 {
    let mut signal = 0;
    // SAFETY: `set` is initialised by sigfillset before use; `signal` is valid for the write.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigwait(&raw const set, &raw mut signal);
    }
    signal
}

/// A child that has ended, and its wait status as `wait(2)` has it; it stays until it is waited for.
#[must_use]
pub fn ended_child() -> Option<(i32, i32)> {
    // SAFETY: zeros are a valid `siginfo_t`, which is valid for the write; its fields are those of SIGCHLD when a child
    // was found, and 0 when there was none.
    let (pid, code, status) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) != 0 {
            return None;
        }
        (info.si_pid(), info.si_code, info.si_status())
    };
    let status = if code == libc::CLD_EXITED { (status & 0xff) << 8 } else { status & 0x7f };
    (pid != 0).then_some((pid, status))
}

/// Ends this process without running exit handlers: for a cloned process.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}

/// Sends a signal by number, real-time signals included; a process that is gone is no error.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: plain integers.
    unsafe { libc::kill(pid, signal) };
}

/// Executes the file that a descriptor stands for. Returns only when that fails.
#[must_use]
pub fn execute_descriptor(file: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |all: &[CString]| -> Vec<*const libc::c_char> {
        all.iter().map(|text| text.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer and point to C strings that outlive the call; the path is empty.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Replaces the arguments that `/proc/self/cmdline` shows. Does nothing when there is no room for the new text.
pub fn set_title(title: &str) {
    // Fields 48 and 49: where the kernel put the arguments. The name in the second field may hold anything.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, after)| after).split_whitespace().collect();
    let address = |index: usize| fields.get(index).and_then(|text| text.parse::<usize>().ok());
    let (Some(start), Some(end)) = (address(45), address(46)) else { return };
    if start == 0 || end <= start || end - start <= title.len() {
        return;
    }
    let region = std::ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel says that the process's arguments lie there, on its stack, writable; nothing refers to them as
    // immutable any more: the caller has taken its arguments long ago and executes nothing from them.
    unsafe {
        std::ptr::write_bytes(region, 0, end - start);
        std::ptr::copy_nonoverlapping(title.as_ptr(), region, title.len());
    }
}
