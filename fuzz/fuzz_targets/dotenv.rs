//! Any text as an env file.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| windlass_fuzz::dotenv(text));
