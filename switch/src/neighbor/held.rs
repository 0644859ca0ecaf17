//! Frames that wait for a neighbour to answer, and the bounds on them.

use std::collections::VecDeque;

use super::NeighborLimits;
use crate::drop_reason::DropReason;
use crate::id::PortId;
use crate::offload::OffloadHeader;

/// A frame that waits for a neighbour's MAC address, complete but for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The port it came from, on which it is counted if it is dropped.
    pub ingress: PortId,
    /// Its bytes, from the destination MAC address on.
    pub frame: Box<[u8]>,
    /// Its offload header, validated.
    pub offload: OffloadHeader,
}

/// What is held in all, and the frames that are lost but not reported yet, which count as held.
#[derive(Debug)]
pub(super) struct Holding {
    limits: NeighborLimits,
    frames: usize,
    bytes: usize,
    lost: Vec<(Held, DropReason)>,
}

impl Holding {
    pub(super) fn new(limits: NeighborLimits) -> Self {
        Self { limits, frames: 0, bytes: 0, lost: Vec::new() }
    }

    /// Adds a frame to its neighbour's queue and answers the one that is dropped for it, if any. `of_network` is
    /// the bytes held for all neighbours of the network.
    pub(super) fn hold(
        &mut self,
        queue: &mut VecDeque<Held>,
        of_network: &mut usize,
        held: Held,
    ) -> Option<Held> {
        let replaced = queue.len() >= self.limits.held_per_neighbor;
        let (freed_frames, freed) = match queue.front() {
            Some(oldest) if replaced => (1, oldest.frame.len()),
            _ => (0, 0),
        };
        let length = held.frame.len();
        let fits = self.frames - freed_frames < self.limits.held_frames
            && self.bytes - freed + length <= self.limits.held_bytes
            && *of_network - freed + length <= self.limits.held_bytes / 4;
        if !fits {
            return Some(held);
        }
        let oldest = if replaced { queue.pop_front() } else { None };
        queue.push_back(held);
        self.frames = self.frames - freed_frames + 1;
        self.bytes = self.bytes - freed + length;
        *of_network = *of_network - freed + length;
        oldest
    }

    /// The neighbour answered: its frames move to `release`, oldest first.
    pub(super) fn release(
        &mut self,
        queue: &mut VecDeque<Held>,
        of_network: &mut usize,
        release: &mut Vec<Held>,
    ) {
        for held in queue.drain(..) {
            self.forgo(&held);
            *of_network -= held.frame.len();
            release.push(held);
        }
    }

    /// The neighbour will not answer: its frames are to be reported.
    pub(super) fn lose(&mut self, queue: &mut VecDeque<Held>, of_network: &mut usize, reason: DropReason) {
        for held in queue.drain(..) {
            *of_network -= held.frame.len();
            self.lost.push((held, reason));
        }
    }

    /// Drops what came from a port.
    pub(super) fn discard(&mut self, queue: &mut VecDeque<Held>, of_network: &mut usize, port: PortId) {
        queue.retain(|held| {
            let stays = held.ingress != port;
            if !stays {
                self.frames -= 1;
                self.bytes -= held.frame.len();
                *of_network -= held.frame.len();
            }
            stays
        });
    }

    /// Whether there is something to report.
    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Reports lost frames.
    pub(super) fn report(&mut self, lost: &mut impl FnMut(Held, DropReason)) {
        for (held, reason) in std::mem::take(&mut self.lost) {
            self.forgo(&held);
            lost(held, reason);
        }
    }

    fn forgo(&mut self, held: &Held) {
        self.frames -= 1;
        self.bytes -= held.frame.len();
    }

    /// Frames and bytes held, those to be reported included.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.frames, self.bytes)
    }
}
