//! Whole frames, with right lengths and checksums, for services, tests and benches.
//!
//! They are put together from the header types, each of which has a constructor and, by zerocopy's
//! [`IntoBytes`], `write_to_prefix` for building in place without allocation. Lengths saturate: the caller
//! keeps a packet within 65535 bytes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use zerocopy::IntoBytes;

use crate::checksum::{self, Sum};
use crate::{
    ArpPacket, EtherType, EthernetHeader, IcmpHeader, Ipv4Header, Ipv6Header, MacAddr, Tci, TcpHeader,
    UdpHeader, VlanTag, protocol,
};

/// An Ethernet II frame. It is not padded to 60 bytes.
pub fn ethernet(destination: MacAddr, source: MacAddr, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    [EthernetHeader::new(destination, source, ethertype).as_bytes(), payload].concat()
}

/// The frame with a VLAN tag put in, outside any it has already; `tpid` is [`EtherType::VLAN`] or
/// [`EtherType::QINQ`]. A frame without a whole Ethernet header comes back as it is.
pub fn tagged(frame: &[u8], tpid: EtherType, tci: Tci) -> Vec<u8> {
    let Some((addresses, [high, low, rest @ ..])) = frame.split_at_checked(12) else { return frame.to_vec() };
    let tag = VlanTag::new(tci, EtherType(u16::from_be_bytes([*high, *low])));
    [addresses, &tpid.0.to_be_bytes(), tag.as_bytes(), rest].concat()
}

/// An ARP packet from sender to target: to everyone when it is a request, else to the target.
pub fn arp(
    operation: u16,
    sender_mac: MacAddr,
    sender_ip: Ipv4Addr,
    target_mac: MacAddr,
    target_ip: Ipv4Addr,
) -> Vec<u8> {
    let destination = if operation == ArpPacket::REQUEST { MacAddr::BROADCAST } else { target_mac };
    let packet = ArpPacket::new(operation, (sender_mac, sender_ip), (target_mac, target_ip));
    ethernet(destination, sender_mac, EtherType::ARP, packet.as_bytes())
}

