//! Connection tracking: which packets belong together, how far a TCP connection has come, when it is forgotten.
//!
//! # Theory of operation
//! A [`ConnectionTable`] holds one [`Connection`] per flow that passed between an inside network and the outside.
//! It has three endpoints: the *inside* one, the *remote* one, and the *public* one, which is what the inside
//! endpoint is called outside (the same where nothing is translated). A packet finds it from either side: one from
//! inside by (network, inside, remote), one from outside by (remote, public). Both keys are in one index.
//!
//! * **Hairpins** are two connections: the sender's, to the outside, and the recipient's, from the outside. There
//!   is nothing special about either.
//! * **Time** of the last packet is not here but in [`Activity`], which workers write without the table's lock: an
//!   established flow is answered by a worker's flow cache, which only asks `Activity` whether the connection still
//!   exists. A connection that ends gets a new version there, and every cached answer ends with it.
//! * **Expiry**: one list per timeout, examined from its front ([`ConnectionTable::next_due`]); lookups compare
//!   times themselves, so that a connection ends on the second, however late its memory is freed.
//! * **Growth**: the slab grows by chunks and the index by small segments, so that no packet waits for a table to
//!   be copied. Memory is bounded by the capacity given at the start.
//! * **Full**: who wants one more evicts the oldest that is not established ([`ConnectionTable::oldest`]).
//! * **Owners**: each connection counts towards one attachment. When that goes, its epoch changes, and what bears
//!   the old one is void at once, though it is freed bit by bit.

mod activity;
mod connection;
mod index;
mod owners;
mod slab;
mod table;
mod tcp;

pub use activity::{Activity, ConnectionRef};
pub use connection::{ConnectionEntry, ConnectionState, Timeouts};
pub use tcp::TcpState;

pub(crate) use connection::{Class, Connection, Kind, Side};
pub(crate) use index::Index;
pub(crate) use owners::Owners;
pub(crate) use slab::{Linked, Links, List, NONE, Slab};
pub(crate) use table::{ConnectionTable, OUTSIDE};
pub(crate) use tcp::Handshake;
