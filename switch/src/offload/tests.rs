#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::net::{SocketAddrV4, SocketAddrV6};

use proptest::prelude::*;
use vswitch_wire::{ArpPacket, EtherType, IcmpHeader, MacAddr, Tci, build, parse};

use super::*;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn v4() -> (SocketAddrV4, SocketAddrV4) {
    (SocketAddrV4::new([10, 0, 0, 1].into(), 1000), SocketAddrV4::new([10, 0, 0, 2].into(), 2000))
}

fn v6() -> (SocketAddrV6, SocketAddrV6) {
    let address = |n| SocketAddrV6::new([0xfd00, 0, 0, 0, 0, 0, 0, n].into(), 1000, 0, 0);
    (address(1), address(2))
}

fn tcp4(payload: usize) -> Vec<u8> {
    build::tcp4(B, A, v4().0, v4().1, TcpHeader::ACK, 1, 1, &vec![7; payload])
}

fn tcp6(payload: usize) -> Vec<u8> {
    build::tcp6(B, A, v6().0, v6().1, TcpHeader::ACK, 1, 1, &vec![7; payload])
}

fn udp4(payload: usize) -> Vec<u8> {
    build::udp4(B, A, v4().0, v4().1, &vec![7; payload])
}

fn udp6(payload: usize) -> Vec<u8> {
    build::udp6(B, A, v6().0, v6().1, &vec![7; payload])
}

fn tagged(frame: &[u8]) -> Vec<u8> {
    build::tagged(frame, EtherType::VLAN, Tci(5))
}

const fn open(checksum_start: u16, checksum_offset: u16) -> OffloadHeader {
    OffloadHeader { flags: NEEDS_CHECKSUM, checksum_start, checksum_offset, ..OffloadHeader::NONE }
}

const fn cut(gso_type: u8, gso_size: u16, checksum_start: u16, checksum_offset: u16) -> OffloadHeader {
    OffloadHeader { gso_type, gso_size, ..open(checksum_start, checksum_offset) }
}

fn validate(header: OffloadHeader, frame: &[u8]) -> Result<OffloadHeader, DropReason> {
    header.validate(&parse(frame).expect("a well-formed frame"), frame.len())
}

#[test]
fn truths_are_believed_and_the_header_length_derived() {
    for (frame, header, header_length) in [
        (tcp4(3000), cut(GSO_TCP4, 1448, 34, 16), 54),
        (tcp4(3000), cut(GSO_TCP4 | GSO_ECN, 8, 34, 16), 54),
        (tcp4(10), cut(GSO_TCP4, 1448, 34, 16), 54),
        (tcp6(3000), cut(GSO_TCP6, 1428, 54, 16), 74),
        (udp4(128 * 16), cut(GSO_UDP, 16, 34, 6), 42),
        (udp6(3000), cut(GSO_UDP, 1452, 54, 6), 62),
        (tagged(&tcp4(3000)), cut(GSO_TCP4, 1448, 38, 16), 58),
    ] {
        let lied_about_length = OffloadHeader { header_length: 9999, ..header };
        assert_eq!(validate(lied_about_length, &frame), Ok(OffloadHeader { header_length, ..header }));
    }
    for (frame, header) in [
        (tcp4(100), open(34, 16)),
        (tcp6(0), open(54, 16)),
        (udp4(1), open(34, 6)),
        (tagged(&udp6(1)), open(58, 6)),
        // A TCP segment tunnelled in a datagram (VXLAN), and one behind two tags.
        (udp4(200), open(34 + 8 + 8 + 14 + 20, 16)),
        (tagged(&tagged(&tcp4(100))), open(42, 16)),
        (build::ethernet(B, A, EtherType(0x88b5), &[0; 99]), open(20, 0)),
        // GRE keeps its checksum where no other protocol does.
        (build::ipv4(B, A, *v4().0.ip(), *v4().1.ip(), 47, &[0; 40]), open(34, 4)),
    ] {
        let untidy = OffloadHeader { flags: NEEDS_CHECKSUM | 2, header_length: 7, gso_size: 9, ..header };
        assert_eq!(validate(untidy, &frame), Ok(header));
    }
}

#[test]
fn a_complete_frame_carries_no_header_on() {
    let data_valid = OffloadHeader { flags: 2, header_length: 1, checksum_start: 9, ..OffloadHeader::NONE };
    assert_eq!(validate(data_valid, &tcp4(1)), Ok(OffloadHeader::NONE), "the receiver checks for itself");
}

