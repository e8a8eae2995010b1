//! Asks a project's supervisor for something and shows what it says.

use std::time::Duration;

use super::Context;
use super::exit::CommandError;
use super::ui::progress::{self, Progress, State};
use crate::engine::client::{Client, ClientError};
use crate::message::{ContainerRef, Failure, ObjectKind, ProgressState, Request, Response};
use crate::serve::dry;
use crate::state::ProjectPaths;

/// What is left when a request is answered.
#[derive(Debug, Default)]
pub struct Answer {
    pub exit_code: i32,
    /// The containers that the request was about.
    pub containers: Vec<ContainerRef>,
    /// What their hooks have written, for a foreground that shows lines.
    pub hooks: Vec<(ContainerRef, Vec<String>)>,
}

/// The end of the processes behind a project takes milliseconds; nobody waits longer for it than this.
const PARTING: std::time::Duration = std::time::Duration::from_secs(2);

/// Sends a request and shows its events until the last.
///
/// # Errors
/// The failure that the supervisor told, or that it cannot be talked to.
pub fn ask(client: &mut Client, request: &Request, progress: &Progress) -> Result<Answer, CommandError> {
    client.send(request)?;
    let mut answer = Answer::default();
    loop {
        let (event, _) = client.receive()?;
        if show(&event, progress, &mut answer)? {
            return Ok(answer);
        }
    }
}

/// The same on a connection of its own, to a supervisor that is started when there is none. One that leaves or dies
/// before it has answered is no fault: what was asked for is a state, so another one is asked for the same and goes on
/// from what there is.
///
/// # Errors
/// The failure that the supervisor told, or that it cannot be talked to.
pub fn converge(
    context: &Context,
    project: &ProjectPaths,
    request: &Request,
    progress: &Progress,
) -> Result<Answer, CommandError> {
    if request.is_dry() {
        return foresee(context, project, request, progress);
    }
    let mut patience = 3;
    let mut again: Option<Request> = None;
    loop {
        let request = again.as_ref().unwrap_or(request);
        let mut client = Client::connect_or_start(&context.paths, project)?;
        let mut answer = Answer::default();
        let mut received = client.send(request).and_then(|()| client.receive());
        while let Ok((event, _)) = &received {
            if show(event, progress, &mut answer)? {
                if matches!(request, Request::Down { .. }) {
                    // Where nothing is left, the processes behind the project are gone too when the command returns.
                    client.wait_for_end(PARTING);
                }
                return Ok(answer);
            }
            received = client.receive();
        }
        match received {
            Err(ClientError::Ended { .. } | ClientError::Frame { .. }) if patience > 0 => {
                patience -= 1;
                again = request.again();
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
    }
}

/// What a dry run says: its project's supervisor where there is one, and otherwise what is on disk. None is started for it.
///
/// # Errors
/// What the request would be refused for.
pub fn foresee(
    context: &Context,
    project: &ProjectPaths,
    request: &Request,
    progress: &Progress,
) -> Result<Answer, CommandError> {
    let mut answer = Answer::default();
    // The failure comes by itself.
    foreseen(context, project, request, &mut |event| _ = show(event, progress, &mut answer))?;
    Ok(answer)
}

/// The same, each event for whoever wants to see it.
///
/// # Errors
/// As [`foresee`].
pub fn foreseen(
    context: &Context,
    project: &ProjectPaths,
    request: &Request,
    seen: &mut dyn FnMut(&Response),
) -> Result<(), CommandError> {
    match Client::connect_to_ours(project)? {
        Some(mut client) => client.run(request, seen)?.map(drop)?,
        None => dry::answer(&context.paths, project, request, seen)?,
    }
    Ok(())
}

/// Shows one event; true when it was the last.
///
/// # Errors
/// The failure that it tells.
pub fn show(event: &Response, progress: &Progress, answer: &mut Answer) -> Result<bool, CommandError> {
    match event {
        Response::Outline { objects } => {
            progress.expect(objects.iter().map(|(kind, name)| format!("{} {name}", word(*kind))));
        }
        Response::Progress(step) => progress.event(shown(step)),
        Response::Warning { text } => progress.note(&format!("warning: {text}")),
        Response::Note { text } | Response::Planned { text } => progress.note(text),
        Response::Containers { containers } => answer.containers.clone_from(containers),
        Response::Hooks { container, lines } => answer.hooks.push((container.clone(), lines.clone())),
        Response::Timing { step, start_us, took_us } => super::trace::foreign(step, *start_us, *took_us),
        Response::Done { exit_code } => {
            answer.exit_code = *exit_code;
            return Ok(true);
        }
        Response::Failed(failure) => return Err(failure.clone().into()),
        Response::ExecStarted { .. }
        | Response::RunStarted { .. }
        | Response::Exited { .. }
        | Response::Attached
        | Response::Held
        | Response::Quiet
        | Response::Refreshed(_) => {}
    }
    Ok(false)
}

fn word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Container => "Container",
        ObjectKind::Network => "Network",
        ObjectKind::Volume => "Volume",
        ObjectKind::Image => "Image",
    }
}

fn shown(step: &crate::message::ObjectProgress) -> progress::ProgressEvent {
    let kind = word(step.kind);
    let state = match step.state {
        ProgressState::Working => State::Working,
        ProgressState::Done => State::Done,
        ProgressState::Warning => State::Warning,
        ProgressState::Error => State::Error,
    };
    let mut event = progress::ProgressEvent::new(format!("{kind} {}", step.name), step.status.clone(), state);
    event.detail.clone_from(&step.detail);
    if state != State::Working {
        event.elapsed = Some(Duration::from_micros(step.elapsed_us));
    }
    event
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let mut error = Self::new(failure.message).causes(failure.causes);
        for detail in failure.details {
            error = error.detail(detail.title, detail.text);
        }
        for hint in failure.hints {
            error = error.hint(hint);
        }
        match u8::try_from(failure.exit_code) {
            Ok(code) if code > 0 => error.code(code),
            _ => error,
        }
    }
}

/// A client to a supervisor that must be there.
///
/// # Errors
/// When it is not.
pub fn require(client: Result<Option<Client>, ClientError>, message: &str) -> Result<Client, CommandError> {
    client?.ok_or_else(|| CommandError::new(message))
}
