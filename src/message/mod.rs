//! What goes over the socket between a command and the supervisor of a project: requests, answers, and how they travel.

mod answer;
mod failure;
mod request;
pub mod rpc;

pub use answer::{ContainerRef, ObjectKind, ObjectProgress, ProgressState, Refreshed, Response, input_of};
pub use failure::{Detail, Failure};
pub use request::{Refresh, Request};
