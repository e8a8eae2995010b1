//! The same text for docker compose 2.40.3, the peer, and for this reader.

mod table;

use table::TABLE;

use super::read;
use crate::diag::Severity;

/// What `x-t` is in the last document; `None` when the text is refused.
fn ours(text: &str) -> (Option<serde_json::Value>, Vec<String>) {
    let (documents, diagnostics, _) = read(text);
    let is_refused = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    let value = documents.last().and_then(|node| node.get("x-t")).map(super::Node::to_json);
    (value.filter(|_| !is_refused), diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect())
}

#[test]
fn the_peer_reads_the_same() {
    let mut different = Vec::new();
    for (text, peer) in TABLE {
        let peer: Option<serde_json::Value> = peer.map(|json| serde_json::from_str(json).unwrap());
        let (value, told) = ours(text);
        if value != peer {
            different.push(format!("{text:?}: the peer has {peer:?}, this is {value:?} {told:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// What the peer and this reader have for a text, and what is told of it, if anything.
type Departure = (&'static str, Option<&'static str>, Option<&'static str>, &'static str);

const KEPT: &str = "U+2028 is a character in YAML 1.2, and ends a line for other programs";

/// Where this reader does something else on purpose: dates stay the text that was written, U+2028 stays a character, and
/// what YAML 1.2 has and the peer lacks is read.
const DEPARTURES: &[Departure] = &[
    ("x-t: 2001-01-01", Some("\"2001-01-01T00:00:00Z\""), Some("\"2001-01-01\""), ""),
    ("x-t: {2001-01-01: a}", None, Some("{\"2001-01-01\":\"a\"}"), ""),
    ("x-t: !!binary /w==", Some("\"\u{fffd}\""), None, "\"/w==\" is not text in base64"),
    ("x-t: |\n  a\u{2028}  b\n", Some("\"a\u{2028}b\\n\""), Some("\"a\u{2028}  b\\n\""), KEPT),
    ("x-t: a\u{2028}b", None, Some("\"a\u{2028}b\""), KEPT),
    ("x-t: a\u{2028}x-u: b", Some("\"a\""), None, KEPT),
    ("x-t: \"a\u{2028}\n b\"", Some("\"a\u{2028}\\nb\""), Some("\"a\u{2028}b\""), KEPT),
    ("x-t: a\u{feff}b", Some("\"a\u{feff}b\""), None, "not valid YAML"),
    ("x-t: \"a\\/b\"", None, Some("\"a/b\""), ""),
    ("x-t: {<<: }", None, Some("{}"), ""),
    ("x-a: &a-b.c 1\nx-t: *a-b.c", None, Some("1"), ""),
    ("x-t: [?a, b]", Some("[{\"a\":null},\"b\"]"), Some("[\"?a\",\"b\"]"), ""),
    ("x-t: [:a]", None, Some("[\":a\"]"), ""),
    ("...\nx-t: a", None, Some("\"a\""), ""),
    ("x-t:\n  -\ta", None, Some("[\"a\"]"), ""),
];

#[test]
fn what_is_read_otherwise_is_meant_to_be() {
    let json = |text: &Option<&str>| text.map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
    for (text, peer, value, told) in DEPARTURES {
        assert_ne!(json(peer), json(value), "{text:?} belongs to the other table");
        let (read, said) = ours(text);
        assert_eq!(read, json(value), "{text:?} {said:?}");
        let first = said.first().map_or("", String::as_str);
        assert_eq!(first, *told, "{text:?}");
    }
}

#[test]
fn what_yaml_1_2_says_otherwise_is_warned_about_at_its_place() {
    for (text, message, place) in [
        ("a: b\nx-t: \"a\u{85}  b\"\n", "YAML 1.2 takes U+0085 for a character, not for the end of a line", (2, 8)),
        ("x-t: 'a \u{2028} b'\n", KEPT, (1, 9)),
        ("x-u: \"c\"\nx-t: \"it\\'s\"\n", "YAML 1.2 knows no escape `\\'`", (2, 10)),
        ("x-t: |#c\n  a\n", "YAML 1.2 wants a space before a comment", (1, 7)),
        ("x-t: a\u{85}x-u: !!int b\n", "YAML 1.2 takes U+0085 for a character, not for the end of a line", (1, 7)),
    ] {
        let (_, diagnostics, _) = read(text);
        let span = diagnostics[0].primary.as_ref().unwrap().span;
        assert_eq!((diagnostics[0].message.as_str(), (span.line, span.column)), (message, place), "{text:?}");
    }
    // What stands behind such an end of a line is still told where it was written.
    let (_, diagnostics, _) = read("x-t: a\u{85}x-u: !!int b\n");
    let span = diagnostics[1].primary.as_ref().unwrap().span;
    assert_eq!((diagnostics[1].message.as_str(), span.line, span.column), ("\"b\" is not a whole number", 1, 13));
}
