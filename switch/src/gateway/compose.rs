//! Frames put together in place: headers and payload appended, then lengths and checksums set.

use std::net::{Ipv4Addr, Ipv6Addr};

use vswitch_wire::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
use vswitch_wire::{EtherType, EthernetHeader, Ipv4Header, Ipv6Header, MacAddr, TcpHeader, protocol};
use zerocopy::{FromBytes, IntoBytes};

use crate::frame::Frame;

/// Where ICMP and ICMPv6 messages have their checksum.
const ICMP_CHECKSUM_OFFSET: usize = 2;

/// Begins a frame with an IPv4 header, whose lengths [`seal`] sets.
pub(super) fn begin_v4(frame: &mut Frame, to: MacAddr, from: MacAddr, header: &Ipv4Header) {
    frame.copy_from(EthernetHeader::new(to, from, EtherType::IPV4).as_bytes());
    frame.append(header.as_bytes());
}

/// Begins a frame with an IPv6 header, whose length [`seal`] sets.
pub(super) fn begin_v6(frame: &mut Frame, to: MacAddr, from: MacAddr, header: &Ipv6Header) {
    frame.copy_from(EthernetHeader::new(to, from, EtherType::IPV6).as_bytes());
    frame.append(header.as_bytes());
}

/// Sets the packet's length to that of the frame, and every checksum, of a frame begun here whose payload is ICMP,
/// ICMPv6 or TCP.
pub(super) fn seal(frame: &mut Frame) {
    let packet = frame.bytes_mut().get_mut(EthernetHeader::LENGTH..).unwrap_or_default();
    let length = packet.len();
    let version = packet.first().map_or(0, |first| first >> 4);
    if version == 4
        && let Ok((header, payload)) = Ipv4Header::mut_from_prefix(packet)
    {
        // A frame holds no more than 16 bits can say.
        header.total_length.set(u16::try_from(length).unwrap_or(u16::MAX));
        header.checksum.set(0);
        header.checksum.set(Sum::of(header.as_bytes()).checksum());
        let (source, destination) = (Ipv4Addr::from(header.source), Ipv4Addr::from(header.destination));
        let of = header.protocol;
        seal_payload(payload, of, |length| pseudo_header_v4(source, destination, of, length));
    } else if let Ok((header, payload)) = Ipv6Header::mut_from_prefix(packet) {
        header.payload_length.set(u16::try_from(payload.len()).unwrap_or(u16::MAX));
        let (source, destination) = (Ipv6Addr::from(header.source), Ipv6Addr::from(header.destination));
        let of = header.next_header;
        seal_payload(payload, of, |length| pseudo_header_v6(source, destination, of, length));
    }
}

fn seal_payload(payload: &mut [u8], of: u8, pseudo_header: impl Fn(u32) -> Sum) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let (offset, before) = match of {
        protocol::ICMP => (ICMP_CHECKSUM_OFFSET, Sum::default()),
        protocol::TCP => (usize::from(TcpHeader::CHECKSUM_OFFSET), pseudo_header(length)),
        _ => (ICMP_CHECKSUM_OFFSET, pseudo_header(length)),
    };
    let field = |payload: &mut [u8], value: u16| {
        if let Some(field) = payload.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
            *field = value.to_be_bytes();
        }
    };
    field(payload, 0);
    let checksum = (before + Sum::of(payload)).checksum();
    field(payload, checksum);
}

/// The Ethernet group of an IPv6 multicast address (RFC 2464 §7).
pub(super) fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The group of those whose address ends as `address` does (RFC 4291 §2.7.1).
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// An IPv6 header for neighbour discovery, whose messages must not have passed a router (RFC 4861 §7.1).
pub(super) fn discovery_header(source: Ipv6Addr, destination: Ipv6Addr) -> Ipv6Header {
    let mut header = Ipv6Header::new(source, destination, protocol::ICMPV6, 0);
    header.hop_limit = 255;
    header
}
