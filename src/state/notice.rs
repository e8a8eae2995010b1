//! What was found and mended on the way, to be told once to whoever asked for the work that came upon it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Nobody may ask for a long time.
const KEPT: usize = 64;

static NOTICES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Notes something for the next [`take`], and for the log.
pub fn add(text: String) {
    tracing::warn!("{text}");
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    if notices.len() == KEPT {
        notices.pop_front();
    }
    notices.push_back(text);
}

/// What was noted since the last time.
#[must_use]
pub fn take() -> Vec<String> {
    NOTICES.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
}
