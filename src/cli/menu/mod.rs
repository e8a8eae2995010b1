//! The keys of `up` and `watch` in the foreground: one line at the bottom of the terminal, and what is chosen there.
//! Without a terminal on both sides there is no menu: nothing is read and nothing printed.

mod keyboard;
mod line;

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use keyboard::Keyboard;
use line::{Shown, question};

use super::global::Ansi;
use super::ui::style::Palette;
use super::{Context, terminal};
use crate::diag::nearest;

/// What the person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Follow edits, or no longer.
    Watch,
    /// Leave, and leave the services running.
    Detach,
    Restart(String),
    /// The lines of one service; of all when it is none.
    Logs(Option<String>),
    Shell(String),
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Restart,
    Logs,
    Shell,
}

#[derive(Debug)]
pub struct Menu {
    keyboard: Option<Keyboard>,
    palette: Palette,
    services: Vec<String>,
    /// The question that is open, and what is typed in answer.
    asking: Option<(What, String)>,
    /// Columns of the line that is on the screen.
    drawn: Option<usize>,
    /// Leaving is not ending.
    detach: bool,
    pub watching: bool,
    only: Option<String>,
}

impl Menu {
    /// `None` where a person could not use it.
    #[must_use]
    pub fn open(context: &Context, services: Vec<String>, detach: bool) -> Option<Self> {
        let wanted = |name: &str| !matches!(context.environment.get(name).map(String::as_str), Some("0" | "false"));
        let drawable = context.environment.get("TERM").is_none_or(|term| term != "dumb");
        if !io::stdout().is_terminal()
            || !wanted("COMPOSE_MENU")
            || !drawable
            || context.global.ansi == Some(Ansi::Never)
        {
            return None;
        }
        Some(Self {
            keyboard: Some(Keyboard::open()?),
            palette: context.palette_of_stdout(),
            services,
            asking: None,
            drawn: None,
            detach,
            watching: false,
            only: None,
        })
    }

    /// Readable when [`Menu::typed`] has something to do, or the line has to be drawn anew; none when nothing can be
    /// typed any more.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.keyboard.iter().map(AsFd::as_fd).chain(self.keyboard.iter().map(Keyboard::resized))
    }

    /// Draws the line below everything that was printed.
    pub fn show(&mut self) {
        if self.keyboard.is_none() {
            return;
        }
        self.hide();
        let columns = usize::from(terminal::size().columns);
        let (text, wide) = match &self.asking {
            Some((what, typed)) => question(what.word(), &self.services, typed, columns, self.palette),
            None => self.shown().line(columns, self.palette),
        };
        self.drawn = Some(wide);
        write(&text);
    }

    /// Takes the line away, so that something else can be printed.
    pub fn hide(&mut self) {
        let Some(wide) = self.drawn.take() else { return };
        // A terminal that has become narrower shows it in several rows.
        let columns = usize::from(terminal::size().columns).max(1);
        match wide.saturating_sub(1) / columns {
            0 => write("\r\x1b[K"),
            rows => write(&format!("\r\x1b[{rows}A\x1b[J")),
        }
    }

    fn shown(&self) -> Shown<'_> {
        Shown { watching: self.watching, detach: self.detach, only: self.only.as_deref() }
    }

    /// Does something with the terminal as it was before, without the line.
    pub fn suspended<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.hide();
        match &self.keyboard {
            Some(keyboard) => keyboard.suspended(work),
            None => work(),
        }
    }

    /// What has been chosen, when something has.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn typed(&mut self) -> io::Result<Option<Choice>> {
        let Some(keyboard) = &self.keyboard else { return Ok(None) };
        let Some(keys) = keyboard.read()? else {
            self.hide();
            self.keyboard = None;
            return Ok(None);
        };
        Ok(self.keys(&keys))
    }

    fn keys(&mut self, keys: &[u8]) -> Option<Choice> {
        // An arrow or a function key.
        if let [0x1b, _, ..] = keys {
            return None;
        }
        let text = String::from_utf8_lossy(keys).into_owned();
        text.chars().find_map(|key| self.key(key))
    }

    fn key(&mut self, key: char) -> Option<Choice> {
        if let Some((what, mut typed)) = self.asking.take() {
            match key {
                '\x1b' => return None,
                '\r' | '\n' => return self.answer(what, &typed),
                '\x7f' | '\x08' => drop(typed.pop()),
                '\x15' => typed.clear(),
                key if key.is_control() => {}
                key => typed.push(key),
            }
            // A digit says all when there is no second one that could follow.
            if key.is_ascii_digit() && typed.len() == 1 && self.services.len() < 10 {
                return self.answer(what, &typed);
            }
            self.asking = Some((what, typed));
            return None;
        }
        match key {
            'w' => Some(Choice::Watch),
            'd' if self.detach => Some(Choice::Detach),
            'r' => self.ask(What::Restart),
            'l' if self.only.take().is_some() => Some(Choice::Logs(None)),
            'l' => self.ask(What::Logs),
            's' => self.ask(What::Shell),
            'q' => Some(Choice::Quit),
            '?' => {
                let help = self.shown().help();
                self.print(&help);
                None
            }
            // People part what they have read from what is to come.
            '\r' | '\n' => {
                self.print("\n");
                None
            }
            _ => None,
        }
    }

    fn ask(&mut self, what: What) -> Option<Choice> {
        if let [only] = self.services.as_slice() {
            let only = only.clone();
            return Some(self.chosen(what, only));
        }
        self.asking = Some((what, String::new()));
        None
    }

    /// A number, a name, or the beginning of one name alone.
    fn answer(&mut self, what: What, typed: &str) -> Option<Choice> {
        let typed = typed.trim();
        let by_number = typed.parse::<usize>().ok().and_then(|number| self.services.get(number.checked_sub(1)?));
        let mut beginning = self.services.iter().filter(|name| name.starts_with(typed) && !typed.is_empty());
        let by_beginning = match (beginning.next(), beginning.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        };
        let by_name = self.services.iter().find(|name| *name == typed);
        match by_name.or(by_number).or(by_beginning).cloned() {
            Some(service) => Some(self.chosen(what, service)),
            None => {
                if !typed.is_empty() {
                    let near = nearest(typed, self.services.iter().map(String::as_str));
                    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    self.print(&format!("no such service: {typed}{near}\n"));
                }
                None
            }
        }
    }

    fn chosen(&mut self, what: What, service: String) -> Choice {
        match what {
            What::Restart => Choice::Restart(service),
            What::Shell => Choice::Shell(service),
            What::Logs => {
                self.only = Some(service.clone());
                Choice::Logs(Some(service))
            }
        }
    }

    fn print(&mut self, text: &str) {
        self.hide();
        write(text);
    }
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Logs => "logs of",
            Self::Shell => "shell in",
        }
    }
}

