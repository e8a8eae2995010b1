//! The project's networks, ports and names, in the order and grouping in which the kernel is quick.

mod connecting;
mod naming;
mod published;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, oneshot, watch};

use self::naming::resolver;
pub use self::published::try_ports;
use super::error::{SupervisorError, chain};
use super::kept::{Keepsake, KeptNetwork, KeptResolver, namespace_key, port_key, resolver_key};
use super::link::Link;
use crate::keeper::protocol::KeeperRequest;
use crate::network::dns::{HostServers, Names, Server};
use crate::network::mend::{Attachment, Mended};
use crate::network::netns::{self, Resolver, ResolverSockets};
use crate::network::ports::{self, Proxy, Reservation};
use crate::network::spec::{EndpointSpec, NetworkSpec, PortSpec, PublishedPort};
use crate::network::{Budget, Claims, NetworkError, NetworkLease, Networks, Publication, Sandbox, SandboxSpec};
use crate::record::{ContainerRecord, ContainerState, EndpointState};
use crate::runtime::spec::ContainerId;
use crate::state::{Paths, ProjectPaths};
use crate::sys::descriptors;

#[derive(Debug)]
pub(super) struct Network {
    networks: Networks,
    names: Names,
    host: HostServers,
    link: Rc<Link>,
    leases: RefCell<BTreeMap<String, NetworkLease>>,
    keys: RefCell<BTreeMap<String, String>>,
    /// Networks that containers were connected to, though the project does not have them.
    borrowed: RefCell<BTreeSet<String>>,
    /// As of the last `up`.
    claims: RefCell<Claims>,
    publications: RefCell<BTreeMap<ContainerId, Vec<Publication>>>,
    /// Bound before anything is started.
    reserved: RefCell<BTreeMap<ContainerId, Vec<Reservation>>>,
    /// Ports that go from a container to the one that takes its place, without being anybody's in between.
    inherited: RefCell<BTreeMap<ContainerId, Vec<PublishedPort>>>,
    /// Ports that stopped containers had: they get the same ones again when they can.
    last: RefCell<BTreeMap<ContainerId, Vec<PublishedPort>>>,
    queue: RefCell<Vec<Wish>>,
    /// Containers that have ended and whose addresses are to be given back.
    left: RefCell<Vec<ContainerId>>,
    attaching: Cell<bool>,
    wanted: Cell<u64>,
    applied: Cell<u64>,
    applying: Mutex<()>,
    /// Networks to remove, one removal at a time, and those that could not go because others use them.
    leaving: RefCell<Vec<String>>,
    removing: Mutex<()>,
    kept: RefCell<Vec<NetworkError>>,
    /// What clients of published ports, and containers that ask for names, can make us hold.
    port_budget: Budget,
    name_budget: Budget,
}

/// Descriptors for the clients of all published ports: these many connections, if we may have twice as many.
const PORTS: usize = 8192 * 6;
const NAMES: usize = 16 * 1024;

#[derive(Debug)]
struct Wish {
    input: Input,
    answer: Answer,
}

/// What a sandbox is made of.
#[derive(Debug)]
struct Input {
    container: ContainerId,
    name: String,
    endpoints: Vec<EndpointSpec>,
    resolver: Resolver,
}

impl Input {
    fn new(record: &ContainerRecord) -> Self {
        Self {
            container: record.id.clone(),
            // Nobody makes a one-off anew.
            name: if record.oneoff { String::new() } else { record.name.clone() },
            endpoints: record.endpoints.clone(),
            resolver: resolver(record),
        }
    }

    fn spec(&self) -> SandboxSpec<'_> {
        SandboxSpec {
            container: &self.container,
            name: &self.name,
            endpoints: &self.endpoints,
            resolver: self.resolver,
        }
    }
}

type Answer = oneshot::Sender<Result<Sandbox, NetworkError>>;

