//! `windlass stats`

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Map, Value, json};

use crate::cli::containers::{Containers, is_running};
use crate::cli::exit::INTERRUPTED;
use crate::cli::global::Ansi;
use crate::cli::signals::Interrupts;
use crate::cli::ui::format::{Format, Listing, Row};
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::{human, stdout};
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::stats::{self, Reading};
use crate::record::ObservedContainer;

#[derive(Debug, Args)]
pub struct StatsArgs {
    /// The service whose containers are shown; all by default
    pub service: Option<String>,
    /// Containers that do not run, too
    #[arg(short = 'a', long)]
    pub all: bool,
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Name}}: {{.CPUPerc}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Show one reading and end
    #[arg(long)]
    pub no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
}

pub(in crate::cli) const LISTING: Listing = Listing {
    fields: &["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"],
    columns: &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
    title,
    min_width: 10,
    gap: 3,
    narrow: Narrow { leave_out: &["ID", "BlockIO", "NetIO", "PIDs", "MemPerc"], shorten: &[("Name", 10)] },
    json_array: false,
};

/// Between two readings. The kernel tells nobody that a counter has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// # Errors
/// When the service does not exist, or the kernel's counters cannot be read.
pub fn run(args: &StatsArgs, context: &Context) -> CommandResult {
    let format = LISTING.parse(args.format.as_deref())?;
    let services: Vec<String> = args.service.iter().cloned().collect();
    Containers::of(context)?.check_services(&services)?;
    let memory = stats::machine_memory()?;
    let interrupts = Interrupts::catch()?;
    let screen = !args.no_stream
        && io::stdout().is_terminal()
        && context.global.ansi != Some(Ansi::Never)
        && matches!(format, Format::Table | Format::TableOf(_));
    let mut before: BTreeMap<String, Reading> = readings(&Containers::of(context)?, &services)?;
    loop {
        if pause(&interrupts)? {
            return Ok(INTERRUPTED);
        }
        let containers = Containers::of(context)?;
        let now = readings(&containers, &services)?;
        let shown = containers.of_services(&services, true).filter(|container| args.all || is_running(container));
        let rows: Vec<Row> = shown
            .map(|container| {
                let id = &container.record.id;
                let mut row = Row::new(fields(container, before.get(id), now.get(id), memory, !args.no_trunc));
                row.labels.clone_from(&container.record.labels);
                row
            })
            .collect();
        let text = LISTING.render_in(&format, &rows, stdout::columns())?;
        let mut out = io::stdout().lock();
        // From the top of the screen, and what is below goes.
        let home = if screen { "\x1b[H\x1b[J" } else { "" };
        match write!(out, "{home}{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
            other => other?,
        }
        if args.no_stream {
            return Ok(0);
        }
        before = now;
    }
}

fn readings(containers: &Containers, services: &[String]) -> Result<BTreeMap<String, Reading>, CommandError> {
    let mut readings = BTreeMap::new();
    for container in containers.of_services(services, true) {
        let name = &container.record.name;
        let read = stats::read(container)
            .map_err(|error| CommandError::caused(format!("cannot read what container {name} uses"), &error))?;
        readings.extend(read.map(|reading| (container.record.id.clone(), reading)));
    }
    Ok(readings)
}

/// Waits for the next reading; true when the person wants no more.
fn pause(interrupts: &Interrupts) -> io::Result<bool> {
    let end = std::time::Instant::now() + INTERVAL;
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(interrupts.as_fd(), PollFlags::POLLIN)];
        let millis = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if interrupts.pending() {
            return Ok(true);
        }
    }
}

fn fields(
    container: &ObservedContainer,
    before: Option<&Reading>,
    now: Option<&Reading>,
    memory: u64,
    trunc: bool,
) -> Map<String, Value> {
    let id = &container.record.id;
    let id = if trunc { id.get(..12).unwrap_or(id) } else { id };
    let used = now.map_or(0, |now| now.usage.memory);
    let limit = now.map_or(0, |now| now.usage.memory_limit.unwrap_or(memory).min(memory));
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let share = if limit == 0 { 0.0 } else { used as f64 / limit as f64 * 100.0 };
    let cpu = before.zip(now).map_or(0.0, |(before, now)| now.cpu_percent(before));
    let pair = |pair: Option<(u64, u64)>| {
        let (a, b) = pair.unwrap_or_default();
        format!("{} / {}", human::size(a), human::size(b))
    };
    let fields = json!({
        "BlockIO": pair(now.map(|now| now.disk)),
        "CPUPerc": format!("{cpu:.2}%"),
        "Container": id,
        "ID": id,
        "MemPerc": format!("{share:.2}%"),
        "MemUsage": format!("{} / {}", human::binary_size(used), human::binary_size(limit)),
        "Name": container.record.name,
        "NetIO": pair(now.map(|now| now.network)),
        "PIDs": now.map_or(0, |now| now.usage.processes).to_string(),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn title(field: &str) -> String {
    match field {
        "ID" => "CONTAINER ID",
        "CPUPerc" => "CPU %",
        "MemUsage" => "MEM USAGE / LIMIT",
        "MemPerc" => "MEM %",
        "NetIO" => "NET I/O",
        "BlockIO" => "BLOCK I/O",
        other => return other.to_uppercase(),
    }
    .to_owned()
}
