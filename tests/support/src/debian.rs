//! Root file systems and single packages, from the mirror that this machine's apt is set up with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// The tools that make root file systems, and where packages come from.
#[derive(Debug)]
pub struct Debian {
    mirror: String,
    /// `PATH` with the tools that were unpacked here instead of installed.
    path: String,
    /// Of this machine, in Debian's words: `amd64`, `arm64`.
    pub architecture: String,
}

impl Debian {
    /// Finds the tools; those that are missing are unpacked into `tools`, so that no service of theirs is started.
    pub fn find(tools: &Path) -> Result<Self> {
        fs::create_dir_all(tools)?;
        let path = format!(
            "{0}/usr/bin:{0}/usr/sbin:{1}",
            tools.display(),
            std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into())
        );
        let mut indexes = Command::new("apt-get");
        indexes.args(["indextargets", "--format", "$(REPO_URI)", "Label: Debian"]);
        let uris = String::from_utf8(run(tools, &mut indexes)?)?;
        let Some(mirror) = uris.lines().next() else {
            bail!("apt knows no Debian mirror: run `apt-get update`, on a Debian machine");
        };
        let architecture = run(tools, Command::new("dpkg").arg("--print-architecture"))?;
        let debian = Self {
            mirror: mirror.trim_end_matches('/').to_owned(),
            path,
            architecture: String::from_utf8(architecture)?.trim().to_owned(),
        };
        for (tool, package) in [("mmdebstrap", "mmdebstrap"), ("docker-registry", "docker-registry")] {
            if debian.program(tool).is_none() {
                let archive = debian.download(package, tools)?;
                run(tools, Command::new("dpkg").arg("-x").arg(archive).arg("."))?;
            }
        }
        Ok(debian)
    }

    /// The path of a tool.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        self.path.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
    }

    /// Downloads one package of this machine's release into `folder`.
    pub fn download(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        run(folder, Command::new("apt-get").args(["-q", "download", package]))?;
        let prefix = format!("{package}_");
        let found = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        found
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .max()
            .with_context(|| format!("apt-get downloaded no {package}"))
    }

    /// Makes a root file system as a tar archive. The packages are only unpacked, their scripts do not run: that is
    /// three times as fast, and what a script would have made the image's overlay brings along.
    pub fn root(&self, suite: &str, packages: &[&str], leave_out: &[&str], archive: &Path) -> Result<()> {
        let folder = archive.parent().context("an archive is in a folder")?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let mut command = Command::new("mmdebstrap");
        command
            .env("PATH", &self.path)
            .args(["--quiet", "--mode=root", "--variant=extract", "--format=tar", "--skip=output/dev"])
            .args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Retries \"3\""])
            .arg(format!("--include={}", packages.join(",")));
        for path in ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"].iter().chain(leave_out) {
            command.arg(format!("--dpkgopt=path-exclude={path}"));
        }
        command
            .args([suite, &archive.to_string_lossy()])
            .arg(format!("deb [signed-by={keyring}] {} {suite} main", self.mirror));
        run(folder, &mut command).map(drop)
    }
}
