//! As a Mermaid flowchart, for Markdown files.

use std::fmt::Write as _;

use super::Graph;

#[must_use]
pub fn mermaid(graph: &Graph) -> String {
    let mut out = format!("---\ntitle: {}\n---\nflowchart TD\n", graph.project);
    for service in &graph.services {
        let mut label = vec![format!("<b>{}</b>", escape(&service.name)), escape(&service.image)];
        label.extend(service.ports.iter().map(|port| escape(port)));
        label.extend(service.state.iter().map(|state| escape(state)));
        let _ = writeln!(out, "    {}[\"{}\"]", id("s", &service.name), label.join("<br/>"));
    }
    for name in &graph.volumes {
        let _ = writeln!(out, "    {}[(\"{}\")]", id("v", name), escape(name));
    }
    for name in &graph.networks {
        let _ = writeln!(out, "    {}{{{{\"{}\"}}}}", id("n", name), escape(name));
    }
    for service in &graph.services {
        let from = id("s", &service.name);
        for need in &service.needs {
            let arrow = if need.required { "-->" } else { "-.->" };
            let _ = writeln!(out, "    {from} {arrow}|{}| {}", need.condition, id("s", &need.service));
        }
        for mount in service.volumes.iter().filter(|mount| mount.named) {
            let _ = writeln!(out, "    {from} --- |\"{}\"| {}", escape(&mount.target), id("v", &mount.source));
        }
        for network in service.networks.iter().filter(|network| graph.networks.contains(network)) {
            let _ = writeln!(out, "    {from} -.- {}", id("n", network));
        }
    }
    out
}

/// Mermaid's own words, such as `end`, are no ids.
fn id(kind: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:x}_", u32::from(c)) };
    format!("{kind}_{}", name.chars().map(plain).collect::<String>())
}

fn escape(text: &str) -> String {
    text.replace('&', "#amp;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}
