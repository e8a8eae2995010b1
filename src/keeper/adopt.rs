//! Containers that an earlier keeper has started: this one is not their parent.
//!
//! A child of a keeper that died is for init to wait for, or for a subreaper above. So such a container is followed by
//! its pidfd, which becomes readable at its end. How it ended is known where the kernel keeps that for the pidfd (Linux
//! 6.15); of one that was gone already, from the exit record that its own keeper may have written. Else it is unknown.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::keeper::containers::{Container, Streams};
use crate::keeper::pipes::Pipes;
use crate::keeper::protocol::ExitRecord;
use crate::keeper::serve::{Keeper, decode, send};
use crate::runtime::spec::{ContainerSpec, ExitStatus};
use crate::state::{process, record};
use crate::sys;

impl Keeper {
    /// Takes up a container, whether it still runs or has ended meanwhile.
    pub(super) fn adopt(
        &mut self,
        spec: Box<ContainerSpec>,
        pid: i32,
        started: u64,
        folder: &Path,
        exit_record: PathBuf,
    ) {
        let id = spec.id.clone();
        if self.containers.get(&id).is_some_and(|c| c.exit.is_none()) {
            return;
        }
        let opened = || {
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            // Read after opening: it is this process whose time is compared.
            (process::start_time_of_any(pid).ok()? == started).then_some(pidfd)
        };
        let pidfd = opened();
        let gone = pidfd.is_none();
        let streams = if spec.process.tty {
            self.terminals.take(pid).map_or(Streams::None, Streams::Terminal)
        } else {
            Pipes::open(folder).map_or(Streams::None, Streams::Pipes)
        };
        let mut container =
            Container { spec, pid, start_time: started, pidfd, streams, exit_record, exit: None, adopted: true };
        if gone {
            let known =
                record::read::<ExitRecord>(&container.exit_record).ok().flatten().filter(|exit| exit.pid == pid);
            container.ended(known.map_or(ExitStatus::Unknown, |exit| exit.status), false);
        }
        let (event, fds) = container.running();
        send(&mut self.link, &event, &fds);
        let spec = container.spec.clone();
        self.containers.insert(id.clone(), container);
        if gone {
            self.tell_exit(&id);
            self.clean(spec);
        }
    }

    /// An adopted container's end is seen by its pidfd; its status only where the kernel keeps it there.
    pub(super) fn look_at_adopted(&mut self) {
        let mut ended = Vec::new();
        for (id, container) in self.containers.iter().filter(|(_, c)| c.adopted && c.exit.is_none()) {
            let Some(pidfd) = &container.pidfd else { continue };
            let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
            if matches!(poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1)) {
                let status = sys::pidfd::exit_status(pidfd.as_fd());
                ended.push((id.clone(), status.map_or(ExitStatus::Unknown, decode)));
            }
        }
        for (id, status) in ended {
            self.container_ended(&id, status);
        }
    }
}
