//! A fixture is one text: `-- NAME --` begins a file of the project, `-- args --` the flags (`@` begins those of `config`
//! itself), `-- expected --` the output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use windlass::cli::commands::config::ConfigArgs;
use windlass::compose::{LoadFailure, LoadRequest, Loaded, load};

use crate::untrusted::Sections;

#[derive(Debug, Parser)]
pub struct Flags {
    #[arg(short = 'f')]
    pub files: Vec<PathBuf>,
    #[arg(long = "profile")]
    pub profile: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

pub struct Fixture {
    pub path: PathBuf,
    pub name: String,
    pub sections: Sections,
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = Path::new("/corpus").join(name.replace("--hash-all", "--hashall"));
        let sections = Sections::read(&std::fs::read_to_string(path).unwrap()).at(folder);
        Self { path: path.to_owned(), name, sections }
    }

    pub fn section(&self, name: &str) -> Option<&str> {
        self.sections.get(name)
    }

    /// Only `compose.yaml`, without flags.
    pub fn is_single(&self) -> bool {
        self.sections.iter().all(|(name, _)| matches!(name, "compose.yaml" | "expected" | "refused"))
    }

    pub fn load(&self) -> (Flags, Result<Loaded, LoadFailure>) {
        let words = self.section("args").unwrap_or_default().split_whitespace();
        let words = words.map(|word| word.trim_start_matches('@').to_owned());
        let flags = Flags::parse_from(std::iter::once("config".to_owned()).chain(words));
        let request = LoadRequest {
            current_dir: self.sections.folder(),
            files: flags.files.clone(),
            profiles: flags.profile.clone(),
            environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
            options: flags.config.options(),
            ..LoadRequest::default()
        };
        let loaded = load(request, &self.sections);
        (flags, loaded)
    }
}

pub fn fixtures(folder: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Fixture::read(path)).collect()
}
