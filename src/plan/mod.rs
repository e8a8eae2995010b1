//! Desired and observed state to operations. Pure: what `--dry-run` prints and tests read.

pub mod act;
pub mod desired;
pub mod down;
mod inherit;
pub mod install;
pub mod lower;
pub mod observed;
pub mod operation;
pub mod options;
pub mod order;
pub mod reconcile;
pub mod rollback;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

pub use act::{Action, Selection, act};
pub use desired::{Desired, DesiredService, Install};
pub use down::down;
pub use observed::Observed;
pub use operation::{Operation, OperationKind, Plan};
pub use options::{DownOptions, Names, UpOptions};
pub use reconcile::{run, up};
pub use rollback::rollback;
