//! `windlass attach`

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cli::containers::Containers;
use crate::cli::exit::INTERRUPTED;
use crate::cli::terminal::{DETACH_KEYS, RawMode, copy_size, write_some};
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::client::Client;
use crate::message::{self, Request, Response};
use crate::plan::{Action, Selection};
use crate::record::ContainerRecord;
use crate::record::logs::Stream;
use crate::record::logs::reader::{Reader, Span, Watch};
use crate::state::ProjectPaths;

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Keys that end the attachment and leave the container running: `ctrl-p,ctrl-q`, `ctrl-x`, `q`
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Number of the replica
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
    /// Send nothing to the container
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub sig_proxy: bool,
    pub service: String,
}

/// Lines that the container wrote before: who attaches wants to see where he is.
const HISTORY: usize = 10;

/// # Errors
/// When the service does not run, or its log cannot be read.
pub fn run(args: &AttachArgs, context: &Context) -> CommandResult {
    let keys = args.detach_keys.as_deref().map_or_else(|| Ok(DETACH_KEYS.to_vec()), parse_keys)?;
    let containers = Containers::of_service(context, &args.service)?;
    containers.check_services(std::slice::from_ref(&args.service))?;
    let record = &containers.pick(&args.service, args.index, true)?.record;
    let project = &containers.project;
    let mut client = Client::connect_or_start(&context.paths, project)?;
    client.send(&Request::Attach { container: record.id.clone() })?;
    let input = loop {
        let (event, received) = client.receive()?;
        match event {
            Response::Attached => break message::input_of(received)?,
            Response::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    };
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let tty = record.spec.process.tty;
    let place = project.container(&record.id);
    let mut watch = Watch::new()?;
    watch.add(place.data())?;
    let mut attached = Attachment {
        context,
        project,
        record,
        client,
        reader: Reader::open(&place.log(), Span { tail: Some(HISTORY), ..Span::default() })?,
        watch,
        signals: SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
        input: input
            .map(without_waiting)
            .transpose()?
            .filter(|_| !args.no_stdin && (tty || record.spec.process.stdin_open)),
        keys,
        typed: Vec::new(),
        matched: 0,
        proxy: args.sig_proxy,
    };
    let raw = (tty && attached.input.is_some() && io::stdin().is_terminal()).then(RawMode::enter).transpose()?;
    let code = attached.relay();
    drop(raw);
    match code {
        // Whoever read has seen enough.
        Err(error) if error.is_broken_pipe() => Ok(0),
        Err(Fault::Io(error)) => Err(CommandError::caused("the attachment failed", &error)),
        Err(Fault::Told(error)) => Err(error),
        Ok(code) => Ok(code),
    }
}

enum Fault {
    Io(io::Error),
    Told(CommandError),
}

impl Fault {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Attachment<'a> {
    context: &'a Context,
    project: &'a ProjectPaths,
    record: &'a ContainerRecord,
    client: Client,
    reader: Reader,
    watch: Watch,
    signals: SignalFd,
    /// The write end of the container's standard input, or its terminal.
    input: Option<OwnedFd>,
    keys: Vec<u8>,
    /// What there is no room for in it: its output is shown meanwhile.
    typed: Vec<u8>,
    /// How many of the keys were typed.
    matched: usize,
    proxy: bool,
}

impl Attachment<'_> {
    fn relay(&mut self) -> Result<u8, Fault> {
        let tty = self.record.spec.process.tty;
        if let (true, Some(input)) = (tty, &self.input) {
            copy_size(input.as_fd());
        }
        let stdin = io::stdin();
        loop {
            self.print()?;
            let mut fds = vec![
                PollFd::new(self.watch.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.client.as_fd(), PollFlags::POLLIN),
            ];
            match &self.input {
                // What was typed last comes first.
                Some(input) if !self.typed.is_empty() => fds.push(PollFd::new(input.as_fd(), PollFlags::POLLOUT)),
                Some(_) => fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN)),
                None => {}
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
            let ready =
                |index: usize| fds.get(index).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
            let (written, signalled, answered, typed) = (ready(0), ready(1), ready(2), ready(3));
            if written {
                self.watch.changed()?;
            }
            if signalled && self.signalled()? {
                return Ok(INTERRUPTED);
            }
            let waits = !self.typed.is_empty();
            if let (true, Some(input)) = (typed && waits, &self.input) {
                write_some(input.as_fd(), &mut self.typed)?;
            } else if typed && self.read(stdin.as_fd())? {
                eprintln!("\r\nread escape sequence");
                return Ok(0);
            }
            if answered {
                // What it wrote last is in the log before its end is told.
                let answer = self.client.receive();
                self.print()?;
                match answer.map_err(|error| Fault::Told(error.into()))?.0 {
                    Response::Done { exit_code } => return Ok(u8::try_from(exit_code & 0xff).unwrap_or(1)),
                    Response::Failed(failure) => return Err(Fault::Told(failure.into())),
                    _ => {}
                }
            }
        }
    }

    fn print(&mut self) -> io::Result<()> {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        while let Some(entry) = self.reader.next_entry()? {
            match entry.stream {
                Stream::Stdout => out.write_all(entry.log.as_bytes())?,
                Stream::Stderr => err.write_all(entry.log.as_bytes())?,
            }
        }
        out.flush()
    }

    /// True when the attachment is over.
    fn signalled(&mut self) -> Result<bool, Fault> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if number == Signal::SIGWINCH as i32 {
                if let (true, Some(input)) = (self.record.spec.process.tty, &self.input) {
                    copy_size(input.as_fd());
                }
                continue;
            }
            if !self.proxy {
                return Ok(true);
            }
            self.pass_on(number)?;
        }
        Ok(false)
    }

    fn pass_on(&self, signal: i32) -> Result<(), Fault> {
        let told = |error| Fault::Told(CommandError::from(error));
        let mut client = Client::connect_or_start(&self.context.paths, self.project).map_err(told)?;
        let request = Request::Act {
            action: Action::Signal { signal: signal.to_string() },
            selection: Selection { containers: vec![self.record.id.clone()], ..Selection::default() },
            timeout_ms: None,
            dry_run: false,
        };
        match client.run(&request, |_| {}).map_err(told)? {
            Ok(_) => Ok(()),
            Err(failure) => Err(Fault::Told(failure.into())),
        }
    }

    /// True when the detach keys were typed.
    fn read(&mut self, stdin: BorrowedFd<'_>) -> io::Result<bool> {
        let Some(input) = &self.input else { return Ok(false) };
        let mut buffer = [0; 16 * 1024];
        let count = match nix::unistd::read(stdin, &mut buffer) {
            Ok(0) => {
                // The container may have other readers and writers of its input: it is left open.
                self.input = None;
                return Ok(false);
            }
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        for &byte in &buffer[..count] {
            self.matched = match self.keys.get(self.matched) {
                Some(&key) if key == byte => self.matched + 1,
                _ => usize::from(self.keys.first() == Some(&byte)),
            };
            if self.matched == self.keys.len() && self.record.spec.process.tty {
                return Ok(true);
            }
        }
        self.typed.extend(&buffer[..count]);
        write_some(input.as_fd(), &mut self.typed)?;
        Ok(false)
    }
}

