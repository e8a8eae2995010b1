//! Where the services of a project answer: printed when it is up.

use std::fmt::Write as _;

use super::style::{Meaning, Palette, width};
use crate::network::spec::{Protocol, PublishedPort};

/// Container ports that do not speak HTTP: mail, name servers, databases, caches, queues.
const OTHERS: [u16; 31] = [
    21, 22, 23, 25, 53, 110, 139, 143, 389, 445, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 3306, 4222,
    5432, 5672, 6379, 8883, 9042, 9092, 11211, 27017, 50051,
];

/// One line a service that can be opened in a browser; nothing when there is none. What nobody answers at yet, by
/// `answers`, is no link.
#[must_use]
pub fn render(
    services: &[(&str, &[PublishedPort])],
    answers: impl Fn(&str, &PublishedPort) -> bool,
    palette: Palette,
) -> String {
    let mut rows: Vec<(&str, String, bool)> = Vec::new();
    for (service, ports) in services {
        for port in *ports {
            let Some(url) = url(port) else { continue };
            match rows.iter_mut().find(|(_, known, _)| *known == url) {
                Some(row) => row.2 |= answers(service, port),
                None => rows.push((service, url, answers(service, port))),
            }
        }
    }
    let names = rows.iter().map(|(service, ..)| width(service)).max().unwrap_or(0);
    let mut text = String::new();
    for (service, url, answers) in rows {
        let padding = " ".repeat(names - width(service));
        let shown = match answers {
            true => palette.paint(Meaning::Active, palette.link(&url, &url)),
            false => {
                let address = url.split_once("://").map_or(url.as_str(), |(_, address)| address);
                palette.paint(Meaning::Faint, format!("{address}: nothing listens yet"))
            }
        };
        let _ = writeln!(text, " {} {service}{padding}  {shown}", palette.paint(Meaning::Faint, "➜"));
    }
    text
}

fn url(port: &PublishedPort) -> Option<String> {
    if port.protocol != Protocol::Tcp || OTHERS.contains(&port.target) {
        return None;
    }
    let host = match port.host_ip {
        ip if ip.is_unspecified() || ip.is_loopback() => "localhost".to_owned(),
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let (scheme, usual) = if matches!(port.target, 443 | 8443) { ("https", 443) } else { ("http", 80) };
    Some(if port.published == usual {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{}", port.published)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, published: u16, target: u16) -> PublishedPort {
        PublishedPort { host_ip: ip.parse().unwrap(), published, target, protocol: Protocol::Tcp }
    }

    #[test]
    fn what_a_browser_can_open_is_listed_once() {
        let web = [port("0.0.0.0", 8080, 80), port("::", 8080, 80), port("127.0.0.1", 80, 3000)];
        let proxy = [port("192.0.2.1", 443, 8443), port("2001:db8::1", 8444, 443)];
        let services: [(&str, &[PublishedPort]); 3] =
            [("web", &web), ("proxy", &proxy), ("db", &[port("::", 5432, 5432)])];
        insta::assert_snapshot!(render(&services, |_, _| true, Palette::plain()), @r"
         ➜ web    http://localhost:8080
         ➜ web    http://localhost
         ➜ proxy  https://192.0.2.1
         ➜ proxy  https://[2001:db8::1]:8444
        ");
        assert_eq!(render(&services[2..], |_, _| true, Palette::coloured()), "");
        assert!(
            render(&services[..1], |_, _| true, Palette::coloured()).contains("\x1b]8;;http://localhost:8080\x1b\\")
        );
        insta::assert_snapshot!(render(&services[..1], |_, port| port.target == 80, Palette::plain()), @r"
         ➜ web  http://localhost:8080
         ➜ web  localhost: nothing listens yet
        ");
        assert!(!render(&services[..1], |_, _| false, Palette::coloured()).contains("\x1b]8"));
    }
}
