//! The stages of layer 3, in order, for one packet: from a gateway's MAC address to the next hop's.
//!
//! sanity → reverse path → destination NAT → route → isolation → source NAT → hop limit → MTU → neighbour. A stage
//! answers or ends the walk with a [`Stop`]. Nothing is changed on the way: the [`Way`] says what is to be, once all
//! stages agreed, so that a packet that is held walks again as it came.

use std::net::IpAddr;

use vswitch_wire::{Headers, Ipv4Header, MacAddr, Parsed, TcpHeader, protocol};

use crate::address::{Address, Endpoint, Family};
use crate::conntrack::ConnectionRef;
use crate::drop_reason::DropReason;
use crate::fragment::{Fate, Ingress, Leaving};
use crate::frame::Frame;
use crate::gateway::icmp_error::ErrorKind;
use crate::id::{NetworkId, PortId};
use crate::nat::{NatRules, Origin, Packet};
use crate::neighbor::Resolution;
use crate::quoted::{self, ErrorTranslation, Quoted};
use crate::rewrite::{Hop, Side, Translation};
use crate::route::Route;
use crate::router::{Router, sanity};
use crate::tables::{Gateway, Tables};
use crate::time::Time;

/// Where a packet goes on, and as what.
#[derive(Debug)]
pub struct Way {
    /// The network it leaves on.
    pub network: NetworkId,
    /// The port of a configured station; none where the bridge has to say where it lives.
    pub port: Option<PortId>,
    /// The Ethernet header towards the next hop.
    pub hop: Hop,
    /// Its new source, then its new destination.
    pub translations: [Option<Translation>; 2],
    /// For an ICMP error about a translated packet: how it changes, the packet it quotes included.
    pub quoted: Option<(Quoted, ErrorTranslation)>,
    /// The longest packet its network carries.
    pub mtu: u16,
    /// It is longer, and may be sent in pieces.
    pub fragments: bool,
    /// A SYN: the longest packet its connection may use, for its MSS.
    pub clamp: Option<u16>,
    /// The connection it belongs to, where connections are tracked.
    pub connection: Option<ConnectionRef>,
    /// Whether what follows with the same headers goes the same way.
    pub cacheable: bool,
}

/// Why a packet does not go on, now or ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It is dropped.
    Drop(DropReason),
    /// It is dropped and its sender told.
    Tell(DropReason, ErrorKind),
    /// It is for the gateway itself.
    Local,
    /// The next hop's MAC address is being asked for; `ask`: now, by the caller.
    Pending {
        /// Where the next hop lives.
        network: NetworkId,
        /// Its address.
        address: IpAddr,
        /// Whether a request is to be sent.
        ask: bool,
    },
    /// Kept until the first fragment of its packet comes.
    Held,
}

impl std::convert::From<DropReason> for Stop {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// Everything the stages look at.
#[derive(Debug)]
pub struct Walk<'a> {
    /// The configuration.
    pub tables: &'a Tables,
    /// What is learned.
    pub router: &'a Router,
    /// The port the packet came from.
    pub ingress: PortId,
    /// Its network.
    pub network: NetworkId,
    /// That network's gateway, whose MAC address the packet is for.
    pub gateway: &'a Gateway,
    /// When.
    pub now: Time,
    /// Whether the packet's ports are known although it is a fragment, because it waited for its first one.
    pub gathered: bool,
    /// Fragments that need not wait any longer.
    pub leaving: Vec<Leaving>,
}

/// What destination or source NAT made of a packet.
#[derive(Debug, Default)]
struct Nated {
    translations: [Option<Translation>; 2],
    quoted: Option<(Quoted, ErrorTranslation)>,
    /// The destination afterwards.
    destination: Option<Address>,
    /// The network of the destination, when it is inside.
    to: Option<NetworkId>,
    connection: Option<ConnectionRef>,
    cacheable: bool,
}

