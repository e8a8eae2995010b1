use std::path::Path;

use super::*;

fn read(text: &str) -> (Vec<Node>, Vec<String>) {
    let mut sources = SourceMap::default();
    let source = sources.add(Path::new("/c.yaml"), Path::new("/"), text.to_owned());
    let mut diagnostics = Vec::new();
    let documents = parse(source, &sources, &mut diagnostics, &mut History::default());
    (documents, diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect())
}

fn json(text: &str) -> String {
    let (documents, faults) = read(text);
    assert_eq!(faults, Vec::<String>::new(), "{text}");
    documents.iter().map(|node| node.to_json().to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn anchors_aliases_and_merge_keys() {
    assert_eq!(json("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}"), r#"{"a":{"k":1,"l":2},"b":{"k":3,"l":2}}"#);
    assert_eq!(
        json("a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}").split("\"c\":").nth(1),
        Some(r#"{"k":1,"m":3}}"#)
    );
    assert_eq!(json("a: &x [1]\nb: *x"), r#"{"a":[1],"b":[1]}"#);
}

#[test]
fn several_documents_and_tags() {
    assert_eq!(json("a: 1\n---\nb: !!str 2\n"), r#"{"a":1} {"b":"2"}"#);
    let (documents, _) = read("a: !reset null\nb: !override [1]\n");
    assert_eq!(documents[0].get("a").map(|node| node.tag), Some(Tag::Reset));
    assert_eq!(documents[0].get("b").map(|node| node.tag), Some(Tag::Override));
}

#[test]
fn positions_count_from_one_in_characters() {
    let (documents, _) = read("ä:\n  - \"é\"\n  - x: y\n");
    let items = documents[0].get("ä").and_then(Node::as_sequence).unwrap();
    assert_eq!((items[0].span.line, items[0].span.column, items[0].span.end_column), (2, 5, 8));
    assert_eq!((items[1].span.line, items[1].span.column), (3, 5));
}

#[test]
fn faults_are_refused() {
    for (text, message) in [
        ("a: 1\nb: 2\na: 3\n", "`a` is set twice"),
        ("a: &x [*x]\n", "an alias refers to what it is part of"),
        ("a: b: c\n", "not valid YAML"),
        ("1: x\n", "the key 1 is not a string"),
        ("? [a]\n: b\n", "a list cannot be a key"),
        ("a: {<<: 3}\n", "`<<` takes a mapping or a list of mappings, not a number"),
    ] {
        assert_eq!(read(text).1, [message], "{text}");
    }
}

#[test]
fn bombs_and_depth_are_bounded() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert_eq!(read(&bomb).1, ["aliases make this file too large"]);
    assert_eq!(read(&"[".repeat(150)).1, ["the file is nested more than 100 levels deep"]);
}

#[test]
fn what_the_peer_reads_is_read_with_a_warning() {
    const FLOW: &str = "YAML 1.2 wants what is in brackets or braces further to the right than its key";
    const QUOTED: &str = "YAML 1.2 wants the lines of a quoted text further to the right than its key";
    const ALIAS: &str = "YAML 1.2 takes the colon for a part of the alias's name";
    const COMMENT: &str = "YAML 1.2 wants a space before a comment";
    for (text, read_as, warnings) in [
        ("a:\n  b: [\n  x, # [\n  y\n  ]\n", r#"{"a":{"b":["x","y"]}}"#, &[FLOW][..]),
        ("a:\n  b: {\n}\n  c: [\nd\ne\n]\n", r#"{"a":{"b":{},"c":["d e"]}}"#, &[FLOW]),
        ("a:\r\n  b: [\r\n  x\r\n  ]\r\n", r#"{"a":{"b":["x"]}}"#, &[FLOW]),
        ("\u{feff}a:\n- b: [\n]\n", r#"{"a":[{"b":[]}]}"#, &[FLOW]),
        ("a:\n  b: \"c\n\n  d\\\n  e\"\n", r#"{"a":{"b":"c\nde"}}"#, &[QUOTED]),
        ("a:\n  b: 'c\nd''e\n\tf'\n", r#"{"a":{"b":"c d'e f"}}"#, &[QUOTED]),
        ("a: &x k\n*x:\n  b: c\n", r#"{"a":"k","k":{"b":"c"}}"#, &[ALIAS]),
        ("a: &x k\nb: {*x: c}\n", r#"{"a":"k","b":{"k":"c"}}"#, &[ALIAS]),
        ("a: \"b\"#c\nd: [e]#f\n", r#"{"a":"b","d":["e"]}"#, &[COMMENT]),
        ("a:\tb\n", r#"{"a":"b"}"#, &[]),
        ("a: |\n  [\n  \"\n  {\nb: [\nc\n]\n", r#"{"a":"[\n\"\n{\n","b":["c"]}"#, &[FLOW]),
        ("a: it's {\n  [x\nb: [\nc\n]\n", r#"{"a":"it's { [x","b":["c"]}"#, &[FLOW]),
        ("a: [\nb\n]\n---\nc: [\nd\n]\n", r#"{"a":["b"]} {"c":["d"]}"#, &[FLOW]),
    ] {
        let (documents, faults) = read(text);
        assert_eq!(faults, warnings, "{text}");
        let shown: Vec<String> = documents.iter().map(|node| node.to_json().to_string()).collect();
        assert_eq!(shown.join(" "), read_as, "{text}");
    }
}

#[test]
fn places_are_those_of_the_written_text() {
    let (documents, _) = read("a:\n  b: [\n  x, y: z\n]\n  c: d\n");
    let b = documents[0].get("a").and_then(|a| a.get("b")).and_then(Node::as_sequence).unwrap();
    assert_eq!((b[0].span.line, b[0].span.column, b[0].span.end_column), (3, 3, 4));
    assert_eq!((b[1].span.line, b[1].span.column), (3, 6));
    let mut sources = SourceMap::default();
    let source = sources.add(Path::new("/c.yaml"), Path::new("/"), "a:\n  b: [\n  x\n  ]\n c: d\n".to_owned());
    let mut diagnostics = Vec::new();
    parse(source, &sources, &mut diagnostics, &mut History::default());
    let place = diagnostics[0].primary.as_ref().unwrap().span;
    assert_eq!((diagnostics.len(), place.line), (1, 5), "{diagnostics:?}");
}

#[test]
fn what_the_peer_refuses_is_refused() {
    for text in ["a: [\n---\n]\n", "a: [\nb: c\n", "a:\n\tb: c\n", "a: \"b\n", "a: [b,,c]\n", "a: b\n\tc: d\n"] {
        assert_eq!(read(text).1, ["not valid YAML"], "{text}");
    }
    for text in ["a: b\u{1}c\n", "a: \u{b}\n", "a: \"\u{0}\"\n"] {
        assert_eq!(read(text).1, ["a control character cannot stand in YAML"], "{text}");
    }
    assert_eq!(read("a: &x {b: c}\nd:\n  <<: *x\n  <<: *x\n").1, ["`<<` is set twice"]);
}

/// What is read of a text as it stands, and of the same text once it is mended.
fn both(text: &str) -> Option<(String, String)> {
    let source = SourceId(0);
    let mut history = History::default();
    let mut faults = Vec::new();
    let breaks = Breaks::new(text);
    let written = Written { source, name: "c", breaks: &breaks, mended: None };
    let (strict, error) = super::read(text, written, &mut faults, &mut history);
    let mended = lenient::mend(text).filter(|_| error.is_none() && faults.is_empty())?;
    let (tolerant, error) =
        super::read(&mended.text, Written { mended: Some(&mended), ..written }, &mut faults, &mut history);
    assert!(error.is_none() && faults.is_empty(), "{text:?} became {:?}: {error:?}", mended.text);
    // Where a span ends may be after blanks that were put in.
    Some((format!("{strict:?}"), format!("{tolerant:?}")))
}

#[test]
fn mending_does_not_change_what_can_be_read() {
    for folder in ["compose", "faults", "found"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for section in text.split("-- ").filter_map(|section| section.split_once(" --\n")) {
                if let Some((strict, tolerant)) = both(section.1) {
                    assert_eq!(strict, tolerant, "{}", section.1);
                }
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4096))]

    #[test]
    fn mending_changes_no_text_that_is_yaml(
        lines in proptest::collection::vec(
            "( {0,4}|\t)(- |\\? )?([ab]:[ \t])?([ab]{1,2}|\"a|b\"|'a'|\\[|\\]|\\{a: b,|\\}|[|]|>|#a|,|a #b|\"a\\tb\"|!t a|~|)(\t| )?(,|#|)",
            1..7,
        ),
    ) {
        if let Some((strict, tolerant)) = both(&(lines.join("\n") + "\n")) {
            proptest::prop_assert_eq!(strict, tolerant);
        }
    }
}
