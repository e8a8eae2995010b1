//! Published and exposed ports: `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp`.

use std::net::IpAddr;

use crate::network::spec::Protocol;

/// A port of a running container; `host` is `None` for a port that is exposed but not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub host: Option<(IpAddr, u16)>,
    pub target: u16,
    pub protocol: &'static str,
}

#[must_use]
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// The PORTS column. Neighbours that are published under their own numbers, or only exposed, become ranges.
#[must_use]
pub fn render(ports: &[Port]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_by_key(|port| {
        (port.target, port.host.map(|(ip, _)| ip.to_string()), port.host.map(|(_, port)| port), port.protocol)
    });
    let mut ranges: Vec<Range> = Vec::new();
    let mut texts = Vec::new();
    let mut mapped = Vec::new();
    for port in ports {
        let ip = match port.host {
            Some((ip, published)) if published != port.target => {
                mapped.push(format!("{}->{}/{}", at(ip, published), port.target, port.protocol));
                continue;
            }
            host => host.map(|(ip, _)| ip),
        };
        match ranges.iter_mut().find(|range| range.ip == ip && range.protocol == port.protocol) {
            Some(range) if range.last.checked_add(1) == Some(port.target) => range.last = port.target,
            Some(range) => {
                texts.push(range.to_string());
                (range.first, range.last) = (port.target, port.target);
            }
            None => ranges.push(Range { ip, protocol: port.protocol, first: port.target, last: port.target }),
        }
    }
    texts.extend(ranges.iter().map(ToString::to_string));
    texts.extend(mapped);
    texts.join(", ")
}

struct Range {
    ip: Option<IpAddr>,
    protocol: &'static str,
    first: u16,
    last: u16,
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports =
            if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) };
        match self.ip {
            Some(ip) => write!(f, "{}->{ports}/{}", at(ip, &ports), self.protocol),
            None => write!(f, "{ports}/{}", self.protocol),
        }
    }
}

fn at(ip: IpAddr, port: impl std::fmt::Display) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: &str, target: u16) -> Port {
        let host = host.parse::<std::net::SocketAddr>().ok().map(|address| (address.ip(), address.port()));
        Port { host, target, protocol: "tcp" }
    }

    #[test]
    fn ports_read_as_dockers() {
        assert_eq!(render(&[]), "");
        assert_eq!(
            render(&[port("0.0.0.0:8080", 80), port("[::]:8080", 80)]),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        assert_eq!(
            render(&[port("", 6379), Port { protocol: "udp", ..port("", 53) }, port("", 53), port("", 6380)]),
            "53/tcp, 6379-6380/tcp, 53/udp"
        );
        assert_eq!(
            render(&[port("0.0.0.0:3001", 3001), port("0.0.0.0:3000", 3000), port("127.0.0.1:9", 3002)]),
            "0.0.0.0:3000-3001->3000-3001/tcp, 127.0.0.1:9->3002/tcp"
        );
        assert_eq!(render(&[port("", 65535), port("0.0.0.0:65535", 65535)]), "65535/tcp, 0.0.0.0:65535->65535/tcp");
    }
}
