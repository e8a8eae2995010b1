//! What a cloned process tells the keeper before it becomes the container's program.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::runtime::StartError;
use crate::sys::packet;
use crate::sys::passed::PassedDescriptors;

/// What is said, with what is handed over.
#[derive(Debug)]
pub(super) enum ChildReport<'a> {
    /// Something was not allowed and is left out.
    Warning(String),
    /// The process that was asked for is another one: a sibling.
    Cloned {
        pid: i32,
        pidfd: BorrowedFd<'a>,
    },
    /// All is set up, the program is executed next.
    Ready {
        terminal: Option<BorrowedFd<'a>>,
    },
    Failed(StartError),
}

/// The same where it arrives.
#[derive(Debug)]
pub(super) enum Reported {
    Warning(String),
    Cloned { pid: i32, pidfd: OwnedFd },
    Ready { terminal: Option<OwnedFd> },
    Failed(StartError),
}

/// The text of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    Warning(String),
    Cloned { pid: i32 },
    Ready { terminal: bool },
    Failed(StartError),
}

impl ChildReport<'_> {
    pub(super) fn send(self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let (message, fds) = match self {
            Self::Warning(text) => (Message::Warning(text), None),
            Self::Cloned { pid, pidfd } => (Message::Cloned { pid }, Some(pidfd)),
            Self::Ready { terminal } => (Message::Ready { terminal: terminal.is_some() }, terminal),
            Self::Failed(error) => (Message::Failed(error), None),
        };
        packet::send(socket, &serde_json::to_vec(&message)?, fds.as_slice())
    }
}

impl Reported {
    /// `None` when every process that could report has executed its program or ended.
    pub(super) fn recv(socket: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Some((text, fds)) = packet::recv(socket)? else { return Ok(None) };
        let message = serde_json::from_slice(&text)?;
        let brings = matches!(message, Message::Cloned { .. } | Message::Ready { terminal: true });
        let mut fds = PassedDescriptors::new(fds, usize::from(brings))?;
        Ok(Some(match message {
            Message::Warning(text) => Self::Warning(text),
            Message::Cloned { pid } => Self::Cloned { pid, pidfd: fds.take()? },
            Message::Ready { terminal } => Self::Ready { terminal: fds.take_if(terminal)? },
            Message::Failed(error) => Self::Failed(error),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_report_brings_what_it_says() {
        let (here, there) = packet::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let recv = || Reported::recv(there.as_fd());
        ChildReport::Warning("w".to_owned()).send(here.as_fd()).unwrap();
        assert!(matches!(recv().unwrap(), Some(Reported::Warning(text)) if text == "w"));
        ChildReport::Cloned { pid: 7, pidfd: file.as_fd() }.send(here.as_fd()).unwrap();
        assert!(matches!(recv().unwrap(), Some(Reported::Cloned { pid: 7, .. })));
        ChildReport::Ready { terminal: None }.send(here.as_fd()).unwrap();
        assert!(matches!(recv().unwrap(), Some(Reported::Ready { terminal: None })));
        ChildReport::Ready { terminal: Some(file.as_fd()) }.send(here.as_fd()).unwrap();
        assert!(matches!(recv().unwrap(), Some(Reported::Ready { terminal: Some(_) })));
        for (text, fds) in [
            (r#"{"cloned":{"pid":7}}"#, vec![]),
            (r#"{"ready":{"terminal":true}}"#, vec![]),
            (r#"{"ready":{"terminal":false}}"#, vec![file.as_fd()]),
            (r#"{"warning":"w"}"#, vec![file.as_fd()]),
        ] {
            packet::send(&here, text.as_bytes(), &fds).unwrap();
            assert_eq!(recv().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
        drop(here);
        assert!(recv().unwrap().is_none());
    }
}
