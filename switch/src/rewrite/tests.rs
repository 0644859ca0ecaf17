pub(crate) mod packets;

use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;
use vswitch_wire::{EtherType, build, ipv4_header_checksum_ok, parse};

use self::packets::{Checksum, Kind, Packet, endpoint};
use super::*;
use crate::offload::{GSO_TCP4, NEEDS_CHECKSUM};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn translate(frame: &mut [u8], offload: &OffloadHeader, side: Side, to: Endpoint) -> Result<(), DropReason> {
    let parsed = parse(frame).unwrap();
    Translation::new(&parsed.headers, side, to).apply(frame, &parsed, offload)
}

fn sides() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Source, Side::Destination])
}

#[test]
fn a_translation_is_small() {
    assert!(size_of::<Translation>() <= 28, "{}", size_of::<Translation>());
}

proptest! {
    /// Every checksum, every field, nothing else: the packet that would have been sent between the new ends.
    #[test]
    fn a_translated_packet_is_the_one_made_anew(packet in Packet::any(), side in sides(), to: ([u8; 16], u16)) {
        let to = endpoint(packet.v6, to);
        let expected = match side {
            Side::Source => packet.between(to, packet.opposite(packet.destination, to)),
            Side::Destination => packet.between(packet.opposite(packet.source, to), to),
        };
        let (mut frame, offload) = packet.frame();
        let before = frame.clone();
        let mut parsed = parse(&frame).unwrap();
        prop_assert_eq!(offload.validate(&parsed, frame.len()).map(|offload| offload.flags), Ok(offload.flags));
        let translation = Translation::new(&parsed.headers, side, to);
        translation.apply(&mut frame, &parsed, &offload).unwrap();
        prop_assert_eq!(&frame, &expected.frame().0);

        translation.update(&mut parsed.headers);
        prop_assert_eq!(&parsed, &parse(&frame).unwrap(), "the headers as entered");
        let back = if side == Side::Source { packet.source } else { packet.destination };
        Translation::new(&parsed.headers, side, back).apply(&mut frame, &parsed, &offload).unwrap();
        prop_assert_eq!(frame, before, "there and back");
    }

    #[test]
    fn a_second_translation_is_made_from_the_headers_entered(
        packet in Packet::any(), source: ([u8; 16], u16), destination: ([u8; 16], u16),
    ) {
        let (source, mut destination) = (endpoint(packet.v6, source), endpoint(packet.v6, destination));
        if packet.kind == Kind::Echo {
            destination.port = source.port;
        }
        let (mut frame, offload) = packet.frame();
        let mut parsed = parse(&frame).unwrap();
        for (side, to) in [(Side::Destination, destination), (Side::Source, source)] {
            let translation = Translation::new(&parsed.headers, side, to);
            translation.apply(&mut frame, &parsed, &offload).unwrap();
            translation.update(&mut parsed.headers);
        }
        prop_assert_eq!(frame, packet.between(source, destination).frame().0);
    }

    /// RFC 1624 by the difference: what was wrong is wrong by as much afterwards.
    #[test]
    fn a_wrong_checksum_stays_wrong(mut packet in Packet::any(), to: ([u8; 16], u16)) {
        prop_assume!(matches!(packet.kind, Kind::Tcp | Kind::Udp | Kind::Sctp | Kind::Echo));
        packet.checksum = Checksum::Finished;
        let (mut frame, offload) = packet.frame();
        *frame.last_mut().unwrap() ^= 4;
        translate(&mut frame, &offload, Side::Source, endpoint(packet.v6, to)).unwrap();
        *frame.last_mut().unwrap() ^= 4;
        let to = endpoint(packet.v6, to);
        let expected = packet.between(to, packet.opposite(packet.destination, to));
        prop_assert_eq!(frame, expected.frame().0);
    }

    #[test]
    fn a_hop_changes_stations_and_hops_left_only(packet in Packet::any(), hops: u8) {
        let (mut frame, _) = packet.frame();
        if packet.v6 {
            frame[21] = hops;
        } else {
            let (header, _) = Ipv4Header::mut_from_prefix(&mut frame[14..]).unwrap();
            header.set_ttl(hops);
        }
        let before = frame.clone();
        let parsed = parse(&frame).unwrap();
        let hop = Hop { destination: MacAddr([4; 6]), source: MacAddr([6; 6]) };
        let result = hop.apply(&mut frame, &parsed);
        if hops <= 1 {
            prop_assert_eq!(result, Err(DropReason::TtlExceeded));
            prop_assert_eq!(frame, before);
            return Ok(());
        }
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&frame[..12], &[[4; 6], [6; 6]].concat());
        prop_assert!(packet.v6 || ipv4_header_checksum_ok(&frame[14..]));
        let mut expected = before;
        expected[..12].copy_from_slice(&[[4; 6], [6; 6]].concat());
        if packet.v6 {
            expected[21] -= 1;
        } else {
            let (header, _) = Ipv4Header::mut_from_prefix(&mut expected[14..]).unwrap();
            header.set_ttl(hops - 1);
        }
        prop_assert_eq!(frame, expected);
    }

    /// Whatever the bytes and however they disagree with what was parsed, nothing panics.
    #[test]
    fn bytes_that_are_not_what_was_parsed_are_survived(
        packet in Packet::any(), other in Packet::any(), length in 0_usize..120, side in sides(),
    ) {
        let (frame, offload) = packet.frame();
        let parsed = parse(&frame).unwrap();
        let (mut wrong, _) = other.frame();
        wrong.truncate(length);
        let _ = Translation::new(&parsed.headers, side, other.source).apply(&mut wrong, &parsed, &offload);
        let _ = Hop { destination: A, source: B }.apply(&mut wrong, &parsed);
    }
}