fn without_waiting(input: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&input, true)?;
    Ok(input)
}

/// `ctrl-p,ctrl-q`: letters and `@ [ \ ] ^ _` after `ctrl-`, or any character.
fn parse_keys(text: &str) -> Result<Vec<u8>, CommandError> {
    let key = |name: &str| match (name.strip_prefix("ctrl-"), name.as_bytes()) {
        (Some(letter), _) => match letter.as_bytes() {
            [byte @ (b'a'..=b'z' | b'A'..=b'Z')] => Some(byte.to_ascii_uppercase() - b'@'),
            [byte @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(byte - b'@'),
            _ => None,
        },
        (None, [byte]) if byte.is_ascii() => Some(*byte),
        _ => None,
    };
    text.split(',').map(key).collect::<Option<Vec<u8>>>().filter(|keys| !keys.is_empty()).ok_or_else(|| {
        CommandError::new(format!("`{text}` are no keys to detach with")).hint("write them as in `ctrl-p,ctrl-q`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dockers() {
        assert_eq!(parse_keys("ctrl-p,ctrl-q").unwrap(), DETACH_KEYS);
        assert_eq!(parse_keys("ctrl-@,x,ctrl-[").unwrap(), [0, b'x', 0x1b]);
        for wrong in ["", "ctrl-", "ctrl-1", "ab", "a,,b"] {
            assert!(parse_keys(wrong).is_err(), "{wrong}");
        }
    }
}
