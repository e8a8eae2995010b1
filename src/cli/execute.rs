//! A program in a container that runs, on this process's streams: `exec`, and what keys start.

use std::os::fd::OwnedFd;

use super::exit::{CommandError, INTERRUPTED};
use super::streams::{Carried, Streams};
use super::terminal::{DETACH_KEYS, RawMode, RelayEnd, relay};
use super::{CommandResult, Context};
use crate::engine::client::Client;
use crate::message::{Request, Response};
use crate::runtime::OtherEnds;
use crate::runtime::spec::ExecSpec;
use crate::state::ProjectPaths;

/// What came of the streams of a process that was asked for.
pub fn other_ends(request: &Request, received: Vec<OwnedFd>) -> Result<OtherEnds, CommandError> {
    OtherEnds::unpack(request.other_ends(), received)
        .map_err(|error| CommandError::caused("the supervisor sent other streams than were asked for", &error))
}

/// Runs a program in a container, on pipes whose other ends are the streams of this process, or on a terminal of its own that the person's becomes
/// one with; to its end unless it is to be `detached`.
pub fn execute(
    context: &Context,
    project: &ProjectPaths,
    container: &str,
    spec: ExecSpec,
    detached: bool,
) -> CommandResult {
    let request = Request::Exec { container: container.to_owned(), spec: Box::new(spec), detach: detached };
    let mut client = Client::connect_or_start(&context.paths, project)?;
    client.send(&request)?;
    let mut raw: Option<RawMode> = None;
    let mut streams: Option<Streams> = None;
    loop {
        if let Some(streams) = &mut streams {
            while streams.carry(&[client.as_fd()])? != Carried::Other {}
        }
        let (event, received) = client.receive()?;
        match event {
            Response::ExecStarted { .. } => match other_ends(&request, received)? {
                OtherEnds::Terminal(master) => {
                    raw = RawMode::enter().ok();
                    let end = relay(&master, client.as_fd(), DETACH_KEYS)?;
                    drop(raw.take());
                    match end {
                        RelayEnd::Closed => {}
                        RelayEnd::Detached => return Ok(0),
                        RelayEnd::Signalled(signal) => {
                            // For whoever waits for it; when nobody does, it ends us here.
                            nix::sys::signal::raise(signal)?;
                            return Ok(INTERRUPTED);
                        }
                    }
                }
                OtherEnds::Pipes { stdin, stdout, stderr } => streams = Some(Streams::new(stdin, stdout, stderr)?),
                OtherEnds::None => return Ok(0),
            },
            Response::Done { exit_code } => {
                if let Some(streams) = streams {
                    streams.finish();
                }
                drop(raw);
                return Ok(u8::try_from(exit_code & 0xff).unwrap_or(1));
            }
            Response::Failed(failure) => return Err(failure.into()),
            Response::Warning { text } => eprintln!("warning: {text}"),
            _ => {}
        }
    }
}
