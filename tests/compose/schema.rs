//! The loader against the JSON schema of the Compose specification, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use windlass::compose::emit::{Format, canonical};
use windlass::compose::{FileSource, LoadOptions, LoadRequest, load, yaml};

use crate::fixture::fixtures;

/// The schema that the peer validates with; `None` where the folder of the oracles is not beside the project.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to see what was not compared")]
fn oracle() -> Option<Value> {
    let folder = std::env::var_os("WINDLASS_ORACLES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    match std::fs::read_to_string(folder.join("compose-go-schema.json")) {
        Ok(text) => {
            let mut schema: Value = serde_json::from_str(&text).unwrap();
            schema.as_object_mut().unwrap().shift_remove("$id");
            Some(schema)
        }
        Err(_) => {
            eprintln!(
                "\n*** not compared with the schema of the specification: {} is absent ***\n\
                 *** set WINDLASS_ORACLES to the folder that holds compose-go-schema.json ***\n",
                folder.display()
            );
            None
        }
    }
}

fn validator(schema: &Value) -> Validator {
    // Formats are the peer's own; the loader checks them itself.
    jsonschema::options().should_validate_formats(false).build(schema).unwrap()
}

#[test]
fn the_canonical_form_of_every_fixture_is_valid() {
    let Some(schema) = oracle() else { return };
    let validator = validator(&schema);
    let (mut checked, mut wrong) = (0, Vec::new());
    for fixture in fixtures("compose") {
        let (flags, Ok(loaded)) = fixture.load() else { continue };
        if !flags.config.options().interpolate {
            continue;
        }
        let form = canonical(&loaded.project, Format::Json, flags.config.no_env_resolution);
        checked += 1;
        wrong.extend(validator.iter_errors(&form).map(|it| format!("{}: {}: {it}", fixture.name, it.instance_path())));
    }
    assert!(checked >= 280, "only {checked} fixtures");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_schema_refuses_of_the_fixtures_is_refused() {
    let Some(schema) = oracle() else { return };
    let validator = validator(&schema);
    let (mut refused, mut lax) = (0, Vec::new());
    for fixture in fixtures("compose").into_iter().chain(fixtures("faults")).filter(|it| it.is_single()) {
        let text = fixture.section("compose.yaml").unwrap_or_default();
        // Tags and variables mean something before the schema is asked; `x-windlass` is ours.
        if text.contains(['$', '!']) || text.contains("x-windlass") {
            continue;
        }
        let (documents, faults, _) = yaml::read(text);
        let [document] = documents.as_slice() else { continue };
        let document = once(&document.to_json());
        if !faults.is_empty() || validator.is_valid(&document) {
            continue;
        }
        match fixture.load().1 {
            Ok(_) if LAX_FIXTURES.iter().any(|(name, _)| *name == fixture.name) => {}
            Ok(_) => lax.push(fixture.name),
            Err(_) => refused += 1,
        }
    }
    assert!(lax.is_empty(), "loaded against the schema: {}", lax.join(", "));
    assert!(refused >= 20, "only {refused} fixtures");
}

/// With every item of a list once: where the schema forbids repetitions, the peer and windlass count them once.
fn once(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut seen: Vec<Value> = Vec::new();
            for item in items.iter().map(once) {
                if !seen.contains(&item) {
                    seen.push(item);
                }
            }
            Value::Array(seen)
        }
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), once(value))).collect())
        }
        value => value.clone(),
    }
}

/// Fixtures that the schema refuses as they are written, and why they load.
const LAX_FIXTURES: &[(&str, &str)] = &[];

/// A step from a value into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Item,
}

type Steps = Vec<Step>;

/// A place of a file, and what must stand beside each step on the way there.
#[derive(Debug, Clone, Default)]
struct Place {
    steps: Steps,
    beside: Vec<Map<String, Value>>,
    /// Values that the schema itself suggests.
    examples: Vec<Value>,
}

impl Place {
    fn below(&self, step: Step, beside: Map<String, Value>) -> Self {
        let mut place = self.clone();
        place.steps.push(step);
        place.beside.push(beside);
        place.examples.clear();
        place
    }

    /// `services.*.ports[]`
    fn shown(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.push_str(&format!(".{}", if key == NAME { "*" } else { key })),
                Step::Item => text.push_str("[]"),
            }
        }
        text
    }

    /// The smallest file with `value` at this place.
    fn file(&self, value: &Value) -> Value {
        let mut file = value.clone();
        for (step, beside) in self.steps.iter().zip(&self.beside).rev() {
            file = match step {
                Step::Item => json!([file]),
                Step::Key(key) => {
                    let mut mapping = beside.clone();
                    mapping.insert(key.clone(), file);
                    Value::Object(mapping)
                }
            };
        }
        if let Some(root) = file.as_object_mut() {
            let services = root.entry("services").or_insert_with(|| json!({}));
            if let Some(services) = services.as_object_mut() {
                services.entry("text").or_insert_with(|| json!({"image": "text"}));
                if let Some(Value::Object(service)) = services.get_mut(NAME)
                    && !service.contains_key("build")
                    && !service.contains_key("provider")
                {
                    service.entry("image").or_insert_with(|| json!("text"));
                }
            }
        }
        file
    }
}

