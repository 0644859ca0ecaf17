//! IPv6 neighbour discovery, said to the gateway or asked of hosts it knows.
//!
//! A message that is not valid by RFC 4861 §6.1.1, §7.1.1 or §7.1.2 is dropped where it would have been the
//! gateway's to answer. Elsewhere it passes: other stations judge for themselves.

use std::net::{IpAddr, Ipv6Addr};

use vswitch_wire::checksum::{Sum, pseudo_header_v6};
use vswitch_wire::{IcmpHeader, Ipv6Header, LinkLayerOption, MacAddr, NeighborMessage, Parsed, protocol};
use zerocopy::{FromBytes, IntoBytes};

use super::compose::{begin_v6, discovery_header, group_mac, seal, solicited_node};
use super::limit::ReplyKind;
use super::{Answer, Outcome, advertise, announce, icmp_kind, message};
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::neighbor::Sighting;
use crate::tables::Gateway;

/// Every node of the link.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Every router of the link.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

const INVALID: Outcome = Outcome::Drop(DropReason::InvalidDiscovery);

pub(super) fn answer(
    gateway: &Gateway,
    icc: bool,
    bytes: &[u8],
    parsed: &Parsed,
    reply: &mut Frame,
) -> Answer {
    let heard = Heard {
        gateway,
        bytes,
        parsed,
        message: message(bytes, parsed),
        source: Ipv6Addr::from(parsed.headers.source_ip),
        destination: Ipv6Addr::from(parsed.headers.destination_ip),
    };
    match icmp_kind(parsed) {
        IcmpHeader::NEIGHBOR_SOLICITATION => heard.solicitation(icc, reply),
        IcmpHeader::NEIGHBOR_ADVERTISEMENT => heard.advertisement(reply),
        IcmpHeader::ROUTER_SOLICITATION => heard.router_solicitation(reply),
        _ => Outcome::Pass.only(),
    }
}

/// A discovery message.
struct Heard<'a> {
    gateway: &'a Gateway,
    bytes: &'a [u8],
    parsed: &'a Parsed,
    message: &'a [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
}

