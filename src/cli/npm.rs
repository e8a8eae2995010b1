//! The registry of npm: what npm's own settings say, or an npm of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::Context;
use crate::compose::model::Project;
use crate::image::toolchain::NpmRegistry;

/// Larger settings are none that a person wrote.
const LARGEST_NPMRC: u64 = 1 << 20;
/// npm takes a third of a second to say where its registry is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where Node.js comes from, and what is shown there: the environment says it, then the project's `.npmrc`, then those of
/// the homes, then the machine's, then an npm that is installed. `None`: nobody does.
pub fn registry(context: &Context, project: &Project, homes: &[PathBuf]) -> Option<NpmRegistry> {
    let named = |name: &str| {
        let mut variables = context.environment.iter();
        variables
            .find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty())
            .map(|(_, value)| value.clone())
    };
    let mut files = vec![project.working_dir.join(".npmrc")];
    files.extend(homes.iter().map(|home| home.join(".npmrc")));
    files.extend(["/etc/npmrc", "/usr/local/etc/npmrc", "/usr/etc/npmrc"].map(PathBuf::from));
    let settings: Vec<(String, String)> = files.iter().flat_map(|file| npmrc(file, &context.environment)).collect();
    let set = |name: &str| settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let url = named("npm_config_registry").or_else(|| set("registry")).or_else(|| installed(&project.working_dir))?;
    let without_scheme = url.split_once(':').map_or(url.as_str(), |(_, rest)| rest).trim_end_matches('/');
    let token = set(&format!("{without_scheme}/:_authToken")).or_else(|| set(&format!("{without_scheme}:_authToken")));
    Some(NpmRegistry { url, token })
}

/// What an installed npm says.
fn installed(folder: &Path) -> Option<String> {
    let mut command = Command::new("npm");
    command.args(["config", "get", "registry"]).current_dir(folder).env("NPM_CONFIG_UPDATE_NOTIFIER", "false");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let output = child.stdout.take()?;
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = output.take(LARGEST_NPMRC).read_to_string(&mut text);
        // Nobody waits any more for one that is late.
        let _ = said.send(read.map(|_| text));
    });
    let text = heard.recv_timeout(PATIENCE);
    if text.is_err() {
        tracing::warn!("npm did not say within {} s where its registry is", PATIENCE.as_secs());
        let _ = child.kill();
    }
    let ended = child.wait().ok()?;
    let text = text.ok()?.ok().filter(|_| ended.success())?;
    let url = text.trim();
    (url.starts_with("http://") || url.starts_with("https://")).then(|| url.to_owned())
}

/// `key = value` lines; `${NAME}` is a variable.
fn npmrc(path: &Path, environment: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let is_small = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST_NPMRC);
    let Some(text) = fs::read_to_string(path).ok().filter(|_| is_small) else { return Vec::new() };
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let pairs = pairs.map(|(key, value)| {
        let value = value.trim().trim_matches('"');
        let value = value
            .strip_prefix("${")
            .and_then(|name| name.strip_suffix('}'))
            .map_or_else(|| value.to_owned(), |name| environment.get(name).cloned().unwrap_or_default());
        (key.trim().to_owned(), value)
    });
    pairs.filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_npm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".npmrc");
        let text =
            "# mine\nregistry = https://npm.example/a/\n//npm.example/a/:_authToken=${TOKEN}\n; x\nempty=\nq=\"y\"\n";
        fs::write(&file, text).unwrap();
        let environment = BTreeMap::from([("TOKEN".to_owned(), "t0ken".to_owned())]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected =
            [pair("registry", "https://npm.example/a/"), pair("//npm.example/a/:_authToken", "t0ken"), pair("q", "y")];
        assert_eq!(npmrc(&file, &environment), expected);
        assert!(npmrc(&folder.path().join("none"), &environment).is_empty());
        assert!(npmrc(folder.path(), &environment).is_empty());
    }
}
