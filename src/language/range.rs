//! Ranges of versions: those of npm (`^22.3 || >=24 <25`) and those of Python (`>=3.10,<3.13`).

use super::version::{Numbers, Part, Version};

/// More alternatives or conditions are no range that a person wrote.
const MOST_PARTS: usize = 64;

/// Versions from one on, and before another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    pub from: Numbers,
    /// `None`: without end.
    pub to: Option<Numbers>,
    /// What is taken out.
    pub holes: Vec<(Numbers, Numbers)>,
}

impl Interval {
    const ALL: Self = Self { from: (0, 0, 0), to: None, holes: Vec::new() };

    fn contains(&self, numbers: Numbers) -> bool {
        self.from <= numbers
            && self.to.is_none_or(|to| numbers < to)
            && !self.holes.iter().any(|(from, to)| *from <= numbers && numbers < *to)
    }

    fn after(&mut self, from: Numbers) {
        self.from = self.from.max(from);
    }

    fn before(&mut self, to: Numbers) {
        self.to = Some(self.to.map_or(to, |old| old.min(to)));
    }

    fn within(&mut self, part: &Part) {
        self.after(part.floor());
        self.before(part.end());
    }
}

/// Alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(pub Vec<Interval>);

impl Range {
    /// What a part of a version covers.
    #[must_use]
    pub fn of(part: &Part) -> Self {
        let mut interval = Interval::ALL;
        interval.within(part);
        Self(vec![interval])
    }

    /// Whether `version` is in the range; one before a release never is.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        version.before.is_empty() && self.0.iter().any(|interval| interval.contains(version.numbers))
    }

    /// npm's words: `^`, `~`, `>=`, `1.2 - 1.4`, `||`, `x`.
    ///
    /// # Errors
    /// The part that is none.
    pub fn npm(text: &str) -> Result<Self, String> {
        let mut intervals = Vec::new();
        for alternative in text.split("||") {
            if intervals.len() >= MOST_PARTS {
                return Err(text.to_owned());
            }
            intervals.push(npm_interval(alternative.trim())?);
        }
        Ok(Self(intervals))
    }

    /// Python's words (PEP 440): `>=3.10,<3.13`, `~=3.11`, `==3.12.*`, `!=3.11.3`.
    ///
    /// # Errors
    /// The part that is none.
    pub fn python(text: &str) -> Result<Self, String> {
        let mut interval = Interval::ALL;
        for (index, condition) in text.split(',').map(str::trim).enumerate() {
            if index >= MOST_PARTS {
                return Err(text.to_owned());
            }
            python_condition(condition, &mut interval).ok_or_else(|| condition.to_owned())?;
        }
        Ok(Self(vec![interval]))
    }
}

fn npm_interval(text: &str) -> Result<Interval, String> {
    let mut interval = Interval::ALL;
    if let Some((from, to)) = text.split_once(" - ") {
        let part = |text: &str| Part::parse(text.trim()).ok_or_else(|| text.trim().to_owned());
        interval.after(part(from)?.floor());
        interval.before(part(to)?.end());
        return Ok(interval);
    }
    // `>= 22` may have a space.
    let mut words = text.split_whitespace();
    let mut count = 0;
    while let Some(word) = words.next() {
        count += 1;
        if count > MOST_PARTS {
            return Err(text.to_owned());
        }
        let operator = word.bytes().position(|byte| !b"^~<>=".contains(&byte)).unwrap_or(word.len());
        let (operator, version) = word.split_at(operator);
        let version = if version.is_empty() { words.next().unwrap_or_default() } else { version };
        if matches!(version, "*" | "x" | "X") && operator.is_empty() {
            continue;
        }
        let part = Part::parse(version).ok_or_else(|| word.to_owned())?;
        match operator {
            "" | "=" => interval.within(&part),
            "^" => {
                interval.after(part.floor());
                interval.before(match (part.major, part.minor, part.patch) {
                    (0, Some(0), Some(patch)) => (0, 0, patch + 1),
                    (0, Some(minor), _) => (0, minor + 1, 0),
                    (major, ..) => (major + 1, 0, 0),
                });
            }
            "~" | "~>" => {
                interval.after(part.floor());
                interval.before(part.minor.map_or((part.major + 1, 0, 0), |minor| (part.major, minor + 1, 0)));
            }
            ">=" => interval.after(part.floor()),
            ">" => interval.after(part.end()),
            "<" => interval.before(part.floor()),
            "<=" => interval.before(part.end()),
            _ => return Err(word.to_owned()),
        }
    }
    Ok(interval)
}

