//! The whole program, run in network namespaces: the tests start the built binary as root and as an ordinary user and
//! use ordinary sockets inside the containers.
//!
//! Nothing has to be installed beyond what every Debian has (util-linux, perl-base). Not being root is reported as a
//! skip, and as a failure where `VSWITCH_TESTS_MUST_NOT_SKIP` is set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

#[macro_use]
mod support;

mod commands;
mod dhcp;
mod examples;
mod exec;
mod hostile;
mod hostile_routing;
mod ipvlan;
mod lifecycle;
mod listings;
mod macvlan;
mod matrix;
mod members_of_the_uplink;
mod namespaces;
mod nat;
mod networks;
mod overload;
mod path_mtu;
mod publish;
mod rootless;
mod traffic;
mod uplinks;
mod veth;
