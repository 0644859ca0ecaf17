//! Counters: written by one worker, read by anyone.
//!
//! Each worker has a set of its own per port and per network, so an addition is a plain load and store (the
//! atomics are relaxed and there is one writer) on a line no other worker writes. Readers add the workers' sets
//! up; a reading is not a snapshot of one moment, but no count is ever lost.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam::utils::CachePadded;

use crate::drop_reason::DropReason;

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds, from the one thread that writes.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The count so far.
    #[inline]
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counted on one port. "Received" is from the port's point of view of the switch: frames the
/// container sent. A super-frame counts as one frame.
#[derive(Debug)]
pub struct PortCounters {
    traffic: CachePadded<Traffic>,
    drops: Box<[Counter]>,
}

/// Frames and bytes both ways.
#[derive(Debug, Default)]
struct Traffic {
    received_frames: Counter,
    received_bytes: Counter,
    sent_frames: Counter,
    sent_bytes: Counter,
    coalesced_frames: Counter,
}

impl Default for PortCounters {
    fn default() -> Self {
        let drops = (0..DropReason::COUNT).map(|_| Counter::default()).collect();
        Self { traffic: CachePadded::default(), drops }
    }
}

impl PortCounters {
    /// Counts a received batch.
    #[inline]
    pub fn received(&self, frames: u64, bytes: u64) {
        self.traffic.received_frames.add(frames);
        self.traffic.received_bytes.add(bytes);
    }

    /// Counts one device write that carried `frames` frames as one.
    #[inline]
    pub fn sent(&self, frames: u64, bytes: u64) {
        self.traffic.sent_frames.add(frames);
        self.traffic.sent_bytes.add(bytes);
        if frames > 1 {
            self.traffic.coalesced_frames.add(frames);
        }
    }

    /// Counts drops: of frames this port sent, or, for the `egress-` reasons and `exceeds-mtu`, of frames meant
    /// for it. `egress-down` counts on the port that sent the frame where the other has no counters any more.
    #[inline]
    pub fn dropped(&self, reason: DropReason, frames: u64) {
        self.drops[reason.index()].add(frames);
    }

    /// Adds what was counted here to `total`.
    pub fn add_to(&self, total: &mut PortTotals) {
        total.received_frames += self.traffic.received_frames.read();
        total.received_bytes += self.traffic.received_bytes.read();
        total.sent_frames += self.traffic.sent_frames.read();
        total.sent_bytes += self.traffic.sent_bytes.read();
        total.coalesced_frames += self.traffic.coalesced_frames.read();
        for (sum, counter) in total.drops.iter_mut().zip(&self.drops) {
            *sum += counter.read();
        }
    }
}

/// The workers' [`PortCounters`] added up.
#[derive(Clone, Debug)]
pub struct PortTotals {
    /// Frames the port sent into the switch.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames the switch sent to the port.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// How many of the sent frames travelled in a super-frame the switch made of them.
    pub coalesced_frames: u64,
    drops: Vec<u64>,
}

impl Default for PortTotals {
    fn default() -> Self {
        Self {
            received_frames: 0,
            received_bytes: 0,
            sent_frames: 0,
            sent_bytes: 0,
            coalesced_frames: 0,
            drops: vec![0; DropReason::COUNT],
        }
    }
}

impl PortTotals {
    /// The reasons that occurred, with their counts.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::all().zip(self.drops.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// All drops together.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }
}

/// What one worker counted on one network. Of `unicast`, `broadcast`, `multicast`, `unknown_unicast` and
/// `flow_hits`, each frame that was not dropped on its way in counts in exactly one.
#[derive(Debug, Default)]
pub struct NetworkCounters {
    /// Frames sent to one port by the stages; those the flow cache answered are [`flow_hits`](Self::flow_hits).
    pub unicast: Counter,
    /// Broadcast frames flooded.
    pub broadcast: Counter,
    /// Multicast frames flooded.
    pub multicast: Counter,
    /// Frames flooded because nobody is known to have their destination.
    pub unknown_unicast: Counter,
    /// MAC addresses learned.
    pub learned: Counter,
    /// MAC addresses that moved to another port.
    pub moved: Counter,
    /// MAC addresses not learned because the table, or the port's share of it, was full.
    pub not_learned: Counter,
    /// Frames answered by the flow cache.
    pub flow_hits: Counter,
    /// Frames that walked the stages.
    pub flow_misses: Counter,
}

impl NetworkCounters {
    /// Every counter with the name it has in output.
    pub fn named(&self) -> [(&'static str, &Counter); 9] {
        [
            ("unicast", &self.unicast),
            ("broadcast", &self.broadcast),
            ("multicast", &self.multicast),
            ("unknown_unicast", &self.unknown_unicast),
            ("learned", &self.learned),
            ("moved", &self.moved),
            ("not_learned", &self.not_learned),
            ("flow_hits", &self.flow_hits),
            ("flow_misses", &self.flow_misses),
        ]
    }
}
