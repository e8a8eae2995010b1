//! Any bytes as an image in a file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| windlass_fuzz::archive(bytes));
