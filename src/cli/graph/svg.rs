//! As a picture: a row a rank, what is needed above; volumes in the last row.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Graph, Node};
use crate::cli::ui::style::width;

const MARGIN: usize = 24;
const GAP: usize = 40;
const BETWEEN_ROWS: usize = 64;
const LINE: usize = 18;
/// Of a monospaced letter of 13 pixels.
const LETTER: usize = 8;

struct Boxed {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

#[must_use]
pub fn svg(graph: &Graph) -> String {
    let lines: Vec<Vec<String>> = graph.services.iter().map(lines).collect();
    let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, service) in graph.services.iter().enumerate() {
        rows.entry(service.rank).or_default().push(index);
    }
    let size = |lines: &[String]| {
        let columns = lines.iter().map(|line| width(line)).max().unwrap_or(0);
        (columns * LETTER + 24, lines.len() * LINE + 16)
    };
    let mut boxes: BTreeMap<usize, Boxed> = BTreeMap::new();
    let (mut y, mut right) = (MARGIN + 2 * LINE, 0);
    for row in rows.values() {
        let (mut x, mut tallest) = (MARGIN, 0);
        for &index in row {
            let (width, height) = size(&lines[index]);
            boxes.insert(index, Boxed { x, y, width, height });
            x += width + GAP;
            tallest = tallest.max(height);
        }
        right = right.max(x);
        y += tallest + BETWEEN_ROWS;
    }
    let mut volumes: BTreeMap<&str, Boxed> = BTreeMap::new();
    let mut x = MARGIN;
    for name in &graph.volumes {
        let width = width(name) * LETTER + 24;
        volumes.insert(name, Boxed { x, y, width, height: 2 * LINE });
        x += width + GAP;
    }
    right = right.max(x);
    let bottom = if volumes.is_empty() { y - BETWEEN_ROWS } else { y + 2 * LINE };
    let (wide, high) = (right.saturating_sub(GAP) + MARGIN, bottom + MARGIN);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\" \
         font-family=\"monospace\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto-start-reverse\"><path d=\"M0 0 8 4 0 8z\" fill=\"#475569\"/></marker></defs>\n\
         <text x=\"{MARGIN}\" y=\"{}\" font-weight=\"bold\" font-size=\"16\" fill=\"#0f172a\">{}</text>\n",
        MARGIN + 8,
        escape(&graph.project)
    );
    let of_name: BTreeMap<&str, usize> =
        graph.services.iter().enumerate().map(|(index, service)| (service.name.as_str(), index)).collect();
    for (index, service) in graph.services.iter().enumerate() {
        let from = &boxes[&index];
        for need in &service.needs {
            let Some(to) = of_name.get(need.service.as_str()).and_then(|index| boxes.get(index)) else { continue };
            let dash = if need.required { "" } else { " stroke-dasharray=\"5 4\"" };
            let (x1, y1, x2, y2) = (from.x + from.width / 2, from.y, to.x + to.width / 2, to.y + to.height);
            let middle = usize::midpoint(y1, y2);
            let _ = writeln!(
                out,
                "<path d=\"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}\" fill=\"none\" stroke=\"#475569\"{dash} \
                 marker-end=\"url(#arrow)\"/><text x=\"{}\" y=\"{}\" font-size=\"11\" fill=\"#475569\" \
                 text-anchor=\"middle\">{}</text>",
                usize::midpoint(x1, x2),
                middle + 4,
                need.condition
            );
        }
        for mount in service.volumes.iter().filter(|mount| mount.named) {
            let Some(to) = volumes.get(mount.source.as_str()) else { continue };
            let (x1, y1, x2, y2) = (from.x + from.width / 2, from.y + from.height, to.x + to.width / 2, to.y);
            let middle = usize::midpoint(y1, y2);
            let _ = writeln!(
                out,
                "<path d=\"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}\" fill=\"none\" stroke=\"#c2410c\" \
                 stroke-dasharray=\"2 3\"/>"
            );
        }
    }
    for (index, service) in graph.services.iter().enumerate() {
        draw(&mut out, &boxes[&index], &lines[index], colour(service), 6);
    }
    for (name, place) in &volumes {
        draw(&mut out, place, &[(*name).to_owned()], ("#fff7ed", "#c2410c"), 16);
    }
    out.push_str("</svg>\n");
    out
}

fn lines(service: &Node) -> Vec<String> {
    let mut lines = vec![service.name.clone()];
    if !service.image.is_empty() {
        lines.push(service.image.clone());
    }
    lines.extend(service.ports.iter().cloned());
    lines.extend(service.networks.iter().map(|network| format!("⌁ {network}")));
    lines.extend(service.state.clone());
    lines
}

/// Inside and edge.
fn colour(service: &Node) -> (&'static str, &'static str) {
    match service.state.as_deref() {
        Some("running" | "healthy" | "done") => ("#f0fdf4", "#15803d"),
        Some("unhealthy" | "failed") => ("#fef2f2", "#b91c1c"),
        Some("starting" | "restarting" | "paused") => ("#fefce8", "#a16207"),
        _ => ("#eff6ff", "#1d4ed8"),
    }
}

fn draw(out: &mut String, place: &Boxed, lines: &[String], (inside, edge): (&str, &str), corner: usize) {
    let Boxed { x, y, width, height } = place;
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{corner}\" fill=\"{inside}\" \
         stroke=\"{edge}\"/>"
    );
    for (index, line) in lines.iter().enumerate() {
        let weight = if index == 0 { " font-weight=\"bold\"" } else { "" };
        let y = y + 8 + LINE * (index + 1) - 5;
        let _ = writeln!(out, "<text x=\"{}\" y=\"{y}\"{weight} fill=\"#0f172a\">{}</text>", x + 12, escape(line));
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
