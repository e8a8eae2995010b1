//! What is known of everything in progress, and how it is laid out in lines.

use std::time::Duration;

use indexmap::IndexMap;

use super::block::Line;
use super::phases::{OTHER, Phases};
use super::{ProgressEvent, State};
use crate::cli::ui::human;
use crate::cli::ui::style::{Meaning, Palette, ellipsis, ellipsis_middle, printable, width};

/// Things in the order in which they were first heard of.
#[derive(Debug)]
pub(super) struct Board {
    title: String,
    tasks: IndexMap<String, Task>,
    phases: Phases,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Task {
    parent: Option<String>,
    pub status: String,
    pub detail: String,
    pub state: State,
    current: u64,
    total: u64,
    begin: Duration,
    /// Since when it is as it is.
    since: Duration,
    /// It was announced: it is not done before it is started.
    expected: bool,
    /// Since when bytes come, and how many there were then: the rate is measured from there.
    bytes_begin: Option<(Duration, u64)>,
    end: Option<Duration>,
}

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const GAUGE: [&str; 9] = [" ", "⡀", "⣀", "⣄", "⣤", "⣦", "⣶", "⣷", "⣿"];

impl Board {
    pub(super) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), tasks: IndexMap::new(), phases: Phases::default() }
    }

    /// Announces things, in their order.
    pub(super) fn expect(&mut self, ids: impl Iterator<Item = String>) {
        for id in ids {
            let task = Task { state: State::Queued, expected: id.starts_with("Container "), ..Task::default() };
            self.tasks.entry(id).or_insert(task);
        }
    }

    /// Takes an event and returns what was known before.
    pub(super) fn apply(&mut self, event: &ProgressEvent, now: Duration) -> Option<Task> {
        self.phases.advance(now, event);
        let known = self.tasks.get(&event.id).cloned();
        let expected = known.as_ref().is_some_and(|task| task.expected);
        let before = known.filter(Task::has_begun);
        let begin =
            before.as_ref().map_or_else(|| now.saturating_sub(event.elapsed.unwrap_or_default()), |task| task.begin);
        let same = before.as_ref().filter(|task| task.status == event.status);
        let since = same.map_or(now, |task| task.since);
        let bytes_begin = before
            .as_ref()
            .and_then(|task| task.bytes_begin)
            .or_else(|| (event.current > 0).then_some((now, event.current)));
        let end = (event.state != State::Working).then(|| event.elapsed.map_or(now, |elapsed| begin + elapsed));
        let total = if event.total > 0 { event.total } else { before.as_ref().map_or(0, |task| task.total) };
        let current = match event.state {
            State::Done => total.max(event.current),
            _ => event.current,
        };
        let queued = expected && event.state == State::Done && NOT_STARTED.contains(&event.status.as_str());
        let task = Task {
            parent: event.parent.clone(),
            status: printable(&event.status),
            detail: printable(event.detail.as_deref().unwrap_or_default()),
            state: if queued { State::Queued } else { event.state },
            current,
            total,
            begin,
            since,
            expected,
            bytes_begin,
            end,
        };
        self.tasks.insert(event.id.clone(), task);
        before
    }

    /// Nothing goes on from here: what still waited for something that failed has not begun.
    pub(super) fn end(&mut self) {
        if self.tasks.values().any(|task| task.state == State::Error) {
            for task in self.tasks.values_mut().filter(|task| task.state == State::Working) {
                task.state = State::Queued;
            }
        }
    }

    pub(super) fn is_working(&self) -> bool {
        self.tasks.values().any(|task| task.state == State::Working)
    }

    fn top(&self) -> impl Iterator<Item = (&String, &Task)> {
        self.tasks.iter().filter(|(_, task)| task.parent.is_none())
    }

    /// The block for a terminal of this size; nothing before the first event.
    pub(super) fn lines(&self, columns: usize, rows: usize, now: Duration, palette: Palette) -> Vec<Line> {
        let total = self.top().count();
        if total == 0 {
            return Vec::new();
        }
        let done = self.top().filter(|(_, task)| matches!(task.state, State::Done | State::Warning)).count();
        let header = format!("[+] {} {done}/{total}", self.title);
        let mut lines = vec![Canvas::new(columns).put(&header, None, palette).line()];
        let (shown, folded) = self.choose(rows.saturating_sub(1));
        let mut names: Vec<String> = shown.iter().map(|(id, _)| printable(id)).collect();
        let longest = |names: &[String]| names.iter().map(|name| width(name)).max().unwrap_or(0);
        let statuses = shown.iter().map(|(_, task)| width(&task.status)).max().unwrap_or(0);
        let mut layout = Layout::fit(columns, longest(&names), statuses);
        if longest(&names) > layout.name || columns < NARROW {
            // Rather the name without `Container` than a part of the name.
            names =
                names.iter().map(|name| name.split_once(' ').map_or(name.as_str(), |(_, own)| own).into()).collect();
            layout = Layout::fit(columns, longest(&names), statuses);
        }
        for ((id, task), name) in shown.into_iter().zip(&names) {
            lines.push(self.line((id, name), task, columns, &layout, now, palette));
        }
        if folded > 0 {
            let text = format!(" … {folded} more");
            lines.push(Canvas::new(columns).put(&text, Some(Meaning::Faint), palette).line());
        }
        lines
    }

    /// As many as there are rows for: what is finished without trouble goes first, the oldest of it first.
    fn choose(&self, rows: usize) -> (Vec<(&String, &Task)>, usize) {
        let all: Vec<_> = self.top().collect();
        if all.len() <= rows {
            return (all, 0);
        }
        let keep = rows.saturating_sub(1);
        let mut order: Vec<usize> = (0..all.len()).collect();
        let rank = |task: &Task| match task.state {
            State::Error => 0,
            State::Working => 1,
            State::Warning => 2,
            State::Queued => 3,
            State::Done => 4,
        };
        order.sort_by_key(|&index| (rank(all[index].1), std::cmp::Reverse(all[index].1.end), index));
        order.truncate(keep);
        order.sort_unstable();
        let shown: Vec<_> = order.into_iter().map(|index| all[index]).collect();
        let folded = all.len() - shown.len();
        (shown, folded)
    }

    fn line(
        &self,
        (id, name): (&str, &str),
        task: &Task,
        columns: usize,
        layout: &Layout,
        now: Duration,
        palette: Palette,
    ) -> Line {
        let (symbol, meaning) = match task.state {
            State::Queued => ("·", Meaning::Faint),
            State::Working => {
                let index = usize::try_from(now.as_millis() / 80).unwrap_or(0) % SPINNER.len();
                (SPINNER[index], Meaning::Active)
            }
            State::Done => ("✔", Meaning::Good),
            State::Warning => ("!", Meaning::Warning),
            State::Error => ("✘", Meaning::Bad),
        };
        let time = match task.state {
            State::Queued => String::new(),
            State::Working => human::elapsed(now.saturating_sub(task.since)),
            _ => human::elapsed(task.end.unwrap_or(now).saturating_sub(task.begin)),
        };
        let time_width = if layout.time { TIME } else { 0 };
        let mut canvas = Canvas::new(columns.saturating_sub(time_width));
        canvas = canvas.put(" ", None, palette).put(symbol, Some(meaning), palette).put(" ", None, palette);
        canvas = canvas.put_padded(&ellipsis_middle(name, layout.name), layout.name, None, palette);
        canvas = canvas.put(" ", None, palette);
        let amount = self.amount(id, task, now);
        // Where there is no room for both, what is going on is worth more than the word for it.
        let room = canvas.left();
        let cramped =
            |more: &str| task.state == State::Working && !more.is_empty() && layout.status + 1 + width(more) > room;
        let (status, more) = if cramped(&task.detail) && room >= LITTLE {
            (String::new(), "")
        } else if cramped(&amount) {
            (self.share(id, task), "")
        } else {
            (task.status.clone(), amount.as_str())
        };
        if status.is_empty() {
            canvas = canvas.put(&task.detail, Some(meaning), palette);
        } else {
            canvas = canvas.put_padded(&status, layout.status, Some(meaning), palette);
            for (text, meaning) in [(more, None), (task.detail.as_str(), Some(Meaning::Faint))] {
                if !text.is_empty() {
                    canvas = canvas.put(" ", None, palette).put(text, meaning, palette);
                }
            }
        }
        if layout.time {
            canvas = canvas.fill().grow(time_width).put(&" ".repeat(TIME.saturating_sub(width(&time))), None, palette);
            canvas = canvas.put(&time, Some(Meaning::Faint), palette);
        }
        canvas.line()
    }

    /// How much of the bytes is here, in a few columns: `42%`, or `13.2MB` while nobody knows of how many.
    fn share(&self, id: &str, task: &Task) -> String {
        let (current, total) = self.bytes(id, task);
        match current.saturating_mul(100).checked_div(total) {
            Some(share) => format!("{share}%"),
            None => human::size(current),
        }
    }

    /// Bytes so far and in all, of all parts.
    fn bytes(&self, id: &str, task: &Task) -> (u64, u64) {
        let parts: Vec<&Task> = self.parts(id);
        let own = [task];
        let counted = if parts.is_empty() { &own[..] } else { parts.as_slice() };
        let total = counted.iter().map(|part| part.total).sum::<u64>().max(task.total);
        (counted.iter().map(|part| part.current).sum(), total)
    }

    fn parts(&self, id: &str) -> Vec<&Task> {
        self.tasks.values().filter(|part| part.parent.as_deref() == Some(id)).collect()
    }

    /// Bytes, rate and a gauge for each part: `[⣿⣷⣀] 12.3MB / 58.1MB 4.2MB/s`.
    fn amount(&self, id: &str, task: &Task, now: Duration) -> String {
        let parts = self.parts(id);
        let own = std::slice::from_ref(&task);
        let counted = if parts.is_empty() { own } else { parts.as_slice() };
        let (current, total) = self.bytes(id, task);
        if current == 0 && total == 0 {
            return String::new();
        }
        if task.state != State::Working {
            return human::size(current.max(total));
        }
        let mut text = String::new();
        if !parts.is_empty() {
            let gauge = parts.iter().map(|part| GAUGE[part.eighths()]);
            text = format!("[{}] ", gauge.collect::<String>());
        }
        text += &human::size(current);
        if total > 0 {
            text += &format!(" / {}", human::size(total));
        }
        let start = counted.iter().filter_map(|part| part.bytes_begin).map(|(begin, _)| begin).min();
        let before: u64 = counted.iter().filter_map(|part| part.bytes_begin).map(|(_, bytes)| bytes).sum();
        if let Some(start) = start {
            let millis = u64::try_from(now.saturating_sub(start).as_millis()).unwrap_or(u64::MAX);
            if millis >= 500 && current < total {
                text += &format!(" {}/s", human::size(current.saturating_sub(before).saturating_mul(1000) / millis));
            }
        }
        text
    }
}

