//! Which hosts serve a name, and whether they are asked by HTTP or HTTPS.

use std::net::IpAddr;

use super::super::reference::Reference;

/// A registry, or a mirror of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port.
    host: String,
    /// `Some(true)`: plain HTTP was asked for by name.
    pub plain: Option<bool>,
    /// Path in front of `/v2`, without a slash at its end.
    prefix: String,
    /// The name under which credentials are stored.
    pub account: String,
}

impl Endpoint {
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `/v2/library/nginx`
    pub fn repository(&self, reference: &Reference) -> String {
        format!("{}/v2/{}", self.prefix, reference.path())
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

pub fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of `host`, `host:port` or `[address]:port`, without brackets.
pub fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.contains(':') => host,
        _ => authority,
    }
}

/// Mirrors first, the registry itself last.
pub fn endpoints(reference: &Reference, mirrors: &[String]) -> Vec<Endpoint> {
    let domain = reference.domain();
    if domain != "docker.io" {
        return vec![Endpoint { host: domain.into(), plain: None, prefix: String::new(), account: domain.into() }];
    }
    let mirrors = mirrors.iter().map(|mirror| {
        let (plain, rest) = match mirror.split_once("://") {
            Some(("http", rest)) => (Some(true), rest),
            Some((_, rest)) => (Some(false), rest),
            None => (None, mirror.as_str()),
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // A login in the address is in nobody's message; credentials are Docker's, as for every registry.
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Endpoint { host: host.into(), plain, prefix, account: host.into() }
    });
    let hub = Endpoint {
        host: "registry-1.docker.io".into(),
        plain: None,
        prefix: String::new(),
        account: "docker.io".into(),
    };
    mirrors.filter(|mirror| !mirror.host.is_empty()).chain([hub]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (authority, host, loopback) in [
            ("localhost:5000", "localhost", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.9.0.1:80", "127.9.0.1", true),
            ("[::1]:5000", "::1", true),
            ("ghcr.io", "ghcr.io", false),
            ("localhost.example.com", "localhost.example.com", false),
            ("10.0.0.1:5000", "10.0.0.1", false),
        ] {
            assert_eq!((host_of(authority), is_loopback(authority)), (host, loopback), "{authority}");
        }
    }

    #[test]
    fn mirrors_come_before_docker_hub_and_serve_nothing_else() {
        let mirrors = ["http://m:5000/hub/".to_owned(), "https://n".to_owned(), "o:1".to_owned(), String::new()];
        let nginx: Reference = "nginx".parse().unwrap();
        let found = endpoints(&nginx, &mirrors);
        let brief: Vec<_> = found.iter().map(|e| (e.host(), e.plain, e.repository(&nginx))).collect();
        assert_eq!(
            brief,
            [
                ("m:5000", Some(true), "/hub/v2/library/nginx".to_owned()),
                ("n", Some(false), "/v2/library/nginx".to_owned()),
                ("o:1", None, "/v2/library/nginx".to_owned()),
                ("registry-1.docker.io", None, "/v2/library/nginx".to_owned()),
            ]
        );
        assert_eq!(endpoints(&"ghcr.io/a/b".parse().unwrap(), &mirrors).len(), 1);
    }
}
