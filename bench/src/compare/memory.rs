//! The memory of the processes that a tool keeps besides the services.

use std::fs;

use anyhow::Result;

/// MiB; pages that processes share count once.
pub fn resting(tool: &str) -> Result<f64> {
    let names: &[&str] = match tool {
        "windlass" => &["windlass"],
        _ => &["dockerd", "containerd", "containerd-shim", "docker-proxy"],
    };
    let mut kib = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let title = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // The keeper runs from a sealed copy of the program.
        if names.iter().any(|it| name.starts_with(it) || title.starts_with(it.as_bytes()))
            || name.contains("memfd:windlass")
        {
            let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
            let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            kib += pss.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(kib as f64 / 1024.0)
}
