//! Waiting for a condition of the world, bounded.

use std::time::{Duration, Instant};

/// Asks `check` until it gives a value. The pause between two questions only bounds the load; what is waited for is
/// the condition.
///
/// # Panics
/// When the condition does not hold in time; the message has the last reason.
#[track_caller]
pub fn eventually<T>(what: &str, timeout: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + timeout;
    let mut pause = Duration::from_millis(2);
    loop {
        match check() {
            Ok(value) => return value,
            Err(reason) if Instant::now() >= end => panic!("not within {timeout:?}: {what}: {reason}"),
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
