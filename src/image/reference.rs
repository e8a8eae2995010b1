//! Names of images: `nginx`, `ghcr.io/owner/app:1.2`, `localhost:5000/x@sha256:…`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
const LONGEST_PATH: usize = 255;
const LONGEST_TAG: usize = 128;

/// A full image name: Docker Hub's short forms are expanded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    /// Absent only when there is a digest.
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image name: {reason}")]
pub struct ReferenceError {
    pub text: String,
    pub reason: String,
}

impl Reference {
    /// Host and port of the registry as written; `docker.io` when the name had none.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository below the registry: `library/nginx`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `docker.io/library/nginx`
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as people write it: `nginx`, `owner/app`, `ghcr.io/owner/app`.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        match self.path.strip_prefix("library/") {
            // Without its namespace it would be taken for an id.
            Some(name) if !name.contains('/') && !is_id(name) => name.to_owned(),
            // Without the registry the first part would be taken for one.
            _ if split_domain(&self.path).0.is_some() => self.repository(),
            _ => self.path.clone(),
        }
    }

    /// The shortest text that means the same image: `nginx:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_repository())
    }

    /// The same repository at this digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { domain: self.domain.clone(), path: self.path.clone(), tag: None, digest: Some(digest) }
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    #[must_use]
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository()))
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { text: text.chars().take(300).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it belongs to the registry's port.
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match name[slash..].find(':') {
        Some(at) => (&name[..slash + at], Some(&name[slash + at + 1..])),
        None => (name, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (domain, path) = split_domain(name);
    if let Some(domain) = domain {
        check_domain(domain)?;
    }
    check_path(path)?;
    let domain = match domain {
        None | Some("index.docker.io") => DEFAULT_DOMAIN,
        Some(domain) => domain,
    };
    let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
        if domain_is_implied(text) && is_id(path) {
            return Err("64 hexadecimal digits are an image id, not a name".into());
        }
        format!("{DEFAULT_NAMESPACE}/{path}")
    } else {
        path.to_owned()
    };
    if path.len() > LONGEST_PATH {
        return Err(format!("the repository is longer than {LONGEST_PATH} characters"));
    }
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Reference { domain: domain.to_owned(), path, tag, digest })
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn domain_is_implied(text: &str) -> bool {
    !text.contains('/')
}

/// The first component is a registry when it cannot be part of a repository on Docker Hub.
fn split_domain(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn check_domain(domain: &str) -> Result<(), String> {
    let wrong = || format!("`{domain}` is not a registry host");
    let (host, port) = if let Some(rest) = domain.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(wrong());
        }
        (None, port.strip_prefix(':').or(if port.is_empty() { None } else { Some("") }))
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        }
    };
    if port.is_some_and(|port| {
        port.is_empty() || port.bytes().any(|b| !b.is_ascii_digit()) || port.parse::<u16>().is_err()
    }) {
        return Err(format!("`{domain}` has no valid port"));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.is_some_and(|host| host.len() > 253 || !host.split('.').all(label)) {
        return Err(wrong());
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("the repository is missing".into());
    }
    for component in path.split('/') {
        if component.is_empty() {
            return Err("a part of the repository is empty".into());
        }
        if component.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("repository names are lower case, `{component}` is not"));
        }
        if !valid_component(component.as_bytes()) {
            return Err(format!(
                "`{component}` may hold letters, digits and, between them, one `.`, one or two `_`, or dashes"
            ));
        }
    }
    Ok(())
}

/// `[a-z0-9]+ ((\.|_|__|-+) [a-z0-9]+)*`
fn valid_component(bytes: &[u8]) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !bytes.first().copied().is_some_and(word) || !bytes.last().copied().is_some_and(word) {
        return false;
    }
    bytes.split(|byte| word(*byte)).all(|separator| match separator {
        [] | b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|byte| *byte == b'-'),
    })
}

fn check_tag(tag: &str) -> Result<(), String> {
    let bytes = tag.as_bytes();
    if bytes.is_empty() {
        return Err("the tag after `:` is missing".into());
    }
    if bytes.len() > LONGEST_TAG {
        return Err(format!("the tag is longer than {LONGEST_TAG} characters"));
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !word(bytes[0]) || !bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'-')) {
        return Err(format!(
            "the tag `{tag}` may hold letters, digits, `_`, `.` and `-`, and starts with neither of the last two"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn a_name_that_reads_like_an_id_keeps_its_namespace() {
        let name = format!("library/{}", "9".repeat(64));
        let reference: Reference = name.parse().unwrap();
        assert_eq!(reference.familiar(), format!("{name}:latest"));
        assert_eq!(reference.familiar().parse(), Ok(reference));
    }

    #[test]
    fn short_names_are_docker_hubs() {
        let digest = Digest::of(b"x");
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27-alpine", "docker.io/library/nginx:1.27-alpine"),
            ("owner/app", "docker.io/owner/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/owner/app", "docker.io/owner/app:latest"),
            ("ghcr.io/owner/app:1", "ghcr.io/owner/app:1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000/a/b/c:x"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("[::1]/app", "[::1]/app:latest"),
            ("a__b/c-d--e.f_g", "docker.io/a__b/c-d--e.f_g:latest"),
        ] {
            assert_eq!(full(text), expected, "{text}");
        }
        assert_eq!(full(&format!("nginx@{digest}")), format!("docker.io/library/nginx@{digest}"));
        assert_eq!(full(&format!("nginx:1@{digest}")), format!("docker.io/library/nginx:1@{digest}"));
    }

    #[test]
    fn familiar_names_are_the_shortest() {
        for text in ["nginx:latest", "owner/app:1", "ghcr.io/owner/app:1", "localhost:5000/x:latest"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
        assert_eq!("docker.io/library/a/b".parse::<Reference>().unwrap().familiar(), "library/a/b:latest");
    }

    #[test]
    fn refused() {
        let long_tag = format!("a:{}", "x".repeat(129));
        let long_path = format!("a/{}", "x".repeat(255));
        let id = "0123456789abcdef".repeat(4);
        for text in [
            "",
            ":",
            "/",
            "a//b",
            "/a",
            "a/",
            "Nginx",
            "a:",
            "a:-x",
            "a:.x",
            "a@",
            "a@sha256:1",
            "a b",
            "a:b:c",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "_a",
            "https://a/b",
            "-x.io/a",
            "a.io:x/b",
            "a.io:/b",
            "a.io:99999/b",
            "[::1:5000/a",
            "[zz]/a",
            "[::1]x/a",
            "ä",
            "a:ä",
            "a\n",
            &long_tag,
            &long_path,
            &id,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted as {}", full(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_prints_and_parses_to_itself(
            domain in "(|localhost/|localhost:[1-9][0-9]{0,3}/|[a-z]{1,5}\\.[a-z]{2,3}/|\\[::1\\]:80/)",
            path in "[a-z0-9]{1,8}([_-][a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}){0,2}",
            tag in "(|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})",
        ) {
            let text = format!("{domain}{path}{tag}");
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
                prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
                prop_assert!(!reference.path().contains(".."));
            }
        }
    }
}
