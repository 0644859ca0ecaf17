//! Packets that are too long for their way, and hops that run out.

use std::net::IpAddr;

use vswitch_switch::DropReason;
use vswitch_wire::{Ipv4Header, TcpHeader, build, parse, protocol};
use zerocopy::FromBytes;

use crate::town::{
    ALICE, EDGE, FAR, FAR6, FRONT, OUTSIDE, OWN, Station, Town, checksums_ok, destination, gateway_ip,
    gateway_mac, headers, source,
};

const NARROW: u16 = 1280;

fn long(from: &Station, to: IpAddr, length: usize) -> Vec<u8> {
    let payload = vec![7; length];
    let gateway = gateway_mac(from.network);
    match to {
        IpAddr::V4(to) => {
            build::udp4(gateway, from.mac, (from.four, 5000).into_v4(), (to, 53).into_v4(), &payload)
        }
        IpAddr::V6(to) => {
            build::udp6(gateway, from.mac, (from.six, 5000).into_v6(), (to, 53).into_v6(), &payload)
        }
    }
}

trait Four {
    fn into_v4(self) -> std::net::SocketAddrV4;
}
trait Six {
    fn into_v6(self) -> std::net::SocketAddrV6;
}
impl Four for (std::net::Ipv4Addr, u16) {
    fn into_v4(self) -> std::net::SocketAddrV4 {
        std::net::SocketAddrV4::new(self.0, self.1)
    }
}
impl Six for (std::net::Ipv6Addr, u16) {
    fn into_v6(self) -> std::net::SocketAddrV6 {
        std::net::SocketAddrV6::new(self.0, self.1, 0, 0)
    }
}

fn narrow() -> Town {
    let mut town = Town::new();
    town.change_gateway(OUTSIDE, |gateway| gateway.mtu = NARROW);
    town
}

#[test]
fn a_sender_that_forbids_fragments_is_told_the_mtu() {
    let mut town = narrow();
    for round in 0..2 {
        let (reason, sent) = town.dropped(&ALICE, long(&ALICE, FAR.into(), 1400));
        assert_eq!(reason, DropReason::PacketTooBig, "{round}");
        let [(to, frame)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((*to, source(&frame.bytes).ip()), (ALICE.port, IpAddr::from(gateway_ip(FRONT))));
        let parsed = parse(&frame.bytes).unwrap();
        let message = &frame.bytes[usize::from(parsed.layer4_offset)..];
        assert_eq!((message[0], message[1], u16::from_be_bytes([message[6], message[7]])), (3, 4, NARROW));
        assert!(checksums_ok(&frame.bytes));
    }
    let (reason, sent) = town.dropped(&ALICE, long(&ALICE, FAR6.into(), 1400));
    assert_eq!(reason, DropReason::PacketTooBig);
    let parsed = parse(&sent[0].1.bytes).unwrap();
    let message = &sent[0].1.bytes[usize::from(parsed.layer4_offset)..];
    assert_eq!((message[0], &message[4..8]), (2, &u32::from(NARROW).to_be_bytes()[..]));
    assert!(checksums_ok(&sent[0].1.bytes));
}

#[test]
fn one_that_allows_fragments_gets_them() {
    let mut town = narrow();
    let mut frame = long(&ALICE, FAR.into(), 1400);
    {
        let (ip, _) = Ipv4Header::mut_from_prefix(&mut frame[14..]).unwrap();
        ip.flags_fragment.set(0);
        ip.checksum.set(0);
    }
    let sum = vswitch_wire::checksum::Sum::of(&frame[14..34]).checksum();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let sent = town.send(&ALICE, frame);
    assert_eq!(sent.len(), 2, "{:?}", town.drops(&ALICE));
    let mut bytes = 0;
    for (to, piece) in &sent {
        assert_eq!((*to, headers(&piece.bytes).source_address()), (EDGE.port, Some(OWN.into())));
        assert!(piece.bytes.len() - 14 <= usize::from(NARROW));
        bytes += piece.bytes.len() - 34;
    }
    assert_eq!(bytes, 1408);
}

#[test]
fn datagrams_of_a_super_frame_are_cut_one_by_one() {
    let mut town = narrow();
    let mut bytes = long(&ALICE, FAR.into(), 2800);
    bytes[20] = 0;
    let (unfinished, pseudo) =
        (&[0; 2], vswitch_wire::checksum::pseudo_header_v4(ALICE.four, FAR, protocol::UDP, 2808));
    bytes[40..42].copy_from_slice(unfinished);
    let partial = !pseudo.checksum();
    bytes[40..42].copy_from_slice(&partial.to_be_bytes());
    bytes[24..26].fill(0);
    let sum = vswitch_wire::checksum::Sum::of(&bytes[14..34]).checksum();
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    let offload = vswitch_switch::OffloadHeader {
        flags: vswitch_switch::offload::NEEDS_CHECKSUM,
        gso_type: vswitch_switch::offload::GSO_UDP,
        header_length: 42,
        gso_size: 1400,
        checksum_start: 34,
        checksum_offset: 6,
    };
    let sent = town.send(&ALICE, vswitch_switch::memory::MemoryFrame { bytes, offload });
    assert_eq!(sent.len(), 4, "two datagrams in two pieces each: {:?}", town.drops(&ALICE));
    let payload: usize = sent.iter().map(|(_, frame)| frame.bytes.len() - 34).sum();
    assert_eq!(payload, 2 * 1408);
    assert!(sent.iter().all(|(_, frame)| frame.bytes.len() - 14 <= usize::from(NARROW)));
}

#[test]
fn connections_learn_the_narrower_mtu_at_their_start() {
    let mut town = narrow();
    let mut syn = build::tcp4(
        gateway_mac(FRONT),
        ALICE.mac,
        (ALICE.four, 5000).into_v4(),
        (FAR, 80).into_v4(),
        TcpHeader::SYN,
        1,
        0,
        &[2, 4, 5, 180],
    );
    // The four bytes of payload become an option: a maximum segment size of 1460.
    syn[46] = 0x60;
    let parsed = parse(&syn).unwrap();
    assert_eq!(usize::from(parsed.payload_offset), syn.len());
    syn[50..52].fill(0);
    let sum = vswitch_wire::checksum::Sum::of(&syn[34..])
        + vswitch_wire::checksum::pseudo_header_v4(ALICE.four, FAR, protocol::TCP, 24);
    syn[50..52].copy_from_slice(&sum.checksum().to_be_bytes());
    let (_, frame) = town.one(&ALICE, syn);
    assert_eq!(u16::from_be_bytes([frame[56], frame[57]]), NARROW - 40);
    assert!(checksums_ok(&frame));
}

#[test]
fn the_last_hop_answers() {
    let mut town = Town::new();
    for round in 0..2 {
        let mut frame = long(&ALICE, FAR.into(), 10);
        {
            let (ip, _) = Ipv4Header::mut_from_prefix(&mut frame[14..]).unwrap();
            ip.set_ttl(if round == 0 { 64 } else { 1 });
        }
        if round == 0 {
            // So that the second would be answered by the cache.
            let (_, out) = town.one(&ALICE, frame);
            assert_eq!(out[22], 63);
            continue;
        }
        let (reason, sent) = town.dropped(&ALICE, frame);
        assert_eq!(reason, DropReason::TtlExceeded);
        let bytes = &sent[0].1.bytes;
        assert_eq!(
            (sent[0].0, bytes[34], destination(bytes).ip()),
            (ALICE.port, 11, IpAddr::from(ALICE.four))
        );
    }
}
