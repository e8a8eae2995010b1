//! Changes to batches: short enough for one saved file not to wait, and whole when thousands change at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::tree::Kind;

/// An editor is done with a file when nothing more happens for this long.
pub const QUIET: Duration = Duration::from_millis(12);
/// A few files do not wait longer than this for each other, however often they are written.
pub const MOST: Duration = Duration::from_millis(30);
/// More paths than this are a burst: a checkout, an unpacked archive, a generator.
pub const FEW: usize = 12;
/// A burst is over when nothing more happens for this long.
pub const QUIET_BURST: Duration = Duration::from_millis(60);
/// And no later than this.
pub const MOST_BURST: Duration = Duration::from_secs(10);
/// How long a file that was made is waited for when nobody closes it.
pub const UNFINISHED: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Since when it is being written.
    begun: Option<Instant>,
    /// It was made within this batch.
    born: bool,
}

/// What has changed and is not dealt with yet. The clock is passed in.
#[derive(Debug, Default)]
pub struct Pending {
    /// By rule and path.
    paths: BTreeMap<(usize, PathBuf), Entry>,
    settled: usize,
    first: Option<Instant>,
    last: Option<Instant>,
    /// A batch that was held is treated as a burst.
    held: bool,
}

/// Changes that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Rule and path, sorted: a folder before what is in it.
    pub paths: Vec<(usize, PathBuf)>,
    /// When the first of them was seen.
    pub since: Instant,
}