impl Board {
    /// Where the time went: `3.4s: pull 2.1s, create 0.1s, start 1.2s`; `None` when there was one phase or none.
    pub(super) fn times(&self, now: Duration) -> Option<String> {
        let spent = self.phases.spent(now);
        // One unit for all of them, and nothing that is none of it.
        let quick = now < Duration::from_secs(1);
        let least = Duration::from_millis(if quick { 1 } else { 100 });
        let shown = |time: Duration| match quick {
            true => format!("{} ms", time.as_millis()),
            false => human::elapsed(time),
        };
        let (mut seen, brief): (Vec<_>, Vec<_>) =
            spent.into_iter().partition(|(phase, time)| *time >= least || *phase == OTHER);
        if let Some((_, other)) = seen.last_mut() {
            *other += brief.iter().map(|(_, time)| *time).sum::<Duration>();
        }
        seen.retain(|(_, time)| *time >= least);
        let spent: Vec<String> = seen.iter().map(|(phase, time)| format!("{phase} {}", shown(*time))).collect();
        (spent.len() > 1).then(|| format!("{}: {}", shown(now), spent.join(", ")))
    }

    /// The same in lines of a terminal.
    pub(super) fn time_lines(&self, columns: usize, now: Duration, palette: Palette) -> Vec<Line> {
        let mut rows: Vec<String> = Vec::new();
        for word in self.times(now).unwrap_or_default().split_inclusive(", ") {
            match rows.last_mut() {
                Some(row) if width(row) + width(word.trim_end()) < columns => row.push_str(word),
                _ => rows.push(format!("{}{word}", if rows.is_empty() { " " } else { "       " })),
            }
        }
        rows.iter().map(|row| Canvas::new(columns).put(row.trim_end(), Some(Meaning::Faint), palette).line()).collect()
    }
}

