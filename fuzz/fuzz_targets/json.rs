//! Fuzzes `list::parse` with this format; the target itself is in `src/targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qalqan_fuzz::json(data));
