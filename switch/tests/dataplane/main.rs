//! Frames through a whole shard, from in-memory device to in-memory device.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "these are tests, with numbers small enough"
)]

mod bed;
mod bridge;
mod coalescing;
mod isolation;
mod parent;
mod traffic;
mod verdicts;
