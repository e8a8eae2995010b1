//! The client side of the OCI distribution protocol: manifests and blobs from any registry.

mod auth;
mod blob;
mod credentials;
mod endpoint;
mod http;
mod proxy;
pub mod web;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use super::digest::Digest;
use super::manifest::{self, Descriptor, LARGEST_MANIFEST};
use super::reference::Reference;

use auth::Token;
use blob::BlobReader;
use endpoint::Endpoint;
use http::{Request, Transport};
pub use proxy::Proxies;

/// How registries are reached. Nothing here is read from the environment: the caller passes it in.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Docker's `config.json` with credentials, if there is one.
    pub docker_config: Option<PathBuf>,
    /// Registries asked before Docker Hub, as hosts or URLs.
    pub mirrors: Vec<String>,
    /// Registries whose certificate is not checked, or which speak plain HTTP, as `host` or `host:port`.
    pub insecure: Vec<String>,
    pub proxies: Proxies,
    /// How often a request or an interrupted download is tried.
    pub attempts: u32,
    /// The first pause between two attempts; it doubles every time.
    pub pause: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            docker_config: None,
            mirrors: Vec::new(),
            insecure: Vec::new(),
            proxies: Proxies::default(),
            attempts: 5,
            pause: Duration::from_millis(400),
        }
    }
}

/// Why a registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("cannot reach {host}")]
    Unreachable { host: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{host} does not speak HTTPS; if that is meant to be, list it as an insecure registry")]
    NotHttps { host: String },
    #[error("no mirror gave it: {answers}")]
    AfterMirrors { answers: String, source: Box<RegistryError> },
    #[error("{host} has no {what}")]
    NotFound { host: String, what: String },
    #[error("{host} wants a login for {what}, or it does not exist{said}")]
    Denied { host: String, what: String, said: String },
    #[error("{host} does not accept the stored credentials{said}")]
    BadCredentials { host: String, said: String },
    #[error("{host} is asked too often{said}")]
    TooMany { host: String, said: String },
    #[error("{host} answered {status} for {what}{said}")]
    Status { host: String, status: u16, what: String, said: String },
    #[error("{host} sent something that is not understood: {why}")]
    Protocol { host: String, why: String },
    #[error("{host} sent a manifest of more than {LARGEST_MANIFEST} bytes")]
    ManifestTooLarge { host: String },
    #[error("{host} sent a manifest that is not what was asked for: {expected} was expected, {found} came")]
    ManifestDigest { host: String, expected: Digest, found: Digest },
    #[error("{host} leads to `{to}`, which cannot be followed")]
    Redirect { host: String, to: String },
    #[error("the connection to {host} broke")]
    Broken { host: String, source: io::Error },
    #[error("the Docker configuration {path} cannot be read")]
    DockerConfig { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the credential helper {helper} failed: {said}")]
    Helper { helper: String, said: String },
}

impl RegistryError {
    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let variable = "WINDLASS_INSECURE_REGISTRIES";
        match self {
            Self::Denied { host, .. } | Self::BadCredentials { host, .. } => Some(format!(
                "credentials are read from ~/.docker/config.json, as `docker login {host}` writes it, \
                 or from the credential helper named there"
            )),
            Self::AfterMirrors { source, .. } => source.remedy(),
            Self::NotHttps { host } => Some(format!("set {variable}={host} to speak plain HTTP with it")),
            Self::Unreachable { host, source } if source.to_string().contains("certificate") => Some(format!(
                "add its authority to this machine's certificates, name a file of them in SSL_CERT_FILE, \
                 or set {variable}={host} to go without the check"
            )),
            _ => None,
        }
    }
}

/// An error with its causes in one line.
fn told(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// A connection to registries that remembers tokens, and which of them speak plain HTTP.
#[derive(Debug)]
pub struct Client {
    options: RegistryOptions,
    transport: Transport,
    tokens: Mutex<HashMap<(String, String), Token>>,
    plain: Mutex<HashMap<String, bool>>,
}

/// A manifest as it came.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub bytes: Vec<u8>,
    pub media_type: Option<String>,
    pub digest: Digest,
    /// Where it came from; its blobs are there too.
    pub(super) endpoint: Endpoint,
}

