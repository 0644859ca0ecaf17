//! New connections: who may have one, and what makes room for it.

use crate::address::Tuple;
use crate::conntrack::{Class, Connection, Handshake, Kind, Links, NONE, OUTSIDE, Side};
use crate::drop_reason::DropReason;
use crate::id::{NetworkId, PortId};
use vswitch_wire::protocol;

use super::rules::NatRules;
use super::{Nat, Packet, Passage, Query};
use crate::address::Endpoint;

/// A connection to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) inside: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) public: Endpoint,
    pub(super) network: NetworkId,
    pub(super) owner: PortId,
    pub(super) kind: Kind,
    /// For [`Kind::Mapped`].
    pub(super) mapping: Option<u32>,
    pub(super) initiator: Side,
    /// Whether what leaves comes back in.
    pub(super) turns: bool,
}

impl Nat {
    /// The passage of a packet that belongs to a connection; none when there is none, any more.
    pub(super) fn follow(
        &mut self,
        rules: &NatRules,
        realm: u16,
        key: &Tuple,
        packet: &Packet,
        now: u32,
    ) -> Option<Passage> {
        let (place, side) = self.table.find(realm, key)?;
        if self.table.over(place, &rules.timeouts, now) {
            self.remove(place, now);
            return None;
        }
        self.table.advance(place, side, packet.tcp_flags, now);
        self.passage(place, side)
    }

    /// Makes a connection of a packet's candidate.
    ///
    /// # Errors
    /// `ConnectionTableFull`; `NoExternalPort` when one side would not tell it from another that is in use.
    pub(super) fn connect(
        &mut self,
        rules: &NatRules,
        candidate: &Candidate,
        packet: &Packet,
        now: u32,
    ) -> Result<Passage, DropReason> {
        let mut connection = Connection {
            inside: candidate.inside,
            remote: candidate.remote,
            public: candidate.public,
            links: Links::NONE,
            peers: Links::NONE,
            mapping: candidate.mapping.unwrap_or(NONE),
            queued: now,
            network: candidate.network,
            owner: candidate.owner,
            epoch: 0,
            protocol: packet.tuple.protocol,
            family: packet.tuple.family,
            kind: candidate.kind,
            initiator: candidate.initiator,
            answered: false,
            turns: candidate.turns,
            class: Class::Free,
            tcp: Handshake::default(),
        };
        connection.advance(candidate.initiator, packet.tcp_flags);
        self.resolve_clash(rules, &connection, now)?;
        let place = self.table.insert(connection, now).ok_or(DropReason::ConnectionTableFull)?;
        if let Some(mapping) = candidate.mapping {
            self.mappings.use_by_one(mapping);
            if candidate.initiator == Side::Inside {
                self.peers.join(&mut self.table, &mut self.mappings, place);
            }
        }
        self.passage(place, candidate.initiator).ok_or(DropReason::ConnectionTableFull)
    }

    /// The side that the first packet came from has no such connection, or the packet would be of it. Where the
    /// other side has one, and it is transitory, it goes: such come about when a client uses one port for two
    /// published ports of the same container port, or when rules change.
    fn resolve_clash(&mut self, rules: &NatRules, new: &Connection, now: u32) -> Result<(), DropReason> {
        let (realm, side) = match new.initiator {
            Side::Inside => (OUTSIDE, Side::Outside),
            Side::Outside => (new.network.number(), Side::Inside),
        };
        let Some((place, _)) = self.table.find(realm, &new.tuple(side)) else { return Ok(()) };
        let transitory = self.table.at(place).is_none_or(|old| old.class.transitory());
        if !transitory && !self.table.over(place, &rules.timeouts, now) {
            return Err(DropReason::NoExternalPort);
        }
        self.remove(place, now);
        Ok(())
    }

    /// Removes a connection and what depends on it.
    pub(super) fn remove(&mut self, place: u32, now: u32) {
        let mapping = self.table.at(place).map(|connection| connection.mapping);
        if let Some(mapping) = mapping.filter(|mapping| *mapping != NONE) {
            self.peers.leave(&mut self.table, &mut self.mappings, place);
            self.mappings.leave_by_one(mapping, now);
        }
        self.table.remove(place);
    }

    /// Makes room for one more connection of the attachment, though not at the cost of `keep`: a hairpin's first
    /// half, when it is about the second.
    ///
    /// # Errors
    /// `ConnectionLimit`, `ConnectionTableFull`.
    pub(super) fn admit(
        &mut self,
        rules: &NatRules,
        owner: PortId,
        number: u8,
        keep: Option<u32>,
        now: u32,
    ) -> Result<(), DropReason> {
        if self.table.owners.connections(owner) >= rules.limit(owner) {
            // A flood of SYN to a published port uses the container's share: it evicts its own.
            let own = self
                .table
                .near_front(Class::HalfOpen, |place, old| old.owner == owner && Some(place) != keep);
            self.remove(own.ok_or(DropReason::ConnectionLimit)?, now);
        }
        if number == protocol::TCP && self.table.count(Class::HalfOpen) >= rules.max_half_open {
            let oldest = self.table.oldest_of(Class::HalfOpen, keep);
            self.remove(oldest.ok_or(DropReason::ConnectionTableFull)?, now);
        }
        if self.table.len() >= rules.max_connections.min(self.table.capacity()) {
            let oldest = self.table.oldest(keep);
            self.remove(oldest.ok_or(DropReason::ConnectionTableFull)?, now);
        }
        Ok(())
    }

    fn passage(&self, place: u32, side: Side) -> Option<Passage> {
        let connection = self.table.at(place)?;
        Some(Passage {
            place,
            connection: self.table.reference(place, side),
            cacheable: connection.cacheable(),
            public: connection.public,
            inside: connection.inside,
            network: connection.network,
            turns: connection.turns,
        })
    }
}

/// Whether a packet may begin a connection.
///
/// # Errors
/// `NotAConnection`, `NoTransport`.
pub(super) fn begins(packet: &Packet) -> Result<(), DropReason> {
    let begins = match (packet.tuple.protocol, packet.icmp_query) {
        (protocol::TCP, _) => Handshake::begins_with(packet.tcp_flags),
        (protocol::ICMP | protocol::ICMPV6, Some(query)) => query == Query::Request,
        (protocol::ICMP | protocol::ICMPV6, None) => return Err(DropReason::NoTransport),
        _ => true,
    };
    if begins { Ok(()) } else { Err(DropReason::NotAConnection) }
}