impl Task {
    /// Whether anything has been heard of it.
    fn has_begun(&self) -> bool {
        !self.status.is_empty()
    }

    fn eighths(&self) -> usize {
        match (self.state, self.total) {
            (State::Done, _) => 8,
            (_, 0) => 0,
            (_, total) => usize::try_from(self.current.min(total).saturating_mul(8) / total).unwrap_or(0).min(8),
        }
    }
}

/// What containers are before they are started.
const NOT_STARTED: [&str; 3] = ["Created", "Recreated", "Stopped"];

/// Columns below which every one is worth something.
const NARROW: usize = 60;

/// Columns below which a detail says nothing.
const LITTLE: usize = 12;

/// Columns of the time with the blanks before it.
const TIME: usize = 7;

/// How many columns each part of a line gets.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    name: usize,
    status: usize,
    time: bool,
}

impl Layout {
    fn fit(columns: usize, names: usize, statuses: usize) -> Self {
        let time = columns >= 30;
        // Sign and blanks, and the time with the blanks before it.
        let fixed = 5 + if time { TIME } else { 0 };
        let room = columns.saturating_sub(fixed);
        let status = statuses.min(room / 2);
        let name = names.min(room.saturating_sub(status)).max(room.min(8));
        Self { name, status, time }
    }
}

