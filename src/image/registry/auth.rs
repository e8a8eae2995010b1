//! Logging in to registries: challenges, tokens, passwords.

use std::io::Read;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ureq::http::HeaderMap;

use super::super::reference::Reference;
use super::credentials::{Credentials, find};
use super::endpoint::Endpoint;
use super::http::{said, unreachable};
use super::{Client, RegistryError};

/// A token that says nothing about its life lives this long (distribution specification).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token is renewed before it ends.
const MARGIN: Duration = Duration::from_secs(10);
const LARGEST_TOKEN: u64 = 1 << 20;

/// A ready `Authorization` header.
#[derive(Clone)]
pub struct Token {
    header: String,
    until: Option<Instant>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What a registry wants to see before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The strongest challenge that is understood.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = values.flat_map(parse).collect();
        let bearer = challenges.iter().find(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.or(challenges.first()).cloned()
    }
}

/// Reads `Scheme key=value, key="value, with comma", Scheme …`.
fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let trimmed = after.trim_start();
        if let Some(value) = trimmed.strip_prefix('=').filter(|_| !word.is_empty()) {
            let (value, after) = read_value(value.trim_start());
            if let Some((_, parameters)) = challenges.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            if !word.is_empty() {
                challenges.push((word.to_ascii_lowercase(), Vec::new()));
            }
            // A stray `=` is skipped.
            rest = after.strip_prefix('=').unwrap_or(after);
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    challenges
        .into_iter()
        .filter_map(|(scheme, parameters)| {
            let parameter = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.clone())
                    .filter(|value| !value.is_empty())
            };
            match scheme.as_str() {
                "basic" => Some(Challenge::Basic),
                "bearer" => Some(Challenge::Bearer {
                    realm: parameter("realm")?,
                    service: parameter("service"),
                    scope: parameter("scope"),
                }),
                _ => None,
            }
        })
        .collect()
}

fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            char => value.push(char),
        }
    }
    (value, "")
}

impl Client {
    /// The header that worked before for this repository.
    pub(super) fn cached_authorization(&self, endpoint: &Endpoint, reference: &Reference) -> Option<String> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(&(endpoint.host().to_owned(), reference.path().to_owned()))?;
        token.until.is_none_or(|until| until > Instant::now()).then(|| token.header.clone())
    }

    /// Gets what the challenge asks for. False when nothing better than `refused` can be had.
    pub(super) fn authorize(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        challenge: &Challenge,
        refused: Option<&str>,
    ) -> Result<bool, RegistryError> {
        let credentials = find(self.options.docker_config.as_deref(), &endpoint.account)?;
        let token = match challenge {
            Challenge::Basic => match credentials {
                Some(Credentials::Password { user, password }) => {
                    Some(Token { header: basic(&user, &password), until: None })
                }
                _ => None,
            },
            Challenge::Bearer { realm, service, scope } => {
                let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:pull", reference.path()));
                Some(self.token(endpoint, realm, service.as_deref(), &scope, credentials.as_ref())?)
            }
        };
        let Some(token) = token.filter(|token| refused != Some(token.header.as_str())) else { return Ok(false) };
        let key = (endpoint.host().to_owned(), reference.path().to_owned());
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, token);
        Ok(true)
    }

    fn token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Token, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let host = endpoint.host().to_owned();
        let protocol = |why: String| RegistryError::Protocol { host: host.clone(), why };
        let plain = realm.starts_with("http://");
        let authority = realm
            .split_once("://")
            .and_then(|(_, rest)| rest.split(['/', '?']).next())
            .filter(|authority| !authority.is_empty() && (plain || realm.starts_with("https://")))
            .ok_or_else(|| protocol(format!("it gives out tokens at `{realm}`, which is no address")))?;
        // The password goes there: not in the clear when the registry itself is asked over TLS.
        if plain && !self.speaks_plain(endpoint)? {
            return Err(protocol(format!("it gives out tokens over an unprotected connection ({realm})")));
        }
        let insecure = self.is_insecure(endpoint) && authority == endpoint.host();
        let agent = self.transport.agent(plain, authority, !insecure).map_err(|error| unreachable(authority, error))?;
        let mut attempt = 1;
        let response = loop {
            let result = match credentials {
                Some(Credentials::IdentityToken(token)) => agent.post(realm).send_form([
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "windlass"),
                    ("scope", scope),
                    ("refresh_token", token),
                ]),
                _ => {
                    let mut call = agent.get(realm).query("scope", scope);
                    if let Some(service) = service {
                        call = call.query("service", service);
                    }
                    if let Some(Credentials::Password { user, password }) = credentials {
                        call = call.query("account", user).header("authorization", basic(user, password));
                    }
                    call.call()
                }
            };
            let busy = match &result {
                Ok(response) => response.status().as_u16() == 429 || response.status().is_server_error(),
                Err(_) => true,
            };
            if !busy || attempt >= self.options.attempts {
                break result.map_err(|error| unreachable(authority, error))?;
            }
            self.pause(attempt, None);
            attempt += 1;
        };
        match response.status().as_u16() {
            200 => {}
            401 | 403 if credentials.is_some() => {
                return Err(RegistryError::BadCredentials { host, said: said(response) });
            }
            401 | 403 => {
                return Err(RegistryError::Denied { host, what: reference_of(scope), said: said(response) });
            }
            status => {
                let what = "a token".to_owned();
                return Err(RegistryError::Status { host, status, what, said: said(response) });
            }
        }
        let mut bytes = Vec::new();
        response
            .into_body()
            .into_reader()
            .take(LARGEST_TOKEN)
            .read_to_end(&mut bytes)
            .map_err(|source| RegistryError::Broken { host: authority.to_owned(), source })?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| protocol("its token is not valid JSON".to_owned()))?;
        let token = answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| protocol("it gave an answer without a token".to_owned()))?;
        let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        // Some give tokens of a few seconds: then at least this one request gets through.
        let until = Instant::now().checked_add(life.saturating_sub(MARGIN).max(Duration::from_secs(1)));
        Ok(Token { header: format!("Bearer {token}"), until })
    }
}

/// `repository:owner/app:pull` is about `owner/app`.
fn reference_of(scope: &str) -> String {
    scope.split(':').nth(1).unwrap_or(scope).to_owned()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        };
        assert_eq!(
            parse(r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#),
            [bearer("https://a/t", Some("s"), Some("repository:x:pull,push"))]
        );
        assert_eq!(
            parse(r#"basic realm="x, y" , bEARER Realm=https://a/t , scope = "a\"b""#),
            [Challenge::Basic, bearer("https://a/t", None, Some("a\"b"))]
        );
        assert_eq!(parse("Negotiate, Basic"), [Challenge::Basic]);
        for strange in
            ["", "=", ",,,", "Bearer", "Bearer realm=", "Bearer realm=\"x", "\"", "Bearer =x", "Bearer realm"]
        {
            let _ = parse(strange);
        }
    }
}