fn python_condition(text: &str, interval: &mut Interval) -> Option<()> {
    let operator = text.bytes().position(|byte| !b"~<>=!".contains(&byte))?;
    let (operator, version) = text.split_at(operator);
    let version = version.trim();
    let wild = version.ends_with(".*");
    let part = Part::parse(version)?;
    let after = |(major, minor, patch): Numbers| (major, minor, patch + 1);
    match operator {
        ">=" if !wild => interval.after(part.floor()),
        ">" if !wild => interval.after(after(part.floor())),
        "<" if !wild => interval.before(part.floor()),
        "<=" if !wild => interval.before(after(part.floor())),
        "==" if wild => interval.within(&part),
        "!=" if wild => interval.holes.push((part.floor(), part.end())),
        // `==3.12` is 3.12.0 by the letter; nobody means that.
        "==" | "===" => interval.within(&part),
        "!=" => interval.holes.push((part.floor(), after(part.floor()))),
        "~=" if !wild => {
            interval.after(part.floor());
            match (part.minor, part.patch) {
                (Some(minor), Some(_)) => interval.before((part.major, minor + 1, 0)),
                (Some(_), None) => interval.before((part.major + 1, 0, 0)),
                (None, _) => return None,
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &Range, inside: &[&str], outside: &[&str], of: &str) {
        let has = |text: &str| range.contains(&Version::parse(text).unwrap());
        inside.iter().for_each(|text| assert!(has(text), "{of} has {text}"));
        outside.iter().for_each(|text| assert!(!has(text), "{of} has not {text}"));
    }

    #[test]
    fn ranges_of_npm() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("^22.3.0", &["22.3.0", "22.99.1"], &["22.2.9", "23.0.0"]),
            ("~22.3", &["22.3.5"], &["22.4.0"]),
            (">=20 <23", &["20.0.0", "22.9.0"], &["19.9.9", "23.0.0"]),
            (">= 20.1", &["20.1.0", "26.0.0"], &["20.0.9"]),
            (">20", &["21.0.0"], &["20.9.9"]),
            ("<=20", &["20.9.9"], &["21.0.0"]),
            (
                "18 || ^20.17.0 || >=22.9.0",
                &["18.1.0", "20.18.0", "22.9.0", "26.0.0"],
                &["20.16.0", "22.8.0", "21.0.0"],
            ),
            ("20 - 22.3", &["20.0.0", "22.3.9"], &["22.4.0"]),
            ("*", &["0.1.0", "26.0.0"], &["26.0.0-rc.1"]),
            ("^0.2.3", &["0.2.9"], &["0.3.0"]),
            ("22.x", &["22.1.0"], &["23.0.0"]),
        ];
        for (text, inside, outside) in cases {
            check(&Range::npm(text).unwrap(), inside, outside, text);
        }
        for text in ["latest", ">=", "^", "22 or 23", "><22", "~!3"] {
            assert!(Range::npm(text).is_err(), "{text}");
        }
        assert!(Range::npm(&"22||".repeat(100_000)).is_err());
        assert!(Range::npm(&"22 ".repeat(100_000)).is_err());
    }

    #[test]
    fn ranges_of_python() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (">=3.10,<3.13", &["3.10.0", "3.12.9"], &["3.9.9", "3.13.0"]),
            ("~=3.11", &["3.11.0", "3.99.0"], &["4.0.0"]),
            ("~= 3.11.2", &["3.11.9"], &["3.11.1", "3.12.0"]),
            ("==3.12.*", &["3.12.4"], &["3.13.0"]),
            (">=3.9, !=3.11.*, !=3.12.3", &["3.12.4", "3.10.1"], &["3.11.5", "3.12.3"]),
            (">3.10", &["3.10.1"], &["3.10.0"]),
            ("<=3.12", &["3.12.0"], &["3.12.1"]),
        ];
        for (text, inside, outside) in cases {
            check(&Range::python(text).unwrap(), inside, outside, text);
        }
        for text in ["", ">=", "3.10", "^3.10", "~=3", ">=3.10,", ">=3.*", "=>3.1"] {
            assert!(Range::python(text).is_err(), "{text}");
        }
        assert!(Range::python(&">=3,".repeat(100_000)).is_err());
    }
}
