//! Who has which name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};

use super::others::OtherProjects;
use crate::state::paths::{Paths, ProjectPaths};

/// The names of a container in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameEntry {
    /// Full name of the network.
    pub network: String,
    /// The container's name first (PTR answers it), then service, aliases, short id.
    pub names: Vec<String>,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

/// What one container may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Full name of each of its networks and the name in the file, in the order of search.
    pub networks: Vec<(String, String)>,
    /// `links`: a name for another one.
    pub links: Vec<(String, String)>,
}

/// All names of a project. Cheap to clone; every clone sees every change at once.
#[derive(Debug, Clone, Default)]
pub struct Names {
    table: Arc<RwLock<Table>>,
    others: Option<Arc<OtherProjects>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By container id.
    own: BTreeMap<String, Vec<NameEntry>>,
    /// Containers of other projects in networks that are shared.
    others: Vec<NameEntry>,
}

impl Names {
    /// Knows the containers of other projects too that are in a network which a container of this project is in, or
    /// which is this project's.
    #[must_use]
    pub fn of_project(paths: &Paths, project: &ProjectPaths) -> Self {
        Self { table: Arc::default(), others: Some(Arc::new(OtherProjects::new(paths, project))) }
    }

    /// Sets all names of a container.
    pub fn set(&self, container: &str, entries: Vec<NameEntry>) {
        let entries = entries.into_iter().map(normalised).collect();
        self.write(|table| {
            table.own.insert(container.to_owned(), entries);
        });
    }

    /// The container is not to be found any more.
    pub fn remove(&self, container: &str) {
        self.write(|table| {
            table.own.remove(container);
        });
    }

    /// Replaces what is known of other projects.
    pub fn set_others(&self, entries: Vec<NameEntry>) {
        let entries = entries.into_iter().map(normalised).collect();
        self.write(|table| table.others = entries);
    }

    fn write(&self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// All addresses of a name, in random order; `None` when a container with this view does not know it.
    #[must_use]
    pub fn resolve(&self, view: &View, name: &str) -> Option<Vec<IpAddr>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let link = view.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(&name));
        let name = link.map_or(name, |(_, target)| target.to_ascii_lowercase());
        self.look_around(view, &name);
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = view.networks.iter().find_map(|(network, _)| table.in_network(network, &name));
        if found.is_none() {
            // `name.network`, by either name of the network.
            found = view.networks.iter().find_map(|(network, key)| {
                let qualified = [network, key]
                    .into_iter()
                    .find_map(|suffix| name.strip_suffix(&suffix.to_ascii_lowercase())?.strip_suffix('.'))?;
                table.in_network(network, qualified)
            });
        }
        found.map(|mut addresses| {
            shuffle(&mut addresses);
            addresses
        })
    }

    /// Brings the names of other projects up to date before they are needed.
    fn look_around(&self, view: &View, name: &str) {
        let Some(others) = &self.others else { return };
        let own = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            let known = |entry: &NameEntry| {
                view.networks.iter().any(|(network, _)| *network == entry.network)
                    && entry.names.iter().any(|known| known == name)
            };
            table.own.values().flatten().any(known)
        };
        if !own {
            others.if_changed(|entries| self.set_others(entries));
        }
    }

    /// The name of an address: `container.network`.
    #[must_use]
    pub fn reverse(&self, view: &View, address: IpAddr) -> Option<String> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.entries().find_map(|entry| {
            let visible = view.networks.iter().any(|(network, _)| *network == entry.network);
            let has = match address {
                IpAddr::V4(v4) => entry.ipv4 == Some(v4),
                IpAddr::V6(v6) => entry.ipv6 == Some(v6),
            };
            (visible && has).then(|| Some(format!("{}.{}", entry.names.first()?, entry.network)))?
        })
    }
}

impl Table {
    fn entries(&self) -> impl Iterator<Item = &NameEntry> {
        self.own.values().flatten().chain(&self.others)
    }

    /// The project's own containers first; others only when it has none of that name.
    fn in_network(&self, network: &str, name: &str) -> Option<Vec<IpAddr>> {
        let matches = |entry: &&NameEntry| entry.network == network && entry.names.iter().any(|known| known == name);
        let own: Vec<&NameEntry> = self.own.values().flatten().filter(matches).collect();
        let found = if own.is_empty() { self.others.iter().filter(matches).collect() } else { own };
        if found.is_empty() {
            return None;
        }
        let addresses = |entry: &NameEntry| {
            entry.ipv4.map(IpAddr::V4).into_iter().chain(entry.ipv6.map(IpAddr::V6)).collect::<Vec<_>>()
        };
        Some(found.into_iter().flat_map(addresses).collect())
    }
}

fn normalised(mut entry: NameEntry) -> NameEntry {
    for name in &mut entry.names {
        name.make_ascii_lowercase();
    }
    entry
}

/// Spreads clients over replicas: good enough for that, and nothing else depends on it.
fn shuffle(addresses: &mut [IpAddr]) {
    use std::hash::{BuildHasher, RandomState};

    for last in (1..addresses.len()).rev() {
        let random = RandomState::new().hash_one(last);
        let other = usize::try_from(random % (last as u64 + 1)).unwrap_or_default();
        addresses.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(network: &str, names: &[&str], ipv4: &str) -> NameEntry {
        NameEntry {
            network: network.into(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            ipv4: Some(ipv4.parse().unwrap()),
            ipv6: None,
        }
    }

    fn view(networks: &[&str]) -> View {
        View { networks: networks.iter().map(|&n| (format!("p_{n}"), n.to_owned())).collect(), links: vec![] }
    }

    #[test]
    fn only_shared_networks_are_seen() {
        let names = Names::default();
        names.set("a", vec![entry("p_front", &["p-web-1", "Web"], "10.0.0.2")]);
        names.set("b", vec![entry("p_back", &["p-db-1", "db"], "10.0.1.2")]);
        names.set_others(vec![entry("p_front", &["other-web-1", "web", "api"], "10.0.0.9")]);
        let front = view(&["front"]);
        assert_eq!(names.resolve(&front, "WEB.").unwrap(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(names.resolve(&front, "api").unwrap(), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(names.resolve(&front, "db"), None);
        assert!(names.resolve(&view(&["front", "back"]), "db").is_some());
        assert!(names.resolve(&front, "web.p_front").is_some());
        assert!(names.resolve(&front, "web.front").is_some());
        assert_eq!(names.resolve(&front, "web.back"), None);
        assert_eq!(names.reverse(&front, "10.0.0.2".parse().unwrap()).unwrap(), "p-web-1.p_front");
        assert_eq!(names.reverse(&front, "10.0.1.2".parse().unwrap()), None);
        names.remove("a");
        assert_eq!(names.resolve(&front, "web").unwrap(), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn links_and_replicas() {
        let names = Names::default();
        for n in 1..=4 {
            let name = format!("p-web-{n}");
            names.set(&name, vec![entry("p_default", &[&name, "web"], &format!("10.0.0.{n}"))]);
        }
        let mut view = view(&["default"]);
        view.links.push(("Site".into(), "web".into()));
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let found = names.resolve(&view, "site").unwrap();
            assert_eq!(found.len(), 4);
            firsts.insert(found[0]);
        }
        assert_eq!(firsts.len(), 4);
    }
}
