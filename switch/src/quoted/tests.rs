use std::net::Ipv4Addr;

use proptest::prelude::*;
use vswitch_wire::{MacAddr, build, parse};
use zerocopy::IntoBytes;

use super::*;
use crate::rewrite::tests::packets::{Checksum, Kind, Packet, endpoint};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// An error of this type from `source` to `destination` that quotes `quote`; `word` is what follows the checksum.
fn error(v6: bool, kind: u8, word: u16, source: Address, destination: Address, quote: &[u8]) -> Vec<u8> {
    let header = IcmpHeader::new(kind, word, 0);
    if v6 {
        build::icmp6(B, A, source.0.into(), destination.0.into(), header, quote)
    } else {
        let [source, destination] = [source, destination].map(|address| {
            let [a, b, c, d, ..] = address.0;
            Ipv4Addr::new(a, b, c, d)
        });
        build::icmp4(B, A, source, destination, header, quote)
    }
}

/// What the packet looks like in a quote of `length` bytes.
fn quote(packet: &Packet, length: usize) -> Vec<u8> {
    let (frame, _) = packet.frame();
    frame[14..].iter().copied().take(length).collect()
}

fn transport_start(packet: &Packet) -> usize {
    usize::from(parse(&packet.frame().0).unwrap().layer4_offset) - 14
}

fn finished() -> impl Strategy<Value = Packet> {
    Packet::any().prop_map(|mut packet| {
        packet.checksum = Checksum::Finished;
        packet
    })
}

fn tuple_of(packet: &Packet) -> Tuple {
    Tuple::of(&parse(&packet.frame().0).unwrap().headers).unwrap()
}

proptest! {
    /// The error that would have come had the packet been sent between the new ends: every checksum of it.
    #[test]
    fn a_translated_error_is_the_one_made_anew(
        packet in finished(), to: ([u8; 16], u16), router: [u8; 16], cut in 0_usize..150, outer in any::<bool>(),
    ) {
        // Not within a checksum.
        let length = transport_start(&packet) + 8 + cut / 4 * 4;
        let (v6, kind) = (packet.v6, if packet.v6 { 3 } else { 11 });
        let to = endpoint(v6, to);
        let router = endpoint(v6, (router, 0)).address;
        let near = packet.between(to, packet.opposite(packet.destination, to));

        // From the router to the packet's sender, in whose place `to` belongs.
        let before = error(v6, kind, 0, router, packet.source.address, &quote(&packet, length));
        let mut frame = before.clone();
        let mut parsed = parse(&frame).unwrap();
        let quoted = find(&frame, &parsed).expect("a quote");
        prop_assert_eq!(quoted.tuple, tuple_of(&packet));
        let change = ErrorTranslation {
            destination: outer.then_some(to.address),
            quoted_source: Some(to),
            ..ErrorTranslation::default()
        };
        quoted.translate(&mut frame, &mut parsed, &change).unwrap();
        let reader = if outer { to.address } else { packet.source.address };
        prop_assert_eq!(&frame, &error(v6, kind, 0, router, reader, &quote(&near, length)));
        prop_assert_eq!(&parsed, &parse(&frame).unwrap());

        let quoted = find(&frame, &parsed).expect("the quote again");
        prop_assert_eq!(quoted.tuple, tuple_of(&near));
        let back = ErrorTranslation {
            destination: outer.then_some(packet.source.address),
            quoted_source: Some(packet.source),
            ..ErrorTranslation::default()
        };
        quoted.translate(&mut frame, &mut parsed, &back).unwrap();
        prop_assert_eq!(frame, before, "there and back");
    }

    /// A hairpinned packet was translated on both sides (RFC 5508 REQ-7), and so is the error's sender.
    #[test]
    fn both_ends_of_both_packets(packet in finished(), ends: [([u8; 16], u16); 2]) {
        let [source, mut destination] = ends.map(|end| endpoint(packet.v6, end));
        if packet.kind == Kind::Echo {
            destination.port = source.port;
        }
        let (v6, kind) = (packet.v6, if packet.v6 { 1 } else { 3 });
        let mut frame = error(v6, kind, 0, packet.destination.address, packet.source.address, &quote(&packet, 1000));
        let mut parsed = parse(&frame).unwrap();
        let change = ErrorTranslation {
            source: Some(destination.address),
            destination: Some(source.address),
            quoted_source: Some(source),
            quoted_destination: Some(destination),
        };
        find(&frame, &parsed).unwrap().translate(&mut frame, &mut parsed, &change).unwrap();
        let expected = packet.between(source, destination);
        prop_assert_eq!(frame, error(v6, kind, 0, destination.address, source.address, &quote(&expected, 1000)));
    }

    /// Anything quoted, cut anywhere: if a quote is found, the error is still true afterwards, and nothing behind the
    /// quoted headers has changed.
    #[test]
    fn hostile_quotes_are_survived(
        packet in Packet::any(), damage in prop::collection::vec((0_usize..80, any::<u8>()), 0..4),
        length in 0_usize..140, kind: u8, word: u16, to: ([u8; 16], u16),
    ) {
        let mut bytes = quote(&packet, length);
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let to = endpoint(packet.v6, to);
        let mut frame = error(packet.v6, kind % 16, word, packet.destination.address, packet.source.address, &bytes);
        let before = frame.clone();
        let Ok(mut parsed) = parse(&frame) else { return Ok(()) };
        let Some(quoted) = find(&frame, &parsed) else { return Ok(()) };
        let change = ErrorTranslation {
            quoted_source: Some(to),
            destination: Some(to.address),
            ..ErrorTranslation::default()
        };
        quoted.translate(&mut frame, &mut parsed, &change).unwrap();
        prop_assert!(checksum_ok(&parsed.headers, &frame[usize::from(parsed.layer4_offset)..]));
        prop_assert!(packet.v6 || ipv4_header_checksum_ok(&frame[14..]));
        let behind = quoted.layer4 + quoted.transport_length;
        prop_assert_eq!(&frame[behind..], &before[behind..]);
        // And found in other bytes than it was found in.
        for length in 0..frame.len() {
            let _ = quoted.translate(&mut frame[..length], &mut parsed, &change);
        }
    }
}

