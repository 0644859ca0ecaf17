#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::net::{Ipv4Addr, Ipv6Addr};

use vswitch_wire::{EtherType, MacAddr, build, parse};
use zerocopy::IntoBytes;

use super::*;
use crate::frame::Pool;
use crate::offload::{GSO_ECN, GSO_TCP4, GSO_TCP6, GSO_UDP, NEEDS_CHECKSUM};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const IP4: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
const IP6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)];

/// RFC 1071 §1, word by word.
fn naive_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.concat().chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The pseudo-header as bytes; the same sum for both versions when written so.
fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> Vec<u8> {
    [source, destination, &(length as u32).to_be_bytes(), &[0, 0, 0, protocol]].concat()
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|nth| (nth * 31 + nth / 256) as u8).collect()
}

fn tcp(flags: u8, options: &[u8], length: usize) -> Vec<u8> {
    let mut header = TcpHeader::new(1, 2, flags, 0xffff_ff00, 9);
    header.data_offset = (5 + options.len() as u8 / 4) << 4;
    [header.as_bytes(), options, &payload(length)].concat()
}

fn udp(length: usize) -> Vec<u8> {
    [UdpHeader::new(1, 2, length).as_bytes(), &payload(length)].concat()
}

/// Leaves the checksum open.
fn opened(mut transport: Vec<u8>, source: &[u8], destination: &[u8], protocol: u8) -> Vec<u8> {
    let partial = naive_sum(&[&pseudo_header(source, destination, protocol, transport.len())]);
    let at = if protocol == protocol::TCP { 16 } else { 6 };
    transport[at..at + 2].copy_from_slice(&partial.to_be_bytes());
    transport
}

fn ipv4(options: &[u8], protocol: u8, transport: Vec<u8>) -> Vec<u8> {
    let transport = opened(transport, &IP4[0].octets(), &IP4[1].octets(), protocol);
    let mut header = Ipv4Header::new(IP4[0], IP4[1], protocol, options.len() + transport.len());
    header.version_ihl = 0x45 + options.len() as u8 / 4;
    header.identification.set(0xfffe);
    header.checksum.set(0);
    header.checksum.set(!naive_sum(&[header.as_bytes(), options]));
    build::ethernet(B, A, EtherType::IPV4, &[header.as_bytes(), options, &transport].concat())
}

fn ipv6(extensions: &[u8], first: u8, last: Ipv6Addr, protocol: u8, transport: Vec<u8>) -> Vec<u8> {
    let transport = opened(transport, &IP6[0].octets(), &last.octets(), protocol);
    build::ipv6(B, A, IP6[0], IP6[1], first, &[extensions, &transport].concat())
}

/// Segments `frame` after its header was found true; each segment must say of itself that it is complete.
fn segments(frame: &[u8], gso_type: u8, gso_size: u16) -> Vec<Vec<u8>> {
    let parsed = parse(frame).unwrap();
    let checksum_offset = if parsed.headers.protocol == protocol::TCP { 16 } else { 6 };
    let checksum_start = parsed.layer4_offset;
    let claim = OffloadHeader {
        flags: NEEDS_CHECKSUM,
        gso_type,
        header_length: 0,
        gso_size,
        checksum_start,
        checksum_offset,
    };
    let mut pool = Pool::new(2);
    let (mut whole, mut scratch) = (pool.take().unwrap(), pool.take().unwrap());
    whole.copy_from(frame);
    whole.offload = claim.validate(&parsed, frame.len()).expect("a true header");
    let mut segments = Vec::new();
    complete(&whole, &parsed, &mut scratch, |segment| {
        assert_eq!(segment.offload, OffloadHeader::NONE);
        segments.push(segment.bytes().to_vec());
    })
    .unwrap();
    assert_eq!(whole.bytes(), frame, "the super-frame may be needed for another egress");
    segments
}

