//! Paths in `/proc/PID/mountinfo`, see proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Undoes the kernel's escapes: blanks, line ends and backslashes are octal numbers (`\040`).
#[must_use]
pub fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_backslashes() {
        for (written, meant) in [("/a", "/a"), ("/a\\040b\\134", "/a b\\"), ("/a\\", "/a\\"), ("/\\999", "/\\999")] {
            assert_eq!(unescape(written.as_bytes()), PathBuf::from(meant));
        }
    }
}
