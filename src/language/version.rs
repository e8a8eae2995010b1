//! A version of three numbers, as Node.js and Python have it.

use std::cmp::Ordering;
use std::fmt;

/// Major, minor, patch.
pub type Numbers = (u64, u64, u64);

/// A whole version. Releases before a version (`3.15.0rc1`, `22.0.0-rc.1`) are less than it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub numbers: Numbers,
    /// As it is written behind the numbers, without the dash of npm; empty for what is released.
    pub before: String,
}

impl Version {
    #[must_use]
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self { numbers: (major, minor, patch), before: String::new() }
    }

    /// `22.3.0`, `v22.3.0`, `3.15.0rc1`, `22.0.0-rc.1`; nothing shorter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part = Part::parse(text)?;
        Some(Self { numbers: (part.major, part.minor?, part.patch?), before: part.before })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.numbers;
        write!(out, "{major}.{minor}.{patch}")?;
        match self.before.as_bytes().first() {
            None => Ok(()),
            // Python writes `3.15.0rc1`, npm `22.0.0-rc.1`.
            Some(_) if self.before.contains('.') => write!(out, "-{}", self.before),
            Some(_) => out.write_str(&self.before),
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.before.cmp(&other.before),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A version whose end may be left open: `22`, `3.12`, `22.x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub major: u64,
    pub minor: Option<u64>,
    pub patch: Option<u64>,
    pub before: String,
}

/// Longer texts are no versions.
const LONGEST: usize = 64;
/// Larger numbers are no versions; the sum of one and one more stays a number.
const LARGEST: u64 = 1_000_000;

impl Part {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        // What comes behind `+` says how it was built.
        let text = text.split('+').next().unwrap_or(text);
        let mut rest = text;
        let mut numbers = [None; 3];
        let mut open = false;
        for (index, place) in numbers.iter_mut().enumerate() {
            if index > 0 {
                match rest.strip_prefix('.') {
                    Some(after) => rest = after,
                    None => break,
                }
            }
            if let Some(after) = rest.strip_prefix(['x', 'X', '*']) {
                rest = after;
                open = true;
                continue;
            }
            let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            let number: u64 = rest[..end].parse().ok().filter(|number| *number <= LARGEST)?;
            if open {
                return None;
            }
            *place = Some(number);
            rest = &rest[end..];
        }
        let [major, minor, patch] = numbers;
        let before = rest.strip_prefix('-').unwrap_or(rest);
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        // `3.13t` is another build of Python, and no release before 3.13.
        if !before.is_empty() && (patch.is_none() || !before.bytes().all(is_word)) {
            return None;
        }
        if rest.len() == before.len() && !before.is_empty() && !before.starts_with(['a', 'b', 'r']) {
            return None;
        }
        Some(Self { major: major?, minor, patch, before: before.to_owned() })
    }

    /// The least of what it covers.
    #[must_use]
    pub fn floor(&self) -> Numbers {
        (self.major, self.minor.unwrap_or(0), self.patch.unwrap_or(0))
    }

    /// What comes after all of what it covers.
    #[must_use]
    pub fn end(&self) -> Numbers {
        match (self.minor, self.patch) {
            (Some(minor), Some(patch)) => (self.major, minor, patch + 1),
            (Some(minor), None) => (self.major, minor + 1, 0),
            (None, _) => (self.major + 1, 0, 0),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.major)?;
        if let Some(minor) = self.minor {
            write!(out, ".{minor}")?;
        }
        match self.patch {
            Some(patch) if self.before.is_empty() => write!(out, ".{patch}"),
            Some(_) => {
                let whole = Version { numbers: self.floor(), before: self.before.clone() }.to_string();
                let front = format!("{}.{}", self.major, self.minor.unwrap_or(0));
                out.write_str(whole.strip_prefix(&front).unwrap_or_default())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_versions() {
        let shown = |text: &str| Part::parse(text).map(|part| part.to_string());
        for (text, expected) in [
            ("22", "22"),
            ("v22.3.0", "22.3.0"),
            ("3.12", "3.12"),
            ("3.12.x", "3.12"),
            ("22.x", "22"),
            ("22.*.*", "22"),
            ("3.15.0rc1", "3.15.0rc1"),
            ("22.0.0-rc.1", "22.0.0-rc.1"),
            ("22.3.0+build", "22.3.0"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["", "v", "x", "22.x.1", "3.13t", "3.13.0t", "1..2", "1.2.3.4", "99999999999999999999", "abc", "3.12 "]
        {
            assert_eq!(shown(text), None, "{text}");
        }
        assert!(Version::parse("3.12").is_none());
        let ordered =
            ["3.9.18", "3.10.0rc1", "3.10.0rc2", "3.10.0", "3.10.1"].map(|text| Version::parse(text).unwrap());
        assert!(ordered.is_sorted());
    }
}
