//! Network address translation: tuples in, translations out. No byte is touched here.
//!
//! # Theory of operation
//! [`Nat::translate`] is asked about the first packets of each direction of a flow and about every TCP segment with
//! SYN, FIN or RST; what it answers may be kept by a worker's flow cache where it says so, for as long as
//! [`Activity`] knows the connections it names. Workers share one `Nat` behind a lock.
//!
//! *From inside*, a packet belongs to a connection, or begins one: with a [mapping](mapping) of its endpoint to an
//! outside one (endpoint-independent by default, RFC 4787 REQ-1), with the 1:1 address of its own, or untranslated
//! where the network is routed. *From outside*, it belongs to a connection, or is for a mapping whose filter lets it
//! in, or for a published port, a 1:1 address or a published container of a routed network, in this order.
//! Otherwise it is dropped without an answer (RFC 5382 REQ-4).
//!
//! *A hairpin* is a packet from inside to one of our own addresses. It is translated as if it left, and then as if
//! it came in from outside: the recipient sees an external source (RFC 4787 REQ-9a), filters apply as to anybody,
//! and each half is a connection of its own. A half that is filtered leaves its first half in place, so that two
//! inside hosts can punch holes towards each other.
//!
//! **Bounds.** Connections in all, of each attachment, and TCP handshakes under way are limited. Where a limit is
//! met, transitory connections make room, an established one never does. Outside ports run out per address: what
//! is held or closing goes first, then new mappings are refused. All work per packet is bounded; what may take
//! longer, expiry and obeying new rules, is done by [`Nat::tend`] in steps of a size that its caller chooses.

mod admission;
mod errors;
mod host;
mod inbound;
mod mapping;
mod outbound;
mod peers;
mod pool;
mod publish;
mod rules;
mod tending;
#[cfg(test)]
mod tests;

pub use errors::TranslatedError;
pub use publish::{Publish, PublishError, Published, RuleCounters};
pub use rules::{
    Filtering, Mapping, NatMode, NatNetworks, NatRules, NetworkNat, OneToOne, OneToOneError, OneToOnes,
    OwnAddresses,
};

use std::ops::Range;
use std::sync::Arc;

use crate::address::{Endpoint, Tuple};
use crate::conntrack::{Activity, ConnectionEntry, ConnectionRef, ConnectionTable, Side};
use crate::drop_reason::DropReason;
use crate::hash::Seed;
use crate::id::{NetworkId, PortId};
use crate::time::Time;
use vswitch_wire::{IcmpHeader, Parsed, protocol};

use mapping::Mappings;
use peers::Peers;

/// Where a packet comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// An attachment, through its network's gateway.
    Inside {
        /// The network.
        network: NetworkId,
        /// The attachment.
        owner: PortId,
    },
    /// The uplink.
    Outside,
}

/// Which half of an ICMP query a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Query {
    /// It asks.
    Request,
    /// It answers.
    Reply,
}

/// What is to be known of a packet. Not for ICMP errors; see [`Nat::translate_error`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Its tuple. For ICMP queries, both ports are the identifier; without ports, both are 0.
    pub tuple: Tuple,
    /// TCP's flags; 0 for others.
    pub tcp_flags: u8,
    /// Whether it is an ICMP query.
    pub icmp_query: Option<Query>,
}

impl Packet {
    /// What is to be known of a parsed packet; none without IP, and for ICMP that is neither query nor error.
    pub fn of(parsed: &Parsed) -> Option<Self> {
        let headers = &parsed.headers;
        // The parser puts the type where other protocols have the destination port.
        let [kind, _] = headers.destination_port.to_be_bytes();
        let icmp_query = match (headers.protocol, kind) {
            (protocol::ICMP, IcmpHeader::ECHO_REQUEST) | (protocol::ICMPV6, IcmpHeader::ECHO_REQUEST_V6) => {
                Some(Query::Request)
            }
            (protocol::ICMP, IcmpHeader::ECHO_REPLY) | (protocol::ICMPV6, IcmpHeader::ECHO_REPLY_V6) => {
                Some(Query::Reply)
            }
            (protocol::ICMP | protocol::ICMPV6, _) => return None,
            _ => None,
        };
        Some(Self { tuple: Tuple::of(headers)?, tcp_flags: parsed.tcp_flags, icmp_query })
    }
}

/// What is to be done to a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translated {
    /// Its new source, if it changes. Ports may change for TCP, UDP and SCTP, whose checksums then do too. For
    /// ICMP the port of whatever changes is the new identifier.
    pub source: Option<Endpoint>,
    /// Its new destination, if it changes.
    pub destination: Option<Endpoint>,
    /// The network that the destination is on; `None`: outside.
    pub to: Option<NetworkId>,
    /// The connection it belongs to: an answer kept is void when this is gone, and each packet answered from it is
    /// to be [noted](Activity::touch).
    pub connection: ConnectionRef,
    /// The recipient's connection of a hairpin, to be treated the same.
    pub hairpin: Option<ConnectionRef>,
    /// Whether the answer may be kept for packets with the same tuple; for TCP, those without SYN, FIN and RST.
    pub cacheable: bool,
}

