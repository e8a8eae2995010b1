//! `windlass image ls`

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::ui::format::{self, Listing};
use crate::cli::ui::human;
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::stdout;
use crate::cli::{CommandError, CommandResult, Context};
use crate::image::{Image, Reference, Store};

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Only images of this repository, or this name with its tag
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
    /// Accepted for Docker's sake: there are no intermediate images
    #[arg(short, long)]
    pub all: bool,
    /// Show digests
    #[arg(long)]
    pub digests: bool,
    /// `reference=PATTERN`, `dangling=true|false`, `label=KEY[=VALUE]`, `before=IMAGE`, `since=IMAGE` (can be repeated)
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// `table`, `json`, or a template such as `{{.Repository}}:{{.Tag}}`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Only print ids
    #[arg(short, long)]
    pub quiet: bool,
}

const FIELDS: &[&str] = &["ID", "Repository", "Tag", "Digest", "CreatedSince", "CreatedAt", "Size", "Containers"];
const COLUMNS: &[&str] = &["Repository", "Tag", "ID", "CreatedSince", "Size"];
const COLUMNS_WITH_DIGEST: &[&str] = &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"];

/// One line: an image under one of its names.
struct Row<'a> {
    image: &'a Image,
    repository: String,
    tag: String,
    digest: String,
}

pub(super) fn run(args: &LsArgs, context: &Context) -> CommandResult {
    let listing = Listing {
        fields: FIELDS,
        columns: if args.digests { COLUMNS_WITH_DIGEST } else { COLUMNS },
        title,
        narrow: Narrow { leave_out: &["CreatedSince", "Digest", "ID"], shorten: &[("Repository", 10), ("Tag", 8)] },
        ..Listing::default()
    };
    let format = listing.parse(Some(&args.format))?;
    let store = Store::at(&context.paths.images());
    let images = store.images()?;
    let filters = Filters::parse(&args.filters, &images)?;
    let mut rows = Vec::new();
    for image in images.iter().filter(|image| filters.fit(image)) {
        rows.extend(rows_of(image, args.digests).into_iter().filter(|row| wanted(row, args, &filters)));
    }
    let id = |image: &Image| if args.no_trunc { image.id.to_string() } else { image.id.short() };
    if args.quiet {
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert(row.image.id));
        rows.iter().for_each(|row| println!("{}", id(row.image)));
        return Ok(0);
    }
    let now = Timestamp::now();
    let rows: Vec<format::Row> = rows
        .iter()
        .map(|row| format::Row { fields: fields(row, &id(row.image), now), labels: row.image.config.labels.clone() })
        .collect();
    print!("{}", listing.render_in(&format, &rows, stdout::columns())?);
    Ok(0)
}

fn title(field: &str) -> String {
    match field {
        "ID" => "IMAGE ID".into(),
        "CreatedSince" => "CREATED".into(),
        "CreatedAt" => "CREATED AT".into(),
        other => other.to_uppercase(),
    }
}

fn rows_of(image: &Image, digests: bool) -> Vec<Row<'_>> {
    const NONE: &str = "<none>";
    let digest_of = |repository: &str| {
        let found = image.digests.iter().find(|name| name.repository() == repository);
        found.and_then(Reference::digest).map_or_else(|| NONE.to_owned(), ToString::to_string)
    };
    let mut rows: Vec<Row<'_>> = image
        .references
        .iter()
        .map(|reference| Row {
            image,
            repository: reference.familiar_repository(),
            tag: reference.tag().unwrap_or(NONE).to_owned(),
            digest: digest_of(&reference.repository()),
        })
        .collect();
    // Pulled by digest alone, or with a name that has moved on.
    for name in &image.digests {
        let repository = name.familiar_repository();
        let known = rows.iter().any(|row| row.repository == repository);
        if !known && (digests || rows.is_empty()) {
            let digest = name.digest().map(ToString::to_string).unwrap_or_default();
            rows.push(Row { image, repository, tag: NONE.into(), digest });
        }
    }
    if rows.is_empty() {
        rows.push(Row { image, repository: NONE.into(), tag: NONE.into(), digest: NONE.into() });
    }
    rows
}

