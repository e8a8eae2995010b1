//! Single requests: agents, redirects, retries, and what an error answer says.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::super::reference::Reference;
use super::auth::Challenge;
use super::endpoint::Endpoint;
use super::proxy::Proxies;
use super::{Client, RegistryError};

const CONNECT: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(60);
/// Silence in the middle of a download.
const SILENCE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
pub(super) const MOST_REDIRECTS: usize = 8;
/// Of what an error answer says, this much is shown.
const LONGEST_MESSAGE: u64 = 16 << 10;

const NO_SUCH_HOST: &str = "there is no host of this name";

/// A request to one endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub path: &'a str,
    pub accept: Option<&'a str>,
    /// First byte wanted.
    pub from: u64,
    /// For messages.
    pub what: &'a str,
}

/// One HTTP agent for each way out, made when it is needed.
#[derive(Debug)]
pub struct Transport {
    proxies: Proxies,
    agents: Mutex<HashMap<(Option<String>, bool), Agent>>,
}

impl Transport {
    pub fn new(proxies: Proxies) -> Self {
        Self { proxies, agents: Mutex::default() }
    }

    /// `verify`: certificates are checked against those that this machine trusts.
    pub fn agent(&self, plain: bool, authority: &str, verify: bool) -> Result<Agent, ureq::Error> {
        let proxy = self.proxies.of(plain, authority);
        let key = (proxy.map(str::to_owned), verify);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).disable_verification(!verify).build();
        let proxy = proxy.map(|proxy| {
            let url = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
            ureq::Proxy::new(&url)
        });
        let agent: Agent = Agent::config_builder()
            .tls_config(tls)
            // Set even when there is none: the default would be read from the environment.
            .proxy(proxy.transpose()?)
            .http_status_as_error(false)
            // Redirects are followed here, where it is known what may be sent where.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("")
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .max_response_header_size(64 << 10)
            .build()
            .into();
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

impl Client {
    /// Asks until there is an answer: with a token when one is wanted, again when the registry is busy or away.
    pub(super) fn request(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        request: &Request<'_>,
    ) -> Result<Response<Body>, RegistryError> {
        let host = endpoint.host().to_owned();
        let mut refused = 0;
        let mut attempt = 1;
        loop {
            let last = attempt >= self.options.attempts;
            let authorization = self.cached_authorization(endpoint, reference);
            let result = self.send(endpoint, request, authorization.as_deref());
            let response = match result {
                Err(error) if last || !error.is_worth_retrying(attempt) => return Err(error),
                Err(error) => {
                    tracing::debug!("{host}: {error}; trying again");
                    self.pause(attempt, None);
                    attempt += 1;
                    continue;
                }
                Ok(response) => response,
            };
            let status = response.status();
            match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
                StatusCode::UNAUTHORIZED if refused < 2 => {
                    refused += 1;
                    let challenge = Challenge::from_headers(response.headers());
                    let said = said(response);
                    let Some(challenge) = challenge else {
                        return Err(RegistryError::Denied { host, what: request.what.into(), said });
                    };
                    // A stored token may have run out; one that was made for this request has not.
                    if !self.authorize(endpoint, reference, &challenge, authorization.as_deref())? {
                        return Err(RegistryError::Denied { host, what: request.what.into(), said });
                    }
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT if !last => {
                    let after = retry_after(&response);
                    self.pause(attempt, after);
                    attempt += 1;
                }
                status if status.is_server_error() && !last => {
                    let after = retry_after(&response);
                    self.pause(attempt, after);
                    attempt += 1;
                }
                status => return Err(refusal(host, request.what, status, response)),
            }
        }
    }

