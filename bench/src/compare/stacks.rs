//! What people do all day, with stacks of small services.

use std::fmt::Write;

use anyhow::Result;

use crate::memory;
use crate::table::Table;
use crate::tools::Tools;

/// Services that end on SIGTERM at once.
fn stack(tools: &Tools, services: usize) -> Result<String> {
    let name = format!("stack{services}");
    let image = tools.image("busybox:1.35");
    let mut text = "services:\n".to_owned();
    for number in 1..=services {
        let command = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";
        writeln!(text, "  s{number}: {{ image: '{image}', command: [sh, -c, \"{command}\"] }}")?;
    }
    tools.project(&name, &text)?;
    Ok(name)
}

pub fn everyday(tools: &Tools, table: &mut Table, services: usize) -> Result<()> {
    let project = stack(tools, services)?;
    let steps: [(&str, &[&str]); 6] = [
        ("up -d", &["up", "-d"]),
        ("up -d, nothing to do", &["up", "-d"]),
        ("exec s1 true", &["exec", "-T", "s1", "true"]),
        ("ps", &["ps"]),
        ("config", &["config"]),
        ("down", &["down"]),
    ];
    let mut times = [const { [const { Vec::new() }; 2] }; 6];
    let mut resting = [const { Vec::new() }; 2];
    for _ in 0..tools.runs {
        for (which, tool) in tools.both().into_iter().enumerate() {
            for (step, (what, arguments)) in steps.iter().enumerate() {
                if *what == "down" {
                    resting[which].push(memory::resting(tool.name)?);
                }
                times[step][which].push(tool.time(&project, arguments)?);
            }
        }
    }
    for ((what, _), [ours, theirs]) in steps.iter().zip(times) {
        table.times(format!("{what}, {services} services"), ours, Some(theirs));
    }
    let [ours, theirs] = resting.map(crate::table::median);
    table.amount(format!("memory besides {services} services"), "MiB", ours, Some(theirs));
    Ok(())
}

pub fn up_and_down(tools: &Tools, table: &mut Table, services: usize) -> Result<()> {
    let project = stack(tools, services)?;
    let mut times = [const { [const { Vec::new() }; 2] }; 2];
    for _ in 0..3 {
        times[0][0].push(tools.windlass.time(&project, &["up", "-d"])?);
        times[1][0].push(tools.windlass.time(&project, &["down"])?);
    }
    times[0][1].push(tools.peer.time(&project, &["up", "-d"])?);
    times[1][1].push(tools.peer.time(&project, &["down"])?);
    let [[up, their_up], [down, their_down]] = times;
    table.times(format!("up -d, {services} services"), up, Some(their_up));
    table.times(format!("down, {services} services"), down, Some(their_down));
    Ok(())
}

pub fn thousand(tools: &Tools, table: &mut Table) -> Result<()> {
    let project = stack(tools, 1000)?;
    table.times("up -d, 1000 services", vec![tools.windlass.time(&project, &["up", "-d"])?], None);
    table.amount("memory besides 1000 services", "MiB", memory::resting(tools.windlass.name)?, None);
    table.times("down, 1000 services", vec![tools.windlass.time(&project, &["down"])?], None);
    Ok(())
}
