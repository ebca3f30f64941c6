#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| halfping_fuzz::rules(data));
