//! Any bytes as the archive of a layer.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| windlass_fuzz::layer(bytes));
