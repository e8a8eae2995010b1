//! The kernel's own work, beside the `up` of as many services.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::table::Table;
use crate::tools::Tools;

pub fn measure(tools: &Tools, table: &mut Table) -> Result<()> {
    let archive = tools.work().join("floor.tar");
    let layer = TempDir::new_in(tools.work())?;
    let image = tools.image("busybox:1.35");
    // `export` of a container is its whole file system.
    tools.project("floor", &format!("services: {{ one: {{ image: '{image}', command: 'true' }} }}\n"))?;
    tools.windlass.time("floor", &["create"])?;
    tools.windlass.time("floor", &["export", "-o", &archive.to_string_lossy(), "one"])?;
    tools.windlass.time("floor", &["down"])?;
    let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(layer.path()).status()?;
    ensure!(status.success(), "the root file system cannot be unpacked");
    for count in [10, 50] {
        let mut times = Vec::new();
        for _ in 0..tools.runs {
            let folder = TempDir::new_in(tools.work())?;
            let output =
                Command::new(&tools.floor).arg(count.to_string()).arg(layer.path()).arg(folder.path()).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            times.push(String::from_utf8(output.stdout)?.trim().parse().context("floor prints microseconds")?);
        }
        table.times(format!("the kernel's own work, {count} containers"), times, None);
    }
    Ok(())
}
