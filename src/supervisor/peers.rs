//! Containers whose namespaces another one shares: of the project, or of any other (`network_mode: container:NAME`).

use std::fs;
use std::rc::Rc;

use super::container::Container;
use super::error::{Holder, SupervisorError};
use super::holders::holders;
use super::project::Project;
use crate::keeper::OtherProcess;
use crate::record::{CONTAINER_PREFIX, ContainerRecord, ContainerState, Status, is_called};
use crate::runtime::spec::{ContainerSpec, Namespace, Namespaces, NetworkNamespace};
use crate::state::{Paths, process, record};

struct Peer {
    record: Rc<ContainerRecord>,
    /// What the keeper knows it by.
    target: String,
    /// Its first process, when it runs.
    pid: Option<i32>,
}

impl Project {
    /// Puts in what the keeper knows the peers by. What comes back is the one whose network is shared.
    pub(super) fn join_peers(&self, spec: &mut ContainerSpec) -> Result<Option<Rc<ContainerRecord>>, SupervisorError> {
        let join = |what: &'static str, target: &mut String| {
            let peer = self.running_peer(what, target)?;
            *target = peer.target;
            Ok::<_, SupervisorError>(peer.record)
        };
        let namespaces = &mut spec.namespaces;
        for (what, namespace) in
            [("processes", &mut namespaces.pid), ("ipc", &mut namespaces.ipc), ("uts", &mut namespaces.uts)]
        {
            if let Namespace::Container(target) = namespace {
                join(what, target)?;
            }
        }
        match &mut namespaces.network {
            NetworkNamespace::Container(target) => join("network", target).map(Some),
            NetworkNamespace::Host | NetworkNamespace::Passed => Ok(None),
        }
    }

    /// Why a running container is not, or not any more, in the namespaces that it is to share: the kernel says so.
    #[must_use]
    pub fn adrift(&self, id: &str) -> Option<String> {
        let container = self.find(id).ok()?;
        let own = pid_of(&container.state().status)?;
        let Namespaces { network, pid, ipc, uts, .. } = &container.record.spec.namespaces;
        let network = match network {
            NetworkNamespace::Container(target) => Some(target),
            NetworkNamespace::Host | NetworkNamespace::Passed => None,
        };
        let of = |namespace: &'_ Namespace| match namespace {
            Namespace::Container(target) => Some(target.clone()),
            _ => None,
        };
        let shared = [
            ("network", "net", network.cloned()),
            ("ipc", "ipc", of(ipc)),
            ("uts", "uts", of(uts)),
            ("processes", "pid", of(pid)),
        ];
        shared.into_iter().find_map(|(what, kind, target)| {
            let peer = self.peer(&target?)?;
            let same = process::namespace(peer.pid?, kind).ok()? == process::namespace(own, kind).ok()?;
            (!same).then(|| format!("the {what} of {} that it shares is another one now", peer.record.name))
        })
    }

    fn running_peer(&self, namespace: &'static str, target: &str) -> Result<Peer, SupervisorError> {
        match self.peer(target) {
            Some(peer) if peer.pid.is_some() => Ok(peer),
            Some(peer) => Err(SupervisorError::Shared { namespace, target: peer.record.name.clone() }),
            None => match target.strip_prefix(CONTAINER_PREFIX) {
                Some(name) => Err(SupervisorError::NoPeer { namespace, name: name.to_owned() }),
                None => Err(SupervisorError::Shared { namespace, target: self.name_of(target) }),
            },
        }
    }

    fn peer(&self, target: &str) -> Option<Peer> {
        let Some(wanted) = target.strip_prefix(CONTAINER_PREFIX) else {
            return self.find(target).ok().map(|container| own_peer(&container));
        };
        let own = self.all().into_iter().find(|container| container.record.is_called(wanted));
        own.map_or_else(|| self.foreign_peer(wanted), |container| Some(own_peer(&container)))
    }

    fn foreign_peer(&self, wanted: &str) -> Option<Peer> {
        let paths = &self.inner.paths;
        let (holder, record) = foreign(paths, self.inner.project.name(), wanted)?;
        let places = paths.project(&holder.project).container(&holder.id);
        let record = Rc::new(record);
        let status = record::read::<ContainerState>(&places.state()).ok().flatten().map(|state| state.status);
        let process = match status {
            Some(Status::Running { pid, start_time, ref boot_id, .. })
                if process::is_alive(pid, start_time, boot_id) =>
            {
                Some(OtherProcess { pid, start_time })
            }
            _ => None,
        };
        let target = process.map_or_else(|| holder.id.clone(), |process| process.to_string());
        Some(Peer { record, target, pid: process.map(|process| process.pid) })
    }
}

/// The container of any project but `except` that is called so.
#[must_use]
pub fn elsewhere(paths: &Paths, except: &str, wanted: &str) -> Option<ContainerRecord> {
    foreign(paths, except, wanted).map(|(_, record)| record)
}

fn foreign(paths: &Paths, except: &str, wanted: &str) -> Option<(Holder, ContainerRecord)> {
    let projects = fs::read_dir(paths.projects()).ok()?.flatten();
    let mut others = projects
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|project| project != except)
        .flat_map(|project| holders(paths, &project));
    let holder = others.find(|holder| is_called(wanted, &holder.name, &holder.id))?;
    let record = record::read(&paths.project(&holder.project).container(&holder.id).record()).ok()??;
    Some((holder, record))
}

fn own_peer(container: &Container) -> Peer {
    Peer {
        record: Rc::clone(&container.record),
        target: container.record.id.clone(),
        pid: container.is_running().then(|| pid_of(&container.state().status)).flatten(),
    }
}

fn pid_of(status: &Status) -> Option<i32> {
    match status {
        Status::Running { pid, .. } => Some(*pid),
        _ => None,
    }
}
