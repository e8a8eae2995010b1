//! Any project of several files, in the form of tests/fixtures, through the whole loader.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| windlass_fuzz::loader(text));
