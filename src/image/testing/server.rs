//! A tiny HTTP server whose every answer is written by the test, and Debian's real registry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::TestImage;
use crate::image::digest::Digest;

#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Hang up after so many bytes of the body.
    pub cut: Option<usize>,
}

impl Answer {
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self { status, body: body.as_ref().to_vec(), ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Listens on a loopback port until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped, answer) = (Arc::clone(&asked), Arc::clone(&stop), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let Ok(stream) = stream else { return };
                    let _ = serve(stream, &log, &*answer);
                });
            }
        });
        Self { address, asked, stop }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&Asked, usize) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked = Asked { path, headers, body: String::from_utf8_lossy(&body).into_owned() };
    let count = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.iter().filter(|other| other.path == asked.path).count()
    };
    let answer = answer(&asked, count);
    let mut head =
        format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let end = answer.cut.unwrap_or(answer.body.len()).min(answer.body.len());
    stream.write_all(&answer.body[..end])?;
    stream.flush()
}

/// Answers as a registry would for one image: manifest under every tag, blobs with ranges.
pub fn registry_answer(image: &TestImage, asked: &Asked) -> Answer {
    let path = asked.path.split('?').next().unwrap();
    if path == "/v2/" {
        return Answer::new(200, "{}");
    }
    let last = path.rsplit('/').next().unwrap();
    if path.contains("/manifests/") {
        let digest = last.parse().unwrap_or(image.manifest);
        return match image.blobs.get(&digest) {
            Some(bytes) => Answer::new(200, bytes)
                .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                .header("Docker-Content-Digest", &digest.to_string()),
            None => Answer::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        };
    }
    let Some(bytes) = last.parse::<Digest>().ok().and_then(|digest| image.blobs.get(&digest)) else {
        return Answer::new(404, "");
    };
    match asked
        .header("range")
        .strip_prefix("bytes=")
        .and_then(|range| range.trim_end_matches('-').parse::<usize>().ok())
    {
        Some(from) => Answer::new(206, &bytes[from..])
            .header("Content-Range", &format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
        None => Answer::new(200, bytes),
    }
}

/// Debian's `docker-registry` on a free port; it ends when this is dropped.
pub struct RealRegistry {
    child: Child,
    pub host: String,
}

impl RealRegistry {
    pub fn start(folder: &Path) -> Self {
        let program = support::cache::registry_program().unwrap();
        // A free port is found by binding one; somebody else may take it in between, then the next is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = folder.join("registry.yml");
            let data = folder.join("registry-data");
            let text = json!({
                "version": 0.1, "log": {"level": "error", "accesslog": {"disabled": true}},
                "storage": {"filesystem": {"rootdirectory": data}},
                "http": {"addr": format!("127.0.0.1:{port}")},
            });
            std::fs::write(&config, text.to_string()).unwrap();
            let mut child = Command::new(&program)
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            loop {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, host: format!("127.0.0.1:{port}") };
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                assert!(Instant::now() < until, "docker-registry does not listen");
                std::thread::yield_now();
            }
        }
        panic!("docker-registry does not start");
    }

    /// Pushes an image with plain HTTP calls.
    pub fn push(&self, image: &TestImage, repository: &str, tag: &str) {
        for (digest, bytes) in &image.blobs {
            if *digest != image.manifest {
                self.push_blob(repository, digest, bytes);
            }
        }
        self.push_manifest(
            repository,
            tag,
            &image.blobs[&image.manifest],
            "application/vnd.oci.image.manifest.v1+json",
        );
    }

    pub fn push_blob(&self, repository: &str, digest: &Digest, bytes: &[u8]) {
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let response = ureq::post(&url).send_empty().unwrap();
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let join = if location.contains('?') { '&' } else { '?' };
        ureq::put(format!("{location}{join}digest={digest}"))
            .header("content-type", "application/octet-stream")
            .send(bytes)
            .unwrap();
    }

    pub fn push_manifest(&self, repository: &str, tag: &str, bytes: &[u8], media_type: &str) {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.host);
        ureq::put(&url).header("content-type", media_type).send(bytes).unwrap();
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
