//! Any text as the host's `resolv.conf`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| windlass_fuzz::resolver(text));
