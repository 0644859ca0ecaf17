//! Whatever the ports send, and whenever: no panic, every frame accounted for, nothing forged gets out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vswitch_fuzz::pipeline;

fuzz_target!(|input: &[u8]| pipeline::check(input));