/// Checks every length, checksum and identification, and that the payloads add up. `last` is the address the
/// transport checksum covers.
fn check(frame: &[u8], segments: &[Vec<u8>], size: usize, last: &[u8]) {
    let whole = parse(frame).unwrap();
    let body = &frame[usize::from(whole.payload_offset)..];
    assert_eq!(segments.len(), body.len().div_ceil(size));
    let mut together = Vec::new();
    for (nth, segment) in segments.iter().enumerate() {
        let parsed = parse(segment).unwrap();
        assert_eq!(parsed.headers, whole.headers);
        assert_eq!(parsed.layer3_end as usize, segment.len(), "the IP length");
        let (layer3, layer4) = (usize::from(parsed.layer3_offset), usize::from(parsed.layer4_offset));
        let packet = &segment[layer3..];
        if parsed.headers.is_ipv4() {
            assert_eq!(naive_sum(&[&segment[layer3..layer4]]), 0xffff, "the IPv4 header checksum");
            assert_eq!(packet[4..6], 0xfffe_u16.wrapping_add(nth as u16).to_be_bytes());
        }
        let message = &segment[layer4..];
        let source = if parsed.headers.is_ipv4() { &packet[12..16] } else { &packet[8..24] };
        let pseudo = pseudo_header(source, last, parsed.headers.protocol, message.len());
        assert_eq!(naive_sum(&[&pseudo, message]), 0xffff, "the transport checksum of segment {nth}");
        if parsed.headers.protocol == protocol::UDP {
            assert_eq!(usize::from(u16::from_be_bytes([message[4], message[5]])), message.len());
        } else {
            let sequence = u32::from_be_bytes(message[4..8].try_into().unwrap());
            assert_eq!(sequence, 0xffff_ff00_u32.wrapping_add((nth * size) as u32));
        }
        let part = &segment[usize::from(parsed.payload_offset)..];
        assert!(part.len() == size || nth + 1 == segments.len(), "only the last may be shorter");
        together.extend_from_slice(part);
    }
    assert_eq!(together, body);
}

#[test]
fn every_kind_is_cut_right() {
    let (v4, v6) = (IP4[1].octets(), IP6[1].octets());
    // Router alert behind no-operations; a hop-by-hop header of padding.
    let router_alert = [0x94, 4, 0, 0, 1, 1, 1, 1];
    let hop_by_hop = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let tcp_flags = TcpHeader::ACK;
    for size in [8_u16, 100, 1400, 3000, 65_534] {
        for length in [1, 99, 100, 101, 3000, 20_000] {
            if usize::from(size) * 128 < length {
                continue;
            }
            let plain = ipv4(&[], protocol::TCP, tcp(tcp_flags, &[], length));
            check(&plain, &segments(&plain, GSO_TCP4, size), size.into(), &v4);
            let tagged = build::tagged(&plain, EtherType::VLAN, vswitch_wire::Tci(7));
            check(&tagged, &segments(&tagged, GSO_TCP4, size), size.into(), &v4);
            let options = ipv4(&router_alert, protocol::TCP, tcp(tcp_flags, &[1; 12], length));
            check(&options, &segments(&options, GSO_TCP4, size), size.into(), &v4);
            let datagram = ipv4(&router_alert, protocol::UDP, udp(length));
            check(&datagram, &segments(&datagram, GSO_UDP, size), size.into(), &v4);
            let plain = ipv6(&[], protocol::TCP, IP6[1], protocol::TCP, tcp(tcp_flags, &[], length));
            check(&plain, &segments(&plain, GSO_TCP6, size), size.into(), &v6);
            let extended =
                ipv6(&hop_by_hop(protocol::UDP), protocol::HOP_BY_HOP, IP6[1], protocol::UDP, udp(length));
            check(&extended, &segments(&extended, GSO_UDP, size), size.into(), &v6);
        }
    }
}

#[test]
fn the_longest_super_frame_is_cut() {
    let frame = ipv4(&[], protocol::TCP, tcp(TcpHeader::ACK, &[], 65_535 - 40));
    check(&frame, &segments(&frame, GSO_TCP4, 1448), 1448, &IP4[1].octets());
    let frame = ipv6(&[], protocol::TCP, IP6[1], protocol::TCP, tcp(TcpHeader::ACK, &[], 65_535 - 20));
    check(&frame, &segments(&frame, GSO_TCP6, 1428), 1428, &IP6[1].octets());
}

