//! `windlass explain SERVICE`: what `up` would do with it, and why.

use std::collections::BTreeMap;

use super::Form;
use crate::cli::conversation::foreseen;
use crate::cli::desired::{ImageArgs, desired};
use crate::cli::load::Loading;
use crate::cli::ui::stdout;
use crate::cli::{CommandResult, Context};
use crate::message::{Request, Response};
use crate::plan::UpOptions;

/// # Errors
/// When the files are wrong, an image is not here, or the project cannot be asked.
pub(super) fn run(service: &str, form: Form, context: &Context) -> CommandResult {
    context.require_access()?;
    context.require_root()?;
    let context = context.as_dry_run();
    let services = vec![service.to_owned()];
    let loaded = context.load(&Loading { services: services.clone(), ..Loading::default() })?;
    let progress = context.progress("explain");
    // To explain is not to change anything: what is not here stays where it is.
    let images = ImageArgs { pull: Some("never".to_owned()), ..ImageArgs::default() };
    let desired = desired(&context, &loaded, &services, &BTreeMap::new(), &images, &progress)?;
    let paths = context.paths.project(&loaded.project.name);
    let request = Request::Up {
        desired: Box::new(desired),
        options: UpOptions { named: services, ..UpOptions::default() },
        timeout_ms: None,
        dry_run: true,
    };
    let mut steps = Vec::new();
    foreseen(&context, &paths, &request, &mut |event| {
        if let Response::Planned { text } = event {
            steps.push(text.clone());
        }
    })?;
    steps.retain(|step| step != "nothing to do");
    let text = match form {
        Form::Json => format!("{:#}\n", serde_json::json!({"service": service, "steps": steps})),
        Form::Text => {
            let what = match steps.is_empty() {
                true => format!("{service} is as the files say: `up` has nothing to do"),
                false => format!("`windlass up {service}` would\n  {}", steps.join("\n  ")),
            };
            format!("{what}\n\nwhere its values come from: windlass explain services.{service}\n")
        }
    };
    stdout::write(&text)?;
    Ok(0)
}
