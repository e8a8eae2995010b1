//! Any bytes as a packet to the name server.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| windlass_fuzz::dns(bytes));