/// A line that never gets wider than its room.
#[derive(Debug)]
struct Canvas {
    text: String,
    used: usize,
    room: usize,
}

impl Canvas {
    fn new(room: usize) -> Self {
        // A line that ends in the last column makes some terminals wrap.
        Self { text: String::new(), used: 0, room: room.saturating_sub(1) }
    }

    fn put(mut self, text: &str, meaning: Option<Meaning>, palette: Palette) -> Self {
        let fits = ellipsis(text, self.room - self.used);
        self.used += width(&fits);
        match meaning {
            Some(meaning) if !fits.is_empty() => self.text += &palette.paint(meaning, fits),
            _ => self.text += &fits,
        }
        self
    }

    /// Columns that are free.
    fn left(&self) -> usize {
        self.room - self.used
    }

    fn put_padded(self, text: &str, columns: usize, meaning: Option<Meaning>, palette: Palette) -> Self {
        let padding = columns.saturating_sub(width(text));
        self.put(text, meaning, palette).put(&" ".repeat(padding), None, palette)
    }

    fn fill(mut self) -> Self {
        self.text.extend(std::iter::repeat_n(' ', self.room - self.used));
        self.used = self.room;
        self
    }

    fn grow(mut self, columns: usize) -> Self {
        self.room += columns;
        self
    }

    fn line(self) -> Line {
        Line { text: self.text, width: self.used }
    }
}
