//! From events to the tree: anchors, merge keys, tags, duplicate keys, limits.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as ScannerSpan, Tag as ScannerTag};

use super::breaks::Breaks;
use super::lenient::{self, Mended};
use super::{Entry, Mapping, Node, Tag, Value, scan_error, tagged};
use crate::compose::provenance::{History, Rule, Through};
use crate::diag::{Diagnostic, SourceId, SourceMap, Span};

/// Deeper nesting is refused.
const DEPTH_LIMIT: usize = 100;
/// Values of one file.
const NODE_LIMIT: usize = 1_000_000;
/// Brackets and commas of one file: the scanner holds those of a whole list at once.
const FLOW_LIMIT: usize = 2_000_000;
/// Values that anchors and aliases may add to one file.
const ALIAS_LIMIT: usize = 300_000;
/// After so many faults nobody reads on.
const FAULT_LIMIT: usize = 100;

/// The documents of a file. Faults go to `diagnostics`; what could be read is returned.
pub fn parse(
    source: SourceId,
    sources: &SourceMap,
    diagnostics: &mut Vec<Diagnostic>,
    history: &mut History,
) -> Vec<Node> {
    let Some(file) = sources.get(source) else { return Vec::new() };
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    if text.len() > FLOW_LIMIT && text.bytes().filter(|byte| b"[]{},".contains(byte)).count() > FLOW_LIMIT {
        let name = &file.name;
        diagnostics.push(
            Diagnostic::error(format!("{name} is too large"))
                .note(format!("it has more than {FLOW_LIMIT} brackets, braces and commas")),
        );
        return Vec::new();
    }
    if let Some(place) = control_character(source, text) {
        let hint = "in a double-quoted text it can be written as `\\x..`; otherwise remove it";
        diagnostics
            .push(Diagnostic::error("a control character cannot stand in YAML").at(place, "not a text").hint(hint));
        return Vec::new();
    }
    let breaks = Breaks::new(text);
    breaks.tell(source, diagnostics);
    let before = diagnostics.len();
    let written = Written { source, name: &file.name, breaks: &breaks, mended: None };
    let (mut documents, mut error) = read(&breaks.text, written, diagnostics, history);
    if error.is_some()
        && let Some(mended) = lenient::mend(&breaks.text)
    {
        diagnostics.truncate(before);
        (documents, error) = read(&mended.text, Written { mended: Some(&mended), ..written }, diagnostics, history);
        if error.is_none() {
            lenient::tell(&mended, &breaks, source, diagnostics);
        }
    }
    if let Some((error, place)) = error {
        diagnostics.push(scan_error::diagnose(&error, place, file));
    }
    documents
}

/// What was written, of which another text may be read.
#[derive(Clone, Copy)]
struct Written<'a> {
    source: SourceId,
    name: &'a str,
    breaks: &'a Breaks<'a>,
    mended: Option<&'a Mended>,
}

/// The documents of `text` up to a fault of it, and that fault with its place.
fn read(
    text: &str,
    written: Written<'_>,
    diagnostics: &mut Vec<Diagnostic>,
    history: &mut History,
) -> (Vec<Node>, Option<(ScanError, Span)>) {
    let mut builder = Builder {
        written,
        stack: Vec::new(),
        anchors: HashMap::new(),
        built: 0,
        expanded: 0,
        plain: true,
        documents: Vec::new(),
        diagnostics,
        history,
        stopped: false,
    };
    let error = builder.read(text);
    let place = error.as_ref().map(|error| builder.span(ScannerSpan::new(*error.marker(), *error.marker())));
    (builder.documents, error.zip(place))
}

/// The first character that YAML has no place for.
fn control_character(source: SourceId, text: &str) -> Option<Span> {
    let is_control = |c: char| {
        c < ' ' && !"\t\n\r".contains(c)
            || ('\u{7f}'..='\u{9f}').contains(&c) && c != '\u{85}'
            || "\u{fffe}\u{ffff}".contains(c)
    };
    let at = text.find(is_control)?;
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX - 1);
    let before = &text[..at];
    let line = number(before.matches('\n').count() + 1);
    let column = number(before.rsplit('\n').next().unwrap_or_default().chars().count() + 1);
    Some(Span { source, line, column, end_line: line, end_column: column + 1 })
}

