//! What a NAT must do, requirement by requirement: RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP), 6888 and 7857 (all).
//!
//! Each test is named after the requirement it is for; docs/nat-conformance.md lists them all, with those that are
//! met elsewhere or are not for us. Beside them: what this switch promises beyond (published ports, 1:1, limits),
//! and properties that hold for whatever comes.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod limits;
mod properties;
mod published;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc6888;
mod rfc7857;
mod world;
