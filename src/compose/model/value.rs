//! Scalars that have a spelling of their own: durations, sizes, port ranges.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A time span in nanoseconds, written as `1m30s`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub i64);

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;

impl Duration {
    #[must_use]
    pub fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    #[must_use]
    pub fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds; negative spans count as none.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0 / MILLISECOND).unwrap_or(0)
    }

    #[must_use]
    pub fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(nanos) = *self;
        if nanos == 0 {
            return out.write_str("0s");
        }
        let sign = if nanos < 0 { "-" } else { "" };
        let rest = nanos.unsigned_abs();
        let (micro, milli, second) = (MICROSECOND as u64, MILLISECOND as u64, SECOND as u64);
        if rest < micro {
            return write!(out, "{sign}{rest}ns");
        }
        if rest < milli {
            return write!(out, "{sign}{}µs", decimal(rest, micro));
        }
        if rest < second {
            return write!(out, "{sign}{}ms", decimal(rest, milli));
        }
        let (hours, minutes) = (rest / second / 3600, rest / second / 60 % 60);
        out.write_str(sign)?;
        if hours > 0 {
            write!(out, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(out, "{minutes}m")?;
        }
        write!(out, "{}s", decimal(rest % (60 * second), second))
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration")]
pub struct InvalidDuration;

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(InvalidDuration);
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(InvalidDuration)?;
            let (number, tail) = rest.split_at(digits);
            let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let unit: i128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                "w" => 604_800_000_000_000,
                _ => return Err(InvalidDuration),
            };
            total = total.checked_add(scaled(number, unit)?).ok_or(InvalidDuration)?;
            rest = tail;
        }
        let total = if negative { -total } else { total };
        i64::try_from(total).map(Self).map_err(|_| InvalidDuration)
    }
}

/// `number * unit` for a decimal number, exact to the nanosecond.
fn scaled(number: &str, unit: i128) -> Result<i128, InvalidDuration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 18 || fraction.contains('.') {
        return Err(InvalidDuration);
    }
    let digits = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<i128>().map_err(|_| InvalidDuration) };
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| InvalidDuration)?);
    Ok(digits(whole)? * unit + digits(fraction)? * unit / scale)
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a duration such as 1m30s")
    }
}

/// A size in bytes; -1 is "unlimited" where that is allowed. Written as a string of digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub i64);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a size in bytes")]
pub struct InvalidSize;

impl FromStr for Bytes {
    type Err = InvalidSize;

    /// `512`, `1.5g`, `64 MiB`; units are powers of 1024 and their case does not matter.
    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or(InvalidSize)? + 1;
        let (number, unit) = text.split_at(end);
        let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
        let factor: u64 = match unit.as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            "p" | "pb" | "pib" => 1 << 50,
            _ => return Err(InvalidSize),
        };
        if let Ok(whole) = number.parse::<i64>() {
            let value = i128::from(whole) * i128::from(factor);
            return i64::try_from(value).map(Self).map_err(|_| InvalidSize);
        }
        let value = number.parse::<f64>().map_err(|_| InvalidSize)?;
        if !value.is_finite() || value < 0.0 || value * factor as f64 >= i64::MAX as f64 {
            return Err(InvalidSize);
        }
        Ok(Self((value * factor as f64) as i64))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a size such as 64m")
    }
}

/// A published port or a range of them; written as `8080` or `8000-8010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    #[must_use]
    pub fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(out),
            false => write!(out, "{}-{}", self.first, self.last),
        }
    }
}

/// Why a text is not a port or a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a port or a range of ports")]
pub struct InvalidPortRange;

impl FromStr for PortRange {
    type Err = InvalidPortRange;

    fn from_str(text: &str) -> Result<Self, InvalidPortRange> {
        let port = |text: &str| match text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            true => text.parse::<u16>().map_err(|_| InvalidPortRange),
            false => Err(InvalidPortRange),
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if last < first { Err(InvalidPortRange) } else { Ok(Self { first, last }) }
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a port such as 8080 or 8000-8010")
    }
}

/// Reads `HOST` to addresses, also from a list of `HOST=ADDRESS`.
pub(super) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IndexMap<String, Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Hosts {
        Lines(Vec<String>),
        Table(IndexMap<String, Vec<String>>),
    }
    Ok(match Hosts::deserialize(deserializer)? {
        Hosts::Table(table) => table,
        Hosts::Lines(lines) => {
            let mut table: IndexMap<String, Vec<String>> = IndexMap::new();
            for line in lines {
                let (host, address) = line.split_once('=').unwrap_or((&line, ""));
                table.entry(host.to_owned()).or_default().push(address.to_owned());
            }
            table
        }
    })
}

/// Reads a value from its text; whole numbers stand for their digits.
fn from_text<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: fmt::Display,
    D: Deserializer<'de>,
{
    struct Text<T>(&'static str, std::marker::PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(|error| E::custom(format_args!("{error}: {text:?}")))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    deserializer.deserialize_any(Text(expected, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_the_peer_has_them() {
        for (text, printed) in [
            ("90s", "1m30s"),
            ("1.5h", "1h30m0s"),
            ("0", "0s"),
            ("10ms", "10ms"),
            ("1500us", "1.5ms"),
            ("1d", "24h0m0s"),
            ("2h3.5s", "2h0m3.5s"),
            ("1ns", "1ns"),
        ] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), printed, "{text}");
        }
        for text in ["", "10", "s", "1x", "1..2s", "-", "99999999999999999999h", "999999999999999w"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("512", 512), ("1k", 1024), ("64MiB", 64 << 20), ("1.5g", 3 << 29), ("0", 0), ("-1", -1)]
        {
            assert_eq!(text.parse::<Bytes>().unwrap().0, bytes, "{text}");
        }
        for text in ["", "m", "1 x", "1e3x", "9999999999g"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!("8000-8010".parse::<PortRange>().unwrap(), PortRange { first: 8000, last: 8010 });
        assert_eq!("80".parse::<PortRange>().unwrap().to_string(), "80");
        for text in ["", "-", "2-1", "65536", "+1", "a"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }
}
