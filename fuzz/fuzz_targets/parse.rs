//! Any bytes are parsed or refused, offsets are in order and within the frame, and what is answered agrees
//! with an independent parser wherever both understand the frame.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vswitch_fuzz::parsing;

fuzz_target!(|frame: &[u8]| parsing::check(frame));
