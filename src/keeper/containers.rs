//! The containers that a keeper knows, and the descriptors that it holds for each.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::keeper::descriptors::{HeldProcess, ProcessBrings};
use crate::keeper::pipes::Pipes;
use crate::keeper::protocol::{ExitRecord, KeeperEvent};
use crate::runtime::OtherEnds;
use crate::runtime::spec::{ContainerSpec, ExitStatus};
use crate::state::record::{self, Durability};

#[derive(Debug)]
pub(super) struct Container {
    pub spec: Box<ContainerSpec>,
    pub pid: i32,
    pub start_time: u64,
    /// `None` for an adopted container that was gone already.
    pub pidfd: Option<OwnedFd>,
    pub streams: Streams,
    pub exit_record: PathBuf,
    pub exit: Option<Exit>,
    /// Not a child of this keeper: its end is seen by the pidfd.
    pub adopted: bool,
}

#[derive(Debug)]
pub(super) enum Streams {
    Pipes(Pipes),
    Terminal(OwnedFd),
    /// An adopted container's terminal died with all that held it.
    None,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub status: ExitStatus,
    pub at: Timestamp,
    pub oom_killed: bool,
}

impl Container {
    /// What goes with `Started` and `Running`.
    pub(super) fn held(&self) -> (ProcessBrings, Vec<BorrowedFd<'_>>) {
        let ends = match &self.streams {
            Streams::Pipes(Pipes { stdin, stdout, stderr }) => OtherEnds::Pipes {
                stdin: stdin.as_ref().map(AsFd::as_fd),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
            },
            Streams::Terminal(master) => OtherEnds::Terminal(master.as_fd()),
            Streams::None => OtherEnds::None,
        };
        HeldProcess { pidfd: self.pidfd.as_ref().map(AsFd::as_fd), ends }.pack()
    }

    pub(super) fn running(&self) -> (KeeperEvent, Vec<BorrowedFd<'_>>) {
        let (brings, fds) = self.held();
        let container = self.spec.id.clone();
        (KeeperEvent::Running { container, pid: self.pid, start_time: self.start_time, brings }, fds)
    }

    /// Writes the record of the end, which is told only afterwards.
    pub(super) fn ended(&mut self, status: ExitStatus, oom_killed: bool) {
        let at = Timestamp::now();
        self.exit = Some(Exit { status, at, oom_killed });
        let exit = ExitRecord { pid: self.pid, status, at, oom_killed };
        if let Err(error) = record::write(&self.exit_record, &exit, Durability::Process) {
            tracing::warn!(%error, "an exit record is not written");
        }
    }

    pub(super) fn exited(&self) -> Option<KeeperEvent> {
        let exit = self.exit?;
        Some(KeeperEvent::Exited {
            container: self.spec.id.clone(),
            status: exit.status,
            at: exit.at,
            oom_killed: exit.oom_killed,
        })
    }
}