impl Pending {
    pub fn add(&mut self, rule: usize, path: PathBuf, kind: Kind, now: Instant) {
        let key = (rule, path);
        let before = self.paths.remove(&key);
        self.settled -= usize::from(before.is_some_and(|entry| entry.begun.is_none()));
        let born = before.map_or(kind == Kind::Begun, |entry| entry.born);
        // A temporary file that came and went is nothing that has changed.
        if !(kind == Kind::Gone && born) {
            let begun = (kind == Kind::Begun).then_some(now);
            self.paths.insert(key, Entry { begun, born });
            self.settled += usize::from(begun.is_none());
        }
        if self.paths.is_empty() {
            (self.first, self.last, self.held) = (None, None, false);
            return;
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When [`Pending::take`] has something; `None` when nothing is pending.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let (first, last) = (self.first?, self.last?);
        if self.settled == 0 {
            return self.begun().min().map(|since| since + UNFINISHED);
        }
        let burst = self.held || self.paths.len() > FEW;
        let (quiet, most) = if burst { (QUIET_BURST, MOST_BURST) } else { (QUIET, MOST) };
        Some((last + quiet).min(first + most))
    }

    fn begun(&self) -> impl Iterator<Item = Instant> {
        self.paths.values().filter_map(|entry| entry.begun)
    }

    /// Somebody is known to be at work still (git holds the lock of its index): waits on, up to the longest time of a
    /// burst.
    pub fn hold(&mut self, now: Instant) -> bool {
        let late = self.first.is_none_or(|first| now >= first + MOST_BURST);
        if !late {
            self.held = true;
            self.last = Some(now);
        }
        !late
    }

    /// Everything that has settled, when it is time.
    pub fn take(&mut self, now: Instant) -> Option<Batch> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        let since = self.first?;
        let mut batch = Batch { paths: Vec::new(), since };
        for (key, entry) in std::mem::take(&mut self.paths) {
            match entry.begun {
                Some(since) if now < since + UNFINISHED => _ = self.paths.insert(key, entry),
                _ => batch.paths.push(key),
            }
        }
        self.settled = 0;
        self.held = false;
        self.first = self.begun().min();
        self.last = self.first;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    struct Clock {
        pending: Pending,
        zero: Instant,
    }

    impl Clock {
        fn new() -> Self {
            Self { pending: Pending::default(), zero: Instant::now() + START }
        }

        fn at(&self, ms: u64) -> Instant {
            self.zero + Duration::from_millis(ms)
        }

        fn add(&mut self, ms: u64, path: &str, kind: Kind) {
            let now = self.at(ms);
            self.pending.add(0, path.into(), kind, now);
        }

        fn due(&self) -> Option<u64> {
            self.pending.due().map(|due| u64::try_from((due - self.zero).as_millis()).unwrap())
        }

        fn take(&mut self, ms: u64) -> Option<Vec<String>> {
            let batch = self.pending.take(self.at(ms))?;
            Some(batch.paths.into_iter().map(|(_, path)| path.to_string_lossy().into_owned()).collect())
        }
    }

    #[test]
    fn one_save_waits_for_the_quiet_time_alone() {
        let mut clock = Clock::new();
        assert_eq!(clock.due(), None);
        clock.add(0, "a", Kind::Settled);
        assert_eq!(clock.due(), Some(12));
        assert_eq!(clock.take(11), None);
        assert_eq!(clock.take(12).unwrap(), ["a"]);
        assert_eq!((clock.due(), clock.take(100)), (None, None));
    }

    #[test]
    fn a_file_that_is_written_all_the_time_does_not_wait_for_ever() {
        let mut clock = Clock::new();
        for ms in (0..=28).step_by(4) {
            clock.add(ms, "log", Kind::Settled);
        }
        assert_eq!(clock.due(), Some(30));
    }

    #[test]
    fn a_burst_is_one_batch_however_long_it_lasts() {
        let mut clock = Clock::new();
        for number in 0..5000u64 {
            clock.add(number / 10, &number.to_string(), Kind::Settled);
        }
        assert_eq!(clock.take(500), None);
        assert_eq!(clock.due(), Some(499 + 60));
        assert_eq!(clock.take(559).unwrap().len(), 5000);
        for number in 0..2000u64 {
            clock.add(1000 + number * 10, &number.to_string(), Kind::Settled);
        }
        assert_eq!(clock.due(), Some(11_000), "but not for ever");
    }

    #[test]
    fn git_at_work_holds_a_batch() {
        let mut clock = Clock::new();
        clock.add(0, "a", Kind::Settled);
        let now = clock.at(12);
        assert!(clock.pending.hold(now));
        assert_eq!(clock.due(), Some(72));
        clock.add(80, "b", Kind::Settled);
        assert_eq!(clock.due(), Some(140));
        let late = clock.at(10_000);
        assert!(!clock.pending.hold(late));
        assert_eq!(clock.take(10_000).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_file_that_is_being_written_is_left_for_the_next_batch() {
        let mut clock = Clock::new();
        // vim: the file becomes the backup, and is made anew; its sync to the disk takes a while.
        clock.add(0, "app.py", Kind::Gone);
        clock.add(1, "app.py", Kind::Begun);
        clock.add(1, "other", Kind::Settled);
        assert_eq!(clock.take(13).unwrap(), ["other"]);
        assert_eq!(clock.due(), Some(501));
        clock.add(40, "app.py", Kind::Settled);
        assert_eq!(clock.due(), Some(31), "at once: it has waited");
        assert_eq!(clock.take(40).unwrap(), ["app.py"]);
    }

    #[test]
    fn a_temporary_file_is_no_change() {
        let mut clock = Clock::new();
        // sed -i
        clock.add(0, "sedX", Kind::Begun);
        clock.add(1, "sedX", Kind::Settled);
        clock.add(1, "sedX", Kind::Gone);
        assert_eq!(clock.due(), None);
        clock.add(2, "app.py", Kind::Settled);
        assert_eq!(clock.take(14).unwrap(), ["app.py"]);
        clock.add(20, "old", Kind::Gone);
        clock.add(20, "old", Kind::Begun);
        clock.add(21, "old", Kind::Gone);
        assert_eq!(clock.take(50).unwrap(), ["old"], "it was there before");
    }

    #[test]
    fn a_file_that_nobody_closes_counts_in_the_end() {
        let mut clock = Clock::new();
        clock.add(0, "pipe", Kind::Begun);
        assert_eq!(clock.take(499), None);
        assert_eq!(clock.take(500).unwrap(), ["pipe"]);
    }
}