/// What the loader wants there beyond the schema, as the peer does after it.
const BESIDE: &[(&str, &str, &str)] = &[
    ("services.*.ports[]", "target", "80"),
    ("services.*.secrets[]", "source", "text"),
    ("services.*.configs[]", "source", "text"),
    ("services.*.build.secrets[]", "source", "text"),
];

/// Stands for any name.
const NAME: &str = "name";

/// All places that a schema describes.
struct Walk<'a> {
    root: &'a Value,
    places: BTreeMap<Steps, Place>,
}

impl<'a> Walk<'a> {
    fn places(root: &'a Value) -> Vec<Place> {
        let mut walk = Self { root, places: BTreeMap::new() };
        walk.below(root, &Place::default());
        walk.places.into_values().collect()
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#')) {
            Some(pointer) => self.root.pointer(pointer).unwrap(),
            None => schema,
        }
    }

    fn enter(&mut self, schema: &'a Value, place: Place) {
        let mut examples = Vec::new();
        self.examples(schema, &mut examples);
        self.places.entry(place.steps.clone()).or_insert_with(|| place.clone()).examples.extend(examples);
        self.below(schema, &place);
    }

    fn below(&mut self, schema: &'a Value, place: &Place) {
        let schema = self.resolve(schema);
        for kind in ["oneOf", "anyOf", "allOf"] {
            for branch in schema.get(kind).and_then(Value::as_array).into_iter().flatten() {
                self.below(branch, place);
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, inner) in properties.into_iter().flatten() {
            let beside = required.iter().filter(|it| *it != key);
            let beside = beside.map(|it| ((*it).to_owned(), self.example(&schema["properties"][it])));
            let mut beside: Map<String, Value> = beside.collect();
            let at = place.shown();
            for (_, name, value) in BESIDE.iter().filter(|(place, name, _)| *place == at && *name != key.as_str()) {
                beside.insert((*name).to_owned(), json!(value));
            }
            self.enter(inner, place.below(Step::Key(key.clone()), beside));
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
        let patterns = patterns.filter(|(pattern, _)| *pattern != "^x-").map(|(_, inner)| inner);
        for inner in patterns.chain(schema.get("additionalProperties").filter(|it| it.is_object())) {
            self.enter(inner, place.below(Step::Key(NAME.to_owned()), Map::new()));
        }
        if let Some(items) = schema.get("items") {
            self.enter(items, place.below(Step::Item, Map::new()));
        }
    }

    /// The words of `schema`, and a value for each of its branches.
    fn examples(&self, schema: &'a Value, found: &mut Vec<Value>) {
        let schema = self.resolve(schema);
        found.extend(schema.get("enum").and_then(Value::as_array).into_iter().flatten().cloned());
        for kind in ["oneOf", "anyOf"] {
            schema.get(kind).and_then(Value::as_array).into_iter().flatten().for_each(|it| self.examples(it, found));
        }
        found.push(self.example(schema));
    }

    /// A value that `schema` takes.
    fn example(&self, schema: &'a Value) -> Value {
        let schema = self.resolve(schema);
        if let Some(word) = schema.get("enum").and_then(|words| words.get(0)) {
            return word.clone();
        }
        if let Some(branch) = ["oneOf", "anyOf"].iter().find_map(|kind| schema.get(kind)?.get(0)) {
            return self.example(branch);
        }
        let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind));
        match kind.and_then(Value::as_str) {
            Some("integer" | "number") => json!(1),
            Some("boolean") => json!(true),
            Some("array") => json!(["text"]),
            Some("object") => {
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                let required = required.filter_map(Value::as_str);
                required.map(|key| (key.to_owned(), self.example(&schema["properties"][key]))).collect()
            }
            _ => json!("text"),
        }
    }
}

/// What each place is given: every kind of value, nested and not, and texts of the usual forms.
fn values() -> Vec<Value> {
    let scalars = [json!(null), json!(true), json!(3), json!(-1), json!(1.5), json!("text")];
    let mut values = scalars.to_vec();
    values.extend(scalars.iter().map(|value| json!([value])));
    values.extend(scalars.iter().map(|value| json!({"text": value})));
    values.extend([
        json!([]),
        json!({}),
        json!([[]]),
        json!([{}]),
        json!([["text"]]),
        json!([{"text": "text"}]),
        json!(["text", "text"]),
        json!({"text": []}),
        json!({"text": {}}),
        json!({"text": ["text"]}),
        json!({"text": [3]}),
        json!({"text": [{}]}),
        json!({"text": {"text": "text"}}),
        json!(""),
        json!(70000),
    ]);
    let forms = [
        "NONE",
        "always",
        "tcp",
        "1.1.1.1",
        "3",
        "true",
        "10s",
        "64m",
        "0.5",
        "80:80",
        "./text:/text",
        "/text",
        "text=text",
        "service:text",
        "all",
    ];
    values.extend(forms.iter().map(|text| json!(text)));
    values.extend(forms.iter().map(|text| json!([text])));
    values
}

