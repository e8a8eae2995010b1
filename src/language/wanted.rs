//! Which version is wanted, in whatever words the tools of a language have for it.

use super::Language;
use super::range::{Interval, Range};
use super::version::{Numbers, Part, Version};

/// Long-term lines of Node.js by their names.
const LTS: [(&str, u64); 11] = [
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];

/// What follows the newest line that a range without an end is taken to reach: the newest that packages are made for.
fn frontier(language: Language) -> Numbers {
    match language {
        Language::Node => (27, 0, 0),
        Language::Python => (3, 15, 0),
    }
}

/// A wish for a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub language: Language,
    /// As it was written.
    pub text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Latest,
    /// The newest line with long-term support.
    Lts,
    /// `22`, `3.12.4`
    Part(Part),
    Range(Range),
}

/// Why a text is no wish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WantedError {
    #[error("`{0}` is no version of {1}")]
    NotAVersion(String, &'static str),
    #[error("`{0}` is another Python than CPython, and only that is supported")]
    OtherPython(String),
    #[error("`{0}` is no name of a long-term line of Node.js that is known; write the number of the version")]
    UnknownLts(String),
}

impl Wanted {
    /// Reads what version files, `toolchain` and package files say. `None`: it leaves the version to the system.
    ///
    /// # Errors
    /// When it is nothing that names a version.
    pub fn parse(language: Language, text: &str) -> Result<Option<Self>, WantedError> {
        let text = text.trim();
        let kind = match language {
            Language::Node => node(text),
            Language::Python => python(text),
        };
        Ok(kind?.map(|kind| Self { language, text: text.to_owned(), kind }))
    }

    /// Reads a range of `pyproject.toml`.
    ///
    /// # Errors
    /// When it is none.
    pub fn requires_python(text: &str) -> Result<Self, WantedError> {
        let range = Range::python(text.trim()).map_err(|part| not_a_version(&part, Language::Python))?;
        Ok(Self { language: Language::Python, text: text.trim().to_owned(), kind: Kind::Range(range) })
    }

    /// Whether `version` will do.
    #[must_use]
    pub fn takes(&self, version: &Version) -> bool {
        match &self.kind {
            Kind::Latest => version.before.is_empty(),
            Kind::Lts => {
                version.before.is_empty()
                    && version.numbers.0.is_multiple_of(2)
                    && version.numbers < frontier(self.language)
            }
            Kind::Part(part) if !part.before.is_empty() => {
                version.numbers == part.floor() && version.before == part.before
            }
            Kind::Part(part) => Range::of(part).contains(version),
            Kind::Range(range) => range.contains(version),
        }
    }

    /// The newest of `versions` that will do.
    pub fn choose<'a>(&self, versions: impl IntoIterator<Item = &'a Version>) -> Option<&'a Version> {
        versions.into_iter().filter(|version| self.takes(version)).max()
    }

    /// As `${NODE_VERSION}` and `${PYTHON_VERSION}` have it: what the official images call it. Of a range, the newest.
    #[must_use]
    pub fn tag(&self) -> String {
        match (&self.kind, self.language) {
            (Kind::Latest, Language::Node) => "current".to_owned(),
            (Kind::Latest, Language::Python) => "3".to_owned(),
            (Kind::Lts, _) => "lts".to_owned(),
            (Kind::Part(part), _) => part.to_string(),
            (Kind::Range(range), language) => {
                let newest = range.0.iter().filter_map(|interval| newest(interval, language)).max();
                newest.map_or_else(|| self.text.clone(), |line| line.to_string())
            }
        }
    }
}

/// The newest line of an interval, as short as it can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Line(u64, Option<u64>, Option<u64>);

impl std::fmt::Display for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = Part { major: self.0, minor: self.1, patch: self.2, before: String::new() };
        part.fmt(out)
    }
}

fn newest(interval: &Interval, language: Language) -> Option<Line> {
    let frontier = frontier(language);
    let mut end = match interval.to {
        Some(to) if interval.from >= frontier => to,
        // A range that begins behind all that is known: its own first line.
        None if interval.from >= frontier => match language {
            Language::Node => (interval.from.0 + 1, 0, 0),
            Language::Python => (interval.from.0, interval.from.1 + 1, 0),
        },
        to => to.map_or(frontier, |to| to.min(frontier)),
    };
    // What is taken out at the end shortens it; each hole can do so once.
    for _ in 0..=interval.holes.len() {
        let hole = interval.holes.iter().find(|(from, to)| *from < end && end <= *to);
        match hole {
            Some((from, _)) => end = *from,
            None => break,
        }
    }
    if end <= interval.from {
        return None;
    }
    Some(match (end, language) {
        ((major, 0, 0), Language::Node) => {
            let last = major - 1;
            // Odd lines are short-lived.
            let even = last - last % 2;
            Line(if even >= interval.from.0 && (even, u64::MAX, 0) > interval.from { even } else { last }, None, None)
        }
        ((major, 0, 0), Language::Python) => Line(major - 1, None, None),
        ((major, minor, 0), _) => Line(major, Some(minor - 1), None),
        ((major, minor, patch), _) => Line(major, Some(minor), Some(patch - 1)),
    })
}

