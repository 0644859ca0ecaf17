//! The words in which the neighbour cache is asked and answers.

use std::net::IpAddr;

use vswitch_wire::MacAddr;

use crate::id::NetworkId;

/// Where an entry is in its life; see the [module](super).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Did not answer.
    Failed,
    /// Asked for, not answered yet.
    Incomplete,
    /// Known, not confirmed for a while, not in use.
    Stale,
    /// Known and confirmed.
    Reachable,
    /// Known, in use, about to be probed.
    Delay,
    /// Known, in use, being probed.
    Probe,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Failed, Self::Incomplete, Self::Stale, Self::Reachable, Self::Delay, Self::Probe];

    /// Whether answers given in this state may be in a flow cache.
    pub(super) fn in_use(self) -> bool {
        matches!(self, Self::Reachable | Self::Delay | Self::Probe)
    }

    /// Whether the address is known.
    pub(super) fn usable(self) -> bool {
        self.in_use() || self == Self::Stale
    }

    /// The name used in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
            Self::Stale => "stale",
            Self::Reachable => "reachable",
            Self::Delay => "delay",
            Self::Probe => "probe",
        }
    }
}

/// How much the cache holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborLimits {
    /// Entries in all.
    pub entries: usize,
    /// Entries of one network.
    pub per_network: usize,
    /// Incomplete entries of one network.
    pub incomplete: usize,
    /// Questions to everybody that one network may ask per second; half a second's worth at once.
    pub questions: u32,
    /// Frames held for one neighbour.
    pub held_per_neighbor: usize,
    /// Frames held in all.
    pub held_frames: usize,
    /// Bytes of the frames held in all; a network may have a quarter of it.
    pub held_bytes: usize,
}

impl Default for NeighborLimits {
    fn default() -> Self {
        Self {
            entries: 4096,
            per_network: 1024,
            incomplete: 256,
            questions: 100,
            held_per_neighbor: 3,
            held_frames: 1024,
            held_bytes: 1 << 20,
        }
    }
}

/// What is known of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Its MAC address.
    Known(MacAddr),
    /// Not known yet; the frame may be [held](super::Neighbors::hold).
    Pending {
        /// The caller is to ask for it, by broadcast or multicast, now.
        ask: bool,
    },
    /// It did not answer.
    Failed,
    /// There is no room to ask for one more.
    Limit,
}

/// How a neighbour's address was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sighting {
    /// In the answer to what we asked: an ARP reply to us, or an advertisement with the solicited flag.
    Solicited {
        /// It replaces another known address: the override flag; always with ARP.
        overrides: bool,
    },
    /// In any other packet that says so, such as a gratuitous one.
    Unsolicited {
        /// As above.
        overrides: bool,
    },
    /// As the sender of a request for one of our addresses.
    Request,
}

/// A question to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// On which network.
    pub network: NetworkId,
    /// Who has this address?
    pub address: IpAddr,
    /// Asked directly, to see whether it is still there; `None`: everybody is asked.
    pub unicast: Option<MacAddr>,
}

/// A neighbour, as shown to people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborEntry {
    /// The network it lives on.
    pub network: NetworkId,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, where known.
    pub mac: Option<MacAddr>,
    /// Where the entry is in its life.
    pub state: State,
    /// Seconds since it was last confirmed, or for one that never was, since it was made.
    pub age: u32,
}
