//! Who has a port: the socket's inode from `/proc/net`, its owner from `/proc/<pid>/fd`.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::network::spec::Protocol;

/// A process that has a port bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub pid: i32,
    /// Its name as `ps` shows it.
    pub command: String,
    /// It is this very process or its parent, which keeps descriptors for it: another container of the same project.
    pub own: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.own {
            f.write_str("another container of this project")
        } else {
            write!(f, "{} (pid {})", self.command, self.pid)
        }
    }
}

impl Holder {
    /// Looks for the process that keeps others from binding a port. `None` when it cannot be found: it lives in
    /// another pid namespace, or has just gone.
    #[must_use]
    pub fn find(protocol: Protocol, address: IpAddr, port: u16) -> Option<Self> {
        let tables: [&str; 2] = match protocol {
            Protocol::Tcp => ["tcp", "tcp6"],
            Protocol::Udp => ["udp", "udp6"],
            Protocol::Sctp => return None,
        };
        let listening = protocol == Protocol::Tcp;
        let inode = tables.iter().find_map(|table| {
            let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
            text.lines().skip(1).find_map(|line| blocking_inode(line, listening, address, port))
        })?;
        owner(inode)
    }
}

/// Whether something listens on a port of TCP in the network of a process, on more than its own loopback.
#[must_use]
pub fn listens(pid: i32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1));
            let Some((host, number)) = local.split_once(':') else { return false };
            state == Some("0A")
                && u16::from_str_radix(number, 16) == Ok(port)
                && parse_host(host).is_some_and(|host| !host.is_loopback())
        })
    })
}

/// The inode of a line of `/proc/net/{tcp,udp}{,6}` whose socket keeps others from binding the port.
fn blocking_inode(line: &str, listening: bool, address: IpAddr, port: u16) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (*fields.get(1)?, *fields.get(3)?, *fields.get(9)?);
    if listening && state != "0A" {
        return None;
    }
    let (host, local_port) = local.split_once(':')?;
    if u16::from_str_radix(local_port, 16).ok()? != port {
        return None;
    }
    let host = parse_host(host)?;
    let blocks = host.is_unspecified() || address.is_unspecified() || host == address;
    (blocks && inode != "0").then(|| inode.parse().ok()).flatten()
}

/// Addresses are printed as native words.
fn parse_host(text: &str) -> Option<IpAddr> {
    let word = |part: &str| u32::from_str_radix(part, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(text)?))),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(text.get(index * 8..index * 8 + 8)?)?);
            }
            let v6 = Ipv6Addr::from(bytes);
            Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
        }
        _ => None,
    }
}

fn owner(inode: u64) -> Option<Holder> {
    let mut pids: Vec<i32> =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // Of several holders of one descriptor the oldest is the one that a person knows.
    pids.sort_unstable();
    for pid in pids {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let path: PathBuf = descriptor.path();
            let is_socket =
                fs::read_link(&path).is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
            if is_socket && fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == inode) {
                let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
                let ours = [std::process::id(), std::os::unix::process::parent_id()];
                let own = u32::try_from(pid).is_ok_and(|pid| ours.contains(&pid));
                return Some(Holder { pid, command, own });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_net() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let at = |address: &str, port| blocking_inode(line, true, address.parse().unwrap(), port);
        if cfg!(target_endian = "little") {
            assert_eq!(at("0.0.0.0", 8080), Some(4711));
            assert_eq!(at("127.0.0.1", 8080), Some(4711));
            assert_eq!(at("127.0.0.2", 8080), None);
            assert_eq!(at("127.0.0.1", 8081), None);
        }
        assert_eq!(blocking_inode("nonsense", true, "::".parse().unwrap(), 1), None);
    }
}
