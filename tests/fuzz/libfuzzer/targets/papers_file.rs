#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::papers_file(bytes));
