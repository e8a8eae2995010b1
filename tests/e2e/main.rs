//! End to end: the built binary, real images, real namespaces. Needs root, and what the test script installs.
//!
//! Each test has its own home, project and ports, waits for conditions and never for time, and ends with a check that
//! nothing of its project is left on the machine.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says where")]

mod absurd;
mod attributes;
mod completion;
mod connecting;
mod containers;
mod converge;
mod copying;
mod crash;
mod damaged;
mod disk;
mod dry;
mod edits;
mod env;
mod examples;
mod exec;
mod exhaustion;
mod failures;
#[cfg(feature = "fault-points")]
mod faults;
mod flags;
mod followers;
mod foreground;
mod globals;
mod growth;
mod health;
mod housekeeping;
mod idle;
mod image_mounts;
mod images;
mod install;
mod kernels;
mod leaks;
mod lifecycle;
mod limits;
mod listing;
mod live;
mod logs;
mod menu;
mod mistaken;
mod names;
mod net;
mod networks;
mod oneoff;
mod order;
mod orphans;
mod ownership;
mod policies;
mod ports;
mod preflight;
mod proof;
mod reading;
mod redefined;
mod registries;
mod replaced;
mod restarts;
mod streams;
mod stuck;
mod subcommands;
mod survival;
mod terminal;
mod told;
mod toolchains;
mod unique;
mod up;
mod volumes;
mod volumes_from;
mod watch;

use std::path::PathBuf;
use std::sync::LazyLock;

use support::Registry;
use support::cache::Images;

/// The images, made on first use, and the registry that serves them to all tests of this run.
static IMAGES: LazyLock<Result<(Images, Registry), String>> = LazyLock::new(|| {
    let serve = || -> support::anyhow::Result<_> {
        let images = Images::ready()?;
        let registry = images.serve()?;
        Ok((images, registry))
    };
    serve().map_err(|error| format!("{error:?}"))
});

fn images() -> &'static (Images, Registry) {
    IMAGES.as_ref().unwrap_or_else(|error| panic!("no images to test with: {error}"))
}

/// `127.0.0.1:PORT`, or what a machine was told.
fn registry() -> String {
    std::env::var(kernels::REGISTRY).unwrap_or_else(|_| images().1.host())
}

/// The OCI layout that holds the images.
fn layout() -> PathBuf {
    images().0.layout()
}
