//! Reads the logs of the containers of a project together, and goes on when more is written or containers are added.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::assemble::{Assembler, Text};
use super::{LogEvent, LogLine, LogSource, Stream};
use crate::record::logs::reader::{Entry, Reader, Span, Watch};
use crate::record::truth;
use crate::record::{ContainerRecord, ContainerState, ProjectRecord, Status};
use crate::state::{ContainerPaths, ProjectPaths, record};

/// Which containers.
#[derive(Debug, Clone, Default)]
pub struct LogSelection {
    /// All when empty.
    pub services: Vec<String>,
    /// Number of the replica.
    pub index: Option<u32>,
    /// Containers made by `run` too.
    pub oneoff: bool,
}

/// Why [`Follower::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
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
    selection: LogSelection,
    span: Span,
    services: Vec<String>,
    sources: Vec<Followed>,
    watch: Option<Watching>,
    /// Ends after this time are told even of containers that were never seen to run.
    ends_since: Option<Timestamp>,
    /// What is read and not yielded yet.
    ready: VecDeque<Ready>,
    /// What is left of the changes that were found when the last was yielded.
    round: Option<Round>,
}

#[derive(Debug)]
struct Watching {
    watch: Watch,
    /// Container ids by their number in the watch; the first is the folder of all containers.
    folders: Vec<Option<String>>,
}

#[derive(Debug)]
struct Followed {
    id: String,
    places: ContainerPaths,
    source: Rc<LogSource>,
    reader: Reader,
    lines: Assembler,
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

/// A new state, and the code of the run that it ended when that is to be told.
type News = (Told, Option<i32>);

#[derive(Debug)]
enum Ready {
    Event(LogEvent),
    Text(Rc<LogSource>, Text),
}

/// From what has changed to the last line of it.
#[derive(Debug, Default)]
struct Round {
    /// The next entry of each log, by the number of its container: the oldest comes first.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    entries: BTreeMap<usize, Entry>,
    /// The container whose entry was taken last: its next one is still to be read.
    taken: Option<usize>,
    /// Yielded after all lines.
    news: VecDeque<(usize, News)>,
    /// Nothing more comes: what has no end was given out as it is.
    closed: bool,
}

impl Follower {
    /// `follow`: changes will be waited for.
    ///
    /// # Errors
    /// When a record or log cannot be read, or nothing can be watched.
    pub fn open(paths: &ProjectPaths, selection: LogSelection, span: Span, follow: bool) -> io::Result<Self> {
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
            ready: VecDeque::new(),
            round: None,
        };
        follower.scan(span, false)?;
        Ok(follower)
    }

    /// Tells the end of containers that were quicker than whoever follows them: of all that ended after `since`.
    pub fn tell_ends_since(&mut self, since: Timestamp) {
        self.ends_since = Some(since);
    }

    /// The containers that are followed.
    pub fn sources(&self) -> impl Iterator<Item = &LogSource> {
        self.sources.iter().map(|followed| &*followed.source)
    }