/// The network of a container, from its start until it has ended for good.
#[derive(Debug)]
pub(super) struct Attached {
    pub namespace: Arc<OwnedFd>,
    pub endpoints: Vec<EndpointState>,
    resolver: Option<ResolverSockets>,
    server: Option<Server>,
    /// Where the proxies of its ports lead.
    target: watch::Sender<Option<IpAddr>>,
    reservations: Vec<Reservation>,
    proxies: Vec<Proxy>,
}

impl Attached {
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let all = |pick: fn(&EndpointState) -> Option<IpAddr>| self.endpoints.iter().filter_map(pick);
        all(|endpoint| endpoint.ipv4).chain(all(|endpoint| endpoint.ipv6)).collect()
    }
}

impl Network {
    pub(super) fn new(paths: &Paths, project: &ProjectPaths, link: Rc<Link>) -> Self {
        let descriptors = descriptors::keep_reserve();
        Self {
            networks: Networks::new(paths, project),
            names: Names::of_project(paths, project),
            host: HostServers::default(),
            link,
            leases: RefCell::default(),
            keys: RefCell::default(),
            borrowed: RefCell::default(),
            claims: RefCell::default(),
            publications: RefCell::default(),
            reserved: RefCell::default(),
            inherited: RefCell::default(),
            last: RefCell::default(),
            queue: RefCell::default(),
            left: RefCell::default(),
            attaching: Cell::new(false),
            wanted: Cell::new(0),
            applied: Cell::new(0),
            applying: Mutex::new(()),
            leaving: RefCell::default(),
            removing: Mutex::new(()),
            kept: RefCell::default(),
            // The rest is ours.
            port_budget: Budget::new((descriptors / 2).min(PORTS)),
            name_budget: Budget::new((descriptors / 8).min(NAMES)),
        }
    }

    /// Makes sure that networks exist, with their rules.
    pub(super) async fn ensure(&self, specs: &[NetworkSpec]) -> Result<(), NetworkError> {
        if specs.is_empty() {
            return Ok(());
        }
        let (networks, wanted, claims) = (self.networks.clone(), specs.to_vec(), self.claims.borrow().clone());
        let leases = blocking(move || networks.ensure(&wanted, &claims)).await?;
        for (spec, lease) in specs.iter().zip(leases) {
            self.keys.borrow_mut().insert(spec.name.clone(), spec.key.clone());
            self.borrowed.borrow_mut().remove(&spec.name);
            self.leases.borrow_mut().insert(spec.name.clone(), lease);
        }
        self.update_rules().await
    }

    /// Sets aside the addresses that the file gives to services of its own, in all networks that exist and will.
    pub(super) async fn claim(&self, claims: Claims) -> Result<(), NetworkError> {
        let changed = *self.claims.borrow() != claims;
        self.claims.borrow_mut().clone_from(&claims);
        if !changed || claims.is_empty() {
            return Ok(());
        }
        let networks = self.networks.clone();
        blocking(move || networks.claim(&claims)).await
    }

    /// What of the host keeps containers from the outside all the same.
    pub(super) fn obstacles(&self) -> Vec<String> {
        self.networks.obstacles()
    }

    /// Names of the project's networks that are known to exist.
    pub(super) fn existing(&self) -> BTreeSet<String> {
        let borrowed = self.borrowed.borrow();
        self.leases.borrow().keys().filter(|name| !borrowed.contains(*name)).cloned().collect()
    }

    pub(super) async fn remove(&self, names: &[String]) -> Result<(), NetworkError> {
        for name in names {
            self.leases.borrow_mut().remove(name);
        }
        self.leaving.borrow_mut().extend(names.iter().cloned());
        // Those that go at the same time go in one request, which takes no longer than one of them.
        tokio::task::yield_now().await;
        let _turn = self.removing.lock().await;
        let batch = std::mem::take(&mut *self.leaving.borrow_mut());
        if !batch.is_empty() {
            match self.remove_now(batch.clone()).await {
                Ok(kept) => self.kept.borrow_mut().extend(kept),
                Err(error) => {
                    // The others try again, and hear a reason of their own.
                    let others = batch.into_iter().filter(|name| !names.contains(name));
                    self.leaving.borrow_mut().extend(others);
                    return Err(error);
                }
            }
        }
        let mut kept = self.kept.borrow_mut();
        let mine =
            |error: &NetworkError| matches!(error, NetworkError::InUse { network, .. } if names.contains(network));
        kept.iter().position(mine).map_or(Ok(()), |position| Err(kept.swap_remove(position)))
    }

