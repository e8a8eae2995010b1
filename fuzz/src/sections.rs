//! Several files in one text: `-- NAME --` begins each.

use std::io;
use std::path::{Path, PathBuf};

use windlass::compose::FileSource;

/// The files of a project, in memory.
#[derive(Debug, Clone)]
pub struct Sections {
    folder: PathBuf,
    sections: Vec<(String, String)>,
}

impl Sections {
    /// The files of `folder`, by name.
    #[must_use]
    pub fn new<'a>(folder: PathBuf, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let sections = files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        Self { folder, sections }
    }

    /// What stands before the first heading is `compose.yaml`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            match (line.trim_end().strip_prefix("-- ").and_then(|line| line.strip_suffix(" --")), sections.last_mut()) {
                (Some(name), _) => sections.push((name.to_owned(), String::new())),
                (None, Some((_, text))) => text.push_str(line),
                (None, None) => sections.push(("compose.yaml".to_owned(), line.to_owned())),
            }
        }
        Self { folder: PathBuf::from("/project"), sections }
    }

    /// The same below another folder.
    #[must_use]
    pub fn at(self, folder: PathBuf) -> Self {
        Self { folder, ..self }
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.sections.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sections.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

impl FileSource for Sections {
    fn read(&self, path: &Path) -> io::Result<String> {
        let name = path.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        let text = name.and_then(|name| self.get(name));
        text.map(str::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn is_file(&self, path: &Path) -> bool {
        self.read(path).is_ok()
    }

    fn stdin(&self) -> io::Result<String> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}
