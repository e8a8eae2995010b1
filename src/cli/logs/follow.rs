//! Reads the logs of the containers of a project together, in the order of time, and goes on when more is written or
//! containers are added.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::lines::{Origin, Screen};
use crate::cli::ui::prefix;
use crate::record::logs::reader::{Entry, Reader, Span, Watch};
use crate::record::truth;
use crate::record::{ContainerRecord, ContainerState, ProjectRecord, Status};
use crate::state::{ContainerPaths, ProjectPaths, record};

/// Which containers.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// All when empty.
    pub services: Vec<String>,
    /// Number of the replica.
    pub index: Option<u32>,
    /// Containers made by `run` too.
    pub oneoff: bool,
}

/// Why [`Follower::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A log or a state has changed, or a container was added.
    Changed,
    /// One of the other descriptors has something to say.
    Other,
    /// The time is over.
    Timeout,
}

/// The logs of a project's containers.
#[derive(Debug)]
pub struct Follower {
    paths: ProjectPaths,
    selection: Selection,
    span: Span,
    services: Vec<String>,
    sources: Vec<Source>,
    watch: Option<Watching>,
    /// Ends after this time are told even of containers that were never seen to run.
    ends_since: Option<Timestamp>,
}

#[derive(Debug)]
struct Watching {
    watch: Watch,
    /// Container ids by their number in the watch; the first is the folder of all containers.
    folders: Vec<Option<String>>,
}

#[derive(Debug)]
struct Source {
    id: String,
    places: ContainerPaths,
    origin: Origin,
    reader: Reader,
    /// The last state that was told.
    state: Told,
    /// The file that it was read from: a new state is a new file.
    state_file: Option<(u64, i64, i64)>,
    /// A time of the run whose end was seen last: later runs have later ones.
    run_ended: Option<Timestamp>,
    /// Something may be new.
    dirty: bool,
    /// It was made while others were followed, to take the place of one of them: it is about to be started.
    made_meanwhile: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Not started, or not seen running yet.
    Idle,
    Running,
    /// Between two starts.
    Restarting,
    Ended,
}

impl Follower {
    /// `follow`: changes will be waited for.
    ///
    /// # Errors
    /// When a record or log cannot be read, or nothing can be watched.
    pub fn open(paths: &ProjectPaths, selection: Selection, span: Span, follow: bool) -> io::Result<Self> {
        let project = record::read_if_whole::<ProjectRecord>(&paths.record());
        let watch = if follow && paths.containers().is_dir() {
            let mut watch = Watch::new()?;
            watch.add(&paths.containers())?;
            Some(Watching { watch, folders: vec![None] })
        } else {
            None
        };
        let mut follower = Self {
            paths: paths.clone(),
            selection,
            span,
            services: project.map(|project| project.services).unwrap_or_default(),
            sources: Vec::new(),
            watch,
            ends_since: None,
        };
        follower.scan(span, false)?;
        Ok(follower)
    }

    /// Tells the end of containers that were quicker than whoever follows them: of all that ended after `since`.
    pub fn tell_ends_since(&mut self, since: Timestamp) {
        self.ends_since = Some(since);
    }