impl Walk<'_> {
    /// Walks a packet through all stages. `parsed` gets the ports of a fragment's packet.
    ///
    /// # Errors
    /// Why it does not go on.
    pub fn decide(&mut self, frame: &Frame, parsed: &mut Parsed) -> Result<Way, Stop> {
        let family = Family::of(&parsed.headers).ok_or(DropReason::GatewayProtocol)?;
        if parsed.headers.tag().is_some() {
            return Err(DropReason::TaggedToGateway.into());
        }
        sanity::check(frame.bytes(), parsed, family)?;
        let source = Address(parsed.headers.source_ip);
        let destination = Address(parsed.headers.destination_ip);
        self.reverse_path(family, &source)?;

        let outside = self.tables.uplink() == Some(self.network);
        let (from, to) = (source.ip(family), destination.ip(family));
        let translates = |rules: &&NatRules| rules.is_own(to) || outside && !rules.is_open(to);
        let nated = match self.tables.nat().filter(translates) {
            Some(rules) => self.translate(rules, frame, parsed).map_err(|stop| self.or_local(stop, to))?,
            None if self.is_own(to) => return Err(Stop::Local),
            None => Nated { cacheable: true, ..Nated::default() },
        };
        let (network, via) = self.route(family, &parsed.headers, &nated)?;
        let hairpin = nated.to.is_some();
        self.isolation(network, hairpin)?;
        let nated = match self.tables.nat() {
            Some(rules)
                if !outside && !hairpin && self.tables.uplink() == Some(network) && !rules.is_open(from) =>
            {
                self.translate(rules, frame, parsed)?
            }
            _ => nated,
        };
        hop_limit(frame.bytes(), parsed, family)?;
        let mut way = self.way(network, &nated)?;
        self.fit(&mut way, frame, parsed)?;
        self.resolve(&mut way, via)?;
        way.cacheable &= !parsed.headers.is_fragment() && !parsed.headers.has_options() && !way.fragments;
        Ok(way)
    }

    /// Strict reverse path forwarding (RFC 3704 §2.2): the way back leads where the packet came from.
    fn reverse_path(&self, family: Family, source: &Address) -> Result<(), DropReason> {
        let back = match self.gateway.routes.lookup(family, source) {
            Some(Route::Connected(network)) => *network == self.network,
            Some(Route::Via(hops)) => hops.all().iter().any(|hop| hop.network == self.network),
            _ => false,
        };
        if back { Ok(()) } else { Err(DropReason::ReversePath) }
    }

    /// A packet for one of our own addresses that no connection and no published port wants is for the gateway.
    fn or_local(&self, stop: Stop, destination: IpAddr) -> Stop {
        match stop {
            Stop::Drop(reason) if self.is_own(destination) => match reason {
                // The last: nothing is published to a network without a way out.
                DropReason::NotPublished | DropReason::NoTransport | DropReason::NoRoute => Stop::Local,
                other => other.into(),
            },
            other => other,
        }
    }

    /// Whether an address is this gateway's or the uplink's, which answer for themselves.
    fn is_own(&self, address: IpAddr) -> bool {
        let own = |gateway: &Gateway| gateway.owns(address);
        let uplink = self.tables.uplink().and_then(|uplink| self.tables.network(uplink));
        own(self.gateway) || uplink.and_then(|uplink| uplink.gateway.as_deref()).is_some_and(own)
    }

    /// The connection's word on source and destination.
    fn translate(&mut self, rules: &NatRules, frame: &Frame, parsed: &mut Parsed) -> Result<Nated, Stop> {
        let outside = self.tables.uplink() == Some(self.network);
        let from = if outside {
            Origin::Outside
        } else {
            Origin::Inside { network: self.network, owner: self.ingress }
        };
        if let Some(quoted) = quoted::find(frame.bytes(), parsed) {
            return self.translate_error(rules, from, quoted, &parsed.headers);
        }
        if parsed.headers.is_fragment() && !self.gathered {
            self.gather(frame, parsed)?;
        }
        let headers = &parsed.headers;
        let packet = Packet::of(parsed).ok_or(DropReason::NoTransport)?;
        let translated = self.router.nat().translate(rules, from, &packet, self.now)?;
        let side = |side, to: Option<Endpoint>| to.map(|to| Translation::new(headers, side, to));
        Ok(Nated {
            translations: [
                side(Side::Source, translated.source),
                side(Side::Destination, translated.destination),
            ],
            quoted: None,
            destination: translated
                .destination
                .map(|to| to.address)
                .or(translated.to.map(|_| Address(headers.destination_ip))),
            to: translated.to,
            connection: Some(translated.connection),
            // A hairpin belongs to two connections, and an answer kept knows of one.
            cacheable: translated.cacheable && translated.hairpin.is_none(),
        })
    }

    fn translate_error(
        &self,
        rules: &NatRules,
        from: Origin,
        quoted: Quoted,
        headers: &Headers,
    ) -> Result<Nated, Stop> {
        let outer = (Address(headers.source_ip), Address(headers.destination_ip));
        let error = self.router.nat().translate_error(rules, from, &quoted.tuple, outer, self.now)?;
        let changes = ErrorTranslation {
            source: error.source,
            destination: error.destination,
            quoted_source: error.quoted_source,
            quoted_destination: error.quoted_destination,
        };
        Ok(Nated {
            destination: error.destination.or(error.to.map(|_| outer.1)),
            to: error.to,
            quoted: Some((quoted, changes)),
            ..Nated::default()
        })
    }

    /// Finds the ports of the packet that a fragment belongs to, or keeps the fragment until they are known.
    fn gather(&mut self, frame: &Frame, parsed: &mut Parsed) -> Result<(), Stop> {
        let ingress = Ingress { port: self.ingress, network: self.network };
        let fate = self.router.fragments().offer(ingress, frame.bytes(), parsed, self.now, &mut self.leaving);
        match fate? {
            Fate::Pass => Ok(()),
            Fate::Held => Err(Stop::Held),
        }
    }

    /// Longest prefix match in the table of the network the packet is on by now: where it leaves, and to whom.
    fn route(&self, family: Family, headers: &Headers, nated: &Nated) -> Result<(NetworkId, IpAddr), Stop> {
        let destination = nated.destination.unwrap_or(Address(headers.destination_ip));
        let inside = nated.to.and_then(|network| self.tables.network(network)?.gateway.as_deref());
        let table = inside.unwrap_or(self.gateway);
        match table.routes.lookup(family, &destination) {
            Some(Route::Connected(network)) => Ok((*network, destination.ip(family))),
            Some(Route::Via(hops)) => {
                let hop = hops.select(flow_hash(headers));
                Ok((hop.network, hop.via))
            }
            Some(Route::Blackhole) => Err(DropReason::RouteBlackhole.into()),
            Some(Route::Unreachable) => {
                Err(Stop::Tell(DropReason::RouteUnreachable, ErrorKind::HostUnreachable))
            }
            Some(Route::Prohibit) => Err(Stop::Tell(DropReason::RouteProhibited, ErrorKind::Prohibited)),
            None => Err(Stop::Tell(DropReason::NoRoute, ErrorKind::NetUnreachable)),
        }
    }

    /// Members that may not reach each other do not do so by way of the gateway either.
    fn isolation(&self, network: NetworkId, hairpin: bool) -> Result<(), Stop> {
        let icc = self.tables.network(self.network).is_none_or(|network| network.icc);
        if network == self.network && !icc && !hairpin {
            return Err(Stop::Tell(DropReason::IccOff, ErrorKind::Prohibited));
        }
        Ok(())
    }

    /// The beginning of a way: everything but the next hop.
    fn way(&self, network: NetworkId, nated: &Nated) -> Result<Way, Stop> {
        let egress = self.egress(network)?;
        Ok(Way {
            network,
            port: None,
            hop: Hop { destination: MacAddr::default(), source: egress.mac },
            cacheable: nated.cacheable && nated.translations.iter().flatten().count() < 2,
            translations: nated.translations,
            quoted: nated.quoted,
            mtu: egress.mtu,
            fragments: false,
            clamp: None,
            connection: nated.connection,
        })
    }

    fn egress(&self, network: NetworkId) -> Result<&Gateway, DropReason> {
        let egress = self.tables.network(network).and_then(|network| network.gateway.as_deref());
        egress.ok_or(DropReason::NoRoute)
    }

    /// Holds the packet against what its way carries.
    fn fit(&self, way: &mut Way, frame: &Frame, parsed: &Parsed) -> Result<(), Stop> {
        let headers = &parsed.headers;
        if headers.protocol == protocol::TCP && parsed.tcp_flags & TcpHeader::SYN != 0 {
            // RFC 4459 §3.2: told once, neither side ever sends what the narrower network does not carry.
            way.clamp = Some(way.mtu.min(self.gateway.mtu));
        }
        if frame.offload.longest_packet(parsed, frame.len()) <= usize::from(way.mtu) {
            return Ok(());
        }
        if headers.is_ipv4() && !forbids_fragments(frame.bytes(), parsed) {
            way.fragments = true;
            return Ok(());
        }
        Err(Stop::Tell(DropReason::PacketTooBig, ErrorKind::TooBig { mtu: way.mtu }))
    }

    /// Finds the MAC address of the next hop.
    fn resolve(&self, way: &mut Way, via: IpAddr) -> Result<(), Stop> {
        let egress = self.egress(way.network)?;
        if let Some(host) = egress.hosts.get(&via) {
            way.port = Some(host.port);
            way.hop.destination = host.mac;
            return Ok(());
        }
        // RFC 2644: a packet for all of a network is for none of it.
        if matches!(via, IpAddr::V4(via) if egress.is_subnet_broadcast(via)) {
            return Err(DropReason::MartianDestination.into());
        }
        if egress.speaks_for(via) {
            return Err(Stop::Local);
        }
        if self.tables.network(way.network).is_some_and(|network| network.layer3_only) {
            return Err(Stop::Tell(DropReason::NeighborUnreachable, ErrorKind::HostUnreachable));
        }
        let resolution = self.router.neighbors(|neighbors| neighbors.resolve(way.network, via, self.now));
        match resolution {
            Resolution::Known(mac) => {
                way.hop.destination = mac;
                Ok(())
            }
            Resolution::Pending { ask } => Err(Stop::Pending { network: way.network, address: via, ask }),
            Resolution::Failed => {
                Err(Stop::Tell(DropReason::NeighborUnreachable, ErrorKind::HostUnreachable))
            }
            Resolution::Limit => Err(DropReason::NeighborLimit.into()),
        }
    }
}

