//! A new image out of an image and what a container has changed in it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::error::ImageError;
use super::import::{Import, Source, Wanted};
use super::manifest::{DOCKER_MANIFEST, LARGEST_CONFIG, OCI_LAYER};
use super::pack::{self, PackOptions};
use super::progress::Reporter;
use super::reference::Reference;
use super::store::{Archives, NameRecord, Store};
use super::unpack::Limits;
use crate::state::record::Durability;

/// What is committed.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// The image that the container was made of.
    pub base: &'a Digest,
    /// Upper folder of the container's overlay.
    pub upper: &'a Path,
    pub author: &'a str,
    pub message: &'a str,
    /// The container's command, for the history.
    pub created_by: &'a str,
    /// Fields of the configuration that the container had in place of the image's; then the person's changes.
    pub config: Map<String, Value>,
    pub changes: &'a [String],
    pub name: Option<&'a Reference>,
}

/// Uncompressed, in Docker's own form.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

struct Top {
    archive: PathBuf,
}

impl Source for Top {
    fn open(&self, _index: usize) -> Result<Box<dyn Read + Send + '_>, ImageError> {
        Ok(Box::new(File::open(&self.archive).map_err(ImageError::io("read", &self.archive))?))
    }
}

/// Makes the image; answers with its id.
///
/// # Errors
/// When the base is gone, a change is not understood, or the layer cannot be packed or stored.
pub fn commit(store: &Store, commit: &Commit<'_>) -> Result<Digest, ImageError> {
    let session = store.session()?;
    let _using = store.using()?;
    let base = store.image_record(commit.base)?.ok_or_else(|| ImageError::NotFound(commit.base.to_string()))?;
    let place = store.blob_path(commit.base);
    let mut text = Vec::new();
    File::open(&place)
        .and_then(|file| file.take(LARGEST_CONFIG).read_to_end(&mut text))
        .map_err(ImageError::io("read", &place))?;
    let mut file: Map<String, Value> = serde_json::from_slice(&text).map_err(ImageError::Config)?;
    configure(&mut file, commit)?;

    let archive = session.path("commit");
    let diff_id = pack(commit.upper, &archive)?;
    let created = Timestamp::now().to_string();
    let step = json!({"created": created, "created_by": commit.created_by, "author": commit.author, "comment": commit.message});
    append(&mut file, &["history"], step)?;
    append(&mut file, &["rootfs", "diff_ids"], json!(diff_id))?;
    file.insert("created".into(), created.into());
    if !commit.author.is_empty() {
        file.insert("author".into(), commit.author.into());
    }
    let config = serde_json::to_vec(&file).map_err(ImageError::Config)?;
    let mut layers: Vec<Wanted> = base
        .layers
        .iter()
        .map(|layer| Wanted {
            digest: Some(layer.digest),
            size: Some(layer.compressed_size),
            media_type: layer.media_type.clone(),
        })
        .collect();
    let media_type = if base.media_type == DOCKER_MANIFEST { DOCKER_LAYER } else { OCI_LAYER };
    layers.push(Wanted { digest: None, size: None, media_type: media_type.to_owned() });
    let image = Import {
        manifest: None,
        manifest_type: &base.media_type,
        config: &config,
        config_type: &base.config_media_type,
        layers,
        source: &Top { archive },
        limits: Limits::default(),
        parallel: 1,
        reporter: Reporter { image: "", progress: &|_| {} },
        archives: &Archives::default(),
    }
    .run(store, &session)?;
    if let Some(name) = commit.name {
        store.write_name(&NameRecord::new(name, &image.id), Durability::Machine)?;
    }
    Ok(image.id)
}

/// Writes the layer; answers with its digest.
fn pack(upper: &Path, archive: &Path) -> Result<Digest, ImageError> {
    let root = rustix::fs::open(upper, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| ImageError::io("read", upper)(errno.into()))?;
    let file = File::create(archive).map_err(ImageError::io("create", archive))?;
    let mut out = Hashing { out: BufWriter::new(file), hasher: Sha256::new() };
    let options = PackOptions { name: "".as_ref(), layer: true, one_mount: true, skip: &|_| false };
    pack::tree(std::os::fd::AsFd::as_fd(&root), &options, &mut out)?;
    out.flush().map_err(ImageError::io("write", archive))?;
    Ok(Digest::from_hasher(out.hasher))
}

