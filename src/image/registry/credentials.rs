//! What Docker's `config.json` and its credential helpers know about a registry.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::RegistryError;

/// How to log in.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// A refresh token of the registry's own login.
    IdentityToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::IdentityToken(_) => "IdentityToken",
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The names under which an account may be stored, Docker's own first.
fn names(account: &str) -> Vec<String> {
    if account == "docker.io" {
        let names = ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];
        return names.map(str::to_owned).to_vec();
    }
    vec![account.to_owned(), format!("https://{account}"), format!("http://{account}")]
}

/// Whether a key of `auths` is about the account, whatever scheme and path it carries.
fn means(key: &str, account: &str) -> bool {
    let host = key.split_once("://").map_or(key, |(_, rest)| rest);
    host.split('/').next() == Some(account)
}

/// Looks an account (`docker.io`, `ghcr.io`, `host:port`) up.
pub fn find(config: Option<&Path>, account: &str) -> Result<Option<Credentials>, RegistryError> {
    let Some(path) = config else { return Ok(None) };
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| RegistryError::DockerConfig { path: path.into(), source };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    let names = names(account);
    let named_helper = names.iter().find_map(|name| Some((config.helpers.get(name)?, name.as_str())));
    if let Some((helper, name)) = named_helper {
        return ask_helper(helper, name);
    }
    if let Some(helper) = &config.store {
        for name in &names {
            if let Some(credentials) = ask_helper(helper, name)? {
                return Ok(Some(credentials));
            }
        }
    }
    let entry = names
        .iter()
        .find_map(|name| config.auths.get(name))
        .or_else(|| config.auths.iter().find(|(key, _)| means(key, account)).map(|(_, entry)| entry));
    Ok(entry.and_then(decode))
}

fn decode(entry: &Entry) -> Option<Credentials> {
    let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(token) = text(&entry.identitytoken) {
        return Some(Credentials::IdentityToken(token));
    }
    if let Some(auth) = text(&entry.auth) {
        let decoded = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        return Some(Credentials::Password {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        });
    }
    Some(Credentials::Password { user: text(&entry.username)?, password: text(&entry.password)? })
}

/// Runs `docker-credential-<helper> get`, which reads the server's name and writes JSON.
fn ask_helper(helper: &str, server: &str) -> Result<Option<Credentials>, RegistryError> {
    let failed = |said: String| RegistryError::Helper { helper: helper.into(), said };
    if helper.is_empty() || helper.contains(['/', '\0']) {
        return Err(failed("its name is not that of a program".into()));
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that ends without reading says why with its output.
        let _ = stdin.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        // Helpers tell on stdout, in words, that they know nothing about a server.
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if said.contains("credentials not found") || said.is_empty() {
            return Ok(None);
        }
        return Err(failed(said.chars().filter(|char| !char.is_control()).take(300).collect()));
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(match (answer.username.as_str(), answer.secret.as_str()) {
        (_, "") => None,
        ("<token>", token) => Some(Credentials::IdentityToken(token.to_owned())),
        (user, password) => Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, account: &str) -> Option<Credentials> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        find(Some(&path), account).unwrap()
    }

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: user.into(), password: password.into() })
    }

    #[test]
    fn stored_passwords_and_tokens() {
        let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6c2VjcmV0OngK"}}}"#;
        assert_eq!(found(hub, "docker.io"), password("me", "secret:x\n"));
        assert_eq!(found(hub, "ghcr.io"), None);
        let token = r#"{"auths":{"ghcr.io":{"auth":"", "identitytoken":"t"}}}"#;
        assert_eq!(found(token, "ghcr.io"), Some(Credentials::IdentityToken("t".into())));
        let url = r#"{"auths":{"https://r.example:5000/v2/":{"username":"u","password":"p"}}}"#;
        assert_eq!(found(url, "r.example:5000"), password("u", "p"));
        assert_eq!(found(url, "r.example"), None);
        assert_eq!(found(r#"{"auths":{"a":{"auth":"%%%"}}}"#, "a"), None);
        assert_eq!(find(Some(Path::new("/nonexistent/config.json")), "a").unwrap(), None);
        assert!(find(Some(Path::new("/")), "a").is_err());
    }
}