/// The file under test; every other path is a file that has the service `text`.
struct Files(String);

impl FileSource for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        match path == Path::new("/project/compose.yaml") {
            true => Ok(self.0.clone()),
            false => Ok("services: { text: { image: text } }".to_owned()),
        }
    }

    fn is_file(&self, path: &Path) -> bool {
        path == Path::new("/project/compose.yaml")
    }

    fn stdin(&self) -> io::Result<String> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

/// What is wrong with the shape of `file`.
fn faults(file: &Value) -> Vec<String> {
    let request = LoadRequest {
        current_dir: PathBuf::from("/project"),
        environment: BTreeMap::from([("COMPOSE_DISABLE_ENV_FILE".to_owned(), "1".to_owned())]),
        options: LoadOptions {
            normalise: false,
            check_consistency: false,
            resolve_environment: false,
            ..LoadOptions::default()
        },
        ..LoadRequest::default()
    };
    match load(request, &Files(file.to_string())) {
        Ok(_) => Vec::new(),
        Err(failure) => {
            let errors = failure.diagnostics.into_iter().filter(|it| it.severity == windlass::diag::Severity::Error);
            errors.map(|it| it.message).collect()
        }
    }
}

/// Places where a value that the schema refuses loads, and why.
const LAX: &[(&str, &str)] = &[
    ("include", NOTHING),
    ("include[].env_file", NOTHING),
    ("include[].path", NOTHING),
    ("include[].project_directory", NOTHING),
    ("services.*.extends.file", NOTHING),
    ("models.*.context_size", QUOTED),
    ("services.*.depends_on.*.required", QUOTED),
    ("services.*.develop.watch[].initial_sync", QUOTED),
    ("services.*.networks.*.gw_priority", QUOTED),
    ("services.*.networks.*.priority", QUOTED),
    ("services.*.use_api_socket", QUOTED),
    ("services.*.cpu_percent", UNQUOTED),
    ("services.*.deploy.resources.limits.memory", UNQUOTED),
    ("services.*.deploy.resources.reservations.memory", UNQUOTED),
    ("services.*.logging.options", UNQUOTED),
    ("services.*.logging.options.*", UNQUOTED),
    ("version", "it has no meaning"),
    ("configs", LATER),
    ("configs.*", LATER),
    ("secrets", LATER),
    ("secrets.*", LATER),
];

const NOTHING: &str = "nothing after the colon is as if the line were not there";
const QUOTED: &str = "a text is taken for the number or boolean that it says; a variable makes such texts";
const UNQUOTED: &str = "a number or boolean is taken for its text";
const LATER: &str = "refused by the checks of the merged whole, which this test leaves out";

/// Places that take a value of the schema's only together with other things, so that none of the values loads.
const NEVER: &[&str] = &[];

#[test]
fn every_value_that_the_schema_refuses_is_refused() {
    let Some(schema) = oracle() else { return };
    let validator = validator(&schema);
    let places = Walk::places(&schema);
    assert!(places.len() >= 400, "only {} places", places.len());
    let values = values();
    let (mut refused, mut lax, mut strict) =
        (0, BTreeMap::<String, Vec<String>>::new(), BTreeMap::<String, Vec<String>>::new());
    let mut loaded = BTreeSet::new();
    for place in &places {
        let shown = place.shown();
        for value in values.iter().chain(&place.examples) {
            let file = place.file(value);
            let faults = faults(&file);
            match (validator.is_valid(&once(&file)), faults.is_empty()) {
                (true, true) => _ = loaded.insert(shown.clone()),
                (true, false) => strict.entry(shown.clone()).or_default().push(format!("{value}: {}", faults[0])),
                (false, false) => refused += 1,
                (false, true) => lax.entry(shown.clone()).or_default().push(value.to_string()),
            }
        }
    }
    if std::env::var_os("SHOW_STRICT").is_some() {
        for (place, values) in &strict {
            eprintln!("strict {place}\n    {}", values.join("\n    "));
        }
    }
    eprintln!("{} places, {refused} values refused by both", places.len());
    lax.retain(|place, _| !LAX.iter().any(|(known, _)| known == place));
    let lax: Vec<String> = lax.iter().map(|(place, values)| format!("{place}: {}", values.join(" "))).collect();
    assert!(lax.is_empty(), "loaded against the schema:\n{}", lax.join("\n"));
    // A place that refuses everything would prove nothing.
    let never: Vec<String> = places.iter().map(Place::shown).filter(|it| !loaded.contains(it)).collect();
    assert_eq!(never, NEVER, "refused whatever they are given");
}
