//! What the keeper keeps open of a container's network for the next supervisor, and under which names.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::runtime::spec::ContainerId;
use crate::sys::passed::PassedDescriptors;

/// One thing that is put into keeping.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keepsake<'a> {
    Namespace(BorrowedFd<'a>),
    /// The sockets of the name server, inside the namespace.
    Resolver {
        udp: BorrowedFd<'a>,
        tcp: BorrowedFd<'a>,
    },
    /// `key` says what is published.
    Port {
        key: &'a str,
        socket: BorrowedFd<'a>,
    },
}

impl<'a> Keepsake<'a> {
    /// Its name, and its descriptors in their order.
    pub(super) fn pack(self, container: &str) -> (String, Vec<BorrowedFd<'a>>) {
        match self {
            Self::Namespace(namespace) => (namespace_key(container), vec![namespace]),
            Self::Resolver { udp, tcp } => (resolver_key(container), vec![udp, tcp]),
            Self::Port { key, socket } => (port_key(container, key), vec![socket]),
        }
    }
}

pub(super) fn namespace_key(container: &str) -> String {
    format!("net/{container}")
}

pub(super) fn resolver_key(container: &str) -> String {
    format!("dns/{container}")
}

pub(super) fn port_key(container: &str, port: &str) -> String {
    format!("port/{container}/{port}")
}

/// Connections of clients that wait for the end of a project's processes: of no use to another supervisor.
pub const PARTING: &str = "parting";

/// All that was kept of one container.
#[derive(Debug, Default)]
pub(super) struct KeptNetwork {
    pub namespace: Option<OwnedFd>,
    pub resolver: Option<KeptResolver>,
    /// By what is published.
    pub ports: BTreeMap<String, OwnedFd>,
}

#[derive(Debug)]
pub(super) struct KeptResolver {
    pub udp: OwnedFd,
    pub tcp: OwnedFd,
}

impl KeptNetwork {
    /// Sorts in what the keeper hands over.
    ///
    /// # Errors
    /// When the name is none of these, or other descriptors came than it stands for.
    pub(super) fn take(all: &mut BTreeMap<ContainerId, Self>, name: &str, fds: Vec<OwnedFd>) -> io::Result<()> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "nothing is kept under such a name");
        let (kind, of) = name.split_once('/').ok_or_else(unknown)?;
        match kind {
            "net" => {
                let namespace = PassedDescriptors::new(fds, 1)?.take()?;
                all.entry(of.to_owned()).or_default().namespace = Some(namespace);
            }
            "dns" => {
                let mut fds = PassedDescriptors::new(fds, 2)?;
                let resolver = KeptResolver { udp: fds.take()?, tcp: fds.take()? };
                all.entry(of.to_owned()).or_default().resolver = Some(resolver);
            }
            "port" => {
                let (container, port) = of.split_once('/').ok_or_else(unknown)?;
                let socket = PassedDescriptors::new(fds, 1)?.take()?;
                all.entry(container.to_owned()).or_default().ports.insert(port.to_owned(), socket);
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// The names of all that is in it.
    pub(super) fn keys(&self, container: &str) -> Vec<String> {
        let namespace = self.namespace.as_ref().map(|_| namespace_key(container));
        let resolver = self.resolver.as_ref().map(|_| resolver_key(container));
        let ports = self.ports.keys().map(|port| port_key(container, port));
        namespace.into_iter().chain(resolver).chain(ports).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn what_was_put_into_keeping_comes_back_under_its_name() {
        let fd = null();
        let fd = fd.as_fd();
        let mut all = BTreeMap::new();
        let mut names = Vec::new();
        for keepsake in [
            Keepsake::Namespace(fd),
            Keepsake::Resolver { udp: fd, tcp: fd },
            Keepsake::Port { key: "tcp/127.0.0.1/80/8080", socket: fd },
            Keepsake::Port { key: "udp/::/53/53", socket: fd },
        ] {
            let (name, fds) = keepsake.pack("c1");
            KeptNetwork::take(&mut all, &name, fds.iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect())
                .unwrap();
            names.push(name);
        }
        let kept = all.remove("c1").unwrap();
        assert!(all.is_empty());
        assert_eq!(kept.keys("c1"), names);
        assert!(kept.namespace.is_some() && kept.resolver.is_some());
        assert_eq!(kept.ports.keys().collect::<Vec<_>>(), ["tcp/127.0.0.1/80/8080", "udp/::/53/53"]);
    }

    #[test]
    fn what_is_none_of_these_is_refused() {
        let mut all = BTreeMap::new();
        for (name, count) in [
            ("net/c1", 0),
            ("net/c1", 2),
            ("dns/c1", 1),
            ("dns/c1", 3),
            ("port/c1/x", 0),
            ("port/c1", 1),
            ("", 1),
            ("other/c1", 1),
        ] {
            let fds = (0..count).map(|_| null()).collect();
            assert!(KeptNetwork::take(&mut all, name, fds).is_err(), "{name} with {count}");
        }
        assert!(all.is_empty());
    }
}
