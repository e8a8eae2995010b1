//! What is to be said about the files beside what they say.

use super::{ConfigArgs, in_order};
use crate::cli::exit::{FAILURE, SUCCESS};
use crate::cli::faults::at_their_places;
use crate::cli::load::Loading;
use crate::cli::ui::stdout;
use crate::cli::{CommandResult, Context, desired};
use crate::compose::{self, FsSource, Loaded};
use crate::diag::{Diagnostic, render_all, to_json};

/// All that is to be said about the files, and nothing of what they say.
pub(super) fn diagnostics(args: &ConfigArgs, loading: &Loading, context: &Context) -> CommandResult {
    let (diagnostics, sources, code) = match compose::load(context.load_request(loading), &FsSource) {
        Ok(mut loaded) => {
            loaded.warnings.extend(unfit(args, &loaded, context));
            (loaded.warnings, loaded.sources, SUCCESS)
        }
        Err(failure) => (failure.diagnostics, failure.sources, FAILURE),
    };
    stdout::write(&format!("{:#}\n", to_json(&diagnostics, &sources)))?;
    Ok(code)
}

/// What starting these services would fail for, and printing them need not.
fn unfit(args: &ConfigArgs, loaded: &Loaded, context: &Context) -> Vec<Diagnostic> {
    if !args.is_whole() {
        return Vec::new();
    }
    let services = in_order(&loaded.project);
    let faults = desired::unfit(context, &loaded.project, &services);
    let warning = |message: String| Diagnostic::warning(message).note("`up` refuses it");
    at_their_places(&loaded.project, &loaded.sources, &faults, warning)
}

/// The same on standard error, for who looks at what the files say.
pub(super) fn warn(args: &ConfigArgs, loaded: &Loaded, context: &Context) {
    let unfit = unfit(args, loaded, context);
    match context.faults_as_data {
        _ if unfit.is_empty() => {}
        true => eprintln!("{}", to_json(&unfit, &loaded.sources)),
        false => eprint!("{}", render_all(&unfit, &loaded.sources, context.paint())),
    }
}
