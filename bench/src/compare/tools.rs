//! The tools that are compared, and the registry that both pull from.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive};
use support::registry::Registry;
use tempfile::TempDir;

pub struct Tools {
    pub windlass: Tool,
    pub peer: Tool,
    pub runs: usize,
    pub registry: Registry,
    pub floor: PathBuf,
    /// Where both find their files: `/bench` for the peer.
    work: TempDir,
    _daemon: Daemon,
}

/// One of them.
pub struct Tool {
    pub name: &'static str,
    command: Vec<String>,
    /// What its engine understands, where that is a program of its own.
    engine: Vec<String>,
    home: PathBuf,
    /// The folder of all projects, as the tool sees it.
    work: PathBuf,
    log: PathBuf,
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tools {
    pub fn start(programs: &Path, root: &Path, runs: usize) -> Result<Self> {
        ensure!(Command::new("ip").args(["link", "set", "lo", "up"]).status()?.success(), "no loopback");
        let work = TempDir::new()?;
        let docker = work.path().join("docker");
        fs::create_dir_all(&docker)?;
        for folder in ["bench", "var/lib/docker"] {
            fs::create_dir_all(root.join(folder))?;
        }
        mount_bind(root, root)?;
        mount_bind_recursive("/dev", root.join("dev"))?;
        mount_bind_recursive("/sys", root.join("sys"))?;
        mount("proc", root.join("proc"), "proc", MountFlags::empty(), None)?;
        mount("tmpfs", root.join("run"), "tmpfs", MountFlags::empty(), None)?;
        mount_bind(work.path(), root.join("bench"))?;
        mount_bind(&docker, root.join("var/lib/docker"))?;
        let log = fs::File::create(work.path().join("dockerd.log"))?;
        // Not in a chroot: what is executed in its containers would find itself outside of them.
        let enter = "cd \"$0\" && mkdir -p old && pivot_root . old && umount -l old && exec dockerd";
        let mut daemon = Command::new("unshare");
        daemon.args(["--mount", "--propagation", "private", "sh", "-c", enter]).arg(root);
        let daemon = daemon.stdout(log.try_clone()?).stderr(log).spawn()?;
        let images = support::cache::Images::ready()?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let log = work.path().join("log");
        let windlass = Tool {
            name: "windlass",
            command: vec![text(&programs.join("windlass"))],
            engine: vec![text(&programs.join("windlass")), "image".to_owned()],
            home: work.path().join("home"),
            work: work.path().to_owned(),
            log: log.clone(),
        };
        let inside = |words: &[&str]| {
            ["chroot".to_owned(), text(root)].into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
        };
        let peer = Tool {
            name: "docker compose",
            command: inside(&["docker", "compose"]),
            engine: inside(&["docker"]),
            home: work.path().join("peer-home"),
            work: PathBuf::from("/bench"),
            log,
        };
        let tools = Self {
            windlass,
            peer,
            runs,
            registry: images.serve()?,
            floor: programs.join("floor"),
            work,
            _daemon: Daemon(daemon),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !tools.peer.engine(&["info"]).is_ok_and(|output| output.status.success()) {
            if Instant::now() > deadline {
                bail!("dockerd: {}", fs::read_to_string(tools.work.path().join("dockerd.log"))?);
            }
            thread::sleep(Duration::from_millis(100));
        }
        for image in ["busybox:1.35", "python:3.13"] {
            let name = tools.image(image);
            for tool in tools.both() {
                let output = tool.engine(&["pull", &name])?;
                ensure!(output.status.success(), "{}: {}", tool.name, String::from_utf8_lossy(&output.stderr));
            }
        }
        Ok(tools)
    }

    pub fn both(&self) -> [&Tool; 2] {
        [&self.windlass, &self.peer]
    }

    /// The name of an image of the registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/library/{name}", self.registry.host())
    }

    /// Makes a project; both find it under its name.
    pub fn project(&self, name: &str, compose: &str) -> Result<PathBuf> {
        let folder = self.work.path().join(name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("compose.yaml"), compose)?;
        Ok(folder)
    }

    pub fn work(&self) -> &Path {
        self.work.path()
    }
}

impl Tool {
    pub fn compose(&self, project: &str, arguments: &[&str]) -> Command {
        let file = self.work.join(project).join("compose.yaml");
        let mut command = self.program(&self.command);
        command.arg("-f").arg(file).args(arguments);
        command
    }

    /// Runs a compose command to its end; microseconds.
    pub fn time(&self, project: &str, arguments: &[&str]) -> Result<f64> {
        let log = fs::File::create(&self.log)?;
        let mut command = self.compose(project, arguments);
        command.stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let status = command.status()?;
        let took = started.elapsed();
        if !status.success() {
            let said = fs::read_to_string(&self.log)?;
            let from = said.len().saturating_sub(600);
            bail!("{} {}: {}", self.name, arguments.join(" "), said.get(from..).unwrap_or(&said));
        }
        Ok(took.as_secs_f64() * 1e6)
    }

    /// A command about images, which both spell alike.
    pub fn engine(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.program(&self.engine).args(arguments).output()?)
    }

    pub fn time_engine(&self, arguments: &[&str]) -> Result<f64> {
        let started = Instant::now();
        let output = self.engine(arguments)?;
        let took = started.elapsed();
        ensure!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        Ok(took.as_secs_f64() * 1e6)
    }

    pub fn version(&self) -> Result<String> {
        let output = self.program(&self.command).args(["version", "--short"]).output()?;
        Ok(format!("{} {}", self.name, String::from_utf8(output.stdout).context("version")?.trim()))
    }

    fn program(&self, words: &[String]) -> Command {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("WINDLASS_HOME", &self.home).stdin(Stdio::null());
        command
    }
}