impl Heard<'_> {
    fn solicitation(&self, icc: bool, reply: &mut Frame) -> Answer {
        let Ok((solicitation, options)) = NeighborMessage::ref_from_prefix(self.message) else {
            return self.unusable();
        };
        let (asker, target) = (self.parsed.headers.source, Ipv6Addr::from(solicitation.target));
        let ours = self.gateway.speaks_for(target.into());
        // Whether an address is taken is for the host itself to say (RFC 4862 §5.4), as is whether it is there.
        let suppressed = icc && self.to_group() && !self.source.is_unspecified();
        let host = self.gateway.known_host(IpAddr::V6(target), asker).filter(|_| suppressed);
        if !ours && host.is_none() {
            let closed = Outcome::Drop(DropReason::GatewayClosed);
            return if self.for_us() { closed } else { Outcome::Pass }.only();
        }
        let Some(link_layer) = self.valid_solicitation(target, options) else { return INVALID.only() };
        if self.claims_ours(self.source) {
            return self.defend(self.source, reply);
        }
        match host {
            Some(host) if !ours => {
                // It is known by configuration, so it overrides; whether it is a router is not known.
                let flags = NeighborMessage::SOLICITED | NeighborMessage::OVERRIDE;
                self.write_advertisement(host.mac, target, flags, reply);
                Outcome::Reply(ReplyKind::Discovery).only()
            }
            _ => {
                let flags = NeighborMessage::ROUTER | NeighborMessage::OVERRIDE;
                self.write_advertisement(self.gateway.mac, target, flags | self.solicited(), reply);
                self.replied(link_layer)
            }
        }
    }

    /// RFC 4861 §7.1.1: the sender's MAC address, as far as it says so; `None` when the message is not valid.
    fn valid_solicitation(&self, target: Ipv6Addr, options: &[u8]) -> Option<Option<MacAddr>> {
        let link_layer = LinkLayerOption::find(LinkLayerOption::SOURCE, options).ok()?;
        let probe_rightly = self.destination == solicited_node(target) && link_layer.is_none();
        let valid = self.is_valid()
            && !target.is_multicast()
            && (!self.source.is_unspecified() || probe_rightly)
            && !self.source.is_multicast();
        valid.then_some(link_layer)
    }

    fn advertisement(&self, reply: &mut Frame) -> Answer {
        let Ok((advertisement, options)) = NeighborMessage::ref_from_prefix(self.message) else {
            return self.unusable();
        };
        let target = Ipv6Addr::from(advertisement.target);
        let flags = advertisement.icmp.identifier.get();
        let solicited = flags & NeighborMessage::SOLICITED != 0;
        // RFC 4861 §7.1.2.
        let valid =
            self.is_valid() && !target.is_multicast() && !(solicited && self.destination.is_multicast());
        let link_layer = match LinkLayerOption::find(LinkLayerOption::TARGET, options) {
            Ok(link_layer) if valid => link_layer,
            _ => return self.unusable(),
        };
        if self.claims_ours(target) {
            return self.defend(target, reply);
        }
        let overrides = flags & NeighborMessage::OVERRIDE != 0;
        let what =
            if solicited { Sighting::Solicited { overrides } } else { Sighting::Unsolicited { overrides } };
        // An answer to a question asked directly may leave the address out (RFC 4861 §4.4): it is the sender's.
        let mac = link_layer.unwrap_or(self.parsed.headers.source);
        let outcome = if self.for_us() { Outcome::Consumed } else { Outcome::Pass };
        Answer { outcome, sight: self.gateway.sight(target.into(), mac, what) }
    }

    fn router_solicitation(&self, reply: &mut Frame) -> Answer {
        if self.gateway.advertisement.is_none() {
            return Outcome::Pass.only();
        }
        let to_routers = self.destination == ALL_ROUTERS || self.gateway.owns(self.destination.into());
        if !to_routers {
            return Outcome::Pass.only();
        }
        // RFC 4861 §6.1.1. The parser saw to the eight bytes there must be.
        let options = self.message.get(IcmpHeader::LENGTH..).unwrap_or_default();
        let Ok(link_layer) = LinkLayerOption::find(LinkLayerOption::SOURCE, options) else {
            return INVALID.only();
        };
        let nameless_rightly = !self.source.is_unspecified() || link_layer.is_none();
        if !self.is_valid() || !nameless_rightly || self.source.is_multicast() {
            return INVALID.only();
        }
        // RFC 4861 §6.2.6 leaves it to the router whether it answers the host alone.
        let to = (!self.source.is_unspecified()).then_some((self.parsed.headers.source, self.source));
        advertise::write(self.gateway, to, reply);
        self.replied(link_layer)
    }

    /// What all kinds of message have in common: sent on this link (hop limit 255), whole (RFC 6980 §5), code 0, with
    /// a right checksum.
    fn is_valid(&self) -> bool {
        let packet = self.bytes.get(usize::from(self.parsed.layer3_offset)..).unwrap_or_default();
        let Ok((header, _)) = Ipv6Header::ref_from_prefix(packet) else { return false };
        let length = u32::try_from(self.message.len()).unwrap_or(u32::MAX);
        let pseudo_header = pseudo_header_v6(self.source, self.destination, protocol::ICMPV6, length);
        header.hop_limit == 255
            && !self.parsed.headers.is_fragment()
            && self.message.get(1) == Some(&0)
            && (pseudo_header + Sum::of(self.message)).checksum() == 0
    }

    fn for_us(&self) -> bool {
        self.parsed.headers.destination == self.gateway.mac
    }

    fn to_group(&self) -> bool {
        self.parsed.headers.destination.is_multicast()
    }

    /// Whether somebody else says that one of the gateway's addresses is its own.
    fn claims_ours(&self, address: Ipv6Addr) -> bool {
        self.gateway.speaks_for(address.into()) && self.parsed.headers.source != self.gateway.mac
    }

    /// The claim goes no further, and whoever makes it hears whose address it is.
    fn defend(&self, address: Ipv6Addr, reply: &mut Frame) -> Answer {
        announce::claim(self.gateway.mac, address.into(), true, reply);
        Outcome::Reply(ReplyKind::Discovery).only()
    }

    fn unusable(&self) -> Answer {
        if self.for_us() { INVALID.only() } else { Outcome::Pass.only() }
    }

    /// The sender asked the gateway, and perhaps said where it is.
    fn replied(&self, link_layer: Option<MacAddr>) -> Answer {
        let sight = link_layer.and_then(|mac| self.gateway.sight(self.source.into(), mac, Sighting::Request));
        Answer { outcome: Outcome::Reply(ReplyKind::Discovery), sight }
    }

    /// The flag of an answer to one that can be answered alone (RFC 4861 §7.2.4).
    fn solicited(&self) -> u16 {
        if self.source.is_unspecified() { 0 } else { NeighborMessage::SOLICITED }
    }

    /// `target` is at `mac`: to the asker, or to all nodes when it has no address yet.
    fn write_advertisement(&self, mac: MacAddr, target: Ipv6Addr, flags: u16, reply: &mut Frame) {
        let (to_mac, to) = if self.source.is_unspecified() {
            (group_mac(ALL_NODES), ALL_NODES)
        } else {
            (self.parsed.headers.source, self.source)
        };
        begin_v6(reply, to_mac, mac, &discovery_header(target, to));
        reply.append(NeighborMessage::new(IcmpHeader::NEIGHBOR_ADVERTISEMENT, flags, target).as_bytes());
        reply.append(LinkLayerOption::new(LinkLayerOption::TARGET, mac).as_bytes());
        seal(reply);
    }
}
