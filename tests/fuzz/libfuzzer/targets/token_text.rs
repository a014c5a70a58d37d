#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::token_text(bytes));
