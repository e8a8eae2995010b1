//! Images of a project's services: found, or pulled with progress.

mod gather;
mod obtain;
mod settings;
mod wanted;

use crate::image::pull::PullPolicy;

pub use gather::{ensure, gather};
pub use obtain::shown;
pub use settings::{open_store, pull_options, registry};
pub use wanted::platform_of;

/// When images are pulled, as flags say it; `None` leaves it to each service's `pull_policy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PullFlags {
    pub policy: Option<PullPolicy>,
    /// The same for the images that are mounted, where it is another one.
    pub mounted: Option<PullPolicy>,
    pub quiet: bool,
}
