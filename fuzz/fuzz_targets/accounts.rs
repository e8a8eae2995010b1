//! Any text as the accounts of an image and a user.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| windlass_fuzz::accounts(text));
