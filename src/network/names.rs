//! Names and addresses of kernel objects, all of which carry the project's id.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::error::{NetworkError, Result};
use super::link::Mac;

/// Longest name of an interface.
const IFNAMSIZ: usize = 15;

/// What every link of a project starts with.
#[must_use]
pub fn prefix(project_id: &str) -> String {
    format!("wl{project_id}")
}

#[must_use]
pub fn bridge(project_id: &str, number: usize) -> String {
    format!("wl{project_id}b{number}")
}

/// The host's end of a cable.
#[must_use]
pub fn cable(project_id: &str, number: u32) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut name = format!("wl{project_id}v");
    let mut rest = number;
    for _ in 0..4 {
        name.push(char::from(DIGITS[(rest % 36) as usize]));
        rest /= 36;
    }
    name
}

/// The link group of a project: all its links can be deleted by one request. Never 0, the group of everybody else.
#[must_use]
pub fn group(project_id: &str) -> u32 {
    // The kernel keeps it as a signed number.
    (u32::from_str_radix(project_id, 16).unwrap_or(0x77_696e) & 0x7fff_ffff).max(1)
}

/// The name of the project's table of packet filter rules.
#[must_use]
pub fn table(project_id: &str) -> String {
    format!("windlass-{project_id}")
}

/// The project that a table is of.
#[must_use]
pub fn project_of_table(table: &str) -> Option<&str> {
    table.strip_prefix("windlass-").filter(|id| is_project_id(id))
}

/// The project that a link is of.
#[must_use]
pub fn project_of_link(link: &str) -> Option<&str> {
    link.strip_prefix("wl").and_then(|rest| rest.get(..8)).filter(|id| is_project_id(id))
}

/// Whether it is eight hexadecimal digits.
#[must_use]
pub fn is_project_id(id: &str) -> bool {
    id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// As Docker's: from the IPv4 address, so that a reused address keeps its neighbour entries valid.
#[must_use]
pub fn container_mac(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [0x02, 0x42, a, b, c, d]
        }
        IpAddr::V6(v6) => hashed_mac(0x02, &v6.to_string()),
    }
}

/// A locally administered address that depends on nothing but the name.
#[must_use]
pub fn hashed_mac(first: u8, name: &str) -> Mac {
    let hash = Sha256::digest(name.as_bytes());
    [first, 0x42, hash[0], hash[1], hash[2], hash[3]]
}

/// Reads `02:42:ac:11:00:02` or the same with dashes.
///
/// # Errors
/// When it is no address of one interface: not six bytes, a multicast address, or all zeros.
pub fn parse_mac(text: &str) -> Result<Mac> {
    let bad = |reason| NetworkError::Mac { mac: text.to_owned(), reason };
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().unwrap_or_default();
        *byte = match part.len() {
            1 | 2 => u8::from_str_radix(part, 16).map_err(|_| bad("expected six pairs of hexadecimal digits"))?,
            _ => return Err(bad("expected six pairs of hexadecimal digits")),
        };
    }
    if parts.next().is_some() {
        return Err(bad("expected six pairs of hexadecimal digits"));
    }
    if mac[0] & 1 == 1 {
        return Err(bad("it is a multicast address (the first byte is odd)"));
    }
    if mac == [0; 6] {
        return Err(bad("it is all zeros"));
    }
    Ok(mac)
}

#[must_use]
pub fn format_mac(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// Refuses what the kernel would refuse, or take for a pattern.
///
/// # Errors
/// With the reason.
pub fn check_interface(name: &str) -> Result<()> {
    let bad = |reason| Err(NetworkError::Interface { name: name.to_owned(), reason });
    if name.is_empty() || name == "." || name == ".." {
        return bad("it is empty or dots");
    }
    if name.len() > IFNAMSIZ {
        return bad("it is longer than 15 bytes");
    }
    if name == "lo" || name == "all" || name == "default" {
        return bad("the kernel uses this name");
    }
    if name.bytes().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b':' | b'%' | 0) || byte < 0x20) {
        return bad("it has a space, `/`, `:` or `%`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        for name in [bridge("0123abcd", 999), cable("0123abcd", 36 * 36 * 36 * 36 - 1)] {
            assert!(check_interface(&name).is_ok() && name.starts_with(&prefix("0123abcd")), "{name}");
        }
        assert_ne!(group("00000000"), 0);
        assert_ne!(group("80000000"), 0);
    }

    #[test]
    fn mac_addresses() {
        assert_eq!(format_mac(parse_mac("02:42:AC-11:0:2").unwrap()), "02:42:ac:11:00:02");
        for bad in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "01:42:ac:11:00:02", "0:0:0:0:0:0", "zz:1:1:1:1:1"] {
            assert!(parse_mac(bad).is_err(), "{bad}");
        }
    }
}