/// What became of one passage, from inside to outside or back.
#[derive(Clone, Copy, Debug)]
struct Passage {
    place: u32,
    connection: ConnectionRef,
    cacheable: bool,
    /// What the inside endpoint is called outside.
    public: Endpoint,
    inside: Endpoint,
    network: NetworkId,
    turns: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Nat {
    table: ConnectionTable,
    mappings: Mappings,
    peers: Peers,
    tending: tending::Progress,
}

impl Nat {
    /// For as many connections as there is room for in `activity`. The seed is to be random.
    pub fn new(activity: Arc<Activity>, seed: Seed) -> Self {
        let capacity = activity.capacity();
        Self {
            table: ConnectionTable::new(activity, seed),
            mappings: Mappings::new(capacity, seed),
            peers: Peers::new(capacity, seed),
            tending: tending::Progress::default(),
        }
    }

    /// How a packet is to be changed and where it goes.
    ///
    /// # Errors
    /// `NoTransport`, `NotAConnection`, `NoRoute` (the network has no way out), `NoExternalAddress`,
    /// `NoExternalPort`, `ConnectionLimit`, `ConnectionTableFull`, `Filtered`, `NotPublished`.
    pub fn translate(
        &mut self,
        rules: &NatRules,
        origin: Origin,
        packet: &Packet,
        now: Time,
    ) -> Result<Translated, DropReason> {
        let now = now.seconds();
        let Origin::Inside { network, owner } = origin else {
            return Ok(self.inbound(rules, packet, None, now)?.entering());
        };
        let left = self.outbound(rules, network, owner, packet, now)?;
        if !left.turns {
            return Ok(left.leaving());
        }
        let tuple = left.outside_of(packet.tuple);
        let entered = self.inbound(rules, &Packet { tuple, ..*packet }, Some(left.place), now)?;
        Ok(left.hairpin(&entered, &packet.tuple))
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it occupies for connections, in bytes, what [`Activity`] has of them included: memory that was touched
    /// once, since little is given back.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.mappings.bytes() + self.peers.bytes()
    }

    /// Every connection, in no order.
    pub fn entries<'a>(&'a self, rules: &'a NatRules, now: Time) -> impl Iterator<Item = ConnectionEntry> {
        self.entries_at(0..self.places(), rules, now)
    }

    /// How many places for connections there are by now. A connection stays in its place for as long as it lives.
    pub fn places(&self) -> u32 {
        self.table.places()
    }

    /// The connections in some places, in no order. For who lists a table that others wait for: place by place
    /// as many as may be looked at in one go.
    pub fn entries_at<'a>(
        &'a self,
        places: Range<u32>,
        rules: &'a NatRules,
        now: Time,
    ) -> impl Iterator<Item = ConnectionEntry> {
        let (now, timeouts) = (now.seconds(), &rules.timeouts);
        (places.start..places.end.min(self.places())).filter_map(move |place| {
            let connection = self.table.at(place)?;
            let over = self.table.over(place, timeouts, now);
            (!over).then(|| ConnectionEntry::new(connection, self.table.idle(place, now), timeouts))
        })
    }

    /// The attachment is gone, and what comes next under its number is another: its connections and mappings are
    /// void at once. Their memory is freed by [`tend`](Self::tend), which also ends what caches keep of them.
    pub fn remove_owner(&mut self, owner: PortId) {
        self.table.end_owner(owner);
        self.tending.begin();
    }
}

impl Passage {
    /// The tuple of the packet outside. ICMP has one identifier for both.
    fn outside_of(&self, inside: Tuple) -> Tuple {
        let mut tuple = Tuple { source: self.public, ..inside };
        if is_query(tuple.protocol) {
            tuple.destination.port = self.public.port;
        }
        tuple
    }

    fn leaving(&self) -> Translated {
        Translated {
            source: (self.public != self.inside).then_some(self.public),
            destination: None,
            to: None,
            connection: self.connection,
            hairpin: None,
            cacheable: self.cacheable,
        }
    }

    fn entering(&self) -> Translated {
        Translated {
            source: None,
            destination: (self.public != self.inside).then_some(self.inside),
            to: Some(self.network),
            ..self.leaving()
        }
    }

    fn hairpin(&self, entered: &Self, before: &Tuple) -> Translated {
        let mut source = self.public;
        if is_query(before.protocol) {
            source.port = entered.inside.port;
        }
        Translated {
            source: (source != before.source).then_some(source),
            hairpin: Some(entered.connection),
            cacheable: self.cacheable && entered.cacheable,
            ..Self { connection: self.connection, ..*entered }.entering()
        }
    }
}

/// The key of a packet from this side: ICMP's one identifier counts as the port of the inside endpoint.
fn key(tuple: Tuple, side: Side) -> Tuple {
    let mut key = tuple;
    if is_query(tuple.protocol) {
        match side {
            Side::Inside => key.destination.port = 0,
            Side::Outside => key.source.port = 0,
        }
    }
    key
}

fn is_query(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

/// Whether connections of the protocol are told apart by ports or identifiers.
fn has_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP) || is_query(number)
}
