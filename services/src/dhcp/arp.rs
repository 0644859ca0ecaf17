//! Finding out whether an address is free, and telling that it is ours: RFC 5227.

use std::net::Ipv4Addr;

use vswitch_wire::{ArpPacket, EtherType, EthernetHeader, MacAddr, build};
use zerocopy::FromBytes;

/// Asks whether anybody has `address`, without claiming it (RFC 5227 §2.1.1).
pub(super) fn probe(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    build::arp(ArpPacket::REQUEST, mac, Ipv4Addr::UNSPECIFIED, MacAddr::ZERO, address)
}

/// Tells everybody that `address` is ours now (RFC 5227 §2.3).
pub(super) fn announcement(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    build::arp(ArpPacket::REQUEST, mac, address, MacAddr::ZERO, address)
}

/// Whether `frame` shows that a station other than `mac` has `address`, or is about to take it (RFC 5227 §2.1.1).
pub(super) fn is_claimed_by_another(address: Ipv4Addr, mac: MacAddr, frame: &[u8]) -> bool {
    let Ok((ethernet, packet)) = EthernetHeader::ref_from_prefix(frame) else { return false };
    let Ok((arp, _)) = ArpPacket::ref_from_prefix(packet) else { return false };
    let by_another =
        ethernet.ethertype.get() == EtherType::ARP.0 && arp.is_ethernet_ipv4() && arp.sender_mac != mac;
    let has = arp.sender_ip == address.octets();
    let probes = arp.sender_ip == [0; 4] && arp.target_ip == address.octets();
    by_another && (has || probes)
}
