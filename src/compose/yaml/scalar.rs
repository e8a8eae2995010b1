//! What a plain scalar stands for, and how a number is written as text.

use super::Value;

/// The value of an unquoted scalar, as the peer's YAML reader resolves it.
#[must_use]
pub fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Value::String(text.to_owned());
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    if let Some(magnitude) = whole(digits) {
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        return match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => Some(Value::Int(value)),
            (_, Ok(value)) => Some(Value::Unsigned(value)),
            _ => decimal(&plain),
        };
    }
    decimal(&plain)
}

/// A whole number in any base; a leading zero means octal.
fn whole(digits: &str) -> Option<u64> {
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (base, rest) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    match rest.is_empty() || rest.starts_with(['+', '-']) {
        true => None,
        false => u64::from_str_radix(rest, base).ok(),
    }
}

fn decimal(text: &str) -> Option<Value> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = all_digits(whole)
        && fraction.is_none_or(all_digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty))
        && exponent.is_none_or(|exponent| {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !digits.is_empty() && all_digits(digits)
        });
    match shaped {
        // What no number can hold is text.
        true => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
        false => None,
    }
}

/// A number as the peer writes it where a string is wanted: shortest digits, an exponent for the very large and small.
#[must_use]
pub fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match !(-4..6).contains(&exponent) {
        true => format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
        false => format!("{value}"),
    }
}

/// What base64 stands for, when that is text; its lines may be folded.
pub fn binary_text(text: &str) -> Option<String> {
    use base64::Engine as _;
    let letters: String = text.split_ascii_whitespace().collect();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(letters).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_the_peer_does() {
        for (text, shown) in [
            ("0777", "511"),
            ("1_000", "1000"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("0x1F", "31"),
            ("12345678901234567890", "12345678901234567890"),
            ("1e30", "1e+30"),
            ("1e6", "1e+06"),
            ("100000.5", "100000.5"),
            ("0049123456", "4.9123456e+07"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("1e400", "1e400"),
            ("1.0", "1"),
            ("1:30", "1:30"),
            ("0b11", "3"),
            (".inf", "+Inf"),
            ("08", "8"),
            ("-", "-"),
            ("1.2.3", "1.2.3"),
            ("1e", "1e"),
            ("yes", "yes"),
            ("+1", "1"),
            ("0.00001", "1e-05"),
        ] {
            let value = resolve_plain(text);
            let node = match value {
                Value::Int(value) => value.to_string(),
                Value::Unsigned(value) => value.to_string(),
                Value::Float(value) => float_text(value),
                Value::String(text) => text,
                other => panic!("{text}: {other:?}"),
            };
            assert_eq!(node, shown, "{text}");
        }
    }
}
