//! An image's configuration: what its Dockerfile said about running it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::platform::Platform;

/// More are not honest: each is a folder and a mount.
pub const MOST_VOLUMES: usize = 1_000;

/// The configuration as containers need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `KEY=value`
    pub env: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    /// Empty is root.
    pub user: String,
    /// Empty is `/`.
    pub working_dir: String,
    /// Paths of anonymous volumes, sorted.
    pub volumes: Vec<String>,
    /// `80/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    pub stop_signal: Option<String>,
    pub healthcheck: Option<Healthcheck>,
    /// For the shell form of health checks.
    pub shell: Option<Vec<String>>,
    pub labels: BTreeMap<String, String>,
}

/// HEALTHCHECK; zero means "not said".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// Empty (inherit), `NONE`, `CMD` + arguments, or `CMD-SHELL` + text.
    pub test: Vec<String>,
    pub interval_ns: u64,
    pub timeout_ns: u64,
    pub start_period_ns: u64,
    pub start_interval_ns: u64,
    pub retries: u32,
}

/// One step of the build, for `image history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    #[serde(default, deserialize_with = "lenient_time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub created_by: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub comment: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub empty_layer: bool,
}

/// The whole configuration file.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    pub config: ImageConfig,
    pub platform: Platform,
    pub created: Option<Timestamp>,
    pub author: String,
    pub diff_ids: Vec<Digest>,
    pub history: Vec<HistoryStep>,
}

impl ConfigFile {
    /// # Errors
    /// When it is no configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: RawFile = serde_json::from_slice(bytes)?;
        let config = raw.config.unwrap_or_default();
        Ok(Self {
            platform: Platform::new(
                raw.os.as_deref().filter(|os| !os.is_empty()).unwrap_or("linux"),
                &raw.architecture.unwrap_or_default(),
                raw.variant.as_deref(),
            ),
            created: raw.created,
            author: raw.author.unwrap_or_default(),
            diff_ids: raw.rootfs.diff_ids,
            history: raw.history.unwrap_or_default(),
            config: ImageConfig {
                env: config.env.unwrap_or_default(),
                entrypoint: config.entrypoint.map(OneOrMany::many),
                cmd: config.cmd.map(OneOrMany::many),
                user: config.user.unwrap_or_default(),
                working_dir: config.working_dir.unwrap_or_default(),
                volumes: config.volumes.unwrap_or_default().into_keys().collect(),
                exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().map(with_protocol).collect(),
                stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
                healthcheck: config.healthcheck.map(RawHealthcheck::decode),
                shell: config.shell.filter(|shell| !shell.is_empty()),
                labels: config.labels.unwrap_or_default(),
            },
        })
    }
}

fn with_protocol(port: String) -> String {
    if port.contains('/') { port } else { format!("{port}/tcp") }
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default, deserialize_with = "lenient_time")]
    created: Option<Timestamp>,
    author: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    os: Option<String>,
    config: Option<RawConfig>,
    rootfs: RawRootfs,
    history: Option<Vec<HistoryStep>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default, deserialize_with = "null_is_default")]
    diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    env: Option<Vec<String>>,
    entrypoint: Option<OneOrMany>,
    cmd: Option<OneOrMany>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
    healthcheck: Option<RawHealthcheck>,
    shell: Option<Vec<String>>,
}

/// Very old images wrote a single string.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn many(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawHealthcheck {
    test: Option<Vec<String>>,
    interval: Option<i64>,
    timeout: Option<i64>,
    start_period: Option<i64>,
    start_interval: Option<i64>,
    retries: Option<i64>,
}

impl RawHealthcheck {
    fn decode(self) -> Healthcheck {
        let duration = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        Healthcheck {
            test: self.test.unwrap_or_default(),
            interval_ns: duration(self.interval),
            timeout_ns: duration(self.timeout),
            start_period_ns: duration(self.start_period),
            start_interval_ns: duration(self.start_interval),
            retries: self.retries.and_then(|retries| u32::try_from(retries).ok()).unwrap_or(0),
        }
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that cannot be read must not keep an image from running.
fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read() {
        let text = r#"{
            "created": "2026-06-23T01:02:03.456789Z", "architecture": "amd64", "os": "linux", "author": "me",
            "config": {
                "User": "1000:1000", "ExposedPorts": {"80/tcp": {}, "443": {}}, "Env": ["PATH=/bin", "A=b=c"],
                "Entrypoint": ["/e"], "Cmd": ["c", "d"], "Volumes": {"/data": {}}, "WorkingDir": "/w",
                "Labels": {"a": "b"}, "StopSignal": "SIGQUIT", "Shell": ["/bin/bash", "-c"],
                "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 1000000000, "StartInterval": 5, "Retries": 3}
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
            "history": [{"created": "2026-06-23T01:02:03Z", "created_by": "COPY", "empty_layer": true}, {}]
        }"#;
        let file = ConfigFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.config.exposed_ports, ["443/tcp", "80/tcp"]);
        assert_eq!(file.config.healthcheck.unwrap().start_interval_ns, 5);
        assert_eq!(file.config.entrypoint.unwrap(), ["/e"]);
        assert_eq!(file.diff_ids, [Digest::of(b"")]);
        assert_eq!(file.history.len(), 2);
        assert_eq!(file.created.unwrap().to_string(), "2026-06-23T01:02:03.456789Z");
    }

    #[test]
    fn nulls_and_gaps_are_defaults() {
        let text = r#"{"architecture":"amd64","os":"linux","created":"yesterday","config":{"Env":null,"Cmd":"sh","Labels":null,
            "Healthcheck":{"Interval":-1}},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let file = ConfigFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.config.cmd.unwrap(), ["sh"]);
        assert_eq!(file.created, None);
        assert_eq!(file.config.healthcheck.unwrap().interval_ns, 0);
        assert!(ConfigFile::parse(b"{}").is_err());
    }
}
