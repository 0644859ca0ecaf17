//! The parser against frames of each kind, against each defect, and against any bytes.

mod differential;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use proptest::prelude::*;

use super::*;
use crate::{IcmpHeader, TcpHeader, VlanId, build, protocol};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const A4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

fn tcp4(payload: &[u8]) -> Vec<u8> {
    let flags = TcpHeader::ACK | TcpHeader::PSH;
    build::tcp4(B, A, SocketAddrV4::new(A4, 40_000), SocketAddrV4::new(B4, 80), flags, 1, 2, payload)
}

fn udp4(payload: &[u8]) -> Vec<u8> {
    build::udp4(B, A, SocketAddrV4::new(A4, 40_000), SocketAddrV4::new(B4, 53), payload)
}

fn udp6(payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (SocketAddrV6::new(A6, 40_000, 0, 0), SocketAddrV6::new(B6, 53, 0, 0));
    build::udp6(B, A, source, destination, payload)
}

/// An IPv6 packet of these extension headers and a UDP datagram.
fn extended(first: u8, extensions: &[u8]) -> Vec<u8> {
    let datagram = &udp6(b"payload")[54..];
    build::ipv6(B, A, A6, B6, first, &[extensions, datagram].concat())
}

/// `frame` with the bytes at an offset replaced.
fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// An IPv4 packet with these flags and offset in place of its own.
fn fragment4(frame: Vec<u8>, flags_fragment: u16) -> Vec<u8> {
    with(frame, 20, &flags_fragment.to_be_bytes())
}

/// `layer3_offset`, `layer4_offset`, `payload_offset` and `layer3_end`.
fn places(parsed: &Parsed) -> (u16, u16, u16, u32) {
    (parsed.layer3_offset, parsed.layer4_offset, parsed.payload_offset, parsed.layer3_end)
}

#[test]
fn tcp_in_ipv4_with_padding() {
    let mut frame = tcp4(b"x");
    frame.resize(60, 0xee);
    let parsed = parse(&frame).unwrap();
    let expected = Headers {
        destination: B,
        source: A,
        ethertype: EtherType::IPV4,
        tci: 0,
        source_ip: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        destination_ip: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        source_port: 40_000,
        destination_port: 80,
        protocol: protocol::TCP,
        layer3: Layer3::IPV4,
        fragment: Fragment::WHOLE,
        flags: 0,
    };
    assert_eq!(parsed.headers, expected);
    assert_eq!(places(&parsed), (14, 34, 54, 55));
    assert_eq!(parsed.tcp_flags, TcpHeader::ACK | TcpHeader::PSH);
    assert_eq!(parsed.headers.source_address(), Some(IpAddr::V4(A4)));
    assert_eq!(parsed.headers.destination_address(), Some(IpAddr::V4(B4)));
}

#[test]
fn udp_in_ipv6() {
    let frame = udp6(b"payload");
    let parsed = parse(&frame).unwrap();
    let headers = parsed.headers;
    assert_eq!((headers.layer3, headers.protocol, headers.flags), (Layer3::IPV6, protocol::UDP, 0));
    assert_eq!((headers.source_port, headers.destination_port), (40_000, 53));
    assert_eq!(headers.source_address(), Some(IpAddr::V6(A6)));
    assert_eq!(headers.destination_address(), Some(IpAddr::V6(B6)));
    assert_eq!(places(&parsed), (14, 54, 62, 69));
}

