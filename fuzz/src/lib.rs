//! What must hold for any text that a reader of windlass may be given. The fuzz targets and `tests/compose` share it.

mod hostile;
mod sections;

use windlass::compose::emit::{Format, canonical, to_yaml};
use windlass::compose::template::{Template, Variable};
use windlass::compose::yaml::Value;
use windlass::compose::{LoadRequest, dotenv, load, yaml as reader};
use windlass::diag::{Diagnostic, Paint, SourceMap, render_all, to_json};
use windlass::image::reference::Reference;

pub use hostile::{accounts, archive, dns, layer, manifest, resolver};
pub use sections::Sections;

fn documents(text: &str) -> (Vec<serde_json::Value>, Vec<Diagnostic>, SourceMap) {
    let (documents, diagnostics, sources) = reader::read(text);
    let mappings = documents.iter().filter(|document| matches!(document.value, Value::Mapping(_)));
    (mappings.map(reader::Node::to_json).collect(), diagnostics, sources)
}

/// Every fault can be shown, as text and as data.
fn shown(diagnostics: &[Diagnostic], sources: &SourceMap) {
    for paint in [Paint::Plain, Paint::Colour] {
        let text = render_all(diagnostics, sources, paint);
        assert!(text.is_empty() == diagnostics.is_empty());
    }
    _ = to_json(diagnostics, sources);
}

/// What is written for `value` means `value`.
fn written(value: &serde_json::Value) {
    let text = to_yaml(value);
    let (again, faults, sources) = documents(&text);
    assert!(faults.is_empty(), "{}\nof\n{text}", render_all(&faults, &sources, Paint::Plain));
    let [again] = again.as_slice() else { panic!("not one document:\n{text}") };
    assert!(same(again, value), "{again}\ninstead of\n{value}\n{text}");
}

/// Equal, but for the kind of a number: 2.0 is written as 2.
fn same(left: &serde_json::Value, right: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (left, right) {
        (Number(left), Number(right)) => left.as_f64() == right.as_f64(),
        (Array(left), Array(right)) => left.len() == right.len() && left.iter().zip(right).all(|(a, b)| same(a, b)),
        (Object(left), Object(right)) => {
            left.len() == right.len() && left.iter().all(|(key, a)| right.get(key).is_some_and(|b| same(a, b)))
        }
        _ => left == right,
    }
}

/// The YAML reader.
pub fn yaml(text: &str) {
    let (documents, faults, sources) = documents(text);
    shown(&faults, &sources);
    if faults.is_empty() {
        documents.iter().for_each(written);
    }
}

/// Texts with variables.
pub fn template(text: &str) {
    let doubled = text.replace('$', "$$");
    let literal = Template::parse(&doubled).unwrap();
    assert_eq!(literal.evaluate(&mut |_| None).unwrap(), text);
    let Ok(template) = Template::parse(text) else { return };
    let mut names = Vec::new();
    template.variables(&mut |variable| names.push(variable.name.clone()));
    assert!(names.iter().all(|name| !name.is_empty()));
    for value in [None, Some(""), Some("${A}")] {
        let mut asked = Vec::new();
        let result = template.evaluate(&mut |variable: &Variable| {
            asked.push(variable.name.clone());
            value
        });
        assert!(asked.iter().all(|name| names.contains(name)));
        if names.is_empty() {
            assert_eq!(result.unwrap().len() + text.matches("$$").count(), text.len());
        }
    }
}

/// The line of an env file that sets `key` to `value`.
#[must_use]
pub fn dotenv_line(key: &str, value: &str) -> String {
    let mut line = format!("{key}=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$') {
            line.push('\\');
        }
        line.push(c);
    }
    line + "\"\n"
}

/// Env files.
pub fn dotenv(text: &str) {
    let lookup = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    for assignment in dotenv::parse_raw(text, &lookup).unwrap_or_default() {
        assert!(!assignment.key.is_empty() && !assignment.key.contains('\n'));
    }
    let Ok(assignments) = dotenv::parse(text, &lookup) else { return };
    let lines = u32::try_from(text.matches('\n').count()).unwrap() + 1;
    let mut again = String::new();
    for assignment in &assignments {
        assert!((1..=lines).contains(&assignment.line), "line {} of {lines}", assignment.line);
        again.push_str(&dotenv_line(&assignment.key, assignment.value.as_deref().unwrap_or_default()));
    }
    let pairs = |assignments: &[dotenv::Assignment]| -> Vec<(String, String)> {
        assignments.iter().map(|it| (it.key.clone(), it.value.clone().unwrap_or_default())).collect()
    };
    assert_eq!(pairs(&dotenv::parse(&again, &|_| None).unwrap()), pairs(&assignments), "{again}");
}

/// The whole loader, over a project of several files.
pub fn loader(text: &str) {
    let sections = Sections::read(text);
    let loaded = match load(LoadRequest { current_dir: sections.folder(), ..LoadRequest::default() }, &sections) {
        Ok(loaded) => loaded,
        Err(failure) => {
            assert!(!failure.diagnostics.is_empty(), "a failure without a word");
            return shown(&failure.diagnostics, &failure.sources);
        }
    };
    shown(&loaded.warnings, &loaded.sources);
    for format in [Format::Yaml, Format::Json] {
        written(&canonical(&loaded.project, format, false));
    }
}

/// References of images.
pub fn reference(text: &str) {
    let Ok(reference) = text.parse::<Reference>() else { return };
    for same in [reference.to_string(), reference.familiar()] {
        assert_eq!(same.parse::<Reference>().as_ref(), Ok(&reference), "{same}");
    }
}
