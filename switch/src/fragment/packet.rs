//! A packet in fragments: what tells it from others, which of its bytes were seen, and what its first fragment said.

use std::time::Duration;

use vswitch_wire::{Headers, Parsed};
use zerocopy::transmute;

use super::piece::Piece;
use super::track::Ingress;
use crate::drop_reason::DropReason;
use crate::time::Time;

/// Fragments of one packet at most: enough for the longest over links of 576 bytes.
pub(super) const MOST_PIECES: usize = 128;

/// What tells a packet's fragments from others, as words to be hashed.
pub(super) type Key = [u64; 8];

/// What is known of one packet.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) key: Key,
    pub(super) ingress: Ingress,
    /// When the first of its fragments to come came.
    pub(super) since: Time,
    pub(super) state: State,
    /// Where the packet ends, once its last fragment was seen.
    end: Option<u16>,
    /// What was seen, without overlaps, in order of arrival.
    pieces: Vec<(u16, u16)>,
    /// Only while waiting for the first.
    pub(super) held: Vec<Held>,
}

/// A fragment kept whole: the frame, and what parsing found.
pub(super) type Held = (Box<[u8]>, Parsed);

/// What keeping a frame takes, so that very short ones do not take more than their bytes say.
pub(super) fn cost(bytes: &[u8]) -> usize {
    bytes.len() + size_of::<Held>()
}

/// What becomes of its fragments.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// The first fragment has not come.
    Waiting,
    /// It has.
    Known(Lent),
    /// All that comes is dropped.
    Refused(DropReason),
}

/// What the later fragments are lent of the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    source_port: u16,
    destination_port: u16,
    protocol: u8,
}

/// Why a piece does not fit with those seen before.
pub(super) enum Misfit {
    Duplicate,
    Overlap,
    TooMany,
}

impl Packet {
    pub(super) fn new(key: Key, ingress: Ingress, now: Time) -> Self {
        let (pieces, held) = (Vec::new(), Vec::new());
        Self { key, ingress, since: now, state: State::Waiting, end: None, pieces, held }
    }

    /// A new packet in the place of one that is gone, whose memory for pieces stays.
    pub(super) fn begin(&mut self, key: Key, ingress: Ingress, now: Time) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        *self = Self { pieces, ..Self::new(key, ingress, now) };
    }

    pub(super) fn is_over(&self, now: Time, timeout: Duration) -> bool {
        now >= self.since.after(timeout)
    }

    /// Notes a piece, or says why it does not fit.
    pub(super) fn add(&mut self, piece: &Piece) -> Result<(), Misfit> {
        let (start, end) = (piece.start, piece.end);
        let known = self.pieces.contains(&(start, end));
        let known_as_last = self.end == Some(end);
        if known && piece.more != known_as_last {
            return Err(Misfit::Duplicate);
        }
        let overlaps = self.pieces.iter().any(|(s, e)| start < *e && *s < end);
        let beyond = self.end.is_some_and(|last| end > last);
        // Of two different ends either one is beyond the other or, being that of a piece, makes the other too early.
        let too_early = !piece.more && self.pieces.iter().any(|(_, e)| *e > end);
        if overlaps || beyond || too_early {
            return Err(Misfit::Overlap);
        }
        if self.pieces.len() >= MOST_PIECES {
            return Err(Misfit::TooMany);
        }
        self.pieces.push((start, end));
        if !piece.more {
            self.end = Some(end);
        }
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        let seen: usize = self.pieces.iter().map(|(start, end)| usize::from(end - start)).sum();
        self.end.is_some_and(|end| usize::from(end) == seen)
    }
}

impl Lent {
    pub(super) fn by(first: &Headers) -> Self {
        let Headers { source_port, destination_port, protocol, .. } = *first;
        Self { source_port, destination_port, protocol }
    }

    pub(super) fn enter(self, headers: &mut Headers) {
        headers.source_port = self.source_port;
        headers.destination_port = self.destination_port;
        headers.protocol = self.protocol;
    }
}

pub(super) fn key(ingress: Ingress, headers: &Headers, identification: u32) -> Key {
    let protocol = if headers.is_ipv4() { headers.protocol } else { 0 };
    let [a, b]: [u64; 2] = transmute!(headers.source_ip);
    let [c, d]: [u64; 2] = transmute!(headers.destination_ip);
    let place = u64::from(ingress.port.number()) << 16 | u64::from(ingress.network.number());
    let version = u64::from(headers.is_ipv6());
    [u64::from(identification) << 32 | place, u64::from(protocol) << 1 | version, a, b, c, d, 0, 0]
}
