//! The router as a whole: packets in at one port, out at another, with nothing of the kernel's in between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "these are tests, with numbers small enough"
)]

mod cached;
mod gateway;
mod hostile;
mod nat;
mod neighbors;
mod path_mtu;
mod town;
