//! `windlass images`

use std::collections::{BTreeSet, HashMap};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::containers::Containers;
use crate::cli::ui::format::{Listing, Row};
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::{human, stdout};
use crate::cli::{CommandResult, Context};
use crate::image::{Digest, Image, Reference, Store};
use crate::record::ImageIdentity;

#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Services whose images are shown; all by default
    pub services: Vec<String>,
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Repository}}:{{.Tag}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Only ids
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

pub(in crate::cli) const LISTING: Listing = Listing {
    fields: &["ID", "ContainerName", "Repository", "Tag", "Platform", "Size", "Created", "LastTagTime"],
    columns: &["ContainerName", "Repository", "Tag", "Platform", "ID", "Size", "Created"],
    title,
    min_width: 20,
    gap: 3,
    narrow: Narrow {
        leave_out: &["Created", "Platform", "ID", "Size"],
        shorten: &[("Repository", 10), ("ContainerName", 10), ("Tag", 8)],
    },
    json_array: true,
};

/// # Errors
/// When a service does not exist, or a record cannot be read.
pub fn run(args: &ImagesArgs, context: &Context) -> CommandResult {
    let format = LISTING.parse(args.format.as_deref())?;
    let containers = Containers::of(context)?;
    containers.check_services(&args.services)?;
    let store = Store::at(&context.paths.images());
    let images: HashMap<Digest, Image> = store.images()?.into_iter().map(|image| (image.id, image)).collect();
    let now = Timestamp::now();
    let as_json = args.format.as_deref() == Some("json");
    let mut ids = BTreeSet::new();
    let mut rows = Vec::new();
    for container in containers.of_services(&args.services, true) {
        let identity = &container.record.image;
        let image = match identity.id.parse() {
            Ok(id) => images.get::<Digest>(&id),
            // The machine's own files are no image of the store.
            Err(_) => None,
        };
        if args.quiet {
            let id = bare(&identity.id);
            if ids.insert(id.to_owned()) {
                println!("{id}");
            }
            continue;
        }
        rows.push(Row::new(fields(&container.record.name, identity, image, as_json, now)));
    }
    if !args.quiet {
        print!("{}", LISTING.render_in(&format, &rows, stdout::columns())?);
    }
    Ok(0)
}

fn bare(id: &str) -> &str {
    id.split_once(':').map_or(id, |(_, digits)| digits)
}

/// As numbers and times for programs, in words for people.
fn fields(
    container: &str,
    identity: &ImageIdentity,
    image: Option<&Image>,
    exact: bool,
    now: Timestamp,
) -> Map<String, Value> {
    const NONE: &str = "<none>";
    let reference = identity.reference.parse::<Reference>().ok();
    // Its name may mean another image by now; then it has none.
    let named = match (&reference, image) {
        (Some(reference), Some(image)) => image.references.contains(reference) || reference.digest().is_some(),
        _ => true,
    };
    let (repository, tag) = match reference.as_ref().filter(|_| named) {
        Some(reference) => (reference.familiar_repository(), reference.tag().unwrap_or(NONE).to_owned()),
        None if image.is_none() => (identity.reference.clone(), NONE.to_owned()),
        None => (NONE.to_owned(), NONE.to_owned()),
    };
    let created = image.and_then(|image| image.created);
    let id: String = if exact { identity.id.clone() } else { bare(&identity.id).chars().take(12).collect() };
    let size = image.map_or(0, |image| image.size);
    let fields = json!({
        "ID": id,
        "ContainerName": container,
        "Repository": repository,
        "Tag": tag,
        "Platform": image.map(|image| image.platform.to_string()).unwrap_or_default(),
        "Size": if exact { json!(size) } else { json!(human::size(size)) },
        "Created": match created {
            Some(created) if exact => json!(created.to_string()),
            Some(created) => json!(format!("{} ago", human::since(created, now))),
            None if exact => Value::Null,
            None => json!("N/A"),
        },
        "LastTagTime": "0001-01-01T00:00:00Z",
    });
    match fields {
        Value::Object(mut fields) => {
            fields.retain(|_, value| !value.is_null());
            fields
        }
        _ => Map::new(),
    }
}

fn title(field: &str) -> String {
    match field {
        "ContainerName" => "CONTAINER".into(),
        "ID" => "IMAGE ID".into(),
        "LastTagTime" => "LAST TAG TIME".into(),
        other => other.to_uppercase(),
    }
}