    async fn remove_now(&self, names: Vec<String>) -> Result<Vec<NetworkError>, NetworkError> {
        self.update_rules().await?;
        let networks = self.networks.clone();
        blocking(move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            networks.remove(&names)
        })
        .await
    }

    /// The networks that are known to exist.
    pub(super) fn known(&self) -> Vec<NetworkLease> {
        self.leases.borrow().values().cloned().collect()
    }

    /// Makes good what somebody else has changed; answers with what was wrong.
    pub(super) async fn mend(&self, attached: Vec<Attachment>) -> Result<Vec<Mended>, NetworkError> {
        // Nothing comes back that is just removed, and no rules but the latest.
        let _removing = self.removing.lock().await;
        let _turn = self.applying.lock().await;
        let leases = self.known();
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let ports: Vec<Publication> = self.publications.borrow().values().flatten().cloned().collect();
        let networks = self.networks.clone();
        let (mended, found) = blocking(move || networks.mend(&leases, &ports, &attached)).await?;
        for lease in found {
            if let Some(known) = self.leases.borrow_mut().get_mut(&lease.name) {
                *known = lease;
            }
        }
        Ok(mended)
    }

    /// Everything of the project, known or not.
    pub(super) async fn remove_all(&self) -> Result<(), NetworkError> {
        let _turn = self.removing.lock().await;
        self.leases.borrow_mut().clear();
        self.publications.borrow_mut().clear();
        let networks = self.networks.clone();
        blocking(move || networks.remove_all()).await.map(drop)
    }

    /// The packet filter follows networks and ports; those who ask at the same time share one change.
    pub(super) async fn update_rules(&self) -> Result<(), NetworkError> {
        let mine = self.wanted.get() + 1;
        self.wanted.set(mine);
        let _turn = self.applying.lock().await;
        if self.applied.get() >= mine {
            return Ok(());
        }
        let now = self.wanted.get();
        let leases = self.known();
        let ports: Vec<Publication> = self.publications.borrow().values().flatten().cloned().collect();
        let networks = self.networks.clone();
        blocking(move || networks.update_firewall(&leases, &ports)).await?;
        self.applied.set(now);
        Ok(())
    }

    /// Makes a container's network.
    pub(super) async fn attach(self: &Rc<Self>, record: &ContainerRecord) -> Result<Attached, SupervisorError> {
        let sandbox = self.sandbox(record).await?;
        let attached = self.serve(record, Arc::new(sandbox.namespace), sandbox.endpoints, sandbox.resolver)?;
        // For the next supervisor.
        self.hold(&record.id, Keepsake::Namespace(attached.namespace.as_fd()))?;
        if let Some(sockets) = &attached.resolver {
            self.hold(&record.id, Keepsake::Resolver { udp: sockets.udp.as_fd(), tcp: sockets.tcp.as_fd() })?;
        }
        Ok(attached)
    }

    async fn sandbox(self: &Rc<Self>, record: &ContainerRecord) -> Result<Sandbox, SupervisorError> {
        let (answer, answered) = oneshot::channel();
        self.queue.borrow_mut().push(Wish { input: Input::new(record), answer });
        self.work_off();
        answered.await.unwrap_or_else(|_| Err(interrupted())).map_err(SupervisorError::from)
    }

    fn work_off(self: &Rc<Self>) {
        if !self.attaching.replace(true) {
            let network = Rc::clone(self);
            tokio::task::spawn_local(async move { network.attach_queued().await });
        }
    }

    /// Those that start and end at the same time share the lock and the requests. One turn after the other: who leaves
    /// and comes again has left before.
    async fn attach_queued(&self) {
        loop {
            tokio::task::yield_now().await;
            let (left, wishes) = (self.left.take(), self.queue.take());
            if left.is_empty() && wishes.is_empty() {
                break;
            }
            let networks = self.networks.clone();
            let work = move || {
                let left: Vec<&str> = left.iter().map(String::as_str).collect();
                if !left.is_empty()
                    && let Err(error) = networks.leave(&left)
                {
                    tracing::warn!("addresses of ended containers are not free yet: {}", chain(&error));
                }
                attach(&networks, wishes);
            };
            if let Err(error) = tokio::task::spawn_blocking(work).await {
                tracing::error!("{}", chain(&error));
            }
        }
        self.attaching.set(false);
    }

    /// The container has ended for good: its names and ports are gone, its links follow with the namespace. Whether
    /// it had ports; they are free after [`Network::freed`].
    pub(super) fn detach(self: &Rc<Self>, record: &ContainerRecord, attached: Attached) -> bool {
        self.names.remove(&record.id);
        self.leave([record.id.clone()]);
        self.link.tell(KeeperRequest::Release { key: namespace_key(&record.id) }, Vec::new());
        if attached.resolver.is_some() {
            self.link.tell(KeeperRequest::Release { key: resolver_key(&record.id) }, Vec::new());
        }
        for reservation in &attached.reservations {
            self.link.tell(KeeperRequest::Release { key: port_key(&record.id, &reservation.key()) }, Vec::new());
        }
        if !attached.reservations.is_empty() {
            self.last.borrow_mut().insert(record.id.clone(), attached.ports());
        }
        self.hand_down(attached.reservations);
        self.publications.borrow_mut().remove(&record.id).is_some()
    }

    /// Of a container that does not run: which ports it had.
    pub(super) fn remember(&self, container: &str, state: &ContainerState) {
        let ports = if state.ports.is_empty() { &state.last_ports } else { &state.ports };
        if !ports.is_empty() {
            self.last.borrow_mut().insert(container.to_owned(), ports.clone());
        }
    }

    /// Names of the project's networks that exist in the kernel, whoever made them.
    pub(super) fn standing(&self) -> BTreeSet<String> {
        self.networks.standing().unwrap_or_else(|error| {
            tracing::error!("{}", chain(&error));
            BTreeSet::new()
        })
    }

    /// The addresses of containers that do not run are free.
    pub(super) fn leave(self: &Rc<Self>, containers: impl IntoIterator<Item = ContainerId>) {
        self.left.borrow_mut().extend(containers);
        if !self.left.borrow().is_empty() {
            self.work_off();
        }
    }

    /// After ports were given up: returns when the keeper has closed them too and the rules do without them.
    pub(super) async fn freed(&self) {
        let (rules, ()) = tokio::join!(self.update_rules(), self.link.caught_up());
        if let Err(error) = rules {
            tracing::warn!("{}", chain(&error));
        }
    }

    /// Takes up the network of a container that an earlier supervisor attached. What the keeper lost is made
    /// again.
    pub(super) fn adopt(
        &self,
        record: &ContainerRecord,
        pid: i32,
        endpoints: Vec<EndpointState>,
        published: &[PublishedPort],
        kept: KeptNetwork,
    ) -> Result<Attached, SupervisorError> {
        let namespace = match kept.namespace {
            Some(namespace) => namespace,
            None => {
                let path = format!("/proc/{pid}/ns/net");
                let namespace =
                    std::fs::File::open(&path).map(OwnedFd::from).map_err(SupervisorError::io("open", path))?;
                self.hold(&record.id, Keepsake::Namespace(namespace.as_fd()))?;
                namespace
            }
        };
        let resolver = match kept.resolver {
            Some(KeptResolver { udp, tcp }) => Some(ResolverSockets { udp: udp.into(), tcp: tcp.into() }),
            None => {
                let sockets = netns::bind_resolver(&namespace, resolver(record))
                    .map_err(SupervisorError::system("serve names again"))?;
                if let Some(sockets) = &sockets {
                    self.hold(&record.id, Keepsake::Resolver { udp: sockets.udp.as_fd(), tcp: sockets.tcp.as_fd() })?;
                }
                sockets
            }
        };
        let mut attached = self.serve(record, Arc::new(namespace), endpoints, resolver)?;
        let ports = kept.ports.into_iter();
        attached.reservations.extend(ports.filter_map(|(key, socket)| Reservation::from_key(&key, socket)));
        for port in published {
            if attached.reservations.iter().any(|reservation| reservation.port == *port) {
                continue;
            }
            let spec = PortSpec {
                host_ip: Some(port.host_ip),
                published: Some((port.published, port.published)),
                target: port.target,
                protocol: port.protocol,
            };
            for reservation in ports::reserve(&[spec])? {
                self.hold_port(&record.id, &reservation)?;
                attached.reservations.push(reservation);
            }
        }
        if !attached.reservations.is_empty() {
            self.open_ports(record, &mut attached)?;
        }
        Ok(attached)
    }

    /// Gives back the addresses of removed containers. Of those whose names are `forgotten`, none is made anew.
    pub(super) fn release(&self, containers: &[&str], forgotten: &[&str]) -> Result<(), NetworkError> {
        self.last.borrow_mut().retain(|id, _| !containers.contains(&id.as_str()));
        self.networks.release(containers, forgotten)
    }

    /// The address at which a container reaches this machine (`host-gateway`).
    pub(super) fn gateway(&self, record: &ContainerRecord) -> Option<IpAddr> {
        let leases = self.leases.borrow();
        let gateway = |ipv4| {
            record.endpoints.iter().find_map(|endpoint| leases.get(&endpoint.network).and_then(|l| l.gateway(ipv4)))
        };
        gateway(true).or_else(|| gateway(false))
    }

    fn hold_port(&self, container: &str, reservation: &Reservation) -> Result<(), SupervisorError> {
        let key = reservation.key();
        self.hold(container, Keepsake::Port { key: &key, socket: reservation.socket.as_fd() })
    }

    fn hold(&self, container: &str, keepsake: Keepsake<'_>) -> Result<(), SupervisorError> {
        let (key, fds) = keepsake.pack(container);
        let fds: io::Result<Vec<OwnedFd>> = fds.iter().map(BorrowedFd::try_clone_to_owned).collect();
        let fds = fds.map_err(SupervisorError::system("duplicate a descriptor"))?;
        self.link.tell(KeeperRequest::Hold { key }, fds);
        Ok(())
    }
}