fn node(text: &str) -> Result<Option<Kind>, WantedError> {
    let lower = text.to_ascii_lowercase();
    let word = lower.strip_prefix("node-").or_else(|| lower.strip_prefix("node@")).unwrap_or(&lower);
    match word {
        "system" => return Ok(None),
        "node" | "latest" | "current" | "stable" => return Ok(Some(Kind::Latest)),
        "lts" | "lts/*" | "lts-*" => return Ok(Some(Kind::Lts)),
        _ => {}
    }
    let name = word.strip_prefix("lts/").or_else(|| word.strip_prefix("lts-"));
    if let Some((_, major)) = LTS.iter().find(|(known, _)| *known == name.unwrap_or(word)) {
        return Ok(Some(Kind::Part(Part { major: *major, minor: None, patch: None, before: String::new() })));
    }
    if name.is_some() {
        return Err(WantedError::UnknownLts(shortened(text)));
    }
    if let Some(part) = Part::parse(word) {
        return Ok(Some(Kind::Part(part)));
    }
    if word.is_empty() {
        return Err(not_a_version(text, Language::Node));
    }
    let range = Range::npm(word).map_err(|_| not_a_version(text, Language::Node))?;
    Ok(Some(Kind::Range(range)))
}

fn python(text: &str) -> Result<Option<Kind>, WantedError> {
    let lower = text.to_ascii_lowercase();
    for other in ["pypy", "graalpy", "jython", "ironpython", "miniconda", "anaconda", "micropython", "stackless"] {
        if lower.starts_with(other) {
            return Err(WantedError::OtherPython(shortened(text)));
        }
    }
    let mut word = lower.as_str();
    for prefix in ["cpython", "python"] {
        if let Some(rest) = word.strip_prefix(prefix) {
            word = rest.trim_start_matches(['-', '@']);
            break;
        }
    }
    match word {
        "system" => return Ok(None),
        "latest" => return Ok(Some(Kind::Latest)),
        _ => {}
    }
    if let Some(part) = Part::parse(word) {
        return Ok(Some(Kind::Part(part)));
    }
    let range = Range::python(word).or_else(|part| match word.starts_with(['^', '~']) {
        // As Poetry has it.
        true => Range::npm(word),
        false => Err(part),
    });
    range.map(|range| Some(Kind::Range(range))).map_err(|_| not_a_version(text, Language::Python))
}

fn not_a_version(text: &str, language: Language) -> WantedError {
    WantedError::NotAVersion(shortened(text), language.title())
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(60).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if short.len() < text.len() { short + "…" } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for (language, text, expected) in [
            (Language::Node, "22", "22"),
            (Language::Node, "v22.3.0", "22.3.0"),
            (Language::Node, "lts/*", "lts"),
            (Language::Node, "lts/Jod", "22"),
            (Language::Node, "lts-iron", "20"),
            (Language::Node, "hydrogen", "18"),
            (Language::Node, "node", "current"),
            (Language::Node, "^22.3.0", "22"),
            (Language::Node, "~22.3.0", "22.3"),
            (Language::Node, ">=18", "26"),
            (Language::Node, ">=20 <23", "22"),
            (Language::Node, ">=20 <22.3.1", "22.3.0"),
            (Language::Node, "18 || 20", "20"),
            (Language::Node, ">=23 <24", "23"),
            (Language::Node, ">=30", "30"),
            (Language::Python, "3.12", "3.12"),
            (Language::Python, "cpython-3.12.4", "3.12.4"),
            (Language::Python, "cpython@3.11", "3.11"),
            (Language::Python, "3.15.0rc1", "3.15.0rc1"),
            (Language::Python, ">=3.10,<3.13", "3.12"),
            (Language::Python, ">=3.10", "3.14"),
            (Language::Python, ">=3.16", "3.16"),
            (Language::Python, "~=3.11.2", "3.11"),
            (Language::Python, ">=3.11,!=3.14.*,<4", "3.13"),
            (Language::Python, "<3.12.5,>=3.12", "3.12.4"),
            (Language::Python, "^3.11", "3.14"),
            (Language::Python, "latest", "3"),
        ] {
            let wanted = Wanted::parse(language, text).unwrap().unwrap();
            assert_eq!(wanted.tag(), expected, "{text}");
        }
        for language in Language::ALL {
            assert_eq!(Wanted::parse(language, "system"), Ok(None));
        }
    }

    #[test]
    fn what_is_no_version() {
        for (language, text) in [
            (Language::Node, ""),
            (Language::Node, "lts/nobody"),
            (Language::Node, "iojs"),
            (Language::Node, "22; rm -rf /"),
            (Language::Python, ""),
            (Language::Python, "pypy3.10-7.3.12"),
            (Language::Python, "my-virtualenv"),
            (Language::Python, "3.13t"),
            (Language::Python, "3.12/../../x"),
        ] {
            assert!(Wanted::parse(language, text).is_err(), "{text}");
        }
        let long = Wanted::parse(Language::Python, &"9".repeat(1_000_000)).unwrap_err().to_string();
        assert!(long.len() < 200, "{}", long.len());
    }

    #[test]
    fn the_newest_that_will_do() {
        let have: Vec<Version> = ["18.20.8", "20.20.2", "22.3.0", "22.23.3", "25.1.0", "26.0.0-rc.1"]
            .map(|it| Version::parse(it).unwrap())
            .into();
        let chosen = |text: &str| {
            let wanted = Wanted::parse(Language::Node, text).unwrap().unwrap();
            wanted.choose(&have).map(ToString::to_string)
        };
        for (text, expected) in [
            ("22", Some("22.23.3")),
            ("22.3.0", Some("22.3.0")),
            ("lts/*", Some("22.23.3")),
            ("latest", Some("25.1.0")),
            ("<20", Some("18.20.8")),
            ("26.0.0-rc.1", Some("26.0.0-rc.1")),
            ("26", None),
        ] {
            assert_eq!(chosen(text).as_deref(), expected, "{text}");
        }
    }
}
