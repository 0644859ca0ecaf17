//! The one end of every frame.

use crate::drop_reason::DropReason;
use crate::id::PortId;

/// What becomes of a frame. The slow path answers exactly one; [`Verdict::Forward`] may be cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To one port.
    Forward(PortId),
    /// To every other port of the network that is up.
    Flood,
    /// Nowhere, for this reason.
    Drop(DropReason),
}
