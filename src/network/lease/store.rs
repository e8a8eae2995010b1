//! The leases on disk: one record a network, shared by all projects.
//!
//! None of them may stop anybody else: what cannot be read is set aside and made again from what the kernel and the
//! projects' own records say.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::NetworkLease;
use super::rebuild::Rebuild;
use crate::network::error::{NetworkError, Result};
use crate::state::paths::Paths;
use crate::state::record::{self, Durability, ReadError};
use crate::state::{Lock, notice};

const SUFFIX: &str = ".json";

/// All leases, locked against every other project.
#[derive(Debug)]
pub struct Leases {
    folder: PathBuf,
    _lock: Lock,
    /// Two homes have two locks, but the host's routes are the same: whoever looks for a free subnet also locks the
    /// network namespace itself, until the subnet is in use.
    _namespace: Option<Flock<File>>,
    pub networks: Vec<NetworkLease>,
}

impl Leases {
    /// Waits for the lock and reads them.
    ///
    /// # Errors
    /// When the lock cannot be had, or the folder not be read, or a damaged lease not be set aside.
    pub fn open(paths: &Paths) -> Result<Self> {
        let lock = Lock::acquire(&paths.global_lock()).map_err(|source| NetworkError::Lock { source })?;
        // Not everywhere can that file be locked; then homes may meet, as with any other program that makes networks.
        let namespace = File::open("/proc/self/ns/net").ok();
        let namespace = namespace.and_then(|file| Flock::lock(file, FlockArg::LockExclusive).ok());
        let (networks, damaged) = scan(paths)?;
        let mut leases = Self { folder: paths.networks(), _lock: lock, _namespace: namespace, networks };
        leases.mend(paths, damaged)?;
        Ok(leases)
    }

    /// The network that a project means by a name: its own, else the only other one.
    ///
    /// # Errors
    /// When the project has none of that name, and several others have.
    pub fn find(&mut self, project_id: &str, name: &str) -> Result<Option<&mut NetworkLease>> {
        let position = position(&self.networks, project_id, name)?;
        Ok(position.map(|position| &mut self.networks[position]))
    }

    /// Writes one lease back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, lease: &NetworkLease) -> Result<()> {
        record::write(&self.file(&lease.bridge), lease, Durability::Machine)?;
        Ok(())
    }

    /// Forgets a network, and what was set aside of it.
    ///
    /// # Errors
    /// When its file is there and cannot be removed.
    pub fn remove(&mut self, bridge: &str) -> Result<()> {
        let removed = record::remove(&self.file(bridge)).and_then(|()| {
            let name = format!("{bridge}{SUFFIX}");
            let aside = record::those_set_aside(&self.folder)?;
            aside.iter().filter(|(of, _)| *of == name).try_for_each(|(_, path)| record::discard(path))
        });
        removed.map_err(NetworkError::kernel(format!("remove the lease of {bridge}")))?;
        self.networks.retain(|network| network.bridge != bridge);
        Ok(())
    }

    fn file(&self, bridge: &str) -> PathBuf {
        self.folder.join(format!("{bridge}{SUFFIX}"))
    }

    fn mend(&mut self, paths: &Paths, damaged: Vec<(PathBuf, ReadError)>) -> Result<()> {
        if damaged.is_empty() {
            return Ok(());
        }
        let mut rebuild = Rebuild::new(paths);
        for (path, error) in damaged {
            let aside = record::set_aside(&path)
                .map_err(NetworkError::kernel(format!("set {} aside, which cannot be used", path.display())))?;
            let bridge = path.file_stem().unwrap_or_default().to_string_lossy();
            let again = rebuild.lease(&bridge);
            let came = match &again {
                Some(lease) => format!("made again for network {} of project {}", lease.name, lease.project),
                None => "not needed: the kernel has no such network".to_owned(),
            };
            notice::add(format!("{}: set aside as {} and {came}", record::chain(&error), aside.display()));
            if let Some(lease) = again {
                self.save(&lease)?;
                self.networks.push(lease);
            }
        }
        self.networks.sort_by(|a, b| a.bridge.cmp(&b.bridge));
        Ok(())
    }
}

/// Removes what was set aside of networks for which `chosen`, by the name of the bridge, holds. Answers with how many.
///
/// # Errors
/// When the folder cannot be read, or something in it not be removed.
pub fn discard(paths: &Paths, chosen: impl Fn(&str) -> bool) -> Result<usize> {
    let folder = paths.networks();
    let failed = || NetworkError::kernel(format!("remove what was set aside in {}", folder.display()));
    let mut count = 0;
    for (name, path) in record::those_set_aside(&folder).map_err(failed())? {
        if chosen(name.strip_suffix(SUFFIX).unwrap_or(&name)) {
            record::discard(&path).map_err(failed())?;
            count += 1;
        }
    }
    Ok(count)
}

/// The position of the network that a project means by a name.
fn position(networks: &[NetworkLease], project_id: &str, name: &str) -> Result<Option<usize>> {
    let mut found = networks.iter().enumerate().filter(|(_, network)| network.name == name);
    let Some((first, lease)) = found.next() else { return Ok(None) };
    if lease.project_id == project_id {
        return Ok(Some(first));
    }
    let others: Vec<_> = found.collect();
    if let Some((own, _)) = others.iter().find(|(_, network)| network.project_id == project_id) {
        return Ok(Some(*own));
    }
    if others.is_empty() {
        return Ok(Some(first));
    }
    let mut owners: Vec<&str> = others.iter().map(|(_, network)| network.project.as_str()).collect();
    owners.insert(0, &lease.project);
    Err(NetworkError::ExternalAmbiguous { network: name.to_owned(), owners: owners.join(", ") })
}

/// Reads all leases, without the lock: each is complete, but they may be of different moments. What cannot be read is
/// left to whoever takes the lock.
///
/// # Errors
/// When the folder cannot be read.
pub fn read(paths: &Paths) -> Result<Vec<NetworkLease>> {
    let (networks, damaged) = scan(paths)?;
    for (_, error) in damaged {
        tracing::warn!("{}", record::chain(&error));
    }
    Ok(networks)
}

type Scanned = (Vec<NetworkLease>, Vec<(PathBuf, ReadError)>);

/// The leases, and those that cannot be used.
fn scan(paths: &Paths) -> Result<Scanned> {
    let folder = paths.networks();
    let failed = |source| NetworkError::Kernel { action: format!("list {}", folder.display()), source };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        Err(error) => return Err(failed(error)),
    };
    let (mut networks, mut damaged) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        // Temporary files of the writers start with a dot.
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match record::read::<NetworkLease>(&path) {
            Ok(Some(lease)) if names_itself(&path, &lease) => networks.push(lease),
            Ok(Some(_)) => damaged.push((
                path.clone(),
                ReadError::Io { path, source: io::Error::other("it is the lease of another bridge") },
            )),
            Ok(None) => {}
            Err(error) if record::is_at_fault(&error) => damaged.push((path, error)),
            Err(error) => return Err(error.into()),
        }
    }
    networks.sort_by(|a, b| a.bridge.cmp(&b.bridge));
    Ok((networks, damaged))
}

/// A copy under another name would be removed in place of the one that it is a copy of.
fn names_itself(path: &Path, lease: &NetworkLease) -> bool {
    path.file_stem().is_some_and(|stem| stem == lease.bridge.as_str())
}
