//! As text, for a terminal.

use std::fmt::Write as _;

use super::{Graph, Node};
use crate::cli::ui::style::{Meaning, Palette, printable, width};

/// One block a service, what comes first above; then the networks and volumes with those who use them.
#[must_use]
pub fn text(graph: &Graph, palette: Palette) -> String {
    let mut out = format!("{}\n", palette.paint(Meaning::Strong, printable(&graph.project)));
    let name_width = graph.services.iter().map(|service| width(&service.name)).max().unwrap_or(0);
    for (index, service) in graph.services.iter().enumerate() {
        let last = index + 1 == graph.services.len();
        let (branch, trunk) = if last { ("└─", "  ") } else { ("├─", "│ ") };
        let gap = " ".repeat(name_width - width(&service.name));
        let name = palette.paint(Meaning::Service(index), printable(&service.name));
        let mut line = format!("{branch} {name}{gap}  {}", printable(&service.image));
        if service.replicas != 1 {
            let _ = write!(line, " ×{}", service.replicas);
        }
        match &service.state {
            Some(state) => {
                let _ = write!(line, "  {}", palette.paint(meaning(state), state));
            }
            None if service.healthcheck => line.push_str("  ♥"),
            None => {}
        }
        let _ = writeln!(out, "{}", line.trim_end());
        for (label, value) in details(service) {
            let _ = writeln!(
                out,
                "{trunk}   {} {}",
                palette.paint(Meaning::Faint, format!("{label:<8}")),
                printable(&value)
            );
        }
    }
    let used = |uses: &dyn Fn(&Node) -> bool| {
        let users: Vec<&str> = graph.services.iter().filter(|s| uses(s)).map(|s| s.name.as_str()).collect();
        if users.is_empty() { "nobody".to_owned() } else { users.join(", ") }
    };
    for (title, names, is_volume) in [("networks", &graph.networks, false), ("volumes", &graph.volumes, true)] {
        if names.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}", palette.paint(Meaning::Strong, title));
        for (index, name) in names.iter().enumerate() {
            let branch = if index + 1 == names.len() { "└─" } else { "├─" };
            let users = match is_volume {
                true => used(&|service| service.volumes.iter().any(|mount| mount.named && mount.source == *name)),
                false => used(&|service| service.networks.contains(name)),
            };
            let _ = writeln!(out, "{branch} {}  {}", printable(name), palette.paint(Meaning::Faint, printable(&users)));
        }
    }
    out
}

fn meaning(state: &str) -> Meaning {
    match state {
        "healthy" | "running" | "done" => Meaning::Good,
        "unhealthy" | "failed" => Meaning::Bad,
        "starting" | "restarting" | "paused" => Meaning::Warning,
        _ => Meaning::Faint,
    }
}

fn details(service: &Node) -> Vec<(&'static str, String)> {
    let mut details = Vec::new();
    let needs: Vec<String> = service
        .needs
        .iter()
        .map(|need| {
            let optional = if need.required { "" } else { ", if it can" };
            format!("{} ({}{optional})", need.service, need.condition)
        })
        .collect();
    if !needs.is_empty() {
        details.push(("needs", needs.join(", ")));
    }
    details.extend(service.ports.iter().map(|port| ("port", port.clone())));
    if !service.networks.is_empty() {
        details.push(("networks", service.networks.join(", ")));
    }
    for mount in &service.volumes {
        let read_only = if mount.read_only { " (read-only)" } else { "" };
        details.push(("mount", format!("{} → {}{read_only}", mount.source, mount.target)));
    }
    details
}
