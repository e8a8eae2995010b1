//! What the tests stand on: real images made from packages, a real registry on loopback, waiting for conditions.

pub mod cache;
pub mod debian;
pub mod eventually;
pub mod layer;
pub mod layout;
pub mod machine;
pub mod packages;
pub mod recipe;
pub mod registry;

use std::path::Path;
use std::process::Command;

pub use anyhow;
use anyhow::{Context, Result, ensure};

pub use eventually::eventually;
pub use registry::Registry;

/// Runs a program to its end; its output is part of the error.
pub(crate) fn run(folder: &Path, command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .current_dir(folder)
        .output()
        .with_context(|| format!("cannot run {program}: the test script installs what the tests need"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
