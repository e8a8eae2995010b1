//! A layer written in memory: the files that an image has besides those of its packages.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use tar::{Archive, Builder, EntryType, Header};

/// A tar archive in the making; every owner is root unless said otherwise, every time is zero.
pub struct Layer {
    archive: Builder<Vec<u8>>,
}

impl Default for Layer {
    fn default() -> Self {
        Self { archive: Builder::new(Vec::new()) }
    }
}

impl Layer {
    pub fn folder(mut self, path: &str, mode: u32, owner: (u64, u64)) -> Result<Self> {
        self.entry(EntryType::Directory, path, mode, owner, &[], None)?;
        Ok(self)
    }

    pub fn file(mut self, path: &str, mode: u32, content: &[u8]) -> Result<Self> {
        self.entry(EntryType::Regular, path, mode, (0, 0), content, None)?;
        Ok(self)
    }

    pub fn link(mut self, path: &str, target: &str) -> Result<Self> {
        self.entry(EntryType::Symlink, path, 0o777, (0, 0), &[], Some(target))?;
        Ok(self)
    }

    /// The files below a folder of this machine.
    pub fn tree(mut self, folder: &Path, into: &str) -> Result<Self> {
        self.add_tree(folder, into)?;
        Ok(self)
    }

    /// What a packed npm package or any other gzipped archive holds, with its first folder renamed.
    pub fn unpacked(mut self, archive: &Path, only: &str, into: &str) -> Result<Self> {
        let mut archive = Archive::new(flate2::read::GzDecoder::new(fs::File::open(archive)?));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let Ok(rest) = path.strip_prefix(only) else { continue };
            let name = Path::new(into).join(rest).to_string_lossy().trim_end_matches('/').to_owned();
            let mode = entry.header().mode()? | 0o444;
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            self.entry(EntryType::Regular, &name, mode, (0, 0), &content, None)?;
        }
        Ok(self)
    }

    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(self.archive.into_inner()?)
    }

    fn add_tree(&mut self, folder: &Path, into: &str) -> Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        self.entry(EntryType::Directory, into, 0o755, (0, 0), &[], None)?;
        for entry in entries {
            let path = format!("{into}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add_tree(&entry.path(), &path)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.entry(EntryType::Symlink, &path, 0o777, (0, 0), &[], Some(&target.to_string_lossy()))?;
            } else {
                self.entry(EntryType::Regular, &path, 0o644, (0, 0), &fs::read(entry.path())?, None)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        (uid, gid): (u64, u64),
        content: &[u8],
        link: Option<&str>,
    ) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        match link {
            Some(target) => self.archive.append_link(&mut header, path, target),
            None => self.archive.append_data(&mut header, path, content),
        }
        .with_context(|| format!("cannot add {path} to a layer"))
    }
}

/// Reads one file out of a tar archive on disk.
pub fn read_member(archive: &Path, name: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::new(std::io::BufReader::with_capacity(1 << 20, fs::File::open(archive)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.strip_prefix("./").is_ok_and(|path| path == Path::new(name)) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    anyhow::bail!("the archive holds no {name}")
}
