//! What the gateway says of addresses, and asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use vswitch_wire::{
    ArpPacket, EtherType, EthernetHeader, IcmpHeader, LinkLayerOption, MacAddr, NeighborMessage,
};
use zerocopy::IntoBytes;

use super::compose::{begin_v6, discovery_header, group_mac, seal, solicited_node};
use super::discovery::ALL_NODES;
use crate::frame::Frame;
use crate::tables::Gateway;

/// Writes to everybody that `address` is at `mac`: an ARP announcement (RFC 5227 §1.1: a request for the sender's own
/// address) or an unsolicited neighbour advertisement that overrides what is known (RFC 4861 §7.2.6). `router` says
/// whether the station forwards packets.
pub fn claim(mac: MacAddr, address: IpAddr, router: bool, frame: &mut Frame) {
    match address {
        IpAddr::V4(address) => {
            let packet = ArpPacket::new(ArpPacket::REQUEST, (mac, address), (MacAddr::ZERO, address));
            write_arp(MacAddr::BROADCAST, mac, &packet, frame);
        }
        IpAddr::V6(address) => {
            let router = if router { NeighborMessage::ROUTER } else { 0 };
            let flags = router | NeighborMessage::OVERRIDE;
            begin_v6(frame, group_mac(ALL_NODES), mac, &discovery_header(address, ALL_NODES));
            frame.append(NeighborMessage::new(IcmpHeader::NEIGHBOR_ADVERTISEMENT, flags, address).as_bytes());
            frame.append(LinkLayerOption::new(LinkLayerOption::TARGET, mac).as_bytes());
            seal(frame);
        }
    }
}

/// Writes the question who has `target`: to everybody, or to `unicast` alone, to see whether it still has it. `false`
/// when the gateway has no address of the family to ask from; nothing is written then.
pub fn ask(gateway: &Gateway, target: IpAddr, unicast: Option<MacAddr>, frame: &mut Frame) -> bool {
    match target {
        IpAddr::V4(target) => ask_v4(gateway, target, unicast, frame),
        IpAddr::V6(target) => {
            ask_v6(gateway, target, unicast, frame);
            true
        }
    }
}

fn ask_v4(gateway: &Gateway, target: Ipv4Addr, unicast: Option<MacAddr>, frame: &mut Frame) -> bool {
    // From the target's own subnet where there is one: others might not be answered (RFC 1812 §3.3.2).
    let nearest = gateway.addresses.iter().find_map(|own| match own {
        IpNet::V4(own) if own.contains(&target) => Some(own.addr()),
        _ => None,
    });
    let Some(source) = nearest.or_else(|| gateway.source_v4()) else { return false };
    let packet = ArpPacket::new(ArpPacket::REQUEST, (gateway.mac, source), (MacAddr::ZERO, target));
    write_arp(unicast.unwrap_or(MacAddr::BROADCAST), gateway.mac, &packet, frame);
    true
}

fn ask_v6(gateway: &Gateway, target: Ipv6Addr, unicast: Option<MacAddr>, frame: &mut Frame) {
    let nearest = gateway.addresses.iter().find_map(|own| match own {
        IpNet::V6(own) if own.contains(&target) => Some(own.addr()),
        _ => None,
    });
    let source = nearest.unwrap_or_else(|| gateway.mac.link_local());
    let group = solicited_node(target);
    let (to_mac, to) = unicast.map_or((group_mac(group), group), |mac| (mac, target));
    begin_v6(frame, to_mac, gateway.mac, &discovery_header(source, to));
    frame.append(NeighborMessage::new(IcmpHeader::NEIGHBOR_SOLICITATION, 0, target).as_bytes());
    frame.append(LinkLayerOption::new(LinkLayerOption::SOURCE, gateway.mac).as_bytes());
    seal(frame);
}

fn write_arp(to: MacAddr, from: MacAddr, packet: &ArpPacket, frame: &mut Frame) {
    frame.copy_from(EthernetHeader::new(to, from, EtherType::ARP).as_bytes());
    frame.append(packet.as_bytes());
}