    /// The containers that are followed.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.sources.iter().map(|source| source.origin.name.as_str()).collect()
    }

    /// Whether every container has ended, so that nothing will come unless one is started.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.sources.iter().all(|source| source.reader.has_ended() || !source.is_active())
    }

    /// Writes all that is there, oldest first, and what became of the containers.
    ///
    /// # Errors
    /// When a log cannot be read or nobody reads the screen.
    pub fn drain(&mut self, screen: &mut Screen<'_>) -> io::Result<()> {
        for source in &self.sources {
            screen.register(&source.origin.name);
        }
        // States first, told last: a container that has ended has written all that it ever will.
        let ends_since = self.ends_since;
        let news = |source: &mut Source| source.dirty.then(|| source.news(ends_since)).flatten();
        let told: Vec<Option<(Told, String)>> = self.sources.iter_mut().map(news).collect();
        let mut heads = BinaryHeap::new();
        let mut next = BTreeMap::<usize, Entry>::new();
        for (index, source) in self.sources.iter_mut().enumerate().filter(|(_, source)| source.dirty) {
            source.dirty = false;
            if let Some(entry) = source.reader.next_entry()? {
                heads.push(Reverse((entry.time, index)));
                next.insert(index, entry);
            }
        }
        while let Some(Reverse((_, index))) = heads.pop() {
            let Some(entry) = next.remove(&index) else { continue };
            let Some(source) = self.sources.get_mut(index) else { continue };
            screen.entry(&mut source.origin, entry.stream, &entry.log, entry.time)?;
            if let Some(entry) = source.reader.next_entry()? {
                heads.push(Reverse((entry.time, index)));
                next.insert(index, entry);
            }
        }
        for (source, news) in self.sources.iter_mut().zip(told) {
            let Some((state, remark)) = news else { continue };
            source.state = state;
            if state != Told::Running {
                screen.finish_all(&mut source.origin)?;
            }
            if !remark.is_empty() && self.watch.is_some() {
                screen.remark(&source.origin, &remark)?;
            }
        }
        if self.watch.is_none() {
            for source in &mut self.sources {
                screen.finish_all(&mut source.origin)?;
            }
        }
        screen.flush()
    }

    /// Readable when [`Follower::wait`] would not wait; `None` when nothing is followed.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(|watching| watching.watch.as_fd())
    }

    /// Waits for a change, for one of `others` to become readable, or for the time to be over.
    ///
    /// # Errors
    /// When waiting fails, or what changed cannot be read.
    pub fn wait(&mut self, others: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Wake> {
        let Some(watching) = &mut self.watch else { return Ok(Wake::Timeout) };
        let mut fds = vec![PollFd::new(watching.watch.as_fd(), PollFlags::POLLIN)];
        fds.extend(others.iter().map(|other| PollFd::new(*other, PollFlags::POLLIN)));
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            // Rounded up: to come back too early would be to spin.
            let millis = i32::try_from(timeout.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(Wake::Timeout),
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Wake::Changed),
            Err(errno) => return Err(errno.into()),
        }
        if fds.iter().skip(1).any(|fd| fd.revents().is_some_and(|events| !events.is_empty())) {
            return Ok(Wake::Other);
        }
        let changed = watching.watch.changed()?;
        let changed: Vec<Option<String>> =
            changed.into_iter().filter_map(|number| watching.folders.get(number).cloned()).collect();
        let mut rescan = false;
        for folder in changed {
            match folder.and_then(|id| self.sources.iter_mut().find(|source| source.id == id)) {
                Some(source) => source.dirty = true,
                None => rescan = true,
            }
        }
        if rescan {
            // Whatever a new container wrote is new.
            self.scan(Span { tail: None, ..self.span }, true)?;
        }
        Ok(Wake::Changed)
    }

    /// Finds containers that are not known yet.
    fn scan(&mut self, span: Span, made_meanwhile: bool) -> io::Result<()> {
        let entries = match std::fs::read_dir(self.paths.containers()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Ok(id) = entry.file_name().into_string() else { continue };
            if self.sources.iter().any(|source| source.id == id) {
                continue;
            }
            let places = self.paths.container(&id);
            // Watched before it is looked at, so that nothing is missed in between. It may be gone by now.
            if let Some(watching) = &mut self.watch
                && !watching.folders.contains(&Some(id.clone()))
            {
                match watching.watch.add(places.data()) {
                    Ok(_) => watching.folders.push(Some(id.clone())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            // Without a record it is just being made; its folder will tell.
            if let Some(record) = record::read::<ContainerRecord>(&places.record()).map_err(io::Error::other)? {
                found.push((record, places));
            }
        }
        found.sort_by(|(a, _), (b, _)| (&a.service, a.number).cmp(&(&b.service, b.number)));
        for (record, places) in found {
            if self.is_chosen(&record) {
                let reader = Reader::open(&places.log(), span)?;
                let name = prefix::short_name(&record.project, &record.name);
                let origin = Origin::new(name, prefix::colour(&self.services, &record.service));
                self.sources.push(Source {
                    id: record.id,
                    places,
                    origin,
                    reader,
                    state: Told::Idle,
                    state_file: None,
                    run_ended: None,
                    dirty: true,
                    made_meanwhile,
                });
            }
        }
        Ok(())
    }

    fn is_chosen(&self, record: &ContainerRecord) -> bool {
        let Selection { services, index, oneoff } = &self.selection;
        (services.is_empty() || services.contains(&record.service))
            && index.is_none_or(|index| index == record.number)
            && (*oneoff || !record.oneoff)
    }
}

impl Source {
    fn is_active(&self) -> bool {
        // What has not been told yet may be that it runs.
        match self.state {
            Told::Running | Told::Restarting => self.places.data().is_dir(),
            Told::Idle => self.made_meanwhile && self.places.data().is_dir(),
            Told::Ended => false,
        }
    }

    /// The new state and what to say about it; `None` when there is nothing new.
    fn news(&mut self, ends_since: Option<Timestamp>) -> Option<(Told, String)> {
        let file =
            std::fs::metadata(self.places.state()).ok().map(|file| (file.ino(), file.mtime(), file.mtime_nsec()));
        if file.is_some() && file == self.state_file {
            return None;
        }
        self.state_file = file;
        let written = record::read::<ContainerState>(&self.places.state()).ok().flatten();
        let status = written.map(|state| truth::status(&self.places, state.status));
        let just_ended = match (&status, ends_since) {
            (Some(Status::Exited { finished, started: Some(_), .. }), Some(since)) => *finished >= since,
            _ => false,
        };
        let run = match &status {
            Some(Status::Exited { started, .. }) => *started,
            Some(Status::Restarting { finished, .. }) => Some(*finished),
            _ => None,
        };
        let (now, remark) = match status {
            None | Some(Status::Created) => {
                (if self.state == Told::Idle { Told::Idle } else { Told::Ended }, String::new())
            }
            Some(Status::Running { .. }) => (Told::Running, String::new()),
            Some(Status::Restarting { exit, .. }) => {
                (Told::Restarting, format!("exited with code {} (restarting)", exit.code()))
            }
            Some(Status::Exited { exit, .. }) => (Told::Ended, format!("exited with code {}", exit.code())),
        };
        // A run so short that only its end is seen.
        let another = matches!((run, self.run_ended), (Some(run), Some(ended)) if run > ended);
        self.run_ended = run.or(self.run_ended);
        if now == self.state && !another {
            return None;
        }
        // Only of a container that was seen to run: what ended long ago is no news.
        let remark = if self.state == Told::Running || just_ended || another { remark } else { String::new() };
        Some((now, remark))
    }
}

/// How long until `until`; nothing when it is past.
pub(crate) fn remaining(until: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default())
}