/// Makes the networks and hands each to whoever waits for it, as soon as it is ready.
fn attach(networks: &Networks, mut wishes: Vec<Wish>) {
    while !wishes.is_empty() {
        let (inputs, mut answers): (Vec<Input>, Vec<Option<Answer>>) =
            wishes.into_iter().map(|wish| (wish.input, Some(wish.answer))).unzip();
        let specs: Vec<SandboxSpec<'_>> = inputs.iter().map(Input::spec).collect();
        let made = networks.attach_each(&specs, |index, sandbox| {
            if let Some(answer) = answers.get_mut(index).and_then(Option::take) {
                let _ = answer.send(sandbox);
            }
        });
        let Err(error) = made else { return };
        // None was made. The first hears why; the others try again and hear a reason of their own.
        let mut rest = answers.into_iter().zip(inputs).filter_map(|(answer, input)| Some((answer?, input)));
        if let Some((answer, _)) = rest.next() {
            let _ = answer.send(Err(error));
        }
        wishes = rest.map(|(answer, input)| Wish { input, answer }).collect();
    }
}

fn interrupted() -> NetworkError {
    NetworkError::Kernel { action: "create a network namespace".to_owned(), source: io::ErrorKind::Interrupted.into() }
}

/// The kernel may take its time: the event loop goes on meanwhile.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(NetworkError::Kernel {
            action: "finish a change of the network".to_owned(),
            source: io::Error::other(error),
        })
    })
}
