//! A real registry on loopback, and a push to it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually;
use crate::layout::{blob_path, read_json};

/// A running `docker-registry`; it ends when this is dropped, or with the process that started it.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    port: u16,
    _config: TempDir,
}

/// What a registry of a company has: a certificate, and a file of passwords (`htpasswd -B`).
#[derive(Debug)]
pub struct Guard {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub passwords: PathBuf,
}

impl Registry {
    /// Serves the storage folder on a free port of loopback.
    pub fn start(program: &Path, storage: &Path) -> Result<Self> {
        Self::start_with(program, storage, "", "")
    }

    /// The same over TLS, for those who know the password.
    pub fn start_guarded(program: &Path, storage: &Path, guard: &Guard) -> Result<Self> {
        let tls = format!(", tls: {{certificate: {}, key: {}}}", guard.certificate.display(), guard.key.display());
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", guard.passwords.display());
        Self::start_with(program, storage, &tls, &auth)
    }

    fn start_with(program: &Path, storage: &Path, tls: &str, auth: &str) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:{port}'{tls}}}\n{auth}",
            storage.display()
        );
        fs::write(&config, text)?;
        let process = spawn(program.into(), config)?;
        let registry = Self { process, port, _config: folder };
        eventually("the registry answers", Duration::from_secs(20), || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop).map_err(|error| error.to_string())
        });
        Ok(registry)
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// `127.0.0.1:PORT`, the first part of an image's name.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Pushes every image of a layout as `library/<name>`.
    pub fn push_layout(&self, layout: &Path) -> Result<()> {
        for image in list(&read_json(&layout.join("index.json"))?, "manifests") {
            let name =
                image["annotations"]["org.opencontainers.image.ref.name"].as_str().context("a nameless image")?;
            let (repository, tag) = name.split_once(':').context("a name without a tag")?;
            self.push_manifest(layout, &format!("library/{repository}"), tag, image)
                .with_context(|| format!("cannot push {name}"))?;
        }
        Ok(())
    }

    fn push_manifest(&self, layout: &Path, repository: &str, reference: &str, descriptor: &Value) -> Result<()> {
        let content = fs::read(blob_path(layout, text(descriptor, "digest")?))?;
        let manifest: Value = serde_json::from_slice(&content)?;
        for child in list(&manifest, "manifests") {
            self.push_manifest(layout, repository, text(child, "digest")?, child)?;
        }
        for blob in list(&manifest, "layers").iter().chain(manifest.get("config")) {
            self.push_blob(layout, repository, text(blob, "digest")?)?;
        }
        let url = format!("{}/v2/{repository}/manifests/{reference}", self.url());
        ureq::put(url).header("content-type", text(descriptor, "mediaType")?).send(&content[..])?;
        Ok(())
    }

    fn push_blob(&self, layout: &Path, repository: &str, digest: &str) -> Result<()> {
        if ureq::head(format!("{}/v2/{repository}/blobs/{digest}", self.url())).call().is_ok() {
            return Ok(());
        }
        let upload = ureq::post(format!("{}/v2/{repository}/blobs/uploads/", self.url())).send_empty()?;
        let place = upload.headers().get("location").context("no place for the upload")?.to_str()?.to_owned();
        let separator = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{separator}digest={digest}");
        let content = fs::read(blob_path(layout, digest))?;
        let answer = ureq::put(url).header("content-type", "application/octet-stream").send(&content[..])?;
        ensure!(answer.status() == 201, "the registry answered {}", answer.status());
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the registry such that the kernel ends it with this process: a test binary has no end at which to do so.
/// The kernel's rule is about the thread that started it, so that thread stays.
fn spawn(program: PathBuf, config: PathBuf) -> Result<Child> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("registry".into()).spawn(move || {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if sender.send(child).is_ok() {
            loop {
                std::thread::park();
            }
        }
    })?;
    receiver.recv()?.with_context(|| "cannot start the registry".to_owned())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("a descriptor without {key}"))
}
