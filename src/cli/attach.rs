//! The lines of containers as they are written, for a foreground `up`.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use jiff::Timestamp;

use super::CommandError;
use super::ui::prefix::{Prefixes, short_name};
use crate::engine::message::ContainerRef;
use crate::state::ProjectPaths;
use crate::supervisor::logs::Stream;
use crate::supervisor::logs::reader::{Reader, Span, Watch};

/// How lines look.
#[derive(Debug, Clone)]
pub struct Appearance {
    pub prefixes: Prefixes,
    /// Show when each line was written.
    pub timestamps: bool,
}

/// Containers whose lines are shown.
#[derive(Debug)]
pub struct Attached {
    watch: Watch,
    containers: Vec<Shown>,
    appearance: Appearance,
}

#[derive(Debug)]
struct Shown {
    id: String,
    name: String,
    colour: usize,
    reader: Reader,
    /// The last entry did not end its line: the next one goes on without a prefix.
    open: bool,
}

impl Attached {
    /// Shows what is written from `since` on.
    ///
    /// # Errors
    /// When a log cannot be read or watched.
    pub fn new(
        paths: &ProjectPaths,
        containers: &[ContainerRef],
        services: &[String],
        since: Timestamp,
        mut appearance: Appearance,
    ) -> Result<Self, CommandError> {
        let mut attached = Self { watch: Watch::new()?, containers: Vec::new(), appearance: appearance.clone() };
        for container in containers {
            let place = paths.container(&container.id);
            attached.watch.add(place.data())?;
            let name = short_name(paths.name(), &container.name).to_owned();
            appearance.prefixes.register(&name);
            attached.containers.push(Shown {
                id: container.id.clone(),
                name,
                colour: super::ui::prefix::colour(services, &container.service),
                reader: Reader::open(&place.log(), Span { since: Some(since), ..Span::default() })?,
                open: false,
            });
        }
        attached.appearance = appearance;
        Ok(attached)
    }

    /// Readable when [`Attached::print`] has something to do.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Prints what has been written since the last time.
    ///
    /// # Errors
    /// When a log cannot be read, or nobody reads our output.
    pub fn print(&mut self) -> io::Result<()> {
        self.watch.changed()?;
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        for container in &mut self.containers {
            while let Some(entry) = container.reader.next_entry()? {
                let mut line = String::new();
                if !container.open {
                    line += &self.appearance.prefixes.prefix(&container.name, container.colour);
                    if self.appearance.timestamps {
                        line += &format!("{} ", entry.time);
                    }
                }
                line += &entry.log;
                container.open = !entry.log.ends_with('\n');
                match entry.stream {
                    Stream::Stdout => out.write_all(line.as_bytes())?,
                    Stream::Stderr => err.write_all(line.as_bytes())?,
                }
            }
        }
        out.flush()
    }

    /// Says something about a container among its lines.
    pub fn remark(&mut self, id: &str, text: &str) {
        if let Some(container) = self.containers.iter_mut().find(|container| container.id == id) {
            if container.open {
                println!();
                container.open = false;
            }
            println!("{}", self.appearance.prefixes.remark(&container.name, container.colour, text));
        }
    }
}