#[test]
fn lies_are_refused() {
    let gone = |mut frame: Vec<u8>, more: usize| {
        frame.resize(frame.len() + more, 0);
        frame
    };
    let super_frame = cut(GSO_TCP4, 1448, 34, 16);
    let lies = [
        ("checksum finished", tcp4(3000), OffloadHeader { flags: 0, ..super_frame }),
        ("no size", tcp4(3000), OffloadHeader { gso_size: 0, ..super_frame }),
        ("shorter than any segment", tcp4(3000), OffloadHeader { gso_size: 7, ..super_frame }),
        ("GSO_BY_FRAGS", tcp4(3000), OffloadHeader { gso_size: 0xffff, ..super_frame }),
        ("wrong version", tcp6(3000), cut(GSO_TCP4, 1448, 54, 16)),
        ("wrong version", tcp4(3000), cut(GSO_TCP6, 1448, 34, 16)),
        ("wrong protocol", udp4(3000), cut(GSO_TCP4, 1448, 34, 6)),
        ("wrong protocol", tcp4(3000), cut(GSO_UDP, 1448, 34, 16)),
        ("no such kind", udp4(3000), cut(3, 1448, 34, 6)),
        ("a kind of ECN only", tcp4(3000), cut(GSO_ECN, 1448, 34, 16)),
        ("ECN of UDP", udp4(3000), cut(GSO_UDP | GSO_ECN, 1448, 34, 6)),
        ("129 datagrams", udp4(128 * 16 + 1), cut(GSO_UDP, 16, 34, 6)),
        ("wrong start", tcp4(3000), OffloadHeader { checksum_start: 35, ..super_frame }),
        ("wrong offset", tcp4(3000), OffloadHeader { checksum_offset: 15, ..super_frame }),
        ("no payload", tcp4(0), super_frame),
        ("padding", gone(tcp4(3000), 1), super_frame),
        ("not IP", build::ethernet(B, A, EtherType(0x88b5), &[0; 3000]), super_frame),
        ("before any IP header ended", build::ethernet(B, A, EtherType(0x88b5), &[0; 99]), open(19, 0)),
        ("beyond the frame", tcp4(0), open(34, 19)),
        ("far beyond the frame", tcp4(0), open(0xffff, 0xffff)),
        ("over the IP addresses", tcp4(100), open(20, 6)),
        ("over the MAC addresses", udp4(100), open(0, 6)),
        ("over the ports", udp4(100), open(34, 0)),
        ("in the payload", tcp4(100), open(60, 0)),
        ("in padding", gone(udp4(10), 20), open(60, 0)),
        ("too deep", udp4(60_000), open(40_000, 0)),
    ];
    for (lie, frame, header) in lies {
        assert_eq!(validate(header, &frame), Err(DropReason::BadOffload), "{lie}");
    }
}

/// Finishing a checksum overwrites two bytes after the guard looked at them.
#[test]
fn nothing_the_guard_looks_at_is_overwritten() {
    let arp = build::arp(ArpPacket::REPLY, A, *v4().0.ip(), B, *v4().1.ip());
    let advertisement = build::neighbor_advertisement(B, A, *v6().1.ip(), *v6().0.ip());
    let echo = IcmpHeader::new(IcmpHeader::ECHO_REQUEST, 1, 1);
    let ping = build::icmp4(B, A, *v4().0.ip(), *v4().1.ip(), echo, &[0; 64]);
    let mut first_fragment = udp4(100);
    first_fragment[20] |= 0x20;
    let mut later_fragment = udp4(100);
    later_fragment[21] = 9;
    let nothing_inside = build::ipv6(B, A, *v6().0.ip(), *v6().1.ip(), protocol::NO_NEXT_HEADER, &[0; 40]);
    for frame in [arp, advertisement, ping, first_fragment, later_fragment, nothing_inside] {
        for start in 0..frame.len() as u16 {
            for offset in 0..frame.len() as u16 {
                assert!(validate(open(start, offset), &frame).is_err(), "{start} + {offset} in {frame:02x?}");
            }
        }
    }
}

#[test]
fn the_longest_packet_is_a_segment_of_a_super_frame() {
    let longest = |header, frame: &[u8]| {
        validate(header, frame).unwrap().longest_packet(&parse(frame).unwrap(), frame.len())
    };
    assert_eq!(longest(OffloadHeader::NONE, &tcp4(3000)), 3040);
    assert_eq!(longest(OffloadHeader::NONE, &tagged(&tcp4(3000))), 3040, "a tag is not part of the packet");
    assert_eq!(longest(cut(GSO_TCP4, 1448, 34, 16), &tcp4(3000)), 1488);
    assert_eq!(longest(cut(GSO_TCP4, 1448, 34, 16), &tcp4(100)), 140, "no longer than the frame");
}

