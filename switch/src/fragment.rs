//! Fragments of IP packets on their way through a router.
//!
//! Only a packet's first fragment has ports, and NAT and policy go by ports: [`FragmentTracker`] lends them to the
//! others, which is reassembly without putting anything together ("virtual"). [`split()`] makes fragments, where a packet
//! that allows it is too long for its way on.

mod packet;
mod piece;
mod split;
mod track;

pub use split::split;
pub use track::{Fate, FragmentLimits, FragmentTracker, Ingress, Leaving};
