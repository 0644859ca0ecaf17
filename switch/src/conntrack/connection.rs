//! One connection: who talks to whom under which names, and how long it may be silent.

use crate::address::{Endpoint, Family, Tuple};
use crate::id::{NetworkId, PortId};
use vswitch_wire::protocol;

use super::slab::{Linked, Links};
use super::tcp::{Handshake, TcpState};

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// The attachment's.
    Inside,
    /// Anybody's.
    Outside,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

/// By which rule a connection passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A port mapping made for it or before.
    Mapped,
    /// A published port.
    Published,
    /// An address that stands for another.
    OneToOne,
    /// A protocol without ports, behind a shared address.
    Portless,
    /// No translation.
    Routed,
}

/// Connections that are kept equally long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// TCP before both sides acknowledged.
    HalfOpen,
    /// TCP after both sides' FIN, or after RST.
    Closing,
    /// TCP in between.
    Established,
    /// Of a protocol without a handshake, not answered yet.
    Unanswered,
    /// UDP and SCTP, answered.
    Datagram,
    /// UDP from inside to port 53.
    Domain,
    /// ICMP queries.
    Query,
    /// Any other protocol, answered.
    Other,
    /// No connection: a free place.
    Free,
}

impl Class {
    /// Those with a list.
    pub(crate) const LISTED: [Self; 8] = [
        Self::HalfOpen,
        Self::Closing,
        Self::Established,
        Self::Unanswered,
        Self::Datagram,
        Self::Domain,
        Self::Query,
        Self::Other,
    ];

    /// Whether such a connection may make room for another.
    pub(crate) fn transitory(self) -> bool {
        matches!(self, Self::HalfOpen | Self::Closing | Self::Unanswered | Self::Domain | Self::Query)
    }
}

/// Seconds for which a connection may be silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// TCP, established, half-closed included (RFC 5382 REQ-5: at least 2 h 4 min).
    pub tcp_established: u32,
    /// TCP during the handshake (RFC 5382 REQ-5: at least 4 min; RFC 7857 §2.2 makes it an option of its own).
    pub tcp_opening: u32,
    /// TCP after both FINs or a RST (the same clauses).
    pub tcp_closing: u32,
    /// UDP and SCTP (RFC 4787 REQ-5: at least 2 min, 5 recommended).
    pub datagram: u32,
    /// UDP from inside to port 53 (RFC 4787 REQ-5a allows less for a well-known port).
    pub domain: u32,
    /// ICMP queries (RFC 5508 REQ-2: at least 60 s).
    pub query: u32,
    /// Protocols without ports, once answered.
    pub other: u32,
    /// How long a port is kept from others after its last connection (RFC 6888 REQ-8).
    pub hold: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_established: 2 * 3600 + 4 * 60,
            tcp_opening: 240,
            tcp_closing: 240,
            datagram: 300,
            domain: 60,
            query: 60,
            other: 600,
            hold: 120,
        }
    }
}

impl Timeouts {
    pub(crate) fn of(&self, class: Class) -> u32 {
        match class {
            Class::HalfOpen => self.tcp_opening,
            Class::Closing => self.tcp_closing,
            Class::Established => self.tcp_established,
            Class::Unanswered | Class::Datagram => self.datagram,
            Class::Domain => self.domain,
            Class::Query => self.query,
            Class::Other => self.other,
            Class::Free => 0,
        }
    }
}

/// See [`super`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// The attachment's endpoint. In all three, ICMP has the identifier for a port.
    pub(crate) inside: Endpoint,
    /// The other's; for ICMP, whose one identifier is in `inside` and `public`, the port is 0.
    pub(crate) remote: Endpoint,
    /// What `inside` is called outside.
    pub(crate) public: Endpoint,
    /// Whose list it is in: its class's.
    pub(crate) links: Links,
    /// The ring of connections of the same mapping to the same address; kept by the NAT.
    pub(crate) peers: Links,
    /// The port mapping it uses, or none.
    pub(crate) mapping: u32,
    /// When it was put into its list, or was last known to be used.
    pub(crate) queued: u32,
    pub(crate) network: NetworkId,
    /// Which attachment it counts towards.
    pub(crate) owner: PortId,
    pub(crate) epoch: u16,
    pub(crate) protocol: u8,
    pub(crate) family: Family,
    pub(crate) kind: Kind,
    /// Who sent the first packet.
    pub(crate) initiator: Side,
    /// Whether the other sent one too.
    pub(crate) answered: bool,
    /// Whether packets that leave by it come back in: the remote address is one of ours.
    pub(crate) turns: bool,
    pub(crate) class: Class,
    pub(crate) tcp: Handshake,
}

