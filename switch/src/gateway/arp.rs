//! ARP, asked of the gateway or of hosts it knows.

use std::net::{IpAddr, Ipv4Addr};

use vswitch_wire::{ArpPacket, EtherType, EthernetHeader, MacAddr, Parsed};
use zerocopy::{FromBytes, IntoBytes};

use super::limit::ReplyKind;
use super::{Answer, Outcome, announce};
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::neighbor::Sighting;
use crate::tables::Gateway;

pub(super) fn answer(
    gateway: &Gateway,
    icc: bool,
    bytes: &[u8],
    parsed: &Parsed,
    reply: &mut Frame,
) -> Answer {
    let packet = bytes.get(usize::from(parsed.layer3_offset)..).unwrap_or_default();
    let Ok((arp, _)) = ArpPacket::ref_from_prefix(packet) else { return Outcome::Pass.only() };
    if !arp.sender_mac.is_unicast() {
        return Outcome::Drop(DropReason::SourceNotUnicast).only();
    }
    let sender = Ipv4Addr::from(arp.sender_ip);
    if gateway.speaks_for(sender.into()) && arp.sender_mac != gateway.mac {
        // RFC 5227 §2.4 (b): a conflict. The claim goes no further, and whoever makes it hears whose address it is.
        announce::claim(gateway.mac, sender.into(), true, reply);
        return Outcome::Reply(ReplyKind::Discovery).only();
    }
    let what = sighting(gateway, arp, parsed);
    let sight = gateway.sight(sender.into(), arp.sender_mac, what);
    let outcome = match arp.operation.get() {
        ArpPacket::REQUEST => answer_request(gateway, icc, arp, parsed, reply),
        _ if parsed.headers.destination == gateway.mac => Outcome::Consumed,
        _ => Outcome::Pass,
    };
    Answer { outcome, sight }
}

fn sighting(gateway: &Gateway, arp: &ArpPacket, parsed: &Parsed) -> Sighting {
    let asked_us = gateway.speaks_for(Ipv4Addr::from(arp.target_ip).into());
    match arp.operation.get() {
        ArpPacket::REQUEST if asked_us => Sighting::Request,
        ArpPacket::REPLY if parsed.headers.destination == gateway.mac => {
            Sighting::Solicited { overrides: true }
        }
        // RFC 826: whatever the packet, its sender's new address replaces the known one.
        _ => Sighting::Unsolicited { overrides: true },
    }
}

fn answer_request(
    gateway: &Gateway,
    icc: bool,
    arp: &ArpPacket,
    parsed: &Parsed,
    reply: &mut Frame,
) -> Outcome {
    let (sender, target) = (Ipv4Addr::from(arp.sender_ip), Ipv4Addr::from(arp.target_ip));
    let headers = &parsed.headers;
    if gateway.speaks_for(target.into()) {
        // A probe too, from 0.0.0.0: the address is taken (RFC 5227 §2.1.1).
        write_reply(gateway.mac, arp, headers.source, reply);
        return Outcome::Reply(ReplyKind::Discovery);
    }
    // A probe is for the host itself to answer, or for nobody; so is an announcement, and a question to it alone.
    let plain = headers.destination.is_multicast() && !sender.is_unspecified() && sender != target;
    if icc
        && plain
        && let Some(host) = gateway.known_host(IpAddr::V4(target), headers.source)
    {
        write_reply(host.mac, arp, headers.source, reply);
        return Outcome::Reply(ReplyKind::Discovery);
    }
    if headers.destination == gateway.mac { Outcome::Drop(DropReason::GatewayClosed) } else { Outcome::Pass }
}

/// The address asked for is at `mac`. To the station that asked, whatever MAC address it writes inside.
fn write_reply(mac: MacAddr, asked: &ArpPacket, asker: MacAddr, reply: &mut Frame) {
    let (sender, target) = (Ipv4Addr::from(asked.sender_ip), Ipv4Addr::from(asked.target_ip));
    let packet = ArpPacket::new(ArpPacket::REPLY, (mac, target), (asked.sender_mac, sender));
    reply.copy_from(EthernetHeader::new(asker, mac, EtherType::ARP).as_bytes());
    reply.append(packet.as_bytes());
}
