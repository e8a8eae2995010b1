//! What was measured, as a table and as JSON.

use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::tools::Tools;

struct Row {
    name: String,
    unit: &'static str,
    ours: f64,
    theirs: Option<f64>,
    /// More is better.
    rate: bool,
}

pub struct Table {
    machine: Value,
    rows: Vec<Row>,
    failures: Vec<Value>,
}

impl Table {
    pub fn new(tools: &Tools) -> Result<Self> {
        let processor = std::fs::read_to_string("/proc/cpuinfo")?;
        let field = |name| processor.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(": "));
        let kernel = Command::new("uname").arg("-r").output()?;
        let machine = json!({
            "processor": field("model name").map(|(_, value)| value),
            "processors": std::thread::available_parallelism()?.get(),
            "kernel": String::from_utf8_lossy(&kernel.stdout).trim(),
            "windlass": tools.windlass.version()?,
            "peer": tools.peer.version()?,
            "runs": tools.runs,
        });
        Ok(Self { machine, rows: Vec::new(), failures: Vec::new() })
    }

    /// Times, in microseconds.
    pub fn times(&mut self, name: impl Into<String>, ours: Vec<f64>, theirs: Option<Vec<f64>>) {
        let (ours, theirs) = (median(ours) / 1000.0, theirs.map(|times| median(times) / 1000.0));
        self.push(Row { name: name.into(), unit: "ms", ours, theirs, rate: false });
    }

    pub fn amount(&mut self, name: impl Into<String>, unit: &'static str, ours: f64, theirs: Option<f64>) {
        self.push(Row { name: name.into(), unit, ours, theirs, rate: false });
    }

    pub fn rate(&mut self, name: impl Into<String>, unit: &'static str, ours: f64, theirs: Option<f64>) {
        self.push(Row { name: name.into(), unit, ours, theirs, rate: true });
    }

    pub fn failed(&mut self, name: &str, error: &anyhow::Error) {
        self.failures.push(json!({"measure": name, "error": format!("{error:#}")}));
    }

    fn push(&mut self, row: Row) {
        eprintln!("  {}", row.text());
        self.rows.push(row);
    }

    pub fn print(&self) {
        println!("{}", self.machine);
        println!("{:<44} {:>12}    {:>12}", "", "windlass", "peer");
        for row in &self.rows {
            println!("{}", row.text());
        }
    }

    pub fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        format!("{:#}\n", json!({"machine": self.machine, "measures": rows, "failures": self.failures}))
    }
}

impl Row {
    /// How many times better windlass is.
    fn ratio(&self) -> Option<f64> {
        self.theirs.map(|theirs| if self.rate { self.ours / theirs } else { theirs / self.ours })
    }

    fn text(&self) -> String {
        let Row { name, unit, ours, .. } = self;
        let theirs = self.theirs.map_or_else(|| format!("{:>15}", ""), |theirs| format!("{theirs:>12.1} {unit:<3}"));
        let ratio = self.ratio().map(|ratio| format!("{ratio:>7.1}x")).unwrap_or_default();
        format!("{name:<44} {ours:>12.1} {unit:<3}{theirs}{ratio}").trim_end().to_owned()
    }

    fn json(&self) -> Value {
        json!({"measure": self.name, "unit": self.unit, "windlass": self.ours, "peer": self.theirs, "ratio": self.ratio()})
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
