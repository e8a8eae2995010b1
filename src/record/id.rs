//! Ids of containers.

use crate::runtime::spec::ContainerId;

/// 64 random hexadecimal digits, as Docker's.
#[must_use]
pub fn new_container_id() -> ContainerId {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Before Linux 3.17 alone.
            Err(_) => break,
        }
    }
    hex::encode(bytes)
}
