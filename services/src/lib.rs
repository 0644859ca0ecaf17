//! What a gateway answers itself, and asks.
//!
//! Today that is [`DhcpClient`], by which the uplink gets its address. Everything here takes frames and gives
//! frames: nothing opens a socket, reads a clock or draws a random number, so that the whole life of a lease
//! can be walked in a unit test.

pub mod dhcp;

pub use dhcp::{DhcpClient, DhcpEvent, Lease, Route};
