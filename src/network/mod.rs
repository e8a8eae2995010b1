//! Bridges, veth pairs, addresses, firewall, published ports and names. Has never heard of Compose.
//!
//! Everything here is synchronous and waits for nothing but the kernel's own work (tenths of milliseconds), so that the
//! supervisor may call it from its event loop; the exceptions are [`Networks::remove`] and [`Networks::remove_all`],
//! which the kernel lets wait some 10 ms: call those in a thread of their own (`spawn_blocking`).
//! [`dns::Server`] and [`ports::Proxy`] are tasks of the runtime in which they are started.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # use windlass::network::{self, *};
//! # use windlass::state::Paths;
//! # let paths = Paths::from_home(None);
//! # let (specs, port_specs, endpoints): (Vec<spec::NetworkSpec>, Vec<spec::PortSpec>, Vec<spec::EndpointSpec>) = Default::default();
//! let networks = Networks::new(&paths, &paths.project("shop"));
//! // Ports first: a conflict is found before anything exists.
//! let reserved = ports::reserve(&port_specs)?;
//! let leases = networks.ensure(&specs, &Claims::new())?;
//! // All containers of this step at once: namespaces, cables, addresses, routes, name server sockets.
//! let specs = [SandboxSpec { container: "0123abcd", name: "shop-web-1", endpoints: &endpoints, resolver: netns::Resolver::Direct }];
//! for sandbox in networks.attach(&specs)? {
//!     let sandbox = sandbox?;
//!     // sandbox.namespace goes to the keeper with the request to start the container; a container with
//!     // `network_mode: service:x` gets a duplicate of the same descriptor.
//!     let addresses: Vec<_> = sandbox.endpoints.iter().filter_map(|e| e.ipv4).collect();
//!     let names = dns::Names::default(); // one for the project
//!     let view = dns::View::default();
//!     if let Some(sockets) = &sandbox.resolver {
//!         let _server = dns::Server::start(sockets, names, view, dns::Upstream::Host(Default::default()), &budget)?;
//!     }
//!     let (_target, watch) = tokio::sync::watch::channel(addresses.first().copied());
//!     let _proxies: Vec<_> = reserved.iter().map(|r| ports::Proxy::start(r, watch.clone(), &budget)).collect();
//!     let publications: Vec<_> =
//!         reserved.iter().map(|r| Publication { port: r.port.clone(), addresses: addresses.clone() }).collect();
//!     // Once after all containers of a step have their addresses.
//!     networks.update_firewall(&leases, &publications)?;
//! }
//! // `down`, after anything:
//! networks.remove_all()?;
//! # Ok(()) }
//! ```

mod addresses;
mod bridge;
mod budget;
pub mod changes;
pub mod dns;
mod endpoint;
mod error;
mod firewall;
mod host;
mod ipam;
mod lease;
mod link;
pub mod mend;
mod names;
mod netlink;
pub mod netns;
mod options;
pub mod ports;
pub mod resolv_conf;
pub mod spec;

use crate::state::paths::{Paths, ProjectPaths};

pub use addresses::{StaticWish, check as check_addresses};
pub use bridge::{Claims, is_driver};
pub use budget::Budget;
pub use endpoint::{Sandbox, SandboxSpec};
pub use error::{NetworkError, Result};
pub use firewall::Publication;
pub use lease::{EndpointLease, NetworkLease, Subnet};
pub use names::check_interface;
pub use options::{KNOWN_OPTIONS, ignored_options};

/// The networks of all projects, in the order of their bridges.
///
/// # Errors
/// When a lease cannot be read.
pub fn leases(paths: &Paths) -> Result<Vec<NetworkLease>> {
    lease::read(paths)
}

/// Ids of all projects that have a link, a table of rules or a lease, whether or not anybody keeps them.
///
/// # Errors
/// When the kernel or a lease cannot be read.
pub fn projects(paths: &Paths) -> Result<std::collections::BTreeSet<String>> {
    let mut ids: std::collections::BTreeSet<String> = bridge::projects()?.into_iter().collect();
    ids.extend(firewall::projects()?);
    ids.extend(lease::read(paths)?.into_iter().map(|lease| lease.project_id));
    Ok(ids)
}

/// Removes all that is left of a project that nobody keeps.
///
/// # Errors
/// When the kernel refuses or the leases cannot be written.
pub fn remove_leftovers(paths: &Paths, project_id: &str) -> Result<()> {
    firewall::Firewall::new(project_id).remove()?;
    bridge::remove_leftovers(paths, project_id)
}

/// Removes the leases that were set aside because they could not be read. Answers with how many.
///
/// # Errors
/// When one cannot be removed.
pub fn discard_damaged(paths: &Paths) -> Result<usize> {
    lease::discard(paths, |_| true)
}

/// Whether it is a project's id.
#[must_use]
pub fn is_project_id(text: &str) -> bool {
    names::is_project_id(text)
}

/// The networks of one project. Copies share a netlink socket, so they all belong to the namespace in which the first
/// change of rules was made.
#[derive(Debug, Clone)]
pub struct Networks {
    paths: Paths,
    project: ProjectPaths,
    firewall: firewall::Firewall,
}

impl Networks {
    #[must_use]
    pub fn new(paths: &Paths, project: &ProjectPaths) -> Self {
        Self { paths: paths.clone(), project: project.clone(), firewall: firewall::Firewall::new(project.id()) }
    }

    /// Those that belong to no project.
    #[must_use]
    pub fn standalone(paths: &Paths) -> Self {
        Self::new(paths, &paths.no_project())
    }