fn datagram() -> Packet {
    Packet {
        v6: false,
        kind: Kind::Udp,
        checksum: Checksum::Finished,
        options: false,
        payload: vec![7; 40],
        source: Endpoint { address: Ipv4Addr::new(192, 0, 2, 1).into(), port: 4000 },
        destination: Endpoint { address: Ipv4Addr::new(198, 51, 100, 1).into(), port: 53 },
    }
}

fn found_in(quote: &[u8]) -> Option<Quoted> {
    let packet = datagram();
    let frame = error(false, 3, 0, packet.destination.address, packet.source.address, quote);
    find(&frame, &parse(&frame).unwrap())
}

#[test]
fn eight_bytes_are_enough_and_seven_are_not() {
    let packet = datagram();
    assert!(found_in(&quote(&packet, 28)).is_some());
    assert_eq!(found_in(&quote(&packet, 27)), None);
    let options = Packet { options: true, ..packet };
    assert!(found_in(&quote(&options, 36)).is_some());
    assert_eq!(found_in(&quote(&options, 35)), None);
    let unknown = Packet { kind: Kind::Unknown, ..options };
    assert!(found_in(&quote(&unknown, 28)).is_some(), "addresses are all that counts");
}

/// RFC 5508 REQ-3: both checksums must be right, the one within the quoted datagram need not.
#[test]
fn wrong_checksums_are_no_errors() {
    let packet = datagram();
    let mut bytes = quote(&packet, 40);
    bytes[27] ^= 1;
    assert!(found_in(&bytes).is_some());
    bytes[8] ^= 1;
    assert_eq!(found_in(&bytes), None, "the quoted header's");
    let mut frame =
        error(false, 3, 0, packet.destination.address, packet.source.address, &quote(&packet, 40));
    let parsed = parse(&frame).unwrap();
    assert!(find(&frame, &parsed).is_some());
    *frame.last_mut().unwrap() ^= 1;
    assert_eq!(find(&frame, &parsed), None, "the error's own");
}

#[test]
fn neither_errors_nor_later_fragments_are_quoted() {
    let packet = datagram();
    let ends = (packet.source.address, packet.destination.address);
    let inner = error(false, 3, 0, ends.0, ends.1, &quote(&packet, 28));
    assert_eq!(found_in(&inner[14..]), None, "an error about an error");

    let fragment = |flags: u16| {
        let mut bytes = quote(&packet, 28);
        let (header, _) = Ipv4Header::mut_from_prefix(&mut bytes).unwrap();
        header.flags_fragment.set(flags);
        header.checksum.set(0);
        header.checksum.set(Sum::of(header.as_bytes()).checksum());
        bytes
    };
    assert!(found_in(&fragment(Ipv4Header::MORE_FRAGMENTS)).is_some());
    assert_eq!(found_in(&fragment(Ipv4Header::MORE_FRAGMENTS | 3)), None);
}

