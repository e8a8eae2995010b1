//! What a person can do about faults of what is on disk.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use super::record::ReadError;

const DAMAGED: &str = "put the file back when there is a copy of it; otherwise `windlass down` removes what it belongs \
                       to, but no volume";

/// The remedy for an error, when it or one of its sources is such a fault.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<ReadError>() {
            // Without a number it is no fault of the disk: something else is in its place.
            Some(ReadError::Io { source, .. }) if source.raw_os_error().is_none() => return Some(DAMAGED),
            Some(ReadError::Damaged { .. }) => {
                return Some(DAMAGED);
            }
            Some(ReadError::Newer { .. }) => {
                return Some("use that windlass, or bring the project down with it first");
            }
            _ => {}
        }
        let number = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        match number.map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => {
                return Some(
                    "make room on that disk: `windlass system df` shows what is in use, `windlass system prune` removes \
                     what nobody uses",
                );
            }
            Some(Errno::ACCESS | Errno::PERM) if !nix::unistd::geteuid().is_root() => {
                return Some("this needs root: run it with sudo, or keep a state of your own: WINDLASS_HOME=/folder");
            }
            Some(Errno::ROFS) => {
                return Some(
                    "mount that file system for writing, or keep the state of windlass elsewhere: WINDLASS_HOME=/folder",
                );
            }
            _ => {}
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::WriteError;

    #[test]
    fn the_cause_decides() {
        let full = |errno: Errno| WriteError { path: "/x".into(), source: errno.into() };
        assert!(of(&full(Errno::NOSPC)).is_some_and(|text| text.contains("system df")));
        assert!(of(&full(Errno::ROFS)).is_some_and(|text| text.contains("WINDLASS_HOME")));
        assert_eq!(of(&full(Errno::ACCESS)), None);
        let newer = ReadError::Newer { path: "/x".into(), found: 2, known: 1 };
        assert!(of(&newer).is_some_and(|text| text.contains("use that windlass")));
    }
}
