//! windlass and docker compose on the same work, in turns, in one run. `bench/compare` prepares and starts this program
//! in namespaces of its own: everything that the tools leave behind goes with them.

mod chain;
mod floor;
mod memory;
mod pull;
mod stacks;
mod table;
mod throughput;
mod tools;
mod watch;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use table::Table;
use tools::Tools;

type Measure = fn(&Tools, &mut Table) -> Result<()>;

/// In the order of the table.
const MEASURES: &[(&str, &str, Measure)] = &[
    ("ten", "up, down, exec, ps and config of 10 services", |tools, table| stacks::everyday(tools, table, 10)),
    ("fifty", "the same of 50 services, and the memory at rest", |tools, table| stacks::everyday(tools, table, 50)),
    ("growth", "up and down of 200 services", |tools, table| stacks::up_and_down(tools, table, 200)),
    ("floor", "the kernel's own work for 10 containers", floor::measure),
    ("chain", "three services that wait for each other's health", chain::measure),
    ("pull", "pull and unpack from a registry on loopback", pull::measure),
    ("throughput", "TCP from container to container, and to a published port", throughput::measure),
    ("watch", "from a saved file to the file in the container", watch::measure),
    ("thousand", "1,000 services, windlass alone", stacks::thousand),
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut programs, mut peer, mut runs, mut json, mut chosen) = (None, None, 7, None, Vec::new());
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--programs" => programs = Some(PathBuf::from(value()?)),
            "--peer" => peer = Some(PathBuf::from(value()?)),
            "--runs" => runs = value()?.parse().context("--runs takes a number")?,
            "--json" => json = Some(PathBuf::from(value()?)),
            "--list" => {
                for (name, about, _) in MEASURES {
                    println!("{name:<12} {about}");
                }
                return Ok(());
            }
            name if MEASURES.iter().any(|(known, ..)| *known == name) => chosen.push(name.to_owned()),
            _ => bail!("{argument}: no such measure or option; --list names the measures"),
        }
    }
    let programs = programs.context("run bench/compare instead: it prepares what this needs")?;
    let tools = Tools::start(&programs, &peer.context("--peer is missing")?, runs)?;
    let mut table = Table::new(&tools)?;
    for (name, _, measure) in MEASURES {
        if chosen.is_empty() || chosen.iter().any(|it| it == name) {
            eprintln!("{name} ...");
            if let Err(error) = measure(&tools, &mut table) {
                eprintln!("{name} failed: {error:#}");
                table.failed(name, &error);
            }
        }
    }
    table.print();
    if let Some(path) = json {
        std::fs::write(&path, table.json()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
