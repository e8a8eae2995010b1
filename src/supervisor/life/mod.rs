//! The pure part of supervision: what follows from what, with the clock passed in.

pub mod health;
