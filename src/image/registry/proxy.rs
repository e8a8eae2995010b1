//! Which proxy a request goes through, by the rules that Go and curl share.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::endpoint::{host_of, is_loopback};

/// What `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    pub no_proxy: String,
}

impl Proxies {
    /// Looks the variables up by name, in lower case first, as curl does.
    #[must_use]
    pub fn from_variables<'a>(lookup: impl Fn(&str) -> Option<&'a str>) -> Self {
        let find = |name: &str| {
            lookup(&name.to_lowercase()).or_else(|| lookup(name)).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        Self {
            http: find("HTTP_PROXY").or_else(|| find("ALL_PROXY")),
            https: find("HTTPS_PROXY").or_else(|| find("ALL_PROXY")),
            no_proxy: find("NO_PROXY").unwrap_or_default(),
        }
    }

    /// The proxy for a request to `authority` (host and port); never one for this machine itself.
    pub(super) fn of(&self, plain: bool, authority: &str) -> Option<&str> {
        let proxy = if plain { self.http.as_deref() } else { self.https.as_deref() }?;
        (!is_loopback(authority) && !self.excluded(authority)).then_some(proxy)
    }

    fn excluded(&self, authority: &str) -> bool {
        let host = host_of(authority).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        self.no_proxy.split(',').map(str::trim).filter(|rule| !rule.is_empty()).any(|rule| {
            let rule = rule.to_ascii_lowercase();
            if rule == "*" || rule == authority.to_ascii_lowercase() {
                return true;
            }
            if let (Some(address), Ok(network)) = (address, rule.parse::<IpNetwork>()) {
                return network.contains(address);
            }
            let domain = rule.trim_start_matches("*.").trim_start_matches('.');
            host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_rules() {
        let proxies = Proxies {
            http: Some("http://p:1".into()),
            https: Some("http://s:1".into()),
            no_proxy: "internal, .corp.example,10.0.0.0/8,host:5000".into(),
        };
        assert_eq!(proxies.of(true, "a.example"), Some("http://p:1"));
        assert_eq!(proxies.of(false, "a.example:443"), Some("http://s:1"));
        for direct in ["internal", "x.internal:5000", "r.corp.example", "corp.example", "10.2.3.4:5000", "host:5000"] {
            assert_eq!(proxies.of(false, direct), None, "{direct}");
        }
        for through in ["notinternal", "host:5001", "11.0.0.1", "xcorp.example"] {
            assert!(proxies.of(false, through).is_some(), "{through}");
        }
        assert_eq!(proxies.of(true, "127.0.0.1:5000"), None);
    }

    #[test]
    fn lower_case_variables_win() {
        let variables =
            [("https_proxy", "a"), ("HTTPS_PROXY", "b"), ("HTTP_PROXY", ""), ("ALL_PROXY", "c"), ("NO_PROXY", "d")];
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let proxies = Proxies::from_variables(lookup);
        assert_eq!((proxies.https.as_deref(), proxies.http.as_deref()), (Some("a"), Some("c")));
        assert!(proxies.of(true, "host.d").is_none() && proxies.of(true, "host").is_some());
    }
}