impl Linked for Connection {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Connection {
    /// The tuple of a packet from this side.
    #[inline]
    pub(crate) fn tuple(&self, side: Side) -> Tuple {
        let (source, destination) = match side {
            Side::Inside => (self.inside, self.remote),
            Side::Outside => (self.remote, self.public),
        };
        Tuple { source, destination, family: self.family, protocol: self.protocol }
    }

    /// Notes a packet from this side.
    pub(crate) fn advance(&mut self, side: Side, tcp_flags: u8) {
        self.answered |= side != self.initiator;
        if self.protocol == protocol::TCP {
            self.tcp = self.tcp.after(side, tcp_flags);
        }
    }

    /// The class it belongs to by what is known of it.
    pub(crate) fn due_class(&self) -> Class {
        match self.protocol {
            protocol::TCP => match self.tcp.state() {
                TcpState::SynSent | TcpState::SynReceived => Class::HalfOpen,
                TcpState::Established | TcpState::FinWait => Class::Established,
                TcpState::TimeWait | TcpState::Closed => Class::Closing,
            },
            protocol::ICMP | protocol::ICMPV6 => Class::Query,
            protocol::UDP if self.remote.port == 53 && self.initiator == Side::Inside => Class::Domain,
            _ if !self.answered => Class::Unanswered,
            protocol::UDP | protocol::SCTP => Class::Datagram,
            _ => Class::Other,
        }
    }

    /// Whether packets from this side keep it alive. Behind a mapping only those from inside do, lest outsiders
    /// keep mappings alive (RFC 4787 REQ-6); TCP ends by what its segments say.
    #[inline]
    pub(crate) fn refreshed_by(&self, side: Side) -> bool {
        side == Side::Inside || self.kind != Kind::Mapped || self.protocol == protocol::TCP
    }

    /// Whether workers may forward the segments that carry none of SYN, FIN and RST by themselves: for TCP only
    /// what can no longer change the state.
    pub(crate) fn cacheable(&self) -> bool {
        self.protocol != protocol::TCP
            || matches!(self.tcp.state(), TcpState::Established | TcpState::FinWait | TcpState::TimeWait)
    }
}

/// A connection's state in output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionState {
    /// Of TCP.
    Tcp(TcpState),
    /// Of other protocols: one side only was heard.
    Unanswered,
    /// Of other protocols: both were.
    Answered,
}

impl ConnectionState {
    /// The name used in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::Unanswered => "unanswered",
            Self::Answered => "answered",
        }
    }
}

/// A connection, as shown to people.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionEntry {
    /// As its first packet was sent. For ICMP the remote port is 0.
    pub original: Tuple,
    /// As answers to it are sent.
    pub reply: Tuple,
    /// The network of the inside endpoint.
    pub network: NetworkId,
    /// The attachment it counts towards.
    pub owner: PortId,
    /// Whether the first packet came from inside.
    pub outbound: bool,
    /// How far it is.
    pub state: ConnectionState,
    /// Seconds since the last packet that kept it alive.
    pub idle: u32,
    /// Seconds until it is forgotten, if nothing comes.
    pub remaining: u32,
}

impl ConnectionEntry {
    pub(crate) fn new(connection: &Connection, idle: u32, timeouts: &Timeouts) -> Self {
        let state = match (connection.protocol, connection.answered) {
            (protocol::TCP, _) => ConnectionState::Tcp(connection.tcp.state()),
            (_, false) => ConnectionState::Unanswered,
            (_, true) => ConnectionState::Answered,
        };
        Self {
            original: connection.tuple(connection.initiator),
            reply: connection.tuple(connection.initiator.other()),
            network: connection.network,
            owner: connection.owner,
            outbound: connection.initiator == Side::Inside,
            state,
            idle,
            remaining: timeouts.of(connection.class).saturating_sub(idle),
        }
    }
}
