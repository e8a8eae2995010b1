//! Any text as the reference of an image.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| windlass_fuzz::reference(text));
