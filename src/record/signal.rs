//! Signals by name, and sending them to a process that cannot be mistaken for another.

use std::io;
use std::os::fd::AsFd;

use crate::sys::{fault, pidfd};

/// `SIGTERM`, `TERM`, `term`, `15`, `SIGRTMIN+3`; `None` when it is no signal.
#[must_use]
pub fn parse(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    // The C library keeps the first two real-time signals for itself.
    const RTMIN: i32 = 34;
    const RTMAX: i32 = 64;
    let real_time = |base: i32, rest: &str| match rest {
        "" => Some(base),
        rest => rest.parse::<i32>().ok().map(|offset| base + offset),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        real_time(RTMIN, rest)
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        real_time(RTMAX, rest)
    } else {
        let name = match name {
            "CLD" => "CHLD",
            "POLL" => "IO",
            "IOT" => "ABRT",
            other => other,
        };
        return format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32);
    };
    number.filter(|number| (RTMIN..=RTMAX).contains(number))
}

/// Sends a signal; a process that is gone is no error.
///
/// # Errors
/// When the kernel refuses.
pub fn send(process: impl AsFd, signal: i32) -> io::Result<()> {
    match fault::around("send a signal", || pidfd::send_signal(process.as_fd(), signal)) {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_as_docker_reads_them() {
        for (text, number) in
            [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("SIGCLD", 17), ("quit", 3)]
        {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "SIG", "0", "65", "-9", "SIGNOPE", "RTMIN+40", "RTMIN+x", "RTMAX+1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