struct Hashing<W> {
    out: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn append(file: &mut Map<String, Value>, path: &[&str], item: Value) -> Result<(), ImageError> {
    let (first, rest) = path.split_first().ok_or_else(|| ImageError::Refused("an empty path".into()))?;
    let mut place = file.entry((*first).to_owned()).or_insert(Value::Null);
    for name in rest {
        place = &mut place[*name];
    }
    if place.is_null() {
        *place = json!([]);
    }
    let list = place.as_array_mut();
    list.ok_or_else(|| ImageError::Refused(format!("the image's `{}` is no list", path.join("."))))?.push(item);
    Ok(())
}

fn configure(file: &mut Map<String, Value>, commit: &Commit<'_>) -> Result<(), ImageError> {
    let config = file.entry("config").or_insert(Value::Null);
    if !config.is_object() {
        *config = json!({});
    }
    let Some(config) = config.as_object_mut() else { return Ok(()) };
    for (key, value) in &commit.config {
        match (config.get_mut(key), value) {
            // Labels add to those of the image.
            (Some(Value::Object(have)), Value::Object(more)) => {
                have.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {
                config.insert(key.clone(), value.clone());
            }
        }
    }
    for change in commit.changes {
        apply(config, change)?;
    }
    Ok(())
}

/// One instruction of a Dockerfile.
fn apply(config: &mut Map<String, Value>, change: &str) -> Result<(), ImageError> {
    let refused = |why: &str| ImageError::Refused(format!("the change `{change}` {why}"));
    let (word, rest) = change.trim().split_once(char::is_whitespace).unwrap_or((change.trim(), ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(refused("says nothing"));
    }
    let list = || match serde_json::from_str::<Vec<String>>(rest) {
        Ok(list) => json!(list),
        Err(_) => json!(["/bin/sh", "-c", rest]),
    };
    let words = || shell_words::split(rest).map_err(|_| refused("has a quote without its other half"));
    match word.to_ascii_uppercase().as_str() {
        "CMD" => {
            config.insert("Cmd".into(), list());
        }
        "ENTRYPOINT" => {
            config.insert("Entrypoint".into(), list());
            // As a build does: a command for another entrypoint makes no sense.
            config.shift_remove("Cmd");
        }
        "USER" => {
            config.insert("User".into(), rest.into());
        }
        "WORKDIR" => {
            let old = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
            let new = Path::new("/").join(old).join(rest);
            config.insert("WorkingDir".into(), new.display().to_string().into());
        }
        "STOPSIGNAL" => {
            config.insert("StopSignal".into(), rest.into());
        }
        "ENV" => {
            let words = words()?;
            let pairs = match words.iter().all(|word| word.contains('=')) {
                true => words,
                false => vec![rest.replacen(char::is_whitespace, "=", 1)],
            };
            let env = config.entry("Env").or_insert(Value::Null);
            let mut all: Vec<String> =
                env.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
            let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
            let mut places: HashMap<String, usize> =
                all.iter().enumerate().rev().map(|(place, pair)| (name(pair), place)).collect();
            for pair in pairs {
                match places.get(&name(&pair)) {
                    Some(place) => all[*place] = pair,
                    None => {
                        places.insert(name(&pair), all.len());
                        all.push(pair);
                    }
                }
            }
            *env = json!(all);
        }
        "LABEL" => {
            for word in words()? {
                let (key, value) = word.split_once('=').ok_or_else(|| refused("is no KEY=VALUE"))?;
                set(config, "Labels", key, value.into());
            }
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let port = if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") };
                set(config, "ExposedPorts", &port, json!({}));
            }
        }
        "VOLUME" => {
            let paths = serde_json::from_str::<Vec<String>>(rest).or_else(|_| words())?;
            for path in paths {
                set(config, "Volumes", &path, json!({}));
            }
        }
        _ => {
            return Err(refused(
                "is not understood; there are CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR",
            ));
        }
    }
    Ok(())
}

fn set(config: &mut Map<String, Value>, field: &str, key: &str, value: Value) {
    let place = config.entry(field.to_owned()).or_insert(Value::Null);
    if !place.is_object() {
        *place = json!({});
    }
    place[key] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_instructions() {
        let mut config = json!({"Env": ["A=1", "B=2"], "Cmd": ["old"], "WorkingDir": "/srv", "Labels": null});
        let config = config.as_object_mut().unwrap();
        for change in [
            "ENV A=3 C='x y'",
            "env D some words",
            "ENTRYPOINT [\"/bin/tool\"]",
            "CMD echo $A",
            "EXPOSE 80 53/udp",
            "LABEL tier=one \"a b=c d\"",
            "USER 1000:1000",
            "WORKDIR app",
            "VOLUME [\"/data\"]",
            "VOLUME /x /y",
            "STOPSIGNAL SIGINT",
        ] {
            apply(config, change).unwrap();
        }
        insta::assert_snapshot!(Value::Object(config.clone()).to_string(), @r#"{"Env":["A=3","B=2","C=x y","D=some words"],"WorkingDir":"/srv/app","Labels":{"tier":"one","a b":"c d"},"Entrypoint":["/bin/tool"],"Cmd":["/bin/sh","-c","echo $A"],"ExposedPorts":{"80/tcp":{},"53/udp":{}},"User":"1000:1000","Volumes":{"/data":{},"/x":{},"/y":{}},"StopSignal":"SIGINT"}"#);
        for wrong in ["", "CMD", "COPY a b", "LABEL x", "RUN true"] {
            assert!(apply(config, wrong).is_err(), "{wrong}");
        }
    }
}