    /// Sends one request and follows where it leads.
    fn send(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, RegistryError> {
        let plain = self.speaks_plain(endpoint)?;
        let insecure = self.is_insecure(endpoint);
        let origin = Origin { plain, authority: endpoint.host().to_owned() };
        let mut at = origin.clone();
        let mut path = request.path.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let same_host = at.authority == origin.authority;
            let url = format!("{}://{}{path}", if at.plain { "http" } else { "https" }, at.authority);
            let unreachable = |error: ureq::Error| unreachable(&at.authority, error);
            let agent = self.transport.agent(at.plain, &at.authority, !(insecure && same_host)).map_err(unreachable)?;
            let mut call = agent.get(&url);
            if let Some(accept) = request.accept {
                call = call.header("accept", accept);
            }
            if request.from > 0 {
                call = call.header("range", format!("bytes={}-", request.from));
            }
            // Only to the registry itself: a redirect must not carry its password elsewhere (CVE-2020-15157).
            if let Some(authorization) = authorization
                && at == origin
            {
                call = call.header("authorization", authorization);
            }
            let response = call.call().map_err(unreachable)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
            (at, path) =
                at.follow(&to, &path).ok_or_else(|| RegistryError::Redirect { host: at.authority.clone(), to })?;
        }
        Err(RegistryError::Redirect { host: origin.authority, to: format!("{MOST_REDIRECTS} further places") })
    }

    /// Whether the registry is asked by plain HTTP. That is found out by asking, and only where it is allowed.
    pub(super) fn speaks_plain(&self, endpoint: &Endpoint) -> Result<bool, RegistryError> {
        if let Some(plain) = endpoint.plain {
            return Ok(plain);
        }
        let insecure = self.is_insecure(endpoint);
        if !insecure && !endpoint.is_loopback() {
            return Ok(false);
        }
        let host = endpoint.host().to_owned();
        // The lock is held while asking: what comes meanwhile wants the same answer.
        let mut known = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plain) = known.get(&host) {
            return Ok(*plain);
        }
        let answers = |plain: bool| -> Result<bool, ureq::Error> {
            let url = format!("{}://{host}/v2/", if plain { "http" } else { "https" });
            let response = self.transport.agent(plain, &host, !insecure)?.get(&url).call()?;
            // Servers that expect TLS answer plain requests with 400.
            Ok(!(plain && response.status() == StatusCode::BAD_REQUEST))
        };
        let first_plain = !insecure;
        let plain = match answers(first_plain) {
            Ok(true) => first_plain,
            Ok(false) => !first_plain,
            Err(first) => match answers(!first_plain) {
                Ok(true) => !first_plain,
                _ => return Err(unreachable(&host, first)),
            },
        };
        known.insert(host, plain);
        Ok(plain)
    }

    pub(super) fn is_insecure(&self, endpoint: &Endpoint) -> bool {
        self.options
            .insecure
            .iter()
            .any(|insecure| insecure == endpoint.host() || insecure == super::endpoint::host_of(endpoint.host()))
    }

    /// Waits before the next attempt: twice as long each time, and never the same for two clients.
    pub(super) fn pause(&self, attempt: u32, at_least: Option<Duration>) {
        let base = self.options.pause.saturating_mul(1 << (attempt - 1).min(10)).min(LONGEST_PAUSE);
        // Between one half and one and a half of it.
        let chance = RandomState::new().hash_one(attempt) % 1000;
        let pause = base.mul_f64(0.5 + chance as f64 / 1000.0);
        std::thread::sleep(pause.max(at_least.unwrap_or_default().min(LONGEST_RETRY_AFTER)));
    }
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub plain: bool,
    pub authority: String,
}

impl Origin {
    /// Where a `Location` leads; `None` when it may not be followed.
    pub fn follow(&self, to: &str, from: &str) -> Option<(Origin, String)> {
        let usable = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !usable(to) {
            return None;
        }
        let to = to.split('#').next().unwrap_or(to);
        let lower = to.get(..8).unwrap_or(to).to_ascii_lowercase();
        let (plain, rest) = if lower.starts_with("https://") {
            (false, &to[8..])
        } else if lower.starts_with("http://") {
            (true, &to[7..])
        } else if let Some(rest) = to.strip_prefix("//") {
            (self.plain, rest)
        } else if to.starts_with('/') {
            return Some((self.clone(), to.to_owned()));
        } else if to.contains("://") {
            return None;
        } else {
            let folder = from.split('?').next().unwrap_or(from).rsplit_once('/').map_or("", |(folder, _)| folder);
            return Some((self.clone(), format!("{folder}/{to}")));
        };
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        // What came over TLS must not go on without it, and a password in a URL is nobody's business.
        if authority.is_empty() || authority.contains('@') || (plain && !self.plain) {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some((Origin { plain, authority: authority.to_ascii_lowercase() }, path))
    }
}

impl RegistryError {
    /// A host that cannot be reached is tried twice only: waiting for it takes long, and it is mostly a typing error
    /// or a network that is down.
    pub(super) fn is_worth_retrying(&self, attempt: u32) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::Unreachable { source, .. } => {
                let hopeless = source.to_string();
                attempt == 1 && !hopeless.contains("refused") && hopeless != NO_SUCH_HOST
            }
            _ => false,
        }
    }
}

