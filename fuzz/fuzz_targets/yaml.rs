//! Any text for the YAML reader; what it read is written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| windlass_fuzz::yaml(text));
