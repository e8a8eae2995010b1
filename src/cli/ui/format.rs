//! `--format`: a table, JSON, or a template, over rows that have the fields of the peer.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::narrow::Narrow;
use super::table::Table;
use super::template::{Template, TemplateError};

/// What `--format` asks for.
#[derive(Debug)]
pub enum Format {
    Table,
    Json,
    Template(Template),
    TableOf(Template),
}

/// What is listed: its fields, and its labels for `.Label "key"`.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub fields: Map<String, Value>,
    pub labels: BTreeMap<String, String>,
}

/// How a list is shown.
#[derive(Debug)]
pub struct Listing {
    /// Every field that a row has.
    pub fields: &'static [&'static str],
    /// Those of the table.
    pub columns: &'static [&'static str],
    /// The header of a field's column.
    pub title: fn(&str) -> String,
    pub min_width: usize,
    /// Blanks between columns.
    pub gap: usize,
    /// What the table gives up on a narrow terminal.
    pub narrow: Narrow,
    /// JSON as one array, as `docker compose ls` has it, instead of one object a line.
    pub json_array: bool,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            fields: &[],
            columns: &[],
            title: str::to_uppercase,
            min_width: 10,
            gap: 3,
            narrow: Narrow::NOTHING,
            json_array: false,
        }
    }
}

impl Listing {
    /// # Errors
    /// When it is a template that is not understood, or asks for a field that there is not.
    pub fn parse(&self, format: Option<&str>) -> Result<Format, TemplateError> {
        let template = |text: &str| {
            let template = Template::parse(text)?;
            template.check(self.fields)?;
            Ok(template)
        };
        Ok(match format {
            None | Some("" | "table") => Format::Table,
            Some("json") => Format::Json,
            Some(text) => match text.strip_prefix("table ") {
                Some(columns) => Format::TableOf(template(columns.trim_start())?),
                None => Format::Template(template(text)?),
            },
        })
    }

    /// The whole list as text.
    ///
    /// # Errors
    /// When a template's function is given what it cannot take.
    pub fn render(&self, format: &Format, rows: &[Row]) -> Result<String, TemplateError> {
        self.render_in(format, rows, None)
    }

    /// The same for a terminal of so many columns, which a table does not exceed.
    ///
    /// # Errors
    /// As [`Listing::render`].
    pub fn render_in(&self, format: &Format, rows: &[Row], columns: Option<usize>) -> Result<String, TemplateError> {
        let fill = |template: &Template, row: &Row| template.render(&row.fields, &|key| row.labels.get(key).cloned());
        Ok(match format {
            Format::Table => {
                let header: Vec<String> = self.columns.iter().map(|field| (self.title)(field)).collect();
                let mut table = Table::with_widths(&header, self.min_width, self.gap);
                for row in rows {
                    table.row(self.columns.iter().map(|field| row.cell(field)));
                }
                table.render_in(columns, self.columns, &self.narrow)
            }
            Format::Json if self.json_array => {
                let all: Vec<&Map<String, Value>> = rows.iter().map(|row| &row.fields).collect();
                format!("{}\n", serde_json::json!(all))
            }
            Format::Json => rows.iter().map(|row| format!("{}\n", Value::Object(row.fields.clone()))).collect(),
            Format::Template(template) => {
                let lines = rows.iter().map(|row| Ok(fill(template, row)? + "\n"));
                lines.collect::<Result<_, TemplateError>>()?
            }
            Format::TableOf(template) => {
                let header = template.header(self.fields, &self.title)?;
                let header: Vec<String> = header.split('\t').map(str::to_owned).collect();
                let mut table = Table::with_widths(&header, self.min_width, self.gap);
                for row in rows {
                    table.row(fill(template, row)?.split('\t'));
                }
                table.render()
            }
        })
    }
}

impl Row {
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self { fields, labels: BTreeMap::new() }
    }

    fn cell(&self, field: &str) -> String {
        match self.fields.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_list_in_every_format() {
        let listing = Listing { fields: &["Name", "State"], columns: &["Name"], ..Listing::default() };
        let row = |name: &str| {
            let mut row = Row::new(serde_json::json!({"Name": name, "State": "up"}).as_object().unwrap().clone());
            row.labels.insert("tier".into(), "one".into());
            row
        };
        let rows = [row("a"), row("b")];
        let text = |format: Option<&str>| listing.render(&listing.parse(format).unwrap(), &rows).unwrap();
        assert_eq!(text(None), "NAME\na\nb\n");
        assert_eq!(text(Some("json")), "{\"Name\":\"a\",\"State\":\"up\"}\n{\"Name\":\"b\",\"State\":\"up\"}\n");
        assert_eq!(text(Some("{{.Name}}={{.Label \"tier\"}}")), "a=one\nb=one\n");
        assert_eq!(text(Some("table {{.Name}}\\t{{.State}}")), "NAME      STATE\na         up\nb         up\n");
        assert!(listing.parse(Some("{{.Nome}}")).is_err());
        let array = Listing { json_array: true, ..listing };
        assert_eq!(array.render(&Format::Json, &rows[..1]).unwrap(), "[{\"Name\":\"a\",\"State\":\"up\"}]\n");
    }
}