/// RFC 768: 0 would say that there is none.
#[test]
fn a_checksum_of_zero_is_never_made() {
    let plain = |port| {
        let (from, to) =
            (SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), port), "10.0.0.2:53".parse().unwrap());
        build::udp4(B, A, from, to, b"payload")
    };
    let port =
        (1..).find(|port| plain(*port)[40..42] == [0xff, 0xff]).expect("one port in 65536 sums to zero");
    let mut frame = plain(port - 1);
    let to = Endpoint { address: Ipv4Addr::new(10, 0, 0, 1).into(), port };
    translate(&mut frame, &OffloadHeader::NONE, Side::Source, to).unwrap();
    assert_eq!(frame, plain(port));
}

#[test]
fn a_super_frame_stays_whole() {
    let (from, to) = ("10.0.0.1:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let mut frame = build::tcp4(B, A, from, to, TcpHeader::ACK, 1, 1, &[7; 30_000]);
    let partial = vswitch_wire::checksum::pseudo_header_v4(*from.ip(), *to.ip(), 6, 30_020).partial();
    frame[50..52].copy_from_slice(&partial.to_be_bytes());
    let parsed = parse(&frame).unwrap();
    let offload = OffloadHeader {
        flags: NEEDS_CHECKSUM,
        gso_type: GSO_TCP4,
        gso_size: 1448,
        checksum_start: 34,
        checksum_offset: 16,
        ..OffloadHeader::NONE
    };
    let offload = offload.validate(&parsed, frame.len()).unwrap();
    let external = Ipv4Addr::new(192, 0, 2, 9);
    translate(&mut frame, &offload, Side::Source, Endpoint { address: external.into(), port: 4000 }).unwrap();
    vswitch_wire::checksum::complete_partial(&mut frame, 34, 16).unwrap();
    let from = SocketAddrV4::new(external, 4000);
    assert_eq!(frame, build::tcp4(B, A, from, to, TcpHeader::ACK, 1, 1, &[7; 30_000]));
}

/// The datagram's checksum is in its first fragment and right for the whole; later ones have addresses only.
#[test]
fn fragments_make_a_translated_whole() {
    let (from, to) = ("10.0.0.1:1000".parse().unwrap(), "10.0.0.2:53".parse().unwrap());
    let external = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 4000);
    let whole = build::udp4(B, A, from, to, &[7; 100]);
    let cut = |frame: &[u8], offset: usize, length: usize, more: bool| {
        let mut packet = frame[..34].to_vec();
        packet.extend_from_slice(&frame[34 + offset..34 + offset + length]);
        let (header, _) = Ipv4Header::mut_from_prefix(&mut packet[14..]).unwrap();
        let mut fresh = Ipv4Header::new(header.source.into(), header.destination.into(), 17, length);
        fresh.flags_fragment.set(u16::try_from(offset / 8).unwrap() | u16::from(more) << 13);
        fresh.checksum.set(0);
        fresh.checksum.set(Sum::of(zerocopy::IntoBytes::as_bytes(&fresh)).checksum());
        *header = fresh;
        packet
    };
    let expected = build::udp4(B, A, external, to, &[7; 100]);
    let to = Endpoint { address: (*external.ip()).into(), port: 4000 };
    for (offset, length, more) in [(0, 56, true), (56, 52, false)] {
        let mut fragment = cut(&whole, offset, length, more);
        let mut parsed = parse(&fragment).unwrap();
        // As virtual reassembly does.
        parsed.headers.source_port = 1000;
        parsed.headers.destination_port = 53;
        let translation = Translation::new(&parsed.headers, Side::Source, to);
        translation.apply(&mut fragment, &parsed, &OffloadHeader::NONE).unwrap();
        assert_eq!(fragment, cut(&expected, offset, length, more));
    }
}

