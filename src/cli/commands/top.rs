//! `windlass top`

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::containers::{Containers, is_running};
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::stdout;
use crate::cli::ui::style::printable;
use crate::cli::ui::table::Table;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::processes::{self, Process};

#[derive(Debug, Args)]
pub struct TopArgs {
    /// Services whose processes are shown; all by default
    pub services: Vec<String>,
}

const HEADER: [&str; 10] = ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

const NARROW: Narrow =
    Narrow { leave_out: &["C", "TTY", "STIME", "PPID", "#", "UID", "TIME"], shorten: &[("CMD", 16), ("SERVICE", 8)] };

/// # Errors
/// When a service does not exist or its processes cannot be read.
pub fn run(args: &TopArgs, context: &Context) -> CommandResult {
    let containers = Containers::of(context)?;
    containers.check_services(&args.services)?;
    let now = Timestamp::now();
    let mut table = Table::with_widths(&HEADER.map(str::to_owned), 4, 2);
    let mut any = false;
    for container in containers.of_services(&args.services, true).filter(|container| is_running(container)) {
        let record = &container.record;
        let processes = processes::of(record).map_err(|error| {
            CommandError::caused(format!("cannot list the processes of container {}", record.name), &error)
        })?;
        for process in processes {
            any = true;
            let mut row = vec![record.service.clone(), record.number.to_string()];
            row.extend(cells(&process, now));
            table.row(row);
        }
    }
    if any {
        print!("{}", table.render_in(stdout::columns(), &HEADER, &NARROW));
    }
    Ok(0)
}

/// As `ps -ef` writes them.
fn cells(process: &Process, now: Timestamp) -> [String; 8] {
    let started = process.started.to_zoned(TimeZone::system());
    let recent = now.duration_since(process.started).as_hours() < 24;
    let seconds = process.cpu.as_secs();
    [
        user(process.uid),
        process.pid.to_string(),
        process.parent.to_string(),
        process.utilisation.min(99).to_string(),
        started.strftime(if recent { "%H:%M" } else { "%b%d" }).to_string(),
        terminal(process.terminal),
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        printable(&process.command),
    ]
}

fn user(uid: u32) -> String {
    let known = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    match known.map(|user| user.name) {
        // `ps` keeps its column: seven letters and a plus.
        Some(name) if name.chars().count() > 8 => name.chars().take(7).chain(['+']).collect(),
        Some(name) => name,
        None => uid.to_string(),
    }
}

/// `pts/0`, or `?` without a terminal.
fn terminal(device: u64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_ps() {
        let now: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        let process = Process {
            pid: 7,
            parent: 1,
            uid: 4_000_000_000,
            started: "2026-01-01T10:00:00Z".parse().unwrap(),
            cpu: std::time::Duration::from_secs(3725),
            utilisation: 3,
            terminal: 34818,
            command: "sh\u{1b}[31m".into(),
        };
        let cells = cells(&process, now);
        assert_eq!(cells, ["4000000000", "7", "1", "3", "Jan01", "pts/2", "01:02:05", "sh [31m"]);
        assert_eq!([terminal(0), terminal(1025)], ["?", "tty1"]);
        assert_eq!(user(0), "root");
    }
}
