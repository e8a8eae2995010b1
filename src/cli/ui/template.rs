//! The part of Go's templates that people use with `--format`: `{{.Name}}`, `{{json .}}`, `{{.Label "key"}}`.

use std::fmt;

use serde_json::{Map, Value};

/// A parsed `--format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Action { functions: Vec<Function>, operand: Operand },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Json,
    Upper,
    Lower,
    Title,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    /// `.`
    All,
    /// `.Name`
    Field(String),
    /// `.Label "key"`
    Label(String),
}

/// Why a `--format` is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    pub action: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "template action `{{{{{}}}}}` is not understood; there are `.Field`, `.Label \"key\"`, and before them `json`, `upper`, `lower`, `title`",
            self.action
        )
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// `\t` and `\n` may be written as two characters, as in Docker's own formats.
    ///
    /// # Errors
    /// When an action is not one of those that we know.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after.split_once("}}").ok_or_else(|| TemplateError { action: after.to_owned() })?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(parse_action(action).ok_or_else(|| TemplateError { action: action.to_owned() })?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Fields that an object lacks are an error of the template, which `known` finds before anything is printed.
    ///
    /// # Errors
    /// When a field is not among `known`.
    pub fn check(&self, known: &[&str]) -> Result<(), TemplateError> {
        self.fields()
            .into_iter()
            .find(|field| !known.contains(field))
            .map_or(Ok(()), |field| Err(TemplateError { action: format!(".{field}") }))
    }

    fn fields(&self) -> Vec<&str> {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Action { operand: Operand::Field(name), .. } => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    #[must_use]
    pub fn render(&self, object: &Map<String, Value>, labels: &dyn Fn(&str) -> Option<String>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Action { functions, operand } => text.push_str(&evaluate(functions, operand, object, labels)),
            }
        }
        text
    }

    /// The header of `table` formats: every action replaced by its column's title.
    #[must_use]
    pub fn header(&self, title: &dyn Fn(&str) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(plain) => plain.clone(),
                Part::Action { operand: Operand::Field(name), .. } => title(name),
                Part::Action { operand: Operand::Label(key), .. } => key.clone(),
                Part::Action { operand: Operand::All, .. } => String::new(),
            })
            .collect()
    }
}

fn parse_action(action: &str) -> Option<Part> {
    // `{{-` and `-}}` only trim blanks, of which one-line formats have none to speak of.
    let action = action.trim_start_matches('-').trim_end_matches('-').trim();
    let mut functions = Vec::new();
    let mut rest = action;
    let operand = loop {
        if let Some(field) = rest.strip_prefix('.') {
            break operand(field)?;
        }
        let (word, after) = rest.split_once(char::is_whitespace)?;
        functions.push(match word {
            "json" => Function::Json,
            "upper" => Function::Upper,
            "lower" => Function::Lower,
            "title" => Function::Title,
            _ => return None,
        });
        rest = after.trim_start();
    };
    Some(Part::Action { functions, operand })
}

fn operand(field: &str) -> Option<Operand> {
    if field.is_empty() {
        return Some(Operand::All);
    }
    if let Some(key) = field.strip_prefix("Label ") {
        let key = key.trim().trim_matches(['"', '`']);
        return (!key.is_empty()).then(|| Operand::Label(key.to_owned()));
    }
    field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| Operand::Field(field.to_owned()))
}

fn evaluate(
    functions: &[Function],
    operand: &Operand,
    object: &Map<String, Value>,
    labels: &dyn Fn(&str) -> Option<String>,
) -> String {
    let value = match operand {
        Operand::All => Value::Object(object.clone()),
        Operand::Field(name) => object.get(name).cloned().unwrap_or(Value::Null),
        Operand::Label(key) => labels(key).unwrap_or_default().into(),
    };
    functions.iter().rev().fold(plain_or(&value, functions), |text, function| match function {
        Function::Json => text,
        Function::Upper => text.to_uppercase(),
        Function::Lower => text.to_lowercase(),
        Function::Title => {
            let mut characters = text.chars();
            characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
        }
    })
}

fn plain_or(value: &Value, functions: &[Function]) -> String {
    match value {
        _ if functions.contains(&Function::Json) => value.to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> String {
        let object = serde_json::json!({"Name": "shop-web-1", "ExitCode": 0, "Health": ""});
        let labels = |key: &str| (key == "a.b").then(|| "c".to_owned());
        Template::parse(template).unwrap().render(object.as_object().unwrap(), &labels)
    }

    #[test]
    fn the_usual_templates_work() {
        assert_eq!(render("{{.Name}}\\t{{ .ExitCode }}!"), "shop-web-1\t0!");
        assert_eq!(
            render("{{json .Name}} {{json .}}"),
            "\"shop-web-1\" {\"Name\":\"shop-web-1\",\"ExitCode\":0,\"Health\":\"\"}"
        );
        assert_eq!(render("{{upper .Name}}{{.Label \"a.b\"}}{{.Label \"x\"}}{{title .Name}}"), "SHOP-WEB-1cShop-web-1");
        assert_eq!(render("plain"), "plain");
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for wrong in ["{{range .}}", "{{.Name", "{{if .X}}", "{{.A | json}}", "{{}}", "{{.Label}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        let template = Template::parse("{{.Nome}}").unwrap();
        assert_eq!(template.check(&["Name"]), Err(TemplateError { action: ".Nome".into() }));
        let title = |name: &str| name.to_uppercase();
        assert_eq!(Template::parse("{{.Name}}\t{{.Label \"k\"}}").unwrap().header(&title), "NAME\tk");
    }
}