/// RFC 1812 §5.3.1, RFC 8200 §3: a packet that has come its whole way is not passed on.
fn hop_limit(bytes: &[u8], parsed: &Parsed, family: Family) -> Result<(), Stop> {
    // Of the IPv4 TTL and the IPv6 hop limit, from the start of the packet.
    let offset = if family == Family::V4 { 8 } else { 7 };
    let left = bytes.get(usize::from(parsed.layer3_offset) + offset).copied().unwrap_or(0);
    if left > 1 { Ok(()) } else { Err(Stop::Tell(DropReason::TtlExceeded, ErrorKind::TtlExceeded)) }
}

fn forbids_fragments(bytes: &[u8], parsed: &Parsed) -> bool {
    let flags = bytes.get(usize::from(parsed.layer3_offset) + 6).copied().unwrap_or(0);
    u16::from(flags) << 8 & Ipv4Header::DONT_FRAGMENT != 0
}

/// Chooses among equal routes: the same for all packets of a flow, fragments included, which have no ports.
fn flow_hash(headers: &Headers) -> u64 {
    let half = |address: &[u8; 16]| {
        let [a, b, c, d, e, f, g, h, rest @ ..] = *address;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]) ^ u64::from_ne_bytes(rest).rotate_left(29)
    };
    let ports = if headers.is_fragment() {
        0
    } else {
        u64::from(headers.source_port) << 16 | u64::from(headers.destination_port)
    };
    let mixed = half(&headers.source_ip) ^ half(&headers.destination_ip).rotate_left(17);
    (mixed ^ ports ^ u64::from(headers.protocol) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
