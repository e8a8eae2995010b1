//! Colours, by meaning, and when there are any.

use std::collections::BTreeMap;
use std::fmt;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::global::Ansi;

/// Whether control sequences are written to one of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    on: bool,
    /// The terminal knows links.
    links: bool,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Good,
    Warning,
    Bad,
    /// Work that is going on.
    Active,
    /// Of less interest.
    Faint,
    Strong,
    /// The colour of a service: any number, see [`Palette::service`].
    Service(usize),
}

/// As Compose colours its log prefixes.
const SERVICES: [&str; 10] = ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"];

impl Palette {
    #[must_use]
    pub const fn plain() -> Self {
        Self { on: false, links: false }
    }

    #[must_use]
    pub const fn coloured() -> Self {
        Self { on: true, links: true }
    }

    /// `--ansi` wins; then `NO_COLOR` and `CLICOLOR_FORCE`; then whether the stream is a terminal that can.
    #[must_use]
    pub fn resolve(ansi: Option<Ansi>, environment: &BTreeMap<String, String>, terminal: bool) -> Self {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let on = match ansi {
            Some(Ansi::Never) => false,
            Some(Ansi::Always) => true,
            _ if set("NO_COLOR").is_some() => false,
            _ if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            _ => terminal && set("TERM").is_none_or(|term| term != "dumb"),
        };
        let term = set("TERM").map_or("", String::as_str);
        let ignorant = ["", "dumb", "linux", "vt100", "vt220"].contains(&term)
            || (term.starts_with("screen") && set("TMUX").is_none());
        Self { on, links: on && terminal && !ignorant }
    }

    #[must_use]
    pub fn is_on(self) -> bool {
        self.on
    }

    /// The text in the colour of its meaning.
    #[must_use]
    pub fn paint<T: fmt::Display>(self, meaning: Meaning, text: T) -> String {
        if !self.on {
            return text.to_string();
        }
        let code = match meaning {
            Meaning::Good => "32",
            Meaning::Warning => "33",
            Meaning::Bad => "31;1",
            Meaning::Active => "36",
            Meaning::Faint => "2",
            Meaning::Strong => "1",
            Meaning::Service(index) => SERVICES[index % SERVICES.len()],
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A link (OSC 8) under `text`; the text alone where that is not known to be understood.
    #[must_use]
    pub fn link(self, url: &str, text: &str) -> String {
        if self.links { format!("\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\") } else { text.to_owned() }
    }
}

/// Columns that a text takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// At most `columns` wide, `…` in place of what does not fit.
#[must_use]
pub fn ellipsis(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        cut.push(character);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// The end of a name tells more than its middle: `Container shop-…-worker-1`.
#[must_use]
pub fn ellipsis_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let tail_room = columns.saturating_sub(1) / 2;
    let mut tail = String::new();
    for character in text.chars().rev() {
        let longer = format!("{character}{tail}");
        if width(&longer) > tail_room {
            break;
        }
        tail = longer;
    }
    format!("{}{tail}", ellipsis(text, columns - width(&tail)))
}

/// Text of a stranger (an image, a container, a file) made safe to show in a line: no control characters.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_then_environment_then_terminal_decide() {
        let environment =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let none = environment(&[]);
        assert!(Palette::resolve(None, &none, true).is_on());
        assert!(!Palette::resolve(None, &none, false).is_on());
        assert!(!Palette::resolve(Some(Ansi::Auto), &environment(&[("NO_COLOR", "1")]), true).is_on());
        assert!(Palette::resolve(Some(Ansi::Auto), &environment(&[("NO_COLOR", "")]), true).is_on());
        assert!(Palette::resolve(Some(Ansi::Always), &environment(&[("NO_COLOR", "1")]), false).is_on());
        assert!(!Palette::resolve(Some(Ansi::Never), &environment(&[("CLICOLOR_FORCE", "1")]), true).is_on());
        assert!(Palette::resolve(None, &environment(&[("CLICOLOR_FORCE", "1")]), false).is_on());
        assert!(!Palette::resolve(None, &environment(&[("TERM", "dumb")]), true).is_on());
    }

    #[test]
    fn cuts_by_columns_not_by_bytes() {
        assert_eq!(ellipsis("short", 5), "short");
        assert_eq!(ellipsis("longer", 5), "long…");
        assert_eq!(ellipsis("日本語テスト", 5), "日本…");
        assert_eq!(ellipsis("x", 0), "");
        assert_eq!(width("日本…"), 5);
    }

    #[test]
    fn control_characters_do_not_pass() {
        assert_eq!(printable("a\x1b[31mb\r\n\u{9b}c"), "a [31mb   c");
    }
}
