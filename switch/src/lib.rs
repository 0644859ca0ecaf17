//! The dataplane: frames in, verdicts out.
//!
//! A [`Shard`] is one worker's share of the switch. It receives batches from its [`Device`]s, decides each
//! frame's [`Verdict`] with the help of its flow cache, and transmits; everything it reads is either its own
//! or in an immutable [`Tables`] snapshot. Nothing here opens a socket, reads a clock, starts a thread or
//! logs: time, randomness and tables are arguments, and a frame's whole way can be walked in a unit test.
//!
//! The way of a frame, and where to read about each step:
//!
//! | step | module |
//! |---|---|
//! | a device receives a batch into pooled buffers | [`device`], [`frame`] |
//! | the offload header is checked against the bytes | [`offload`] |
//! | a known flow is answered from the cache | [`flow`] |
//! | the guard refuses spoofed sources | [`guard`] |
//! | the gateway answers what is asked of it | [`gateway`] |
//! | the bridge learns and looks up | [`bridge`], [`fdb`], [`storm`], [`parent`] |
//! | a packet for the gateway walks the stages of layer 3 | [`router`], [`stage`] |
//! | later fragments get the ports of their first | [`fragment`] |
//! | connections are tracked and translated | [`conntrack`], [`nat`] |
//! | its way on is looked up | [`route`], [`neighbor`] |
//! | addresses, ports and hops are rewritten | [`rewrite`], [`quoted`], [`clamp`] |
//! | the verdict is counted | [`verdict`], [`drop_reason`], [`counters`] |
//! | same-flow neighbours become super-frames | [`coalesce`] |
//! | an egress without offloads gets plain frames | [`segment`] |
//!
//! Tests, benches and fuzzing walk the same way with the devices of [`memory`].

pub mod address;
pub mod bridge;
mod bucket;
pub mod clamp;
pub mod coalesce;
pub mod conntrack;
pub mod counters;
pub mod device;
pub mod drop_reason;
pub mod fdb;
pub mod flow;
pub mod fragment;
pub mod frame;
pub mod gateway;
pub mod guard;
pub mod hash;
pub mod id;
pub mod memory;
pub mod nat;
pub mod neighbor;
pub mod offload;
pub mod parent;
pub mod quoted;
pub mod rewrite;
pub mod route;
pub mod router;
pub mod segment;
pub mod shard;
pub mod stage;
pub mod storm;
pub mod tables;
pub mod time;
pub mod verdict;

pub use address::{Address, Endpoint, Family, Tuple};
pub use counters::{NetworkCounters, PortCounters};
pub use device::{Device, DeviceError, Received, TransmitError};
pub use drop_reason::DropReason;
pub use fragment::FragmentTracker;
pub use frame::{Frame, Pool};
pub use id::{NetworkId, PortId};
pub use offload::{OffloadHeader, Offloads};
pub use quoted::{ErrorTranslation, Quoted};
pub use rewrite::{Hop, Side, Translation};
pub use shard::{Serviced, Shard};
pub use stage::Stage;
pub use tables::Tables;
pub use time::Time;
pub use verdict::Verdict;
