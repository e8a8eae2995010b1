//! The texts that diagnostics point into.

use std::path::{Path, PathBuf};

/// Number of a text in its [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// A stretch of text. Lines and columns count from 1, columns in characters; `end` lies behind the last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub source: SourceId,
    pub line: u32,
    pub column: u32,
    pub end_line: u32,
    pub end_column: u32,
}

impl Span {
    /// The part of a one-line span from the `from`th character, `len` characters long.
    #[must_use]
    pub fn slice(self, from: usize, len: usize) -> Self {
        if self.line != self.end_line {
            return self;
        }
        let width = self.end_column.saturating_sub(self.column);
        let from = u32::try_from(from).unwrap_or(u32::MAX).min(width);
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(width - from).max(1);
        Self { column: self.column + from, end_column: self.column + from + len, ..self }
    }
}

/// A text and the name that people know it by.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Full path; what `places` and the trail of a value use.
    pub path: PathBuf,
    /// As it is shown: relative to where the command runs, when that is shorter.
    pub name: String,
    pub text: String,
    lines: Vec<usize>,
}

impl SourceFile {
    fn new(path: PathBuf, name: String, text: String) -> Self {
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(index, _)| index + 1));
        Self { path, name, text, lines }
    }

    /// Line `number` (from 1) without its end.
    #[must_use]
    pub fn line(&self, number: u32) -> &str {
        let index = (number as usize).saturating_sub(1);
        let Some(&start) = self.lines.get(index) else { return "" };
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }
}

/// All texts that were read for a project.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// Adds a text; `base` is the folder that shown names are relative to.
    pub fn add(&mut self, path: &Path, base: &Path, text: String) -> SourceId {
        let name = match path.strip_prefix(base) {
            Ok(relative) if !relative.as_os_str().is_empty() => relative.display().to_string(),
            _ => path.display().to_string(),
        };
        self.files.push(SourceFile::new(path.to_owned(), name, text));
        SourceId(u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX))
    }

    #[must_use]
    pub fn get(&self, id: SourceId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// Each text with its number.
    pub fn numbered(&self) -> impl Iterator<Item = (SourceId, &SourceFile)> {
        (0..).map(SourceId).zip(&self.files)
    }

    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter()
    }
}
