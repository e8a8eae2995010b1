//! The only code that builds a path below the data and runtime roots.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The two roots: durable data, and runtime state that a reboot clears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    data: PathBuf,
    run: PathBuf,
}

impl Paths {
    #[must_use]
    pub fn new(data: PathBuf, run: PathBuf) -> Self {
        Self { data, run }
    }

    /// `WINDLASS_HOME` moves both roots into one folder; otherwise root's places of the Filesystem Hierarchy Standard.
    #[must_use]
    pub fn from_home(home: Option<&Path>) -> Self {
        match home {
            Some(home) => Self::new(home.join("data"), home.join("run")),
            None => Self::new("/var/lib/windlass".into(), "/run/windlass".into()),
        }
    }

    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The content-addressed image store.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Interpreters that were fetched, a folder each.
    #[must_use]
    pub fn toolchains(&self) -> PathBuf {
        self.data.join("toolchains")
    }

    /// All named and anonymous volumes; each is a folder with `volume.json` and `_data`.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// Subnet and address leases of every network of the host.
    #[must_use]
    pub fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    /// The folder that holds one folder for each project.
    #[must_use]
    pub fn projects(&self) -> PathBuf {
        self.data.join("projects")
    }

    /// The folder that holds the runtime state of each project.
    #[must_use]
    pub fn running(&self) -> PathBuf {
        self.run.join("projects")
    }

    /// Guards what all projects share: address pools, networks, volumes.
    #[must_use]
    pub fn global_lock(&self) -> PathBuf {
        self.run.join("lock")
    }

    /// Held while the name of a new container is looked for among those of all projects, and until it is written down.
    #[must_use]
    pub fn names_lock(&self) -> PathBuf {
        self.run.join("names.lock")
    }

    /// The owner of what no project owns: it has an id, and nothing on disk.
    #[must_use]
    pub fn no_project(&self) -> ProjectPaths {
        self.project("")
    }

    #[must_use]
    pub fn project(&self, name: &str) -> ProjectPaths {
        let mut hash = Sha256::new();
        hash.update(self.run.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(name.as_bytes());
        ProjectPaths {
            id: hex::encode(&hash.finalize()[..4]),
            name: name.to_owned(),
            data: self.projects().join(name),
            run: self.running().join(name),
        }
    }
}

/// The places of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectPaths {
    id: String,
    name: String,
    data: PathBuf,
    run: PathBuf,
}

impl ProjectPaths {
    /// Eight hexadecimal digits that are part of the name of every kernel object of the project. They differ between
    /// two runtime roots, so that projects of the same name under two `WINDLASS_HOME`s do not meet.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Durable state; gone after `down`.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runtime state; gone after `down` and after a reboot.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Held by whoever starts or ends the project's keeper.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        // Beside the folder, not in it: the folder is removed while the lock is held.
        self.run.with_file_name(format!("{}.lock", self.name))
    }

    /// The supervisor's socket. It may be longer than `sun_path`: connect through a descriptor of [`Self::run`].
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }

    /// Pid, start time and boot id of the keeper.
    #[must_use]
    pub fn keeper(&self) -> PathBuf {
        self.run.join("keeper.json")
    }

    /// What keeper and supervisor say when they are not asked: warnings, panics.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.run.join("windlass.log")
    }

    /// Working folder, config files, environment file of the last `up`.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.data.join("project.json")
    }

    /// What happened to the containers: a log of JSON objects.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.data.join("events.json")
    }

    #[must_use]
    pub fn containers(&self) -> PathBuf {
        containers(&self.data)
    }

    #[must_use]
    pub fn container(&self, id: &str) -> ContainerPaths {
        ContainerPaths { data: self.containers().join(id), run: self.run.join("containers").join(id) }
    }
}

/// The places of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPaths {
    data: PathBuf,
    run: PathBuf,
}

impl ContainerPaths {
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// What the container is: written once, when it is created.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        container_record(&self.data)
    }

    /// What the container does: written at every change. On disk, not in the runtime root, so that `ps` after a
    /// reboot can tell the truth (the record carries the boot id).
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.data.join("state.json")
    }

    /// How its process ended last, written by the keeper whether or not anybody listens.
    #[must_use]
    pub fn exit(&self) -> PathBuf {
        self.data.join("exit.json")
    }

    /// Docker's `json-file` lines.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.data.join("log.json")
    }

    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.data.join("upper")
    }

    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.data.join("work")
    }

    /// `hosts`, `hostname`, `resolv.conf`, and secrets and configs that are not files of the host.
    #[must_use]
    pub fn etc(&self, name: &str) -> PathBuf {
        self.data.join("etc").join(name)
    }

    /// Secrets and configs as files, written at every start.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.run.join("files")
    }

    /// The named pipe of `stdin`, `stdout` or `stderr`.
    #[must_use]
    pub fn fifo(&self, stream: &str) -> PathBuf {
        self.run.join(stream)
    }
}

/// The folders of its containers, in the folder of a project.
#[must_use]
pub fn containers(project: &Path) -> PathBuf {
    project.join("containers")
}

/// What the container is, in its folder.
#[must_use]
pub fn container_record(container: &Path) -> PathBuf {
    container.join("record.json")
}

/// What is known of a volume, in its folder.
#[must_use]
pub fn volume_record(volume: &Path) -> PathBuf {
    volume.join("volume.json")
}

/// What containers mount of a volume, in its folder.
#[must_use]
pub fn volume_data(volume: &Path) -> PathBuf {
    volume.join("_data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_ids_differ_between_homes_and_projects() {
        let a = Paths::from_home(Some(Path::new("/tmp/a")));
        let b = Paths::from_home(Some(Path::new("/tmp/b")));
        assert_eq!(a.project("shop").id(), a.project("shop").id());
        assert_ne!(a.project("shop").id(), b.project("shop").id());
        assert_ne!(a.project("shop").id(), a.project("shop2").id());
        assert_eq!(a.project("shop").id().len(), 8);
    }
}