impl Client {
    #[must_use]
    pub fn new(options: RegistryOptions) -> Self {
        Self {
            transport: Transport::new(options.proxies.clone()),
            options,
            tokens: Mutex::default(),
            plain: Mutex::default(),
        }
    }

    /// Fetches the manifest that a name stands for, from the first mirror that has it or from the registry itself.
    ///
    /// # Errors
    /// The registry's own error, with what the mirrors said before.
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let mut mirrors: Vec<String> = Vec::new();
        let mut endpoints = self.endpoints(reference).into_iter().peekable();
        while let Some(endpoint) = endpoints.next() {
            match self.manifest_at(&endpoint, reference, &reference.selector(), reference.digest()) {
                Err(error) if endpoints.peek().is_some() => {
                    tracing::info!("mirror {} is left out: {error}", endpoint.host());
                    mirrors.push(told(&error));
                }
                Err(error) if !mirrors.is_empty() => {
                    return Err(RegistryError::AfterMirrors { answers: mirrors.join("; "), source: Box::new(error) });
                }
                result => return result,
            }
        }
        Err(RegistryError::NotFound { host: reference.domain().to_owned(), what: reference.familiar() })
    }

    /// Fetches the member of an index.
    ///
    /// # Errors
    /// When the registry does not have it, or sends something else.
    pub fn member(&self, of: &Fetched, reference: &Reference, member: &Descriptor) -> Result<Fetched, RegistryError> {
        self.manifest_at(&of.endpoint, reference, &member.digest.to_string(), Some(&member.digest))
    }

    fn manifest_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        selector: &str,
        expected: Option<&Digest>,
    ) -> Result<Fetched, RegistryError> {
        let host = endpoint.host().to_owned();
        let what = format!("{}:{selector}", reference.familiar_repository());
        let what = if expected.is_some() { what.replacen(":sha256:", "@sha256:", 1) } else { what };
        let path = format!("{}/manifests/{selector}", endpoint.repository(reference));
        let response = self.request(
            endpoint,
            reference,
            &Request { path: &path, accept: Some(manifest::ACCEPT), from: 0, what: &what },
        )?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (media_type, named) = (header("content-type"), header("docker-content-digest"));
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader().take(LARGEST_MANIFEST + 1);
        body.read_to_end(&mut bytes).map_err(|source| RegistryError::Broken { host: host.clone(), source })?;
        if bytes.len() as u64 > LARGEST_MANIFEST {
            return Err(RegistryError::ManifestTooLarge { host });
        }
        let digest = Digest::of(&bytes);
        let named = named.and_then(|named| named.parse::<Digest>().ok());
        for expected in expected.into_iter().chain(&named) {
            if *expected != digest {
                return Err(RegistryError::ManifestDigest { host, expected: *expected, found: digest });
            }
        }
        Ok(Fetched { bytes, media_type, digest, endpoint: endpoint.clone() })
    }

    /// Fetches a small blob whole. The caller checks its digest.
    ///
    /// # Errors
    /// When the registry does not have it, or it is larger than promised.
    pub fn blob(&self, of: &Fetched, reference: &Reference, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let reader = self.blob_reader(of, reference, blob)?;
        reader
            .take(blob.size + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| RegistryError::Broken { host: of.endpoint.host().to_owned(), source })?;
        Ok(bytes)
    }

    /// Opens a blob for reading; a connection that breaks is taken up again where it broke.
    ///
    /// # Errors
    /// When the registry does not have it.
    pub fn blob_reader<'a>(
        &'a self,
        of: &Fetched,
        reference: &'a Reference,
        blob: &Descriptor,
    ) -> Result<impl Read + Send + use<'a>, RegistryError> {
        BlobReader::open(self, of.endpoint.clone(), reference, blob)
    }

    fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        endpoint::endpoints(reference, &self.options.mirrors)
    }
}