pub(super) fn unreachable(host: &str, error: ureq::Error) -> RegistryError {
    let host = host.to_owned();
    match error {
        // rustls' words for an answer that is no TLS record.
        ureq::Error::Rustls(error) if error.to_string().contains("InvalidContentType") => {
            RegistryError::NotHttps { host }
        }
        ureq::Error::Io(error) if error.to_string().contains("InvalidContentType") => RegistryError::NotHttps { host },
        ureq::Error::HostNotFound => RegistryError::Unreachable { host, source: NO_SUCH_HOST.into() },
        error => RegistryError::Unreachable { host, source: error.into() },
    }
}

pub(super) fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(super) fn refusal(host: String, what: &str, status: StatusCode, response: Response<Body>) -> RegistryError {
    let what = what.to_owned();
    let said = said(response);
    match status {
        StatusCode::NOT_FOUND => RegistryError::NotFound { host, what },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied { host, what, said },
        StatusCode::TOO_MANY_REQUESTS => RegistryError::TooMany { host, said },
        status => RegistryError::Status { host, status: status.as_u16(), what, said },
    }
}

/// The message of an error answer, in parentheses, or nothing.
pub(super) fn said(response: Response<Body>) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<Message>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        error: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Message {
        #[serde(default)]
        message: String,
    }
    let mut text = Vec::new();
    let _ = response.into_body().into_reader().take(LONGEST_MESSAGE).read_to_end(&mut text);
    let errors = serde_json::from_slice::<Errors>(&text).unwrap_or_else(|_| {
        // Proxies and caches answer in plain words; a page for a browser has none that fit into a line.
        let words = String::from_utf8(text).ok().filter(|text| !text.trim_start().starts_with(['<', '{', '[']));
        let line = words.and_then(|text| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned));
        Errors { errors: vec![], details: line, message: None, error: None }
    });
    let messages: Vec<String> = errors
        .errors
        .into_iter()
        .map(|error| error.message)
        .chain(errors.details)
        .chain(errors.message)
        .chain(errors.error)
        .map(|message| message.chars().filter(|char| !char.is_control()).take(300).collect())
        .filter(|message: &String| !message.is_empty())
        .collect();
    if messages.is_empty() { String::new() } else { format!(" ({})", messages.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(plain: bool, to: &str) -> Option<String> {
        let origin = Origin { plain, authority: "r:1".into() };
        let (origin, path) = origin.follow(to, "/v2/a/blobs/x?y=/z")?;
        Some(format!("{}://{}{path}", if origin.plain { "http" } else { "https" }, origin.authority))
    }

    #[test]
    fn redirects() {
        for (to, expected) in [
            ("https://CDN.example/x?y#z", "https://cdn.example/x?y"),
            ("//cdn/x", "https://cdn/x"),
            ("/x", "https://r:1/x"),
            ("q", "https://r:1/v2/a/blobs/q"),
            ("https://cdn", "https://cdn/"),
            ("https://cdn?x", "https://cdn/?x"),
        ] {
            assert_eq!(follow(false, to).as_deref(), Some(expected), "{to}");
        }
        for to in [
            "",
            "http://cdn/x",
            "ftp://cdn/x",
            "https://u:p@cdn/x",
            "https:///x",
            "/a b",
            "/a\nb",
            "file:///etc/passwd",
        ] {
            assert_eq!(follow(false, to), None, "{to}");
        }
        assert_eq!(follow(true, "http://cdn/x").as_deref(), Some("http://cdn/x"));
        assert_eq!(follow(true, "https://cdn/x").as_deref(), Some("https://cdn/x"));
    }
}