fn wanted(row: &Row<'_>, args: &LsArgs, filters: &Filters) -> bool {
    let full = format!("{}:{}", row.repository, row.tag);
    let named = args.name.as_ref().is_none_or(|name| matches_name(name, &row.repository, &full));
    let patterned = filters.references.is_empty()
        || filters.references.iter().any(|pattern| matches_name(pattern, &row.repository, &full));
    named && patterned
}

fn matches_name(pattern: &str, repository: &str, full: &str) -> bool {
    glob(pattern.as_bytes(), repository.as_bytes()) || glob(pattern.as_bytes(), full.as_bytes())
}

/// `*` and `?` as in Go's `path.Match`: they do not cross a slash.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            let end = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=end).any(|skip| glob(rest, &text[skip..]))
        }
        (Some((b'?', pattern)), Some((byte, text))) => *byte != b'/' && glob(pattern, text),
        (Some((a, pattern)), Some((b, text))) => a == b && glob(pattern, text),
        _ => false,
    }
}

fn fields(row: &Row<'_>, id: &str, now: Timestamp) -> Map<String, Value> {
    let created = row.image.created;
    let since = created.map_or_else(|| "N/A".to_owned(), |created| format!("{} ago", human::since(created, now)));
    let value = json!({
        "Containers": "N/A",
        "CreatedAt": created.map(|created| created.to_string()).unwrap_or_default(),
        "CreatedSince": since,
        "Digest": row.digest,
        "ID": id,
        "Repository": row.repository,
        "Size": human::size(row.image.size),
        "Tag": row.tag,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `--filter`
#[derive(Default)]
pub(super) struct Filters {
    references: Vec<String>,
    dangling: Option<bool>,
    labels: Vec<(String, Option<String>)>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Filters {
    pub(super) fn parse(filters: &[String], images: &[Image]) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let created = |text: &str| {
            let image = images.iter().find(|image| {
                let named = text.parse::<Reference>().is_ok_and(|name| image.references.contains(&name));
                named || image.id.hex().starts_with(text.trim_start_matches("sha256:"))
            });
            image.map(|image| image.created).ok_or_else(|| CommandError::new(format!("no such image: {text}")))
        };
        for filter in filters {
            match filter.split_once('=') {
                Some(("reference", pattern)) => parsed.references.push(pattern.to_owned()),
                Some(("dangling", "true" | "1")) => parsed.dangling = Some(true),
                Some(("dangling", "false" | "0")) => parsed.dangling = Some(false),
                Some(("label", label)) => {
                    let (key, value) = match label.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (label, None),
                    };
                    parsed.labels.push((key.to_owned(), value));
                }
                Some(("before", image)) => parsed.before = created(image)?,
                Some(("since", image)) => parsed.since = created(image)?,
                _ => {
                    return Err(CommandError::new(format!("the filter `{filter}` is not known"))
                        .hint("there are reference=, dangling=, label=, before= and since="));
                }
            }
        }
        Ok(parsed)
    }

    pub(super) fn fit(&self, image: &Image) -> bool {
        let label = |(key, value): &(String, Option<String>)| match (image.config.labels.get(key), value) {
            (Some(found), Some(value)) => found == value,
            (found, None) => found.is_some(),
            (None, Some(_)) => false,
        };
        self.dangling.is_none_or(|dangling| image.references.is_empty() == dangling)
            && self.labels.iter().all(label)
            && self.before.is_none_or(|before| image.created.is_some_and(|created| created < before))
            && self.since.is_none_or(|since| image.created.is_some_and(|created| created > since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_do_not_cross_slashes() {
        for (pattern, text, expected) in [
            ("nginx", "nginx", true),
            ("ng*", "nginx", true),
            ("*", "owner/app", false),
            ("*/app", "owner/app", true),
            ("n?inx:1.*", "nginx:1.27", true),
            ("nginx", "nginx2", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
