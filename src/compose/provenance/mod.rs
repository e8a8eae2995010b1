//! Where a value comes from: the files that set it, which of them won and why, and the variables in it.

mod explain;
mod history;
mod path;
mod secrecy;
mod variables;
mod words;

pub use explain::{Explanation, Position, Provenance, Shown, Step, UsedVariable, ValueOf, Via};
pub use history::{History, Reason, Removed, Rule, Through};
pub use path::UnknownPath;
pub use variables::{OtherSetting, VariableReport, VariableUsed};

#[cfg(test)]
mod tests;
