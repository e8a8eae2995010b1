//! The files of a project that name a version, and how each is read.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::Language;
use super::wanted::{Wanted, WantedError};

/// Larger files are not read: nobody writes so much by hand.
pub const LARGEST: usize = 1 << 20;

/// A version file of one form.
#[derive(Debug, Clone, Copy)]
pub struct VersionFile {
    pub name: &'static str,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// A version in a line of its own.
    Line,
    /// asdf's: a tool and its versions in each line.
    ToolVersions,
    Mise,
    Pyproject,
    DevEngines,
    Volta,
    /// pnpm's settings, since its version 10.
    Pnpm,
    Conda,
}

const fn file(name: &'static str, form: Form) -> VersionFile {
    VersionFile { name, form }
}

const NODE: [VersionFile; 8] = [
    file(".nvmrc", Form::Line),
    file(".node-version", Form::Line),
    file(".tool-versions", Form::ToolVersions),
    file("mise.toml", Form::Mise),
    file(".mise.toml", Form::Mise),
    file("package.json", Form::DevEngines),
    file("package.json", Form::Volta),
    file("pnpm-workspace.yaml", Form::Pnpm),
];

const PYTHON: [VersionFile; 7] = [
    file(".python-version", Form::Line),
    file(".tool-versions", Form::ToolVersions),
    file("mise.toml", Form::Mise),
    file(".mise.toml", Form::Mise),
    file("pyproject.toml", Form::Pyproject),
    file("environment.yml", Form::Conda),
    file("environment.yaml", Form::Conda),
];

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub wanted: Wanted,
    /// From 1.
    pub line: u32,
}

/// Why a file cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclaredError {
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("it is larger than {} KiB", LARGEST >> 10)]
    TooLarge,
    #[error("it is no {form}: {reason}")]
    Syntax { form: &'static str, reason: String },
    #[error("line {line}: {source}")]
    Version { line: u32, source: WantedError },
}

impl Language {
    /// The files that may name its version; the first that does counts.
    #[must_use]
    pub fn files(self) -> &'static [VersionFile] {
        match self {
            Self::Node => &NODE,
            Self::Python => &PYTHON,
        }
    }
}

impl VersionFile {
    /// The version of `language` that `text` names, if it does.
    ///
    /// # Errors
    /// When the file is not of its form, or what it says is no version.
    pub fn read(&self, language: Language, text: &str) -> Result<Option<Declared>, DeclaredError> {
        if text.len() > LARGEST {
            return Err(DeclaredError::TooLarge);
        }
        let text = text.trim_start_matches('\u{feff}');
        let found = match self.form {
            Form::Line => line(text),
            Form::ToolVersions => tool_versions(language, text),
            Form::Mise => mise(language, text)?,
            Form::Pyproject => pyproject(text)?,
            Form::DevEngines => package_json(text)?.and_then(|package| package.dev_engines(text)),
            Form::Volta => package_json(text)?.and_then(|package| package.volta(text)),
            Form::Pnpm => pnpm(text)?,
            Form::Conda => conda(text)?,
        };
        let Some(Found { text, line }) = found else { return Ok(None) };
        let wanted = match self.form {
            Form::Pyproject => Wanted::requires_python(&text).map(Some),
            _ => Wanted::parse(language, &text),
        };
        let wanted = wanted.map_err(|source| DeclaredError::Version { line, source })?;
        Ok(wanted.map(|wanted| Declared { wanted, line }))
    }
}

struct Found {
    text: String,
    line: u32,
}

fn number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

/// The line of a place in a text.
fn line_of(text: &str, offset: usize) -> u32 {
    number(text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count())
}

/// The first line that is neither empty nor a comment.
fn line(text: &str) -> Option<Found> {
    let own = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index, own(line)));
    let (index, text) = lines.find(|(_, line)| !line.is_empty())?;
    Some(Found { text, line: number(index) })
}

/// `nodejs 22.3.0`; of several versions the first counts.
fn tool_versions(language: Language, text: &str) -> Option<Found> {
    let names: &[&str] = match language {
        Language::Node => &["nodejs", "node"],
        Language::Python => &["python"],
    };
    text.lines().enumerate().find_map(|(index, line)| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let tool = words.next()?;
        let version = words.next()?;
        names.contains(&tool).then(|| Found { text: version.to_owned(), line: number(index) })
    })
}

fn toml_error(error: &toml::de::Error) -> DeclaredError {
    DeclaredError::Syntax { form: "TOML", reason: error.message().to_owned() }
}

