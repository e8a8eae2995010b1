//! Faults of a file: what is wrong, at which place, and what to do about it.