#[test]
fn one_vlan_tag_is_parsed() {
    let untagged = parse(&udp4(b"payload")).unwrap();
    let tci = Tci::new(VlanId::try_from(100).unwrap(), 5, false);
    let tagged = build::tagged(&udp4(b"payload"), EtherType::VLAN, tci);
    let parsed = parse(&tagged).unwrap();
    let expected = Headers { tci: tci.0, flags: Headers::TAGGED, ..untagged.headers };
    assert_eq!(parsed.headers, expected);
    assert_eq!(places(&parsed), (18, 38, 46, 53));
    assert_eq!((parsed.headers.tag(), untagged.headers.tag()), (Some(tci), None));

    // A service tag with the same number is another VLAN.
    let service = parse(&build::tagged(&udp4(b"payload"), EtherType::QINQ, tci)).unwrap();
    assert_eq!(service.headers.flags, Headers::TAGGED | Headers::SERVICE_TAG);
    assert_ne!(service.headers, parsed.headers);

    let twice = parse(&build::tagged(&tagged, EtherType::QINQ, Tci(7))).unwrap();
    assert_eq!((twice.headers.layer3, twice.headers.ethertype), (Layer3::OTHER, EtherType::VLAN));
    assert_eq!(places(&twice), (18, 0, 0, 57));
}

#[test]
fn arp_is_parsed() {
    let parsed = parse(&build::arp(crate::ArpPacket::REPLY, A, A4, B, B4)).unwrap();
    assert_eq!((parsed.headers.layer3, parsed.headers.protocol), (Layer3::ARP, 2));
    assert_eq!(parsed.headers.source_address(), Some(IpAddr::V4(A4)));
    assert_eq!(parsed.headers.destination_address(), Some(IpAddr::V4(B4)));
    assert_eq!(places(&parsed), (14, 0, 0, 42));
}

#[test]
fn icmp_has_an_identifier_only_in_echoes() {
    let ports = |frame: &[u8]| {
        let headers = parse(frame).unwrap().headers;
        (headers.source_port, headers.destination_port)
    };
    let echo4 = |kind| build::icmp4(B, A, A4, B4, IcmpHeader::new(kind, 77, 1), b"ping");
    assert_eq!(ports(&echo4(IcmpHeader::ECHO_REQUEST)), (77, 0x0800));
    assert_eq!(ports(&echo4(IcmpHeader::ECHO_REPLY)), (77, 0));
    // Destination unreachable has something else in these bytes.
    assert_eq!(ports(&echo4(3)), (0, 0x0300));
    let echo6 = |kind| build::icmp6(B, A, A6, B6, IcmpHeader::new(kind, 77, 1), b"ping");
    assert_eq!(ports(&echo6(IcmpHeader::ECHO_REQUEST_V6)), (77, 0x8000));
    assert_eq!(ports(&echo6(IcmpHeader::ECHO_REPLY_V6)), (77, 0x8100));
    assert_eq!(ports(&build::neighbor_solicitation(A, A6, B6)), (0, 0x8700));
}

#[test]
fn sctp_has_ports() {
    let parsed =
        parse(&build::ipv4(B, A, A4, B4, protocol::SCTP, &[1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0])).unwrap();
    assert_eq!((parsed.headers.source_port, parsed.headers.destination_port), (0x0102, 0x0304));
    assert_eq!(places(&parsed), (14, 34, 46, 46));
}

#[test]
fn what_is_unknown_is_not_malformed() {
    let other = parse(&build::ethernet(B, A, EtherType(0x88cc), &[0; 46])).unwrap();
    assert_eq!((other.headers.layer3, places(&other)), (Layer3::OTHER, (14, 0, 0, 60)));
    // IEEE 802.3 with LLC, as spanning tree comes.
    let llc = parse(&build::ethernet(B, A, EtherType(38), &[0x42; 46])).unwrap();
    assert_eq!((llc.headers.layer3, llc.headers.ethertype), (Layer3::OTHER, EtherType(38)));
    let esp = parse(&build::ipv4(B, A, A4, B4, protocol::ESP, &[0; 3])).unwrap();
    assert_eq!((esp.headers.protocol, places(&esp)), (protocol::ESP, (14, 34, 0, 37)));
    let nothing = parse(&build::ipv6(B, A, A6, B6, protocol::NO_NEXT_HEADER, &[])).unwrap();
    assert_eq!(places(&nothing), (14, 0, 0, 54));
}

