//! Commands that do something to containers as they are.

use super::conversation::{Answer, converge};
use super::{CommandError, CommandResult, Context};
use crate::message::Request;
use crate::plan::{Action, Selection};
use crate::state::ProjectPaths;

/// Asks for it and shows what happens. A project of which nothing is there has nothing to do.
///
/// # Errors
/// When a service is unknown, or something cannot be done.
pub fn act(context: &Context, title: &str, action: Action, services: &[String], timeout: Option<u64>) -> CommandResult {
    context.require_root()?;
    let paths = context.named(services)?;
    let selection = Selection { services: services.to_vec(), ..Selection::default() };
    ask(context, title, &paths, action, selection, timeout)?;
    Ok(0)
}

/// The same for containers that are chosen already.
///
/// # Errors
/// When something cannot be done.
pub fn ask(
    context: &Context,
    title: &str,
    paths: &ProjectPaths,
    action: Action,
    selection: Selection,
    timeout: Option<u64>,
) -> Result<Answer, CommandError> {
    if !paths.data().exists() {
        return Ok(Answer::default());
    }
    let progress = context.progress(title);
    let timeout_ms = timeout.map(|seconds| seconds.saturating_mul(1000));
    let request = Request::Act { action, selection, timeout_ms, dry_run: context.global.dry_run };
    converge(context, paths, &request, &progress)
}
