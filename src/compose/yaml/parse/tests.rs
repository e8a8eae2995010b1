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
