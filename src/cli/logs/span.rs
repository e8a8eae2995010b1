//! `--since`, `--until` and `--tail`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::cli::CommandError;

/// A time as Docker takes it: `2026-01-02T13:23:37Z`, `2026-01-02`, seconds since 1970, or how long ago: `1h30m`.
///
/// # Errors
/// When it is none of these.
pub fn parse_time(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, CommandError> {
    let ago = || duration(text).and_then(|ago| now.checked_sub(ago).ok());
    let seconds = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        Timestamp::new(whole.parse().ok()?, nanos).ok()
    };
    // Without an offset the time is this machine's.
    let local = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(seconds).or_else(local).or_else(ago).ok_or_else(|| {
        CommandError::new(format!("`{text}` is not a time for --{flag}"))
            .hint("write 2026-01-02T13:23:37Z, 2026-01-02, or how long ago: 42m, 1h30m")
    })
}

/// Go's durations: `1h30m`, `1.5s`, `300ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// A number of lines, or `all`.
///
/// # Errors
/// When it is neither.
pub fn parse_tail(text: &str) -> Result<Option<usize>, CommandError> {
    match text {
        "all" | "" => Ok(None),
        // As Docker: everything when it makes no sense as a number of lines.
        text if text.starts_with('-') && text[1..].parse::<u64>().is_ok() => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            CommandError::new(format!("`{text}` is not a number of lines for --tail")).hint("write a number, or `all`")
        }),
    }
}

/// How long until `until`; nothing when it is past.
#[must_use]
pub fn remaining(until: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dockers() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let parse = |text: &str| parse_time("since", text, now).ok().map(|time| time.to_string());
        for (text, time) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.5+01:00", "2026-01-02T02:04:05.5Z"),
            ("1h30m", "2026-01-02T10:30:00Z"),
            ("1.5s", "2026-01-02T11:59:58.5Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.25", "2023-11-14T22:13:20.25Z"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(time), "{text}");
        }
        assert!(parse("2026-01-02").is_some() && parse("2026-01-02T03:04:05").is_some());
        for wrong in ["", "yesterday", "5", "5 m", "m", "1x", "1h-5m"].into_iter().filter(|text| *text != "5") {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tails() {
        assert_eq!(parse_tail("all").unwrap(), None);
        assert_eq!(parse_tail("-1").unwrap(), None);
        assert_eq!(parse_tail("0").unwrap(), Some(0));
        assert_eq!(parse_tail("20").unwrap(), Some(20));
        assert!(parse_tail("x").is_err());
    }
}