struct Builder<'a> {
    written: Written<'a>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    built: usize,
    /// Copies of nodes made for anchors and aliases so far.
    expanded: usize,
    /// The last scalar stands without quotes.
    plain: bool,
    documents: Vec<Node>,
    diagnostics: &'a mut Vec<Diagnostic>,
    history: &'a mut History,
    stopped: bool,
}

/// A list or mapping that is still open.
struct Frame {
    anchor: usize,
    tag: Tag,
    span: Span,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { mapping: Mapping, merged: Vec<(Span, Node)>, key: Option<(Key, Span)> },
}

enum Key {
    Text(String),
    Merge,
    /// Already reported; its value is dropped.
    Invalid,
}

impl Builder<'_> {
    /// Reads all documents of `text`, up to a fault of the text.
    fn read(&mut self, text: &str) -> Option<ScanError> {
        let most_faults = self.diagnostics.len() + FAULT_LIMIT;
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            match event {
                Ok((event, span)) => self.event(event, span),
                Err(error) => return Some(error),
            }
            if self.stopped || self.diagnostics.len() >= most_faults {
                break;
            }
        }
        None
    }

    fn span(&self, span: ScannerSpan) -> Span {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX - 1);
        let Written { source, breaks, mended, .. } = self.written;
        let place = |marker: Marker| {
            let column = mended.map_or(marker.col(), |mended| mended.column(marker.line(), marker.col()));
            let (line, column) = breaks.written(marker.line(), column);
            (number(line).max(1), number(column))
        };
        let ((line, column), (end_line, end_column)) = (place(span.start), place(span.end));
        Span { source, line, column: column + 1, end_line, end_column: end_column + 1 }
    }

    fn event(&mut self, event: Event<'_>, span: ScannerSpan) {
        let span = self.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                self.plain = style == ScalarStyle::Plain;
                let node = self.scalar(text, style, tag.as_deref(), span);
                self.finish(node, anchor);
            }
            Event::SequenceStart(anchor, tag) => self.open(anchor, tag.as_ref(), span, Content::Sequence(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                let content = Content::Mapping { mapping: Mapping::default(), merged: Vec::new(), key: None };
                self.open(anchor, tag.as_ref(), span, content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<&ScannerTag>, span: Span) -> Node {
        let text = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => text,
            _ => self.written.breaks.fold(text, self.plain),
        };
        let merge = merge_tag(tag);
        let tag = tag.filter(|_| merge == Tag::None);
        let value = tagged::resolve(&text, self.plain, tag).unwrap_or_else(|misfit| {
            self.diagnostics.push(misfit.diagnostic(span));
            Value::String(text.into_owned())
        });
        Node { tag: merge, ..Node::new(value, span) }
    }

    fn open(&mut self, anchor: usize, tag: Option<&Cow<'_, ScannerTag>>, span: Span, content: Content) {
        if self.stack.len() >= DEPTH_LIMIT {
            self.diagnostics.push(
                Diagnostic::error(format!("the file is nested more than {DEPTH_LIMIT} levels deep"))
                    .at(span, "too deep"),
            );
            self.stopped = true;
            return;
        }
        let tag = merge_tag(tag.map(|tag| &**tag));
        self.stack.push(Frame { anchor, tag, span, content });
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let (value, span) = match frame.content {
            Content::Sequence(items) => (Value::Sequence(items), frame.span),
            Content::Mapping { mut mapping, merged, .. } => {
                for (span, node) in merged {
                    self.merge(&mut mapping, node, span);
                }
                let span = mapping.0.first().map_or(frame.span, |(_, entry)| entry.key_span);
                (Value::Mapping(Box::new(mapping)), span)
            }
        };
        self.finish(Node { tag: frame.tag, ..Node::new(value, span) }, frame.anchor);
    }

    fn alias(&mut self, anchor: usize, span: Span) {
        let Some(target) = self.anchors.get(&anchor) else {
            self.diagnostics
                .push(Diagnostic::error("an alias refers to what it is part of").at(span, "refers to itself"));
            self.finish(Node::new(Value::Null, span), 0);
            return;
        };
        let count = target.count();
        if self.copies(count, span)
            && let Some(target) = self.anchors.get(&anchor)
        {
            let mut node = target.clone();
            self.history.through(&mut node, &Through::Alias(span));
            self.finish(node, 0);
        }
    }

    /// Whether `count` more nodes may be copied.
    fn copies(&mut self, count: usize, span: Span) -> bool {
        self.expanded += count;
        if self.expanded > ALIAS_LIMIT {
            self.diagnostics.push(
                Diagnostic::error("aliases make this file too large")
                    .at(span, format!("more than {ALIAS_LIMIT} values by now"))
                    .hint("aliases of lists that hold aliases of lists grow without bound; write the values out"),
            );
            self.stopped = true;
        }
        !self.stopped
    }

    /// A complete node goes to where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) {
        self.built += 1;
        if self.built > NODE_LIMIT {
            self.diagnostics.push(
                Diagnostic::error(format!("{} is too large", self.written.name))
                    .at(node.span, format!("more than {NODE_LIMIT} values")),
            );
            self.stopped = true;
            return;
        }
        if anchor != 0 && self.copies(node.count(), node.span) {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.documents.push(node);
            return;
        };
        match &mut frame.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { key: slot @ None, .. } => {
                let span = node.span;
                let key = match &node.value {
                    Value::String(text) if text == "<<" && self.plain => Key::Merge,
                    Value::String(text) => Key::Text(text.clone()),
                    Value::Sequence(_) | Value::Mapping(_) => {
                        let kind = node.value.kind();
                        self.diagnostics
                            .push(Diagnostic::error(format!("{kind} cannot be a key")).at(span, "not a string"));
                        Key::Invalid
                    }
                    _ => {
                        let text = node.scalar_text().unwrap_or_else(|| "null".to_owned());
                        self.diagnostics.push(
                            Diagnostic::error(format!("the key {text} is not a string"))
                                .at(span, node.value.kind())
                                .hint(format!("quote it: \"{text}\"")),
                        );
                        Key::Text(text)
                    }
                };
                *slot = Some((key, span));
            }
            Content::Mapping { mapping, merged, key } => match key.take() {
                Some((Key::Merge, span)) => {
                    if let Some((first, _)) = merged.first() {
                        let diagnostic = Diagnostic::error("`<<` is set twice")
                            .at(span, "second time here")
                            .related(*first, "first time here")
                            .hint("join them: `<<: [*a, *b]`");
                        self.diagnostics.push(diagnostic);
                    }
                    merged.push((span, node));
                }
                Some((Key::Text(text), span)) => {
                    if let Some(first) = mapping.0.get(&text) {
                        let diagnostic = Diagnostic::error(format!("`{text}` is set twice"))
                            .at(span, "second time here")
                            .related(first.key_span, "first time here")
                            .hint("keep one of them, or join their contents");
                        self.diagnostics.push(diagnostic);
                    }
                    mapping.0.insert(text, Entry { key_span: span, node });
                }
                Some((Key::Invalid, _)) | None => {}
            },
        }
    }

    /// Applies `<<: value`: keys that are already there win.
    fn merge(&mut self, mapping: &mut Mapping, node: Node, span: Span) {
        match node.value {
            Value::Mapping(base) => {
                for (key, mut entry) in base.0 {
                    self.history.through(&mut entry.node, &Through::MergeKey(span));
                    match mapping.0.get_mut(&key) {
                        Some(own) => own.node.past = self.history.over(&entry.node, &own.node, Rule::Replaces),
                        None => _ = mapping.0.insert(key, entry),
                    }
                }
            }
            Value::Sequence(items) => {
                for item in items {
                    match item.value {
                        Value::Mapping(_) => self.merge(mapping, item, span),
                        _ => self.refuse_merge(&item, span),
                    }
                }
            }
            Value::Null => {}
            _ => self.refuse_merge(&node, span),
        }
    }

    fn refuse_merge(&mut self, node: &Node, span: Span) {
        let kind = node.value.kind();
        self.diagnostics.push(
            Diagnostic::error(format!("`<<` takes a mapping or a list of mappings, not {kind}"))
                .at(span, format!("the value is {kind}"))
                .hint("merge an anchored mapping: `<<: *name`"),
        );
    }
}

fn merge_tag(tag: Option<&ScannerTag>) -> Tag {
    match tag {
        Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Tag::Reset,
        Some(tag) if tag.handle == "!" && tag.suffix == "override" => Tag::Override,
        _ => Tag::None,
    }
}

#[cfg(test)]
mod tests;
