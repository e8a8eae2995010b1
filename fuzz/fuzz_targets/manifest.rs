//! Any bytes as a manifest, an index and a configuration of an image.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| windlass_fuzz::manifest(bytes));
