//! Files of every attribute and merge rule against what `docker compose config` 2.40.3 prints for them, and faulty files
//! against what is shown for them.
//!
//! A fixture is one text: `-- NAME --` begins a file of the project, `-- args --` the flags (`@` begins those of `config`
//! itself), `-- expected --` the output. `refused` says that both refuse it. `UPDATE_FIXTURES=1` writes the expected
//! texts of the faulty files anew; read them before they are committed.

#![allow(clippy::unwrap_used, reason = "what only tests use may panic")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;
use windlass::cli::commands::config::{ConfigArgs, render};
use windlass::compose::{FileSource, LoadRequest, Loaded, load};
use windlass::diag::{Paint, render_all};

#[derive(Debug, Parser)]
struct Flags {
    #[arg(short = 'f')]
    files: Vec<PathBuf>,
    #[arg(long = "profile")]
    profile: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

struct Fixture {
    path: PathBuf,
    name: String,
    sections: Vec<(String, String)>,
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            match line.trim_end().strip_prefix("-- ").and_then(|line| line.strip_suffix(" --")) {
                Some(name) => sections.push((name.to_owned(), String::new())),
                None => sections.last_mut().unwrap().1.push_str(line),
            }
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self { path: path.to_owned(), name, sections }
    }

    fn section(&self, name: &str) -> Option<&str> {
        self.sections.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str())
    }

    fn load(&self) -> (Flags, Result<Loaded, windlass::compose::LoadFailure>) {
        let words = self.section("args").unwrap_or_default().split_whitespace();
        let words = words.map(|word| word.trim_start_matches('@').to_owned());
        let flags = Flags::parse_from(std::iter::once("config".to_owned()).chain(words));
        let folder = Path::new("/corpus").join(self.name.replace("--hash-all", "--hashall"));
        let request = LoadRequest {
            current_dir: folder.clone(),
            files: flags.files.clone(),
            profiles: flags.profile.clone(),
            environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
            options: flags.config.options(),
            ..LoadRequest::default()
        };
        let loaded = load(request, &Texts { folder, fixture: self });
        (flags, loaded)
    }
}

/// The files of a fixture.
struct Texts<'a> {
    folder: PathBuf,
    fixture: &'a Fixture,
}

impl FileSource for Texts<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        let name = path.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        let text = name.and_then(|name| self.fixture.section(name));
        text.map(str::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn is_file(&self, path: &Path) -> bool {
        self.read(path).is_ok()
    }

    fn stdin(&self) -> io::Result<String> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

fn fixtures(folder: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Fixture::read(path)).collect()
}

#[test]
fn config_prints_what_the_peer_prints() {
    let fixtures = fixtures("compose");
    assert!(fixtures.len() >= 300, "{}", fixtures.len());
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let (flags, loaded) = fixture.load();
        match (loaded, fixture.section("expected")) {
            (Ok(loaded), Some(expected)) => {
                let printed = render(&flags.config, &loaded).map_err(|_| "no output").unwrap();
                if printed.trim_end() != expected.trim_end() {
                    wrong.push(format!("{}: differs\n{printed}\ninstead of\n{expected}", fixture.name));
                }
            }
            (Err(failure), Some(_)) => wrong.push(format!("{}: refused\n{failure}", fixture.name)),
            (Ok(_), None) => wrong.push(format!("{}: not refused", fixture.name)),
            (Err(_), None) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), fixtures.len(), wrong.join("\n"));
}

#[test]
fn config_of_config_is_the_same() {
    for fixture in fixtures("compose").iter().filter(|fixture| fixture.section("args").is_none()) {
        let (flags, Ok(loaded)) = fixture.load() else { continue };
        let printed = render(&flags.config, &loaded).map_err(|_| "no output").unwrap();
        let again = Fixture {
            path: fixture.path.clone(),
            name: fixture.name.clone(),
            sections: std::iter::once(("compose.yaml".to_owned(), printed.clone()))
                .chain(fixture.sections.iter().filter(|(name, _)| name == ".env").cloned())
                .collect(),
        };
        match again.load() {
            (flags, Ok(loaded)) => {
                let twice = render(&flags.config, &loaded).map_err(|_| "no output").unwrap();
                assert_eq!(twice, printed, "{}", fixture.name);
            }
            (_, Err(failure)) => panic!("{}: {failure}\n{printed}", fixture.name),
        }
    }
}

#[test]
fn faults_are_shown_as_they_should_be() {
    let fixtures = fixtures("faults");
    assert!(fixtures.len() >= 80, "{}", fixtures.len());
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        let shown = match fixture.load() {
            (_, Ok(loaded)) => render_all(&loaded.warnings, &loaded.sources, Paint::Plain),
            (_, Err(failure)) => render_all(&failure.diagnostics, &failure.sources, Paint::Plain),
        };
        assert!(!shown.is_empty(), "{}: nothing to say", fixture.name);
        if fixture.section("expected").map(str::trim_end) == Some(shown.trim_end()) {
            continue;
        }
        if update {
            let files = fixture.sections.iter().filter(|(name, _)| name != "expected");
            let mut text: String = files.map(|(name, text)| format!("-- {name} --\n{text}")).collect();
            text.push_str("-- expected --\n");
            text.push_str(&shown);
            std::fs::write(&fixture.path, text).unwrap();
        } else {
            wrong.push(format!("{}:\n{shown}", fixture.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