/// A UDP datagram in IPv4.
pub fn udp4(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Vec<u8> {
    let (from, to) = (*source.ip(), *destination.ip());
    let datagram = udp(pseudo4(from, to, protocol::UDP), source.port(), destination.port(), payload);
    ipv4(destination_mac, source_mac, from, to, protocol::UDP, &datagram)
}

/// A UDP datagram in IPv6.
pub fn udp6(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: SocketAddrV6,
    destination: SocketAddrV6,
    payload: &[u8],
) -> Vec<u8> {
    let (from, to) = (*source.ip(), *destination.ip());
    let datagram = udp(pseudo6(from, to, protocol::UDP), source.port(), destination.port(), payload);
    ipv6(destination_mac, source_mac, from, to, protocol::UDP, &datagram)
}

/// A TCP segment in IPv4; `flags` as [`TcpHeader::SYN`] and so on.
#[expect(clippy::too_many_arguments, reason = "they are the headers' fields, in their order")]
pub fn tcp4(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    payload: &[u8],
) -> Vec<u8> {
    let (from, to) = (*source.ip(), *destination.ip());
    let header = TcpHeader::new(source.port(), destination.port(), flags, sequence, acknowledgement);
    let segment = tcp(pseudo4(from, to, protocol::TCP), header, payload);
    ipv4(destination_mac, source_mac, from, to, protocol::TCP, &segment)
}

/// A TCP segment in IPv6; `flags` as [`TcpHeader::SYN`] and so on.
#[expect(clippy::too_many_arguments, reason = "they are the headers' fields, in their order")]
pub fn tcp6(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: SocketAddrV6,
    destination: SocketAddrV6,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    payload: &[u8],
) -> Vec<u8> {
    let (from, to) = (*source.ip(), *destination.ip());
    let header = TcpHeader::new(source.port(), destination.port(), flags, sequence, acknowledgement);
    let segment = tcp(pseudo6(from, to, protocol::TCP), header, payload);
    ipv6(destination_mac, source_mac, from, to, protocol::TCP, &segment)
}

/// An ICMP message, usually an echo; `header` by [`IcmpHeader::new`] with [`IcmpHeader::ECHO_REQUEST`] or `ECHO_REPLY`.
pub fn icmp4(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    mut header: IcmpHeader,
    payload: &[u8],
) -> Vec<u8> {
    header.checksum.set((Sum::of(header.as_bytes()) + Sum::of(payload)).checksum());
    let message = [header.as_bytes(), payload].concat();
    ipv4(destination_mac, source_mac, source, destination, protocol::ICMP, &message)
}

/// An ICMPv6 message with hop limit 255, as neighbor discovery demands (RFC 4861 §7.1).
pub fn icmp6(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    mut header: IcmpHeader,
    payload: &[u8],
) -> Vec<u8> {
    let length = IcmpHeader::LENGTH + payload.len();
    let pseudo = pseudo6(source, destination, protocol::ICMPV6)(length);
    header.checksum.set((pseudo + Sum::of(header.as_bytes()) + Sum::of(payload)).checksum());
    let mut packet = Ipv6Header::new(source, destination, protocol::ICMPV6, length);
    packet.hop_limit = 255;
    let packet = [packet.as_bytes(), header.as_bytes(), payload].concat();
    ethernet(destination_mac, source_mac, EtherType::IPV6, &packet)
}

/// Asks who has the target address, by multicast to its solicited-node group (RFC 4861 §4.3).
pub fn neighbor_solicitation(source_mac: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let group_mac = MacAddr([0x33, 0x33, 0xff, a, b, c]);
    let header = IcmpHeader::new(IcmpHeader::NEIGHBOR_SOLICITATION, 0, 0);
    // The option with the sender's link-layer address must be absent while it has no address (§4.3).
    let [a, b, c, d, e, f] = source_mac.octets();
    let option: &[u8] = if source.is_unspecified() { &[] } else { &[1, 1, a, b, c, d, e, f] };
    icmp6(group_mac, source_mac, source, group, header, &[&target.octets(), option].concat())
}

/// Answers a solicitation: `target` is at `source_mac`, solicited and overriding (RFC 4861 §4.4).
pub fn neighbor_advertisement(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
) -> Vec<u8> {
    // The flags solicited and override lie where an echo has its identifier.
    let header = IcmpHeader::new(IcmpHeader::NEIGHBOR_ADVERTISEMENT, 0x6000, 0);
    let payload = [&target.octets()[..], &[2, 1], &source_mac.octets()].concat();
    icmp6(destination_mac, source_mac, target, destination, header, &payload)
}

/// An IPv4 packet without options around a finished payload.
pub fn ipv4(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let header = Ipv4Header::new(source, destination, protocol, payload.len());
    ethernet(destination_mac, source_mac, EtherType::IPV4, &[header.as_bytes(), payload].concat())
}

/// An IPv6 packet around a finished payload, which may start with extension headers.
pub fn ipv6(
    destination_mac: MacAddr,
    source_mac: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    payload: &[u8],
) -> Vec<u8> {
    let header = Ipv6Header::new(source, destination, next_header, payload.len());
    ethernet(destination_mac, source_mac, EtherType::IPV6, &[header.as_bytes(), payload].concat())
}

/// A datagram with its checksum; `pseudo` sums the pseudo-header for a length.
fn udp(pseudo: impl Fn(usize) -> Sum, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = UdpHeader::new(source, destination, payload.len());
    let sum = pseudo(UdpHeader::LENGTH + payload.len()) + Sum::of(header.as_bytes()) + Sum::of(payload);
    header.checksum.set(sum.nonzero_checksum());
    [header.as_bytes(), payload].concat()
}

/// A segment with its checksum; `pseudo` sums the pseudo-header for a length.
fn tcp(pseudo: impl Fn(usize) -> Sum, mut header: TcpHeader, payload: &[u8]) -> Vec<u8> {
    let sum = pseudo(TcpHeader::LENGTH + payload.len()) + Sum::of(header.as_bytes()) + Sum::of(payload);
    header.checksum.set(sum.checksum());
    [header.as_bytes(), payload].concat()
}

fn pseudo4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> impl Fn(usize) -> Sum {
    move |length| {
        checksum::pseudo_header_v4(source, destination, protocol, u32::try_from(length).unwrap_or(u32::MAX))
    }
}

fn pseudo6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8) -> impl Fn(usize) -> Sum {
    move |length| {
        checksum::pseudo_header_v6(source, destination, protocol, u32::try_from(length).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{self as oracle, EthernetFrame, IpAddress, Ipv4Packet, Ipv6Packet, NdiscRepr};

    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
    const A4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0x12, 0x3456, 0x789a);

    /// What IP carries, after smoltcp has checked the IP header.
    fn packet(frame: &[u8]) -> (IpAddress, IpAddress, &[u8]) {
        let ethernet = EthernetFrame::new_checked(frame).unwrap();
        assert_eq!(ethernet.src_addr().0, A.0);
        if ethernet.ethertype() == oracle::EthernetProtocol::Ipv4 {
            let ipv4 = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            assert!(ipv4.verify_checksum());
            (ipv4.src_addr().into(), ipv4.dst_addr().into(), ipv4.payload())
        } else {
            let ipv6 = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
            (ipv6.src_addr().into(), ipv6.dst_addr().into(), ipv6.payload())
        }
    }

    #[test]
    fn datagrams_are_valid() {
        let (a4, b4) = (SocketAddrV4::new(A4, 1000), SocketAddrV4::new(B4, 2000));
        let (a6, b6) = (SocketAddrV6::new(A6, 1000, 0, 0), SocketAddrV6::new(B6, 2000, 0, 0));
        for frame in [udp4(B, A, a4, b4, b"odd"), udp6(B, A, a6, b6, b"odd")] {
            let (source, destination, datagram) = packet(&frame);
            let datagram = oracle::UdpPacket::new_checked(datagram).unwrap();
            assert_ne!(datagram.checksum(), 0);
            assert!(datagram.verify_checksum(&source, &destination));
            assert_eq!(
                (datagram.src_port(), datagram.dst_port(), datagram.payload()),
                (1000, 2000, &b"odd"[..])
            );
        }
    }

    #[test]
    fn segments_are_valid() {
        let (a4, b4) = (SocketAddrV4::new(A4, 1000), SocketAddrV4::new(B4, 2000));
        let (a6, b6) = (SocketAddrV6::new(A6, 1000, 0, 0), SocketAddrV6::new(B6, 2000, 0, 0));
        let flags = TcpHeader::SYN | TcpHeader::ACK;
        for frame in [tcp4(B, A, a4, b4, flags, 7, 9, b"odd"), tcp6(B, A, a6, b6, flags, 7, 9, b"odd")] {
            let (source, destination, bytes) = packet(&frame);
            let segment = oracle::TcpPacket::new_checked(bytes).unwrap();
            assert!(segment.verify_checksum(&source, &destination));
            assert_eq!(
                (segment.seq_number().0, segment.ack_number().0, segment.payload()),
                (7, 9, &b"odd"[..])
            );
            assert!(segment.syn() && segment.ack() && !segment.fin());
        }
    }

    #[test]
    fn echoes_are_valid() {
        let frame = icmp4(B, A, A4, B4, IcmpHeader::new(IcmpHeader::ECHO_REQUEST, 7, 9), b"ping!");
        let message = oracle::Icmpv4Packet::new_checked(packet(&frame).2).unwrap();
        assert!(message.verify_checksum());
        assert_eq!((message.echo_ident(), message.echo_seq_no(), message.data()), (7, 9, &b"ping!"[..]));

        let frame = icmp6(B, A, A6, B6, IcmpHeader::new(IcmpHeader::ECHO_REPLY_V6, 7, 9), b"ping!");
        let message = oracle::Icmpv6Packet::new_checked(packet(&frame).2).unwrap();
        assert!(message.verify_checksum(&A6, &B6));
        assert_eq!((message.echo_ident(), message.echo_seq_no(), message.payload()), (7, 9, &b"ping!"[..]));
    }

    #[test]
    fn neighbor_discovery_is_valid() {
        let capabilities = ChecksumCapabilities::default();
        let solicitation = neighbor_solicitation(A, A6, B6);
        assert_eq!(solicitation[..6], [0x33, 0x33, 0xff, 0x56, 0x78, 0x9a]);
        let message = oracle::Icmpv6Packet::new_checked(packet(&solicitation).2).unwrap();
        let group = "ff02::1:ff56:789a".parse().unwrap();
        let read = oracle::Icmpv6Repr::parse(&A6, &group, &message, &capabilities).unwrap();
        let lladdr = Some(oracle::EthernetAddress(A.0).into());
        let expected = NdiscRepr::NeighborSolicit { target_addr: B6, lladdr };
        assert_eq!(read, oracle::Icmpv6Repr::Ndisc(expected));

        let advertisement = neighbor_advertisement(B, A, B6, A6);
        let message = oracle::Icmpv6Packet::new_checked(packet(&advertisement).2).unwrap();
        let read = oracle::Icmpv6Repr::parse(&A6, &B6, &message, &capabilities).unwrap();
        let flags = oracle::NdiscNeighborFlags::SOLICITED | oracle::NdiscNeighborFlags::OVERRIDE;
        let expected = NdiscRepr::NeighborAdvert { flags, target_addr: A6, lladdr };
        assert_eq!(read, oracle::Icmpv6Repr::Ndisc(expected));
    }

    #[test]
    fn a_probe_for_a_duplicate_does_not_name_its_sender() {
        let probe = neighbor_solicitation(A, Ipv6Addr::UNSPECIFIED, B6);
        assert_eq!(probe.len(), 14 + 40 + 8 + 16);
    }

    #[test]
    fn arp_goes_to_everyone_or_to_the_target() {
        let request = arp(ArpPacket::REQUEST, A, A4, MacAddr::ZERO, B4);
        let reply = arp(ArpPacket::REPLY, A, A4, B, B4);
        assert_eq!((&request[..6], &reply[..6]), (&[0xff; 6][..], &B.0[..]));
        let read = oracle::ArpRepr::parse(&oracle::ArpPacket::new_checked(&reply[14..]).unwrap()).unwrap();
        let expected = oracle::ArpRepr::EthernetIpv4 {
            operation: oracle::ArpOperation::Reply,
            source_hardware_addr: oracle::EthernetAddress(A.0),
            source_protocol_addr: A4,
            target_hardware_addr: oracle::EthernetAddress(B.0),
            target_protocol_addr: B4,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn tags_go_outside() {
        let plain = udp4(B, A, SocketAddrV4::new(A4, 1), SocketAddrV4::new(B4, 2), b"");
        let twice = tagged(&tagged(&plain, EtherType::VLAN, Tci(5)), EtherType::QINQ, Tci(6));
        let read = SlicedPacket::from_ethernet(&twice).unwrap();
        let vlans: Vec<u16> = read.vlan_ids().iter().map(|vlan| vlan.value()).collect();
        assert_eq!(vlans, [6, 5]);
        assert!(matches!(read.net, Some(NetSlice::Ipv4(_))));
        assert!(matches!(read.transport, Some(TransportSlice::Udp(_))));
        assert_eq!(tagged(&plain[..13], EtherType::VLAN, Tci(5)), &plain[..13]);
    }
}
