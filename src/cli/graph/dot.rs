//! In the language of Graphviz.

use std::fmt::Write as _;

use super::Graph;

#[must_use]
pub fn dot(graph: &Graph) -> String {
    let mut out = format!("digraph {} {{\n  rankdir=TB;\n  node [fontname=\"sans-serif\"];\n", quote(&graph.project));
    for service in &graph.services {
        let mut label = vec![service.name.clone(), service.image.clone()];
        label.extend(service.ports.iter().cloned());
        label.extend(service.state.iter().cloned());
        label.retain(|line| !line.is_empty());
        let _ = writeln!(out, "  {} [shape=box, label={}];", node("service", &service.name), quote(&label.join("\n")));
    }
    for name in &graph.volumes {
        let _ = writeln!(out, "  {} [shape=cylinder, label={}];", node("volume", name), quote(name));
    }
    for name in &graph.networks {
        let _ = writeln!(out, "  {} [shape=hexagon, label={}];", node("network", name), quote(name));
    }
    for service in &graph.services {
        let from = node("service", &service.name);
        for need in &service.needs {
            let style = if need.required { "solid" } else { "dashed" };
            let to = node("service", &need.service);
            let _ = writeln!(out, "  {from} -> {to} [label={}, style={style}];", quote(need.condition));
        }
        for mount in service.volumes.iter().filter(|mount| mount.named) {
            let to = node("volume", &mount.source);
            let _ = writeln!(out, "  {from} -> {to} [dir=none, label={}];", quote(&mount.target));
        }
        for network in service.networks.iter().filter(|network| graph.networks.contains(network)) {
            let _ = writeln!(out, "  {from} -> {} [dir=none, style=dotted];", node("network", network));
        }
    }
    out.push_str("}\n");
    out
}

fn node(kind: &str, name: &str) -> String {
    quote(&format!("{kind} {name}"))
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
