//! Containers whose namespaces another one shares: of the project, or of any other (`network_mode: container:NAME`).

use std::fs;
use std::rc::Rc;

use super::container::Container;
use super::error::SupervisorError;
use super::holders::holders;
use super::project::Project;
use crate::keeper::OtherProcess;
use crate::record::{CONTAINER_PREFIX, ContainerRecord, ContainerState, Status};
use crate::runtime::spec::{ContainerSpec, Namespace, Namespaces, NetworkNamespace};
use crate::state::{process, record};

/// Digits of an id that are enough to name a container.
const SHORTEST_ID: usize = 12;

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
        let is_meant = |name: &str, id: &str| name == wanted || wanted.len() >= SHORTEST_ID && id.starts_with(wanted);
        let own = self.all().into_iter().find(|container| is_meant(&container.record.name, container.id()));
        own.map_or_else(|| self.foreign_peer(is_meant), |container| Some(own_peer(&container)))
    }

    fn foreign_peer(&self, is_meant: impl Fn(&str, &str) -> bool) -> Option<Peer> {
        let paths = &self.inner.paths;
        let projects = fs::read_dir(paths.projects()).ok()?.flatten();
        let mut others = projects
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|project| project != self.inner.project.name())
            .flat_map(|project| holders(paths, &project));
        let holder = others.find(|holder| is_meant(&holder.name, &holder.id))?;
        let places = paths.project(&holder.project).container(&holder.id);
        let record = Rc::new(record::read::<ContainerRecord>(&places.record()).ok()??);
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
