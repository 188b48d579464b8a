//! One fuzz target under libFuzzer, the one that the variable `CHAOS_FUZZ_TARGET` names. Built and started by
//! `cargo xtask fuzz`, which says with which instrumentation.
//!
//! Owns nothing: libFuzzer has `main`, makes the inputs and takes the arguments; the targets are the library's.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::chosen().check(bytes));