/// `python = "3.12"`, `node = ["22", "20"]`, `python = { version = "3.12" }`
fn mise(language: Language, text: &str) -> Result<Option<Found>, DeclaredError> {
    #[derive(Deserialize)]
    struct Mise {
        #[serde(default)]
        tools: Tools,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Tools {
        #[serde(alias = "nodejs", alias = "core:node")]
        node: Option<Spanned<toml::Value>>,
        #[serde(alias = "core:python")]
        python: Option<Spanned<toml::Value>>,
    }
    let mise: Mise = toml::from_str(text).map_err(|error| toml_error(&error))?;
    let tool = match language {
        Language::Node => mise.tools.node,
        Language::Python => mise.tools.python,
    };
    let Some(tool) = tool else { return Ok(None) };
    let line = line_of(text, tool.span().start);
    let version = |value: &toml::Value| match value {
        toml::Value::Table(table) => table.get("version").and_then(toml::Value::as_str).map(str::to_owned),
        value => value.as_str().map(str::to_owned),
    };
    let value = tool.into_inner();
    let found = match &value {
        toml::Value::Array(items) => items.first().and_then(version),
        value => version(value),
    };
    Ok(found.map(|text| Found { text, line }))
}

/// `requires-python` of the project.
fn pyproject(text: &str) -> Result<Option<Found>, DeclaredError> {
    #[derive(Deserialize)]
    struct Pyproject {
        project: Option<Project>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Project {
        requires_python: Option<Spanned<String>>,
    }
    let read: Pyproject = toml::from_str(text).map_err(|error| toml_error(&error))?;
    let requires = read.project.and_then(|project| project.requires_python);
    Ok(requires.map(|requires| Found { line: line_of(text, requires.span().start), text: requires.into_inner() }))
}

/// What of `package.json` is about the project's own Node.js. `engines` says with what the package works for others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(default)]
    dev_engines: serde_json::Value,
    #[serde(default)]
    volta: serde_json::Value,
}

fn package_json(text: &str) -> Result<Option<Package>, DeclaredError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let read = serde_json::from_str(text);
    read.map(Some).map_err(|error| DeclaredError::Syntax { form: "JSON", reason: error.to_string() })
}

impl Package {
    fn dev_engines(&self, text: &str) -> Option<Found> {
        let runtime = &self.dev_engines["runtime"];
        let one = std::slice::from_ref(runtime);
        let runtimes = runtime.as_array().map_or(one, Vec::as_slice);
        let node = runtimes.iter().find(|runtime| runtime["name"] == "node")?;
        let version = node["version"].as_str()?;
        Some(Found { text: version.to_owned(), line: json_line(text, &["devEngines", "runtime", "version"]) })
    }

    fn volta(&self, text: &str) -> Option<Found> {
        let version = self.volta["node"].as_str()?;
        Some(Found { text: version.to_owned(), line: json_line(text, &["volta", "node"]) })
    }
}

/// The line of the last of `keys`, each looked for behind the one before; JSON's reader knows no places.
fn json_line(text: &str, keys: &[&str]) -> u32 {
    let mut at = 0;
    for key in keys {
        let quoted = format!("\"{key}\"");
        match text[at..].find(&quoted) {
            Some(found) => at += found,
            None => break,
        }
    }
    line_of(text, at)
}

fn yaml<T: DeserializeOwned + Default>(text: &str) -> Result<T, DeclaredError> {
    let read: Option<T> = serde_yaml::from_str(text)
        .map_err(|error| DeclaredError::Syntax { form: "YAML", reason: error.to_string() })?;
    Ok(read.unwrap_or_default())
}

/// The line in which `wanted` is written; YAML's reader knows no places of values.
fn line_with(text: &str, wanted: &str) -> u32 {
    let own = |line: &str| line.split('#').next().unwrap_or_default().contains(wanted);
    number(text.lines().position(own).unwrap_or(0))
}

/// `useNodeVersion: 22.3.0`
fn pnpm(text: &str) -> Result<Option<Found>, DeclaredError> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Settings {
        use_node_version: Option<String>,
    }
    let settings: Settings = yaml(text)?;
    Ok(settings.use_node_version.map(|version| Found { line: line_with(text, "useNodeVersion"), text: version }))
}