#[test]
fn redirects_and_queries_quote_nothing() {
    let packet = datagram();
    for (kind, is_an_error, quotes) in [
        (0, false, false),
        (3, true, true),
        (4, true, true),
        (5, true, false),
        (8, false, false),
        (11, true, true),
    ] {
        let frame =
            error(false, kind, 0, packet.destination.address, packet.source.address, &quote(&packet, 40));
        let parsed = parse(&frame).unwrap();
        assert_eq!(is_error(&parsed.headers), is_an_error, "type {kind}");
        assert_eq!(find(&frame, &parsed).is_some(), quotes, "type {kind}");
    }
}

/// RFC 4884: behind a quote padded to 128 bytes is what must not be taken for a part of it.
#[test]
fn extensions_stay_as_they_are() {
    // TCP cut before its checksum, and extensions where that would be.
    let packet = Packet { kind: Kind::Tcp, ..datagram() };
    let ends = (packet.destination.address, packet.source.address);
    let quoted = [&quote(&packet, 32)[..], &[0xee; 100]].concat();
    // Eight words: the quote ends with them.
    let mut frame = error(false, 11, 8, ends.0, ends.1, &quoted);
    let mut parsed = parse(&frame).unwrap();
    let to = Endpoint { address: Ipv4Addr::new(10, 0, 0, 9).into(), port: 9 };
    let change = ErrorTranslation { quoted_source: Some(to), ..ErrorTranslation::default() };
    find(&frame, &parsed).unwrap().translate(&mut frame, &mut parsed, &change).unwrap();
    let near = packet.between(to, packet.destination);
    let expected = [&quote(&near, 32)[..], &[0xee; 100]].concat();
    assert_eq!(frame, error(false, 11, 8, ends.0, ends.1, &expected));
}

/// The checksum is over the whole packet, of which the fragment is a part: it is left alone, the port is not.
#[test]
fn a_quoted_fragment_of_sctp_keeps_its_checksum() {
    let packet = Packet { kind: Kind::Sctp, ..datagram() };
    let fragment = |packet: &Packet, checksum: [u8; 4]| {
        let mut bytes = quote(packet, 60);
        let (header, _) = Ipv4Header::mut_from_prefix(&mut bytes).unwrap();
        header.flags_fragment.set(Ipv4Header::MORE_FRAGMENTS);
        header.checksum.set(0);
        header.checksum.set(Sum::of(header.as_bytes()).checksum());
        bytes[28..32].copy_from_slice(&checksum);
        bytes
    };
    let ends = (packet.destination.address, packet.source.address);
    let mut frame = error(false, 3, 0, ends.0, ends.1, &fragment(&packet, [1, 2, 3, 4]));
    let mut parsed = parse(&frame).unwrap();
    let to = Endpoint { address: Ipv4Addr::new(10, 0, 0, 9).into(), port: 9 };
    let change = ErrorTranslation { quoted_source: Some(to), ..ErrorTranslation::default() };
    find(&frame, &parsed).unwrap().translate(&mut frame, &mut parsed, &change).unwrap();
    let near = packet.between(to, packet.destination);
    assert_eq!(frame, error(false, 3, 0, ends.0, ends.1, &fragment(&near, [1, 2, 3, 4])));
}

#[test]
fn half_a_checksum_is_left_alone() {
    let packet = Packet { kind: Kind::Tcp, ..datagram() };
    let ends = (packet.destination.address, packet.source.address);
    // 20 bytes of IPv4 and 17 of TCP.
    let mut frame = error(false, 3, 0, ends.0, ends.1, &quote(&packet, 37));
    let half = *frame.last().unwrap();
    let mut parsed = parse(&frame).unwrap();
    let to = Endpoint { address: Ipv4Addr::new(10, 99, 0, 9).into(), port: 0x7777 };
    let change = ErrorTranslation { quoted_source: Some(to), ..ErrorTranslation::default() };
    find(&frame, &parsed).unwrap().translate(&mut frame, &mut parsed, &change).unwrap();
    assert_eq!(*frame.last().unwrap(), half);
    assert!(find(&frame, &parsed).is_some(), "and the error's own is right");
}
