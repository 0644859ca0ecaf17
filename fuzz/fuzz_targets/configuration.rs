//! Any text is refused with diagnostics that can be shown, or gives a configuration that keeps its promises.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vswitch_fuzz::configuration;

fuzz_target!(|text: &str| configuration::check(text));
