//! Desired and observed state to operations. Pure: what `--dry-run` prints and tests read.

pub mod desired;
pub mod lower;
pub mod operation;
pub mod order;
pub mod reconcile;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

pub use desired::{Desired, DesiredService};
pub use operation::{Operation, OperationKind, Plan};
pub use reconcile::{DownOptions, Names, Observed, ObservedContainer, UpOptions, down, up};