#[test]
fn each_offload_covers_its_own_kind() {
    let off = |change: fn(&mut Offloads)| {
        let mut offloads = Offloads::ALL;
        change(&mut offloads);
        offloads
    };
    let cases: [(Vec<u8>, OffloadHeader, Offloads); 7] = [
        (tcp4(9), open(34, 16), off(|o| o.checksum = false)),
        (tcp4(3000), cut(GSO_TCP4, 1448, 34, 16), off(|o| o.checksum = false)),
        (tcp4(3000), cut(GSO_TCP4, 1448, 34, 16), off(|o| o.tso4 = false)),
        (tcp4(3000), cut(GSO_TCP4 | GSO_ECN, 1448, 34, 16), off(|o| o.ecn = false)),
        (tcp6(3000), cut(GSO_TCP6, 1448, 54, 16), off(|o| o.tso6 = false)),
        (udp4(3000), cut(GSO_UDP, 1448, 34, 6), off(|o| o.uso4 = false)),
        (udp6(3000), cut(GSO_UDP, 1448, 54, 6), off(|o| o.uso6 = false)),
    ];
    for (frame, header, without) in cases {
        let parsed = parse(&frame).unwrap();
        assert!(Offloads::ALL.cover(&header, &parsed), "{header:?}");
        assert!(!without.cover(&header, &parsed), "{header:?}");
        assert!(Offloads::NONE.cover(&OffloadHeader::NONE, &parsed));
        assert_eq!(without.names().count(), 5);
    }
}

/// `virtio_net_hdr_to_skb` of Linux 6.18 as a naive model, with the checks of `skb_partial_csum_set` and of the
/// segmentation that follows. `headroom` is what a tap's buffer keeps in front.
fn kernel_takes(header: &OffloadHeader, frame: &[u8]) -> bool {
    const HEADROOM: usize = 256;
    let (gso_kind, length) = (header.gso_kind(), frame.len());
    let (transport, shortest_network) = match gso_kind {
        GSO_NONE if header.gso_type == GSO_NONE => (0, 20),
        GSO_TCP4 => (20, 20),
        GSO_TCP6 => (20, 40),
        GSO_UDP => (8, 20),
        _ => return false,
    };
    let (start, offset) = (usize::from(header.checksum_start), usize::from(header.checksum_offset));
    let size = usize::from(header.gso_size);
    if gso_kind != GSO_NONE && size == 0 {
        return false;
    }
    if header.flags & NEEDS_CHECKSUM == 0 {
        return gso_kind == GSO_NONE;
    }
    let needed = start + transport.max(offset + 2);
    if needed > length || HEADROOM + start > 0xffff || start < shortest_network {
        return false;
    }
    let Some(payload) = length.checked_sub(start + transport) else { return false };
    match gso_kind {
        GSO_UDP if offset != 6 || payload > size * 128 || header.gso_type != GSO_UDP => return false,
        GSO_TCP4 | GSO_TCP6 if offset != 16 => return false,
        _ => {}
    }
    gso_kind == GSO_NONE || size != 0xffff
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_believed_the_kernel_takes(
        kind in 0usize..8,
        payload in prop_oneof![0usize..100, 0usize..5000],
        flags in 0u8..4,
        gso_type in prop_oneof![Just(0u8), Just(1), Just(3), Just(4), Just(5), Just(0x81), Just(0x80), any::<u8>()],
        gso_size in prop_oneof![0u16..20, any::<u16>(), Just(0xffff)],
        checksum_start in prop_oneof![Just(34u16), Just(38), Just(54), 0u16..80, any::<u16>()],
        checksum_offset in prop_oneof![Just(6u16), Just(16), 0u16..80, any::<u16>()],
    ) {
        let frame = match kind {
            0 => tcp4(payload),
            1 => tcp6(payload),
            2 => udp4(payload),
            3 => udp6(payload),
            4 => tagged(&tcp4(payload)),
            5 => tagged(&tagged(&udp6(payload))),
            6 => build::ipv4(B, A, *v4().0.ip(), *v4().1.ip(), 47, &vec![1; payload]),
            _ => build::ethernet(B, A, EtherType(0x88b5), &vec![1; payload]),
        };
        let header = OffloadHeader { flags, gso_type, header_length: 0, gso_size, checksum_start, checksum_offset };
        if let Ok(believed) = validate(header, &frame) {
            prop_assert!(kernel_takes(&believed, &frame), "{believed:?}");
            prop_assert_eq!(validate(believed, &frame), Ok(believed), "believed once, believed twice");
        }
    }

    #[test]
    fn no_bytes_and_no_header_panic(
        frame in prop::collection::vec(any::<u8>(), 14..200),
        flags: u8, gso_type: u8, header_length: u16, gso_size: u16, checksum_start: u16, checksum_offset: u16,
    ) {
        let header =
            OffloadHeader { flags, gso_type, header_length, gso_size, checksum_start, checksum_offset };
        let parsed = parse(&frame).unwrap_or_default();
        if let Ok(believed) = header.validate(&parsed, frame.len()) {
            prop_assert!(believed.longest_packet(&parsed, frame.len()) <= frame.len());
            prop_assert!(kernel_takes(&believed, &frame), "{believed:?}");
        }
    }
}
