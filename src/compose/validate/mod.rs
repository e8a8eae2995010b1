//! What windlass does with each attribute.

pub mod support;