    /// Makes sure that networks exist, whatever a crash or a reboot has left of them. Returns them in the order of
    /// `specs`. External ones must exist already.
    ///
    /// # Errors
    /// When a specification cannot be met; what did not exist before does not exist then either.
    pub fn ensure(&self, specs: &[spec::NetworkSpec], claims: &Claims) -> Result<Vec<NetworkLease>> {
        bridge::ensure(&self.paths, &self.project, specs, claims)
    }

    /// Sets aside the addresses that the file gives to services of the project, whether or not they run, in networks
    /// that exist: nobody else gets one of them without asking for it.
    ///
    /// # Errors
    /// When the leases cannot be read or written.
    pub fn claim(&self, claims: &Claims) -> Result<()> {
        bridge::claim(&self.paths, &self.project, claims)
    }

    /// Names of the project's own networks that have a lease and a bridge.
    ///
    /// # Errors
    /// When the leases or the links cannot be read.
    pub fn standing(&self) -> Result<std::collections::BTreeSet<String>> {
        bridge::standing(&self.paths, &self.project)
    }

    /// Makes a network namespace for each container, attaches all its endpoints, and hands it to `each` (with the
    /// position in `specs`) as soon as it is ready, so that the first container can start while the next is made.
    /// `each` runs in another thread; this returns when all are done. A container that has addresses already keeps them.
    ///
    /// # Errors
    /// When nothing was made and `each` was never called. Nothing is left of a container that failed.
    pub fn attach_each(
        &self,
        specs: &[SandboxSpec<'_>],
        each: impl FnMut(usize, Result<Sandbox>) + Send,
    ) -> Result<()> {
        endpoint::create(&self.paths, &self.project, specs, each)
    }

    /// The same, all at once.
    ///
    /// # Errors
    /// When nothing was made; each container has its own result otherwise.
    pub fn attach(&self, specs: &[SandboxSpec<'_>]) -> Result<Vec<Result<Sandbox>>> {
        let mut sandboxes = Vec::with_capacity(specs.len());
        self.attach_each(specs, |_, sandbox| sandboxes.push(sandbox))?;
        Ok(sandboxes)
    }

    /// Gives the addresses of removed containers back. Their links go with their namespaces, when the last process and
    /// the last descriptor are gone. What is made in place of one of them, with the same name, gets its addresses,
    /// unless that name is among those `forgotten`.
    ///
    /// # Errors
    /// When the leases cannot be read or written.
    pub fn release(&self, containers: &[&str], forgotten: &[&str]) -> Result<()> {
        bridge::release(&self.paths, &self.project, containers, forgotten)
    }

    /// Gives back the addresses of containers that have ended; they get them again at their next start, unless somebody
    /// has asked for them meanwhile.
    ///
    /// # Errors
    /// When the leases cannot be read or written.
    pub fn leave(&self, containers: &[&str]) -> Result<()> {
        bridge::leave(&self.paths, containers)
    }

    /// Replaces the project's packet filter rules. `networks` are all that the project uses, external ones too.
    ///
    /// # Errors
    /// When the kernel refuses; the rules are what they were then.
    pub fn update_firewall(&self, networks: &[NetworkLease], ports: &[Publication]) -> Result<()> {
        self.firewall.update(networks, ports)
    }

    /// Compares the kernel with what `leases` and `ports` were last made to be, and makes good what somebody else has
    /// removed or changed. Answers with what was wrong, and with the networks.
    ///
    /// # Errors
    /// When the kernel refuses, or the leases cannot be read or written.
    pub fn mend(
        &self,
        leases: &[NetworkLease],
        ports: &[Publication],
        attached: &[mend::Attachment],
    ) -> Result<(Vec<mend::Mended>, Vec<NetworkLease>)> {
        let (mut mended, networks) = mend::links(&self.paths, &self.project, leases, attached)?;
        if !networks.is_empty() && !self.firewall.is_intact()? {
            self.firewall.update(&networks, ports)?;
            mended.extend(networks.iter().map(|lease| mend::Mended {
                network: lease.name.clone(),
                what: "packet filter rules were gone or changed".to_owned(),
            }));
        }
        Ok((mended, networks))
    }

    /// What of the host's own packet filters keeps containers from reaching the outside or being reached, in words for
    /// people, as of the last [`Self::update_firewall`]. Empty on most hosts.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        self.firewall.obstacles()
    }

    /// Makes a container that runs be in the networks of its specs and in no other; its process goes on. Answers with its
    /// endpoints.
    ///
    /// # Errors
    /// When the kernel refuses, a network is not there, or an address cannot be had.
    pub fn rewire(&self, attachment: &mend::Attachment) -> Result<Vec<spec::EndpointState>> {
        endpoint::rewire(&self.paths, &self.project, attachment)
    }

    /// Removes networks; containers that are still attached are cut off. Those that containers of other projects use
    /// stay, and are returned as [`NetworkError::InUse`]. Removing several at once takes no longer than one.
    ///
    /// # Errors
    /// When the kernel refuses or the leases cannot be written.
    pub fn remove(&self, names: &[&str]) -> Result<Vec<NetworkError>> {
        bridge::remove(&self.paths, &self.project, Some(names))
    }

    /// Removes everything of the project: rules, links, leases; whoever made it, whether complete or not.
    ///
    /// # Errors
    /// When the kernel refuses or the leases cannot be written.
    pub fn remove_all(&self) -> Result<Vec<NetworkError>> {
        self.firewall.remove()?;
        bridge::remove(&self.paths, &self.project, None)
    }
}

#[cfg(test)]
mod tests;