impl Drop for Menu {
    fn drop(&mut self) {
        self.hide();
    }
}

/// Past Rust's own buffer, which waits for a line end.
fn write(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu(services: &[&str]) -> Menu {
        Menu {
            keyboard: None,
            palette: Palette::plain(),
            services: services.iter().map(|name| (*name).to_owned()).collect(),
            asking: None,
            drawn: None,
            detach: true,
            watching: false,
            only: None,
        }
    }

    #[test]
    fn keys_choose() {
        let mut menu = menu(&["web", "worker", "db"]);
        assert_eq!(menu.keys(b"w"), Some(Choice::Watch));
        assert_eq!(menu.keys(b"d"), Some(Choice::Detach));
        assert_eq!(menu.keys(b"q"), Some(Choice::Quit));
        assert_eq!(menu.keys(b"x\x1b[A\t"), None);
        // By number, by name, by the beginning of a name.
        assert_eq!(menu.keys(b"r3"), Some(Choice::Restart("db".into())));
        assert_eq!(menu.keys(b"s"), None);
        assert_eq!(menu.keys(b"workx\x7f"), None);
        assert_eq!(menu.keys(b"\r"), Some(Choice::Shell("worker".into())));
        assert_eq!(menu.keys(b"rweb\r"), Some(Choice::Restart("web".into())));
        // Too little, nothing, and a change of mind.
        assert_eq!(menu.keys(b"rw\r"), None);
        assert_eq!(menu.keys(b"r\r"), None);
        assert_eq!(menu.keys(b"r"), None);
        assert_eq!(menu.keys(b"\x1b"), None);
        assert_eq!(menu.keys(b"q"), Some(Choice::Quit));
        // One service's lines, and all again.
        assert_eq!(menu.keys(b"l2"), Some(Choice::Logs(Some("worker".into()))));
        assert_eq!(menu.keys(b"l"), Some(Choice::Logs(None)));
    }

    #[test]
    fn one_service_needs_no_question() {
        let mut menu = menu(&["web"]);
        assert_eq!(menu.keys(b"r"), Some(Choice::Restart("web".into())));
        assert_eq!(menu.keys(b"l"), Some(Choice::Logs(Some("web".into()))));
        menu.detach = false;
        assert_eq!(menu.keys(b"d"), None);
    }
}
