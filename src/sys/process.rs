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

/// The kernel's signals are 1 to 64, and a set of them this many bytes. Its calls are made without the C library, which
/// keeps 32 and 33 for itself: in its sets they are missing, and a program would inherit what our caller did to them.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;
const SET: usize = size_of::<u64>();

/// Gives every signal its default action (Rust ignores SIGPIPE, and ignored signals stay ignored over an exec) and
/// unblocks them all.
pub fn reset_signals() {
    // `struct sigaction` of the kernel: action, flags, restorer and mask, zero for the default action. Longer than that of
    // any architecture.
    let default = [0u64; 8];
    for signal in SIGNALS {
        let (action, none) = (default.as_ptr(), std::ptr::null_mut::<u64>());
        // SAFETY: `action` points to as many zeros as the kernel reads, and nothing is written; fails harmlessly for
        // SIGKILL and SIGSTOP.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, none, SET) };
    }
    set_mask(0);
}

fn set_mask(set: u64) {
    // SAFETY: `set` is a signal set of the size given and is only read.
    unsafe {
        let none = std::ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, none, SET)
    };
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
    set_mask(u64::MAX);
}

/// Waits for a blocked signal and takes it.
#[must_use]
pub fn next_signal() -> i32 {
    let set = u64::MAX;
    loop {
        // SAFETY: `set` is a signal set of the size given and is only read; nothing is written without an info, and without
        // a time the call waits.
        let signal = unsafe {
            let (info, time) = (std::ptr::null_mut::<libc::siginfo_t>(), std::ptr::null::<libc::timespec>());
            libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, info, time, SET)
        };
        if let Ok(signal @ 1..) = i32::try_from(signal) {
            return signal;
        }
    }
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