#[test]
fn ipv4_options_are_skipped() {
    let datagram = &udp4(b"payload")[34..];
    let plain = build::ipv4(B, A, A4, B4, protocol::UDP, &[&[1, 1, 1, 0], datagram].concat());
    let parsed = parse(&with(plain, 14, &[0x46])).unwrap();
    assert_eq!((parsed.headers.destination_port, parsed.headers.flags), (53, Headers::IPV4_OPTIONS));
    assert_eq!(places(&parsed), (14, 38, 46, 53));
}

#[test]
fn ipv6_extensions_are_walked() {
    let chain = [
        // Hop-by-hop, then routing with 8 more bytes, then authentication of 12 bytes, then destination options.
        &[protocol::ROUTING, 0, 1, 4, 0, 0, 0, 0][..],
        &[protocol::AUTHENTICATION, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[protocol::DESTINATION_OPTIONS, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[protocol::UDP, 0, 1, 4, 0, 0, 0, 0],
    ]
    .concat();
    let parsed = parse(&extended(protocol::HOP_BY_HOP, &chain)).unwrap();
    assert_eq!((parsed.headers.protocol, parsed.headers.destination_port), (protocol::UDP, 53));
    assert_eq!((parsed.headers.fragment, parsed.headers.flags), (Fragment::WHOLE, Headers::IPV6_EXTENSIONS));
    assert_eq!(places(&parsed), (14, 98, 106, 113));
}

#[test]
fn at_most_eight_extensions() {
    let options = [protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    let eight = with(options[..64].to_vec(), 56, &[protocol::UDP]);
    assert_eq!(parse(&extended(protocol::DESTINATION_OPTIONS, &eight)).unwrap().headers.destination_port, 53);
    let nine = with(options, 64, &[protocol::UDP]);
    assert_eq!(parse(&extended(protocol::DESTINATION_OPTIONS, &nine)), Err(Malformed::Ipv6TooManyExtensions));
}

#[test]
fn ipv4_fragments_are_told_apart() {
    let of = |flags_fragment| parse(&fragment4(udp4(&[7; 64]), flags_fragment)).unwrap();
    assert_eq!(of(0x4000).headers.fragment, Fragment::WHOLE);
    let first = of(0x2000);
    assert_eq!((first.headers.fragment, first.headers.destination_port), (Fragment::FIRST, 53));
    for later in [of(0x2001), of(0x0001)] {
        assert_eq!((later.headers.fragment, later.headers.destination_port), (Fragment::LATER, 0));
        assert_eq!((later.headers.protocol, places(&later)), (protocol::UDP, (14, 0, 0, 106)));
    }
    // 65520 bytes before it and 15 in it are just as many as a packet can have.
    let last = |payload: &[u8]| parse(&fragment4(udp4(payload), 8190));
    assert_eq!(last(&[7; 7]).unwrap().headers.fragment, Fragment::LATER);
    assert_eq!(last(&[7; 8]), Err(Malformed::FragmentOverflow));
    // The length is the whole datagram's, of which a first fragment has only a part.
    let first = fragment4(with(udp4(&[7; 64]), 38, &2000_u16.to_be_bytes()), 0x2000);
    assert_eq!(parse(&first).unwrap().headers.fragment, Fragment::FIRST);
}

#[test]
fn ipv6_fragments_are_told_apart() {
    let of = |offset_flags: [u8; 2]| {
        let header = [protocol::UDP, 0, offset_flags[0], offset_flags[1], 0, 0, 0, 9];
        parse(&extended(protocol::FRAGMENT, &header)).unwrap().headers
    };
    let atomic = of([0, 0b110]);
    assert_eq!((atomic.fragment, atomic.destination_port), (Fragment::WHOLE, 53));
    let first = of([0, 1]);
    assert_eq!((first.fragment, first.destination_port), (Fragment::FIRST, 53));
    let later = of([0, 0b1000]);
    assert_eq!((later.fragment, later.destination_port, later.protocol), (Fragment::LATER, 0, protocol::UDP));
}

#[test]
fn super_frames_stay_whole() {
    let tcp = tcp4(&vec![7; 65_495]);
    assert_eq!((tcp.len(), parse(&tcp).unwrap().layer3_end), (65_549, 65_549));
    let tagged = build::tagged(&udp6(&vec![7; 65_527]), EtherType::VLAN, Tci(1));
    assert_eq!(places(&parse(&tagged).unwrap()), (18, 58, 66, 65_593));
}

#[test]
fn each_defect_is_named() {
    let arp = || build::arp(crate::ArpPacket::REQUEST, A, A4, MacAddr::ZERO, B4);
    let cut = |frame: Vec<u8>, length: usize| frame[..length].to_vec();
    let ip4 = |protocol, length| build::ipv4(B, A, A4, B4, protocol, &vec![0; length]);
    let ip6 = |next_header, length| build::ipv6(B, A, A6, B6, next_header, &vec![0; length]);
    let fragment6 = |next_header, offset_flags: [u8; 2]| {
        extended(protocol::FRAGMENT, &[next_header, 0, offset_flags[0], offset_flags[1], 0, 0, 0, 9])
    };
    let cases = [
        (vec![], Malformed::FrameTooShort),
        (cut(udp4(b""), 13), Malformed::FrameTooShort),
        (cut(build::tagged(&udp4(b""), EtherType::VLAN, Tci(1)), 17), Malformed::VlanTruncated),
        (cut(arp(), 41), Malformed::ArpTruncated),
        (with(arp(), 15, &[6]), Malformed::ArpNotEthernetIpv4),
        (with(arp(), 16, &[0x86, 0xdd]), Malformed::ArpNotEthernetIpv4),
        (with(arp(), 18, &[8]), Malformed::ArpNotEthernetIpv4),
        (with(arp(), 19, &[16]), Malformed::ArpNotEthernetIpv4),
        (cut(udp4(b""), 33), Malformed::Ipv4Truncated),
        (with(cut(udp4(b""), 34), 14, &[0x46]), Malformed::Ipv4Truncated),
        (with(udp4(b""), 14, &[0x65]), Malformed::Ipv4Version),
        (with(udp4(b""), 14, &[0x44]), Malformed::Ipv4HeaderLength),
        (with(udp4(b""), 16, &[0, 19]), Malformed::Ipv4TotalLength),
        (with(udp4(b""), 16, &[0, 29]), Malformed::Ipv4TotalLength),
        (with(udp4(b""), 16, &[0, 0]), Malformed::Ipv4TotalLength),
        (with(with(udp4(&[0; 40]), 14, &[0x4f]), 16, &[0, 59]), Malformed::Ipv4TotalLength),
        (cut(udp6(b""), 53), Malformed::Ipv6Truncated),
        (with(udp6(b""), 14, &[0x40]), Malformed::Ipv6Version),
        (cut(udp6(b""), 61), Malformed::Ipv6PayloadLength),
        (with(udp6(b""), 18, &[0, 0]), Malformed::Ipv6PayloadLength),
        (ip6(protocol::HOP_BY_HOP, 7), Malformed::Ipv6ExtensionTruncated),
        (
            extended(protocol::ROUTING, &[protocol::UDP, 2, 0, 0, 0, 0, 0, 0]),
            Malformed::Ipv6ExtensionTruncated,
        ),
        (fragment4(udp4(b"12345678"), 0x1fff), Malformed::FragmentOverflow),
        (fragment6(protocol::UDP, [0xff, 0xf8]), Malformed::FragmentOverflow),
        (fragment4(ip4(protocol::UDP, 7), 0x2000), Malformed::TinyFragment),
        (fragment4(ip4(protocol::TCP, 19), 0x2000), Malformed::TinyFragment),
        (fragment4(ip4(protocol::ICMP, 7), 0x2000), Malformed::TinyFragment),
        (fragment4(ip4(protocol::SCTP, 11), 0x2000), Malformed::TinyFragment),
        (fragment4(with(tcp4(b""), 46, &[0x60]), 0x2000), Malformed::TinyFragment),
        (fragment4(tcp4(b""), 0x0001), Malformed::TinyFragment),
        (fragment6(protocol::TCP, [0, 0b1000]), Malformed::TinyFragment),
        (
            build::ipv6(B, A, A6, B6, protocol::FRAGMENT, &[protocol::ROUTING, 0, 0, 1, 0, 0, 0, 9, 17]),
            Malformed::TinyFragment,
        ),
        (ip4(protocol::TCP, 19), Malformed::TcpTruncated),
        (ip6(protocol::TCP, 19), Malformed::TcpTruncated),
        (with(tcp4(b""), 46, &[0x40]), Malformed::TcpDataOffset),
        (with(tcp4(b""), 46, &[0x60]), Malformed::TcpDataOffset),
        (ip4(protocol::UDP, 7), Malformed::UdpTruncated),
        (with(udp4(b""), 38, &[0, 7]), Malformed::UdpLength),
        (with(udp4(b""), 38, &[0, 9]), Malformed::UdpLength),
        (ip4(protocol::ICMP, 7), Malformed::IcmpTruncated),
        (ip6(protocol::ICMPV6, 7), Malformed::IcmpTruncated),
        (ip4(protocol::SCTP, 11), Malformed::SctpTruncated),
    ];
    for (frame, defect) in &cases {
        assert_eq!(parse(frame), Err(*defect), "{frame:02x?}");
    }
    let options = [protocol::HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    assert_eq!(parse(&extended(protocol::HOP_BY_HOP, &options)), Err(Malformed::Ipv6TooManyExtensions));
    for defect in Malformed::ALL {
        let tested = cases.iter().any(|(_, case)| *case == defect);
        assert!(tested || defect == Malformed::Ipv6TooManyExtensions, "{} has no test", defect.name());
    }
}

#[test]
fn headers_are_seven_words_without_padding() {
    assert_eq!(size_of::<Headers>(), 56);
    let headers = parse(&tcp4(b"")).unwrap().headers;
    assert_eq!(headers.words().as_bytes(), headers.as_bytes());
    assert_ne!(Headers { flags: 1, ..headers }, headers);
}

/// What must be true of whatever was accepted.
fn check_places(frame: &[u8], parsed: &Parsed) -> Result<(), TestCaseError> {
    let end = usize::try_from(parsed.layer3_end).unwrap();
    prop_assert!(end <= frame.len());
    prop_assert!(usize::from(parsed.layer3_offset) <= end);
    if parsed.layer4_offset != 0 {
        prop_assert!(parsed.layer4_offset > parsed.layer3_offset);
        prop_assert!(usize::from(parsed.layer4_offset) <= end);
    }
    if parsed.payload_offset != 0 {
        prop_assert!(parsed.layer4_offset != 0 && parsed.payload_offset > parsed.layer4_offset);
        prop_assert!(usize::from(parsed.payload_offset) <= end);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(parsed) = parse(&bytes) {
            check_places(&bytes, &parsed)?;
        }
    }

    /// Random bytes alone seldom get past the EtherType.
    #[test]
    fn any_bytes_behind_an_ethertype(
        ethertype in prop::sample::select(vec![0x0800_u16, 0x0806, 0x86dd, 0x8100, 0x88a8]),
        start in prop::sample::select(vec![0x45_u8, 0x46, 0x4f, 0x60]),
        next in prop::sample::select(vec![0_u8, 1, 6, 17, 43, 44, 51, 58, 59, 60, 132]),
        mut bytes in prop::collection::vec(any::<u8>(), 54..200),
    ) {
        bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
        let length = u8::try_from(bytes.len()).unwrap();
        match start {
            0x60 => bytes[14..21].copy_from_slice(&[start, 0, 0, 0, 0, length - 54, next]),
            _ => bytes[14..18].copy_from_slice(&[start, 0, 0, length - 14]),
        }
        if start != 0x60 {
            bytes[23] = next;
        }
        if let Ok(parsed) = parse(&bytes) {
            check_places(&bytes, &parsed)?;
        }
    }
}