#[test]
fn the_first_fragment_of_sctp_keeps_its_port() {
    let packet = [&[0, 9, 0, 7][..], &[0; 36]].concat();
    let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let mut frame = build::ipv4(B, A, source, destination, protocol::SCTP, &packet);
    frame[20] = 0x20;
    let address = Ipv4Addr::new(192, 0, 2, 9).into();
    let mut to = |port| translate(&mut frame, &OffloadHeader::NONE, Side::Source, Endpoint { address, port });
    assert_eq!(to(9), Ok(()));
    assert_eq!(to(8), Err(DropReason::NoTransport));
}

/// RFC 8200 §8.1: the checksum covers the last destination, which a translation does not see.
#[test]
fn a_destination_behind_a_routing_header_is_not_translated() {
    let source = "fd00::1".parse().unwrap();
    let destination = "fd00::2".parse().unwrap();
    let routing = [&[protocol::TCP, 2, 4, 1, 0, 0, 0, 0][..], &[9; 16]].concat();
    let payload = [&routing[..], &[0x50; 20]].concat();
    let mut frame = build::ipv6(B, A, source, destination, protocol::ROUTING, &payload);
    let to = Endpoint { address: Address([7; 16]), port: 0x5050 };
    let refused = translate(&mut frame, &OffloadHeader::NONE, Side::Destination, to);
    assert_eq!(refused, Err(DropReason::SourceRoute));
    assert_eq!(translate(&mut frame, &OffloadHeader::NONE, Side::Source, to), Ok(()));
}

#[test]
fn what_is_no_ip_is_not_touched() {
    let mut frame = build::ethernet(B, A, EtherType(0x88cc), &[7; 60]);
    let before = frame.clone();
    let parsed = parse(&frame).unwrap();
    let to = Endpoint { address: Address([7; 16]), port: 1 };
    let refused = translate(&mut frame, &OffloadHeader::NONE, Side::Source, to);
    assert_eq!(refused, Err(DropReason::NoTransport));
    let hop = Hop { destination: A, source: B }.apply(&mut frame, &parsed);
    assert_eq!(hop, Err(DropReason::NoTransport));
    assert_eq!(frame, before);
}
