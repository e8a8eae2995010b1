//! Descriptors that came with a message: as many as were announced, or none is taken. Whoever sent them may be anybody.

use std::io;
use std::os::fd::OwnedFd;

/// Takes them one after the other, in the order in which they were sent.
#[derive(Debug)]
pub struct PassedDescriptors(std::vec::IntoIter<OwnedFd>);

impl PassedDescriptors {
    /// # Errors
    /// `InvalidData` when there are not `expected` of them; all are closed then.
    pub fn new(fds: Vec<OwnedFd>, expected: usize) -> io::Result<Self> {
        if fds.len() == expected {
            return Ok(Self(fds.into_iter()));
        }
        let text = format!("a message with {} descriptors where {expected} were announced", fds.len());
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// The one that a message may bring or not.
    ///
    /// # Errors
    /// `InvalidData` when there are more.
    pub fn optional(fds: Vec<OwnedFd>) -> io::Result<Option<OwnedFd>> {
        let brings = !fds.is_empty();
        Self::new(fds, usize::from(brings))?.take_if(brings)
    }

    /// # Errors
    /// `InvalidData` when all were taken.
    pub fn take(&mut self) -> io::Result<OwnedFd> {
        self.0.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message lacks a descriptor"))
    }

    /// The next one when it was announced.
    ///
    /// # Errors
    /// As [`PassedDescriptors::take`].
    pub fn take_if(&mut self, announced: bool) -> io::Result<Option<OwnedFd>> {
        announced.then(|| self.take()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_were_announced_or_none() {
        let fds = |count: usize| (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect();
        for (sent, expected) in [(0, 1), (1, 0), (2, 3), (4, 3)] {
            let error = PassedDescriptors::new(fds(sent), expected).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(&format!("{sent} descriptors where {expected}")), "{error}");
        }
        let mut incoming = PassedDescriptors::new(fds(1), 1).unwrap();
        assert!(incoming.take_if(false).unwrap().is_none());
        assert!(incoming.take_if(true).unwrap().is_some());
        assert!(incoming.take().is_err());
        assert!(PassedDescriptors::optional(fds(0)).unwrap().is_none());
        assert!(PassedDescriptors::optional(fds(1)).unwrap().is_some());
        assert!(PassedDescriptors::optional(fds(2)).is_err());
    }
}