/// RFC 8200 §8.1: behind a routing header the checksum covers the final destination, not the one at hand.
#[test]
fn the_destination_behind_a_routing_header_counts() {
    let last = Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, 9);
    let routing = [&[protocol::TCP, 2, 4, 1, 0, 0, 0, 0][..], &last.octets()].concat();
    let frame = ipv6(&routing, protocol::ROUTING, last, protocol::TCP, tcp(TcpHeader::ACK, &[], 3000));
    check(&frame, &segments(&frame, GSO_TCP6, 1000), 1000, &last.octets());
}

#[test]
fn flags_go_to_the_segment_they_mean() {
    let all = TcpHeader::CWR | TcpHeader::ECE | TcpHeader::ACK | TcpHeader::PSH | TcpHeader::FIN;
    let between = TcpHeader::ECE | TcpHeader::ACK;
    let frame = ipv4(&[], protocol::TCP, tcp(all, &[], 300));
    let flags = |size| -> Vec<u8> {
        let segments = segments(&frame, GSO_TCP4 | GSO_ECN, size);
        segments.iter().map(|segment| parse(segment).unwrap().tcp_flags).collect()
    };
    assert_eq!(flags(100), [between | TcpHeader::CWR, between, between | TcpHeader::PSH | TcpHeader::FIN]);
    assert_eq!(flags(300), [all], "the first is the last");
}

#[test]
fn a_sum_of_zero_is_sent_as_all_ones() {
    // Two bytes of payload that make up for everything else; zero would say that there is no checksum.
    let mut transport = udp(2);
    transport[8..].fill(0);
    let pseudo = pseudo_header(&IP4[0].octets(), &IP4[1].octets(), protocol::UDP, transport.len());
    let rest = !naive_sum(&[&pseudo, &transport]);
    transport[8..].copy_from_slice(&rest.to_be_bytes());
    // Once as a datagram of its own and once as each of two.
    for (gso_type, copies) in [(0, 1), (GSO_UDP, 2)] {
        let mut message = transport.clone();
        for _ in 1..copies {
            message.extend_from_slice(&rest.to_be_bytes());
        }
        let length = message.len() as u16;
        message[4..6].copy_from_slice(&length.to_be_bytes());
        let frame = ipv4(&[], protocol::UDP, message);
        let cut = segments(&frame, gso_type, 2);
        assert_eq!(cut.len(), copies);
        for segment in cut {
            assert_eq!(segment[40..42], [0xff, 0xff]);
        }
    }
}

#[test]
fn a_frame_that_is_complete_stays_as_it_is() {
    let mut pool = Pool::new(2);
    let (mut frame, mut scratch) = (pool.take().unwrap(), pool.take().unwrap());
    frame.copy_from(&build::ipv4(B, A, IP4[0], IP4[1], 253, &payload(77)));
    let parsed = parse(frame.bytes()).unwrap();
    let mut emitted = Vec::new();
    complete(&frame, &parsed, &mut scratch, |segment| emitted.push(segment.bytes().to_vec())).unwrap();
    assert_eq!(emitted, [frame.bytes()]);
}

/// What was not validated is not cut right, but it does not panic either.
#[test]
fn a_header_that_was_not_validated_is_survived() {
    let mut pool = Pool::new(2);
    let (mut frame, mut scratch) = (pool.take().unwrap(), pool.take().unwrap());
    let whole = ipv4(&[], protocol::TCP, tcp(TcpHeader::ACK, &[], 300));
    let parsed = parse(&whole).unwrap();
    for header_length in 0..u16::try_from(whole.len()).unwrap() + 2 {
        for (gso_size, checksum_offset) in [(0, 16), (1, u16::MAX), (u16::MAX, 0)] {
            frame.copy_from(&whole[..whole.len().min(usize::from(header_length) + 3)]);
            frame.offload = OffloadHeader {
                flags: NEEDS_CHECKSUM,
                gso_type: GSO_TCP4,
                header_length,
                gso_size,
                checksum_start: u16::MAX,
                checksum_offset,
            };
            let _ = complete(&frame, &parsed, &mut scratch, |_| {});
        }
    }
}