    /// Whether every container has ended, so that nothing will come unless one is started.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.sources.iter().all(|followed| followed.reader.has_ended() || !followed.is_active())
    }

    /// What comes next: lines, the oldest first, and after them what became of the containers. `None` when that was all
    /// for now; [`Follower::wait`] returns when there may be more. Of each container no more is held than its next entry and
    /// the beginning of a line.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn next_event(&mut self) -> io::Result<Option<LogEvent>> {
        loop {
            if let Some(event) = self.take_ready() {
                return Ok(Some(event));
            }
            let mut round = match self.round.take() {
                Some(round) => round,
                None => self.begin()?,
            };
            if !self.advance(&mut round)? {
                return Ok(None);
            }
            self.round = Some(round);
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.ready.len()
    }

    fn take_ready(&mut self) -> Option<LogEvent> {
        loop {
            match self.ready.front_mut()? {
                Ready::Event(_) => {
                    let Some(Ready::Event(event)) = self.ready.pop_front() else { return None };
                    return Some(event);
                }
                Ready::Text(source, text) => match text.next_line() {
                    Some(line) => {
                        let (source, stream, time) = (Rc::clone(source), text.stream, text.time);
                        return Some(LogEvent::Line(LogLine { source, stream, time, text: line }));
                    }
                    None => drop(self.ready.pop_front()),
                },
            }
        }
    }

    /// Looks at what has changed.
    fn begin(&mut self) -> io::Result<Round> {
        let mut round = Round::default();
        // States first, told last: a container that has ended has written all that it ever will.
        let ends_since = self.ends_since;
        for (index, followed) in self.sources.iter_mut().enumerate().filter(|(_, followed)| followed.dirty) {
            round.news.extend(followed.news(ends_since).map(|news| (index, news)));
        }
        for (index, followed) in self.sources.iter_mut().enumerate().filter(|(_, followed)| followed.dirty) {
            followed.dirty = false;
            round.read(index, followed)?;
        }
        Ok(round)
    }

    /// Makes something ready; `false` when nothing is left of the round.
    fn advance(&mut self, round: &mut Round) -> io::Result<bool> {
        // Not when it was taken: it is yielded even when what follows cannot be read.
        if let Some(index) = round.taken.take()
            && let Some(followed) = self.sources.get_mut(index)
        {
            round.read(index, followed)?;
        }
        if let Some(Reverse((_, index))) = round.heads.pop() {
            if let (Some(entry), Some(followed)) = (round.entries.remove(&index), self.sources.get_mut(index)) {
                let source = &followed.source;
                self.ready.extend(followed.lines.push(entry).map(|text| Ready::Text(Rc::clone(source), text)));
                round.taken = Some(index);
            }
            return Ok(true);
        }
        if let Some((index, (state, exit_code))) = round.news.pop_front() {
            let Some(followed) = self.sources.get_mut(index) else { return Ok(true) };
            followed.state = state;
            if state != Told::Running {
                followed.finish(&mut self.ready);
            }
            if let (Some(exit_code), true) = (exit_code, self.watch.is_some()) {
                let (source, restarting) = (Rc::clone(&followed.source), state == Told::Restarting);
                self.ready.push_back(Ready::Event(LogEvent::Exited { source, exit_code, restarting }));
            }
            return Ok(true);
        }
        if self.watch.is_none() && !round.closed {
            round.closed = true;
            for followed in &mut self.sources {
                followed.finish(&mut self.ready);
            }
            return Ok(true);
        }
        Ok(false)
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
    pub fn wait(&mut self, others: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Waited> {
        let Some(watching) = &mut self.watch else { return Ok(Waited::Timeout) };
        let mut fds = vec![PollFd::new(watching.watch.as_fd(), PollFlags::POLLIN)];
        fds.extend(others.iter().map(|other| PollFd::new(*other, PollFlags::POLLIN)));
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            // Rounded up: to come back too early would be to spin.
            let millis = i32::try_from(timeout.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(Waited::Timeout),
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Waited::Changed),
            Err(errno) => return Err(errno.into()),
        }
        if fds.iter().skip(1).any(|fd| fd.revents().is_some_and(|events| !events.is_empty())) {
            return Ok(Waited::Other);
        }
        let changed = watching.watch.changed()?;
        let changed: Vec<Option<String>> =
            changed.into_iter().filter_map(|number| watching.folders.get(number).cloned()).collect();
        let mut rescan = false;
        for folder in changed {
            match folder.and_then(|id| self.sources.iter_mut().find(|followed| followed.id == id)) {
                Some(followed) => followed.dirty = true,
                None => rescan = true,
            }
        }
        if rescan {
            // Whatever a new container wrote is new.
            self.scan(Span { tail: None, ..self.span }, true)?;
        }
        Ok(Waited::Changed)
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
            if self.sources.iter().any(|followed| followed.id == id) {
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
                let source = Rc::new(LogSource {
                    place: self.services.iter().position(|name| *name == record.service),
                    project: record.project,
                    container: record.name,
                    service: record.service,
                });
                self.ready.push_back(Ready::Event(LogEvent::Opened(Rc::clone(&source))));
                self.sources.push(Followed {
                    id: record.id,
                    places,
                    source,
                    reader,
                    lines: Assembler::default(),
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
        let LogSelection { services, index, oneoff } = &self.selection;
        (services.is_empty() || services.contains(&record.service))
            && index.is_none_or(|index| index == record.number)
            && (*oneoff || !record.oneoff)
    }
}

impl Round {
    fn read(&mut self, index: usize, followed: &mut Followed) -> io::Result<()> {
        if let Some(entry) = followed.reader.next_entry()? {
            self.heads.push(Reverse((entry.time, index)));
            self.entries.insert(index, entry);
        }
        Ok(())
    }
}

impl Followed {
    /// Gives out what has no end and will get none: the container has ended, or nobody waits for more.
    fn finish(&mut self, ready: &mut VecDeque<Ready>) {
        let rest = [Stream::Stdout, Stream::Stderr].into_iter().filter_map(|stream| self.lines.finish(stream));
        ready.extend(rest.map(|text| Ready::Text(Rc::clone(&self.source), text)));
    }

    fn is_active(&self) -> bool {
        // What has not been told yet may be that it runs.
        match self.state {
            Told::Running | Told::Restarting => self.places.data().is_dir(),
            Told::Idle => self.made_meanwhile && self.places.data().is_dir(),
            Told::Ended => false,
        }
    }

    /// The new state and what to say about it; `None` when there is nothing new.
    fn news(&mut self, ends_since: Option<Timestamp>) -> Option<News> {
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
        let (now, exit_code) = match status {
            None | Some(Status::Created) => (if self.state == Told::Idle { Told::Idle } else { Told::Ended }, None),
            Some(Status::Running { .. }) => (Told::Running, None),
            Some(Status::Restarting { exit, .. }) => (Told::Restarting, Some(exit.code())),
            Some(Status::Exited { exit, .. }) => (Told::Ended, Some(exit.code())),
        };
        // A run so short that only its end is seen.
        let another = matches!((run, self.run_ended), (Some(run), Some(ended)) if run > ended);
        self.run_ended = run.or(self.run_ended);
        if now == self.state && !another {
            return None;
        }
        // Only of a container that was seen to run: what ended long ago is no news.
        Some((now, exit_code.filter(|_| self.state == Told::Running || just_ended || another)))
    }
}
