//! From a registry on loopback to files on the disk.

use anyhow::Result;

use crate::table::Table;
use crate::tools::Tools;

pub fn measure(tools: &Tools, table: &mut Table) -> Result<()> {
    for name in ["python:3.13", "postgres:17"] {
        let image = tools.image(name);
        let mut times = [const { Vec::new() }; 2];
        for _ in 0..tools.runs {
            for (which, tool) in tools.both().into_iter().enumerate() {
                let _ = tool.engine(&["rm", "-f", &image])?;
                let _ = tool.engine(&["rmi", "-f", &image]);
                times[which].push(tool.time_engine(&["pull", &image])?);
            }
        }
        let [ours, theirs] = times;
        table.times(format!("pull {name}"), ours, Some(theirs));
    }
    Ok(())
}
