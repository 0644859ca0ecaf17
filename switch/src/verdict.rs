//! The one end of every frame.

use crate::drop_reason::DropReason;
use crate::id::{NetworkId, PortId};

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To one port.
    Forward(PortId),
    /// To every other port of the network that is up.
    Flood,
    /// To the network's router, which decides where it goes on.
    Route,
    /// Routed, and rewritten for its next hop: to this port.
    Routed(PortId),
    /// Routed, rewritten, and longer than its way on: in pieces of at most `mtu` bytes to this port.
    Fragmented {
        /// Where to.
        egress: PortId,
        /// The longest packet, in bytes.
        mtu: u16,
    },
    /// Routed and rewritten for a station of this network that no port is known to lead to: to every port.
    RoutedFlood(NetworkId),
    /// The gateway took it in; what it answers is written.
    Taken,
    /// Kept until the next hop or the rest of its packet is known; it walks again then.
    Held,
    /// Nowhere, for this reason.
    Drop(DropReason),
}
