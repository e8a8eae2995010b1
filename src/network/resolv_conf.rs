//! `/etc/resolv.conf` and `/etc/hosts`: what the host's says and what a container's shall say. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::netns::RESOLVER;

/// Whether a text is one word of such a file: nothing in it begins another word, another line or a comment.
#[must_use]
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|char| char.is_whitespace() || char.is_control() || matches!(char, '#' | ';'))
}

/// The parts of a `resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

impl ResolvConf {
    /// As the C library reads it: the last `search` or `domain` counts, what is not understood is skipped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            // What holds a control character would mean something else to another reader of the container's file.
            let mut words = line.split_whitespace().filter(|word| is_word(word));
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) means nothing in another namespace.
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    conf.servers.extend(address);
                }
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }

    /// What the service asks for (`dns_search`, `dns_opt`) over what the host has.
    #[must_use]
    pub fn for_container(host: &Self, search: &[String], options: &[String]) -> String {
        let mut text = String::from("# Made by windlass; names are resolved by the project itself.\n");
        let _ = writeln!(text, "nameserver {RESOLVER}");
        let search = if search.is_empty() { &host.search } else { search };
        // A single dot asks for no search domain at all.
        if !search.is_empty() && *search != ["."] {
            let _ = writeln!(text, "search {}", search.join(" "));
        }
        let mut options = if options.is_empty() { host.options.clone() } else { options.to_vec() };
        let ndots = |option: &String| option.strip_prefix("ndots:").is_some_and(|n| n.parse::<u8>().is_ok());
        options.retain(|option| !option.starts_with("ndots:") || ndots(option));
        if !options.iter().any(ndots) {
            options.push("ndots:0".to_owned());
        }
        let _ = writeln!(text, "options {}", options.join(" "));
        text
    }

    /// The file for a container in the host's own network: the host's, with what the service asks for instead.
    #[must_use]
    pub fn for_host_network(host: &Self, servers: &[IpAddr], search: &[String], options: &[String]) -> String {
        let mut text = String::new();
        for server in if servers.is_empty() { &host.servers } else { servers } {
            let _ = writeln!(text, "nameserver {server}");
        }
        let search = if search.is_empty() { &host.search } else { search };
        if !search.is_empty() && *search != ["."] {
            let _ = writeln!(text, "search {}", search.join(" "));
        }
        let options = if options.is_empty() { &host.options } else { options };
        if !options.is_empty() {
            let _ = writeln!(text, "options {}", options.join(" "));
        }
        text
    }
}

/// `/etc/hosts` of a container. `extra` are `extra_hosts` with `host-gateway` already replaced; `own` the container's
/// addresses with its host name (and its fully qualified one).
#[must_use]
pub fn hosts_file(
    ipv6: bool,
    extra: &[(String, IpAddr)],
    own: &[IpAddr],
    hostname: &str,
    domain: Option<&str>,
) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n");
    if ipv6 {
        text.push_str(
            "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
        );
    }
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    for address in own {
        let _ = match domain.filter(|domain| !domain.is_empty()) {
            Some(domain) => writeln!(text, "{address}\t{hostname}.{domain} {hostname}"),
            None => writeln!(text, "{address}\t{hostname}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_is_read_as_the_c_library_does() {
        let conf = ResolvConf::parse(
            "# c\nnameserver 10.0.0.1 ; x\nnameserver fe80::1%eth0\nnameserver ::1\nnameserver nonsense\ndomain a.b\n\
             search x.y a\u{e}b z\noptions ndots:2 edns0\noptions rotate\n",
        );
        assert_eq!(conf.servers, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(conf.search, ["x.y", "z"]);
        assert_eq!(conf.options, ["ndots:2", "edns0", "rotate"]);
    }

    #[test]
    fn a_container_asks_the_project() {
        let host = ResolvConf::parse("nameserver 10.0.0.1\nsearch corp\noptions edns0 ndots:x\n");
        let text = ResolvConf::for_container(&host, &[], &[]);
        assert!(text.ends_with("nameserver 127.0.0.11\nsearch corp\noptions edns0 ndots:0\n"), "{text}");
        let text = ResolvConf::for_container(&host, &[".".into()], &["ndots:3".into()]);
        assert!(text.ends_with("nameserver 127.0.0.11\noptions ndots:3\n"), "{text}");
    }

    #[test]
    fn a_word_is_one_word() {
        assert!(["corp.example", "ndots:2", ".", "über"].into_iter().all(is_word));
        assert!(
            ["", "a b", "a\nnameserver 6.6.6.6", "a\tb", "a\0", "a#b", "a;b", "a\u{85}b"]
                .into_iter()
                .all(|text| !is_word(text))
        );
    }

    #[test]
    fn the_containers_hosts() {
        let extra = [("db.local".to_owned(), "10.1.1.1".parse().unwrap())];
        let text = hosts_file(false, &extra, &["172.18.0.2".parse().unwrap()], "web", Some("example.org"));
        assert_eq!(text, "127.0.0.1\tlocalhost\n10.1.1.1\tdb.local\n172.18.0.2\tweb.example.org web\n");
        assert!(hosts_file(true, &[], &[], "x", None).contains("::1\tlocalhost"));
    }
}
