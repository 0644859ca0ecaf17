//! Virtual reassembly: every fragment of a packet is treated as its first.
//!
//! # Theory of operation
//! Each packet that is in fragments has a place from its first one seen until all were, or until the timeout. The
//! place keeps the ports of the first fragment, which later ones are lent ([`Fate::Pass`]); those that come before it
//! are kept whole (RFC 4787 REQ-14 wants them in any order) and leave right behind it. It also keeps which bytes were
//! seen, since fragments that overlap are how filters are deceived: the packet is refused from then on (RFC 5722,
//! RFC 8200 §4.5; RFC 3128 for IPv4). An exact duplicate is dropped alone. First fragments too short for their ports
//! the parser refuses (RFC 1858).
//!
//! A packet is told by the port and network it comes from, its addresses, its identification and, in IPv4, its protocol
//! (RFC 791; RFC 8200 §4.5 leaves it out, and a later fragment names another one where destination options follow).
//! With the port in it, no port can spoil a packet of another's.
//!
//! * **Bounds**: places, bytes kept, fragments of one packet, and time. A fragment is looked up by scanning tags of
//!   eight bytes, which for 256 places is two kilobytes.
//! * **Full**: the port with the most gives up its oldest, counting what is being asked for. So a port that
//!   begins packets and never ends them takes places from itself as soon as others want some.

use std::time::Duration;

use vswitch_wire::{Fragment, Parsed};

use super::packet::{Key, Lent, Misfit, Packet, State, cost, key};
use super::piece::Piece;
use crate::drop_reason::DropReason;
use crate::hash::Seed;
use crate::id::{NetworkId, PortId};
use crate::time::Time;

/// How much is kept, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentLimits {
    /// Packets of which some fragments were seen and others not.
    pub packets: usize,
    /// Bytes of fragments that wait for their first one, what keeping each takes included.
    pub bytes: usize,
    /// From a packet's first fragment seen; hosts give up after 15 s to 60 s (RFC 791, RFC 8200 §4.5), and what is out
    /// of order comes within milliseconds.
    pub timeout: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self { packets: 256, bytes: 1024 * 1024, timeout: Duration::from_secs(2) }
    }
}

/// Where a frame came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ingress {
    /// The port.
    pub port: PortId,
    /// The network on it.
    pub network: NetworkId,
}

/// What is to be done with a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Treat it by its headers: a later one now has the ports and the protocol of the first.
    Pass,
    /// A copy is kept until the first fragment comes; the frame is done with.
    Held,
}

/// A fragment that was kept and is no longer.
#[derive(Debug)]
pub struct Leaving {
    /// Where it came from.
    pub ingress: Ingress,
    /// The frame. Fragments have no offload header.
    pub bytes: Box<[u8]>,
    /// What parsing found; when it may go on, with the ports and the protocol of the first.
    pub parsed: Parsed,
    /// Whether it goes on, or why not.
    pub fate: Result<(), DropReason>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct FragmentTracker {
    limits: FragmentLimits,
    seed: Seed,
    /// One per place: a hash of the packet's key with the lowest bit set, 0 when the place is free.
    tags: Vec<u64>,
    packets: Vec<Packet>,
    occupied: usize,
    held_bytes: usize,
    /// By port index; grows once when a port with a higher number first sends a fragment.
    shares: Vec<Share>,
}

/// What one port takes up.
#[derive(Clone, Copy, Default, Debug)]
struct Share {
    packets: usize,
    bytes: usize,
}

impl FragmentTracker {
    /// An empty tracker; memory is taken as packets come.
    pub fn new(limits: FragmentLimits, seed: Seed) -> Self {
        Self {
            limits,
            seed,
            tags: Vec::new(),
            packets: Vec::new(),
            occupied: 0,
            held_bytes: 0,
            shares: Vec::new(),
        }
    }