/// `- python=3.12` among the dependencies, in which one `=` means "begins with", a second one a build; `- pip: [...]` is
/// no text.
fn conda(text: &str) -> Result<Option<Found>, DeclaredError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Environment {
        dependencies: Vec<serde_yaml::Value>,
    }
    let environment: Environment = yaml(text)?;
    for dependency in environment.dependencies.iter().filter_map(serde_yaml::Value::as_str) {
        let package = dependency.rsplit("::").next().unwrap_or(dependency).trim();
        let Some(version) = package.strip_prefix("python") else { continue };
        if !version.starts_with([' ', '=', '<', '>', '!', '~']) {
            continue;
        }
        let version = version.trim();
        let wanted = match version.strip_prefix('=').filter(|rest| !rest.starts_with('=')) {
            Some(begins) => begins.split('=').next().unwrap_or(begins).trim(),
            None => version,
        };
        let wanted = if wanted.starts_with(|first: char| first.is_ascii_digit()) {
            wanted.trim_end_matches('*').trim_end_matches('.')
        } else {
            wanted
        };
        return Ok(Some(Found { line: line_with(text, dependency), text: wanted.to_owned() }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(language: Language, name: &str, text: &str) -> Result<Option<(String, u32)>, DeclaredError> {
        for file in language.files().iter().filter(|file| file.name == name) {
            if let Some(declared) = file.read(language, text)? {
                return Ok(Some((declared.wanted.tag(), declared.line)));
            }
        }
        Ok(None)
    }

    #[test]
    fn every_form() {
        use Language::{Node, Python};
        for (language, name, text, tag, line) in [
            (Python, ".python-version", "# mine\n\n3.12.4\n3.11\n", "3.12.4", 3),
            (Python, ".python-version", "\u{feff}cpython-3.11\r\n", "3.11", 1),
            (Node, ".nvmrc", "lts/jod", "22", 1),
            (Node, ".node-version", "v22.3.0 # why\n", "22.3.0", 1),
            (Node, ".tool-versions", "ruby 3.3\nnodejs 20.1.0 18.0.0\n", "20.1.0", 2),
            (Python, ".tool-versions", "python 3.13.0 # x", "3.13.0", 1),
            (Node, "mise.toml", "[tools]\nnode = '22'\n", "22", 2),
            (Python, "mise.toml", "[tools]\npython = ['3.11', '3.12']\n", "3.11", 2),
            (Python, ".mise.toml", "[env]\nA = 'b'\n[tools.python]\nversion = '3.10'\n", "3.10", 3),
            (Python, "pyproject.toml", "[project]\nname = 'x'\nrequires-python = '>=3.10,<3.12'\n", "3.11", 3),
            (
                Node,
                "package.json",
                "{\n \"engines\": {\"node\": \">=18\"},\n \"devEngines\": {\"runtime\":\n  {\"name\": \"node\",\n   \"version\": \"^22.1.0\"}}}",
                "22",
                5,
            ),
            (
                Node,
                "package.json",
                r#"{"devEngines": {"runtime": [{"name": "bun", "version": "1"}, {"name": "node", "version": "20.x"}]}}"#,
                "20",
                1,
            ),
            (Node, "package.json", "{\"volta\": {\n\"node\": \"18.20.8\"}}", "18.20.8", 2),
            (Node, "pnpm-workspace.yaml", "packages: ['a/*']\nuseNodeVersion: 22.3.0\n", "22.3.0", 2),
            (Python, "environment.yml", "name: x\ndependencies:\n  - pip\n  - python=3.12\n", "3.12", 4),
            (Python, "environment.yml", "dependencies: ['conda-forge::python=3.11.4=h1234_0']", "3.11.4", 1),
            (Python, "environment.yaml", "dependencies:\n- python >=3.10,<3.13\n- pip: [a]\n", "3.12", 2),
            (Python, "environment.yml", "dependencies: [python 3.11.*]", "3.11", 1),
        ] {
            assert_eq!(read(language, name, text), Ok(Some((tag.to_owned(), line))), "{name}: {text}");
        }
    }

    #[test]
    fn what_says_nothing() {
        use Language::{Node, Python};
        for (language, name, text) in [
            (Python, ".python-version", ""),
            (Python, ".python-version", "system\n"),
            (Node, ".tool-versions", "python 3.12\n"),
            (Node, "mise.toml", "[env]\nA = 'b'"),
            (Python, "pyproject.toml", "[tool.ruff]\nline-length = 100"),
            (Node, "package.json", r#"{"engines": {"node": ">=18"}}"#),
            (Node, "package.json", r#"{"volta": {"extends": "../package.json"}, "devEngines": []}"#),
            (Node, "package.json", ""),
            (Node, "pnpm-workspace.yaml", ""),
            (Node, "pnpm-workspace.yaml", "packages: ['a/*']\nnodeVersion: 22.0.0\n"),
            (Python, "environment.yml", "# nothing yet\n"),
            (Python, "environment.yml", "dependencies: [python-dateutil=2, pip: [python=3]]"),
            (Python, "environment.yml", "dependencies: [python]"),
        ] {
            assert_eq!(read(language, name, text), Ok(None), "{name}: {text}");
        }
    }

    #[test]
    fn what_is_wrong_or_hostile() {
        use Language::{Node, Python};
        assert!(read(Python, ".python-version", "my-env").unwrap_err().to_string().starts_with("line 1: `my-env`"));
        assert!(read(Node, "package.json", "{").unwrap_err().to_string().starts_with("it is no JSON"));
        assert!(read(Python, "pyproject.toml", "[project").unwrap_err().to_string().starts_with("it is no TOML"));
        assert!(read(Python, "pyproject.toml", "[project]\nrequires-python = 3").is_err());
        let error = read(Python, "environment.yml", "dependencies: {").unwrap_err().to_string();
        assert!(error.starts_with("it is no YAML"), "{error}");
        // Depth, size and repetition have bounds.
        assert!(read(Python, "environment.yml", &"[".repeat(100_000)).is_err());
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert!(read(Python, "environment.yml", &(bomb + "dependencies: *a19\n")).is_err());
        assert!(read(Node, "package.json", &"[".repeat(900_000)).is_err());
        assert!(read(Node, "mise.toml", &format!("a = {}", "[".repeat(900_000))).is_err());
        assert_eq!(read(Node, ".nvmrc", &"2".repeat(2 << 20)), Err(DeclaredError::TooLarge));
    }
}