    /// How many packets are in fragments.
    pub fn len(&self) -> usize {
        self.occupied
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Bytes of fragments that wait for their first one, counted as [`FragmentLimits::bytes`].
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes a fragment that passed the guard and the IPv4 header's checksum, and appends to `leaving` those that need be kept no longer: behind a first fragment its
    /// packet's others, to be treated after it; and what had to make room, with the reason to drop it for.
    ///
    /// # Errors
    /// [`DropReason::FragmentUneven`], [`DropReason::FragmentOverlap`], [`DropReason::FragmentLimit`], or
    /// [`DropReason::NoTransport`] when it is no fragment.
    pub fn offer(
        &mut self,
        ingress: Ingress,
        bytes: &[u8],
        parsed: &mut Parsed,
        now: Time,
        leaving: &mut Vec<Leaving>,
    ) -> Result<Fate, DropReason> {
        let piece = Piece::of(bytes, parsed)?;
        let key = key(ingress, &parsed.headers, piece.identification);
        let place = self.place(&key, ingress, now, leaving)?;
        let packet = &mut self.packets[place];
        if let State::Refused(reason) = packet.state {
            return Err(reason);
        }
        match packet.add(&piece) {
            Ok(()) => {}
            Err(Misfit::Duplicate) => return Err(DropReason::FragmentOverlap),
            Err(Misfit::Overlap) => return Err(self.refuse(place, DropReason::FragmentOverlap, leaving)),
            Err(Misfit::TooMany) => return Err(self.refuse(place, DropReason::FragmentLimit, leaving)),
        }
        if parsed.headers.fragment == Fragment::FIRST {
            packet.state = State::Known(Lent::by(&parsed.headers));
            self.empty(place, Ok(()), leaving);
        } else if let State::Known(lent) = packet.state {
            lent.enter(&mut parsed.headers);
        } else {
            return self.hold(place, bytes, parsed, leaving);
        }
        if self.packets[place].is_complete() {
            self.free(place);
        }
        Ok(Fate::Pass)
    }

    /// Forgets packets whose time has passed, and appends what was kept of them to `leaving`. One call looks at every
    /// place.
    pub fn expire(&mut self, now: Time, leaving: &mut Vec<Leaving>) {
        for place in 0..self.packets.len() {
            if self.tags[place] != 0 && self.packets[place].is_over(now, self.limits.timeout) {
                self.empty(place, Err(DropReason::FragmentTimeout), leaving);
                self.free(place);
            }
        }
    }

    /// When [`expire`](Self::expire) next has something to do.
    pub fn next_expiry(&self) -> Option<Time> {
        let since = self.occupied().map(|place| self.packets[place].since).min();
        since.map(|since| since.after(self.limits.timeout))
    }

    /// Forgets packets from a port that is gone.
    pub fn forget_port(&mut self, port: PortId, leaving: &mut Vec<Leaving>) {
        for place in 0..self.packets.len() {
            if self.tags[place] != 0 && self.packets[place].ingress.port == port {
                self.empty(place, Err(DropReason::NoNetwork), leaving);
                self.free(place);
            }
        }
    }

    fn occupied(&self) -> impl Iterator<Item = usize> {
        self.tags.iter().enumerate().filter(|(_, tag)| **tag != 0).map(|(place, _)| place)
    }

    /// The place of a packet: its own, or one made free for it.
    fn place(
        &mut self,
        key: &Key,
        ingress: Ingress,
        now: Time,
        leaving: &mut Vec<Leaving>,
    ) -> Result<usize, DropReason> {
        let tag = self.seed.hash_words(key) | 1;
        let found =
            self.tags.iter().zip(&self.packets).position(|(t, packet)| *t == tag && packet.key == *key);
        match found {
            Some(place) if !self.packets[place].is_over(now, self.limits.timeout) => return Ok(place),
            Some(place) => {
                self.empty(place, Err(DropReason::FragmentTimeout), leaving);
                self.free(place);
            }
            None => {}
        }
        if self.occupied >= self.limits.packets {
            let place = self
                .heaviest(|share| share.packets, ingress.port, 1, |_| true)
                .ok_or(DropReason::FragmentLimit)?;
            self.empty(place, Err(DropReason::FragmentLimit), leaving);
            self.free(place);
        }
        let place = self.tags.iter().position(|tag| *tag == 0).unwrap_or(self.tags.len());
        if place == self.tags.len() {
            self.tags.push(0);
            self.packets.push(Packet::new(*key, ingress, now));
        } else {
            self.packets[place].begin(*key, ingress, now);
        }
        self.tags[place] = tag;
        self.occupied += 1;
        self.share(ingress.port).packets += 1;
        Ok(place)
    }

    /// Keeps a fragment until its first comes.
    fn hold(
        &mut self,
        place: usize,
        bytes: &[u8],
        parsed: &Parsed,
        leaving: &mut Vec<Leaving>,
    ) -> Result<Fate, DropReason> {
        let port = self.packets[place].ingress.port;
        let cost = cost(bytes);
        while self.held_bytes + cost > self.limits.bytes {
            let heaviest = self.heaviest(|share| share.bytes, port, cost, |packet| !packet.held.is_empty());
            match heaviest {
                // Its fragment that is not kept will not come again: the packet is lost.
                None => return Err(self.refuse(place, DropReason::FragmentLimit, leaving)),
                Some(own) if own == place => {
                    return Err(self.refuse(place, DropReason::FragmentLimit, leaving));
                }
                Some(other) => {
                    self.refuse(other, DropReason::FragmentLimit, leaving);
                }
            }
        }
        self.packets[place].held.push((bytes.into(), *parsed));
        self.held_bytes += cost;
        self.share(port).bytes += cost;
        Ok(Fate::Held)
    }

    /// The oldest packet, of those that `counts`, of the port with the most; `port` is counted as if it had `more`.
    fn heaviest(
        &self,
        weight: impl Fn(&Share) -> usize,
        port: PortId,
        more: usize,
        counts: impl Fn(&Packet) -> bool,
    ) -> Option<usize> {
        let weight = |packet: &Packet| {
            let share = self.shares.get(packet.ingress.port.index()).map_or(0, &weight);
            share + if packet.ingress.port == port { more } else { 0 }
        };
        self.occupied().filter(|place| counts(&self.packets[*place])).max_by_key(|place| {
            let packet = &self.packets[*place];
            (weight(packet), std::cmp::Reverse(packet.since))
        })
    }

    /// Drops what was kept of a packet and all of it that is still to come. Answers the reason.
    fn refuse(&mut self, place: usize, reason: DropReason, leaving: &mut Vec<Leaving>) -> DropReason {
        self.packets[place].state = State::Refused(reason);
        self.empty(place, Err(reason), leaving);
        reason
    }

    /// Lets go of what was kept of a packet.
    fn empty(&mut self, place: usize, fate: Result<(), DropReason>, leaving: &mut Vec<Leaving>) {
        let packet = &mut self.packets[place];
        let ingress = packet.ingress;
        let mut freed = 0;
        for (bytes, mut parsed) in std::mem::take(&mut packet.held) {
            freed += cost(&bytes);
            if let State::Known(lent) = packet.state {
                lent.enter(&mut parsed.headers);
            }
            leaving.push(Leaving { ingress, bytes, parsed, fate });
        }
        self.held_bytes -= freed;
        self.share(ingress.port).bytes -= freed;
    }

    /// Makes the place of an emptied packet free.
    fn free(&mut self, place: usize) {
        self.tags[place] = 0;
        self.occupied -= 1;
        let port = self.packets[place].ingress.port;
        self.share(port).packets -= 1;
    }

    fn share(&mut self, port: PortId) -> &mut Share {
        if self.shares.len() <= port.index() {
            self.shares.resize(port.index() + 1, Share::default());
        }
        &mut self.shares[port.index()]
    }
}

#[cfg(test)]
mod tests;
