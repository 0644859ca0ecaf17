//! Seeds with routers: each stage of layer 3, each kind of translation, and both kinds of LAN.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use vswitch_fuzz::scenario::Step;
use vswitch_fuzz::town::{EDGE, OUTSIDE, OWN, OWN6, SHARED, gateway_mac, home, ip4, ip6, mac};
use vswitch_wire::{ArpPacket, IcmpHeader, MacAddr, TcpHeader, build, protocol};

use super::{frame, scenario};

const ROUTED: u8 = 32;
const UNTRANSLATED: u8 = 64;
const SHARED_MAC: u8 = 128;

const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);

pub(crate) fn scenarios() -> Vec<(&'static str, Vec<u8>)> {
    let wait = || Step::Wait { milliseconds: 2000 };
    let out = [udp(0, at(ip4(0), 5000), at(FAR, 53)), udp(EDGE, at(FAR, 53), at(OWN, 5000)), wait()];
    let out6 = [udp6(0, at6(ip6(0), 5000), at6(FAR6, 53)), udp6(EDGE, at6(FAR6, 53), at6(OWN6, 5000))];
    let session = |inside: usize, from: SocketAddrV4, to: SocketAddrV4, answers: SocketAddrV4| {
        vec![
            tcp(inside, from, to, TcpHeader::SYN, 1),
            tcp(EDGE, to, answers, TcpHeader::SYN | TcpHeader::ACK, 1),
            tcp(inside, from, to, TcpHeader::ACK, 2),
            tcp(inside, from, to, TcpHeader::ACK | TcpHeader::PSH, 2),
            tcp(EDGE, to, answers, TcpHeader::ACK | TcpHeader::FIN, 2),
            tcp(inside, from, to, TcpHeader::ACK | TcpHeader::FIN, 3),
            Step::Wait { milliseconds: 250_000 },
        ]
    };
    let published = [
        tcp(EDGE, at(FAR, 40_000), at(OWN, 8080), TcpHeader::SYN, 1),
        tcp(0, at(ip4(0), 80), at(FAR, 40_000), TcpHeader::SYN | TcpHeader::ACK, 1),
        udp(EDGE, at(FAR, 40_000), at(OWN, 9003)),
        udp6(EDGE, at6(FAR6, 40_000), at6(OWN6, 53)),
        Step::Change { network: OUTSIDE },
        wait(),
        tcp(EDGE, at(FAR, 40_001), at(OWN, 8080), TcpHeader::SYN, 1),
    ];
    let hairpin = [
        tcp(1, at(ip4(1), 6000), at(OWN, 8080), TcpHeader::SYN, 1),
        udp(2, at(ip4(2), 6000), at(OWN, 9000)),
        udp(0, at(ip4(0), 6000), at(OWN, 53)),
    ];
    let one_to_one = [udp(2, at(ip4(2), 7000), at(FAR, 53)), udp(EDGE, at(FAR, 9), at(SHARED, 9))];
    let refused = [
        udp(0, at(ip4(0), 1), at(ip4(2), 2)),
        udp(0, at(ip4(0), 1), at(Ipv4Addr::new(203, 0, 113, 1), 2)),
        udp(0, at(ip4(0), 1), at(Ipv4Addr::new(203, 0, 112, 1), 2)),
        udp(1, at(ip4(2), 1), at(FAR, 2)),
        udp(EDGE, at(ip4(0), 1), at(OWN, 2)),
        udp(EDGE, at(FAR, 1), at(ip4(0), 2)),
        tcp(1, at(ip4(1), 1), at(Ipv4Addr::new(10, 0, 0, 1), 80), TcpHeader::SYN, 1),
        frame(1, expired(build::udp4(gateway(1), mac(1), at(ip4(1), 1), at(FAR, 2), b"late"))),
    ];
    let ping = [
        echo(0, ip4(0), FAR, IcmpHeader::ECHO_REQUEST),
        echo(EDGE, FAR, OWN, IcmpHeader::ECHO_REPLY),
        echo(1, ip4(1), Ipv4Addr::new(10, 0, 0, 1), IcmpHeader::ECHO_REQUEST),
        echo(EDGE, FAR, OWN, IcmpHeader::ECHO_REQUEST),
    ];
    let told = [out[0].clone(), error(&build::udp4(mac(0), mac(0), at(OWN, 5000), at(FAR, 53), b"hello"))];
    let pieces = fragments(0, ip4(0), FAR);
    let in_pieces: Vec<_> =
        [1, 0].map(|nth| frame(0, pieces[nth].clone())).into_iter().chain([wait()]).collect();
    let large = build::udp4(gateway(EDGE), mac(EDGE), at(FAR, 1), at(SHARED, 2), &[7; 1400]);
    let mut whole = large.clone();
    whole[20] |= 0x40;
    let narrow = [frame(EDGE, unsummed(large)), frame(EDGE, unsummed(whole))];
    let stranger = Ipv4Addr::new(192, 0, 2, 99);
    let asked = [
        udp(0, at(ip4(0), 5000), at(stranger, 53)),
        Step::Wait { milliseconds: 1000 },
        frame(EDGE, build::arp(ArpPacket::REPLY, mac(EDGE), stranger, gateway(EDGE), OWN)),
        udp(0, at(ip4(0), 5001), at(Ipv4Addr::new(192, 0, 2, 98), 53)),
        Step::Wait { milliseconds: 1000 },
        Step::Wait { milliseconds: 5000 },
    ];
    let solicited = [
        frame(0, build::neighbor_solicitation(mac(0), ip6(0), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1))),
        frame(0, build::arp(ArpPacket::REQUEST, mac(0), ip4(0), MacAddr::ZERO, ip4(1))),
        frame(EDGE, build::arp(ArpPacket::REQUEST, mac(EDGE), ip4(EDGE), MacAddr::ZERO, SHARED)),
    ];
    let lan = |member: MacAddr| {
        let between = |from: usize, source, to: usize, destination| {
            frame(from, unsummed(build::udp4(destination, source, at(ip4(from), 1), at(ip4(to), 2), b"lan")))
        };
        let host = gateway_mac(home(7));
        [
            between(7, member, 5, mac(5)),
            between(5, mac(5), 7, member),
            between(6, host, 7, member),
            between(7, member, 6, host),
            frame(7, build::arp(ArpPacket::REQUEST, member, ip4(7), MacAddr::ZERO, ip4(5))),
            frame(5, build::arp(ArpPacket::REQUEST, mac(5), ip4(5), MacAddr::ZERO, ip4(7))),
        ]
    };
    let untranslated = [
        udp(2, at(ip4(2), 5000), at(FAR, 53)),
        udp(EDGE, at(FAR, 53), at(ip4(2), 5000)),
        echo(EDGE, FAR, ip4(3), IcmpHeader::ECHO_REQUEST),
        udp(2, at(ip4(2), 5000), at(ip4(3), 53)),
        udp(2, at(ip4(0), 5000), at(FAR, 53)),
        udp(2, at(Ipv4Addr::new(198, 51, 100, 8), 5000), at(FAR, 53)),
    ];
    let from_inside = session(0, at(ip4(0), 5000), at(FAR, 80), at(OWN, 5000));
    vec![
        ("routed-out", scenario(ROUTED, &out)),
        ("routed-out6", scenario(ROUTED, &out6)),
        ("routed-tcp", scenario(ROUTED, &from_inside)),
        ("routed-tcp-by-two", scenario(ROUTED | 16, &from_inside)),
        ("routed-published", scenario(ROUTED, &published)),
        ("routed-hairpin", scenario(ROUTED, &hairpin)),
        ("routed-hairpin-isolated", scenario(ROUTED | 1, &hairpin)),
        ("routed-one-to-one", scenario(ROUTED, &one_to_one)),
        ("routed-refused", scenario(ROUTED, &refused)),
        ("routed-ping", scenario(ROUTED, &ping)),
        ("routed-told", scenario(ROUTED, &told)),
        ("routed-in-pieces", scenario(ROUTED, &in_pieces)),
        ("routed-narrow", scenario(ROUTED | 8, &narrow)),
        ("routed-few", scenario(ROUTED | 4, &[&out[..2], &from_inside, &published].concat())),
        ("routed-asked", scenario(ROUTED, &asked)),
        ("routed-solicited", scenario(ROUTED, &solicited)),
        ("routed-untranslated", scenario(ROUTED | UNTRANSLATED, &untranslated)),
        ("lan", scenario(ROUTED, &lan(mac(7)))),
        ("lan-vepa", scenario(ROUTED | 4, &lan(mac(7)))),
        ("lan-one-mac", scenario(ROUTED | SHARED_MAC, &lan(gateway_mac(home(7))))),
    ]
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

fn at6(address: Ipv6Addr, port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(address, port, 0, 0)
}

fn gateway(port: usize) -> MacAddr {
    gateway_mac(home(port))
}

/// Without its header checksum, which the scenario puts in: so mutants have a right one too.
fn unsummed(mut ipv4: Vec<u8>) -> Vec<u8> {
    ipv4[24..26].fill(0);
    ipv4
}

fn expired(mut ipv4: Vec<u8>) -> Vec<u8> {
    ipv4[22] = 1;
    unsummed(ipv4)
}

/// A datagram from a port towards its network's gateway.
fn udp(port: usize, from: SocketAddrV4, to: SocketAddrV4) -> Step {
    frame(port, unsummed(build::udp4(gateway(port), mac(port), from, to, b"hello")))
}

fn udp6(port: usize, from: SocketAddrV6, to: SocketAddrV6) -> Step {
    frame(port, build::udp6(gateway(port), mac(port), from, to, b"hello"))
}

fn tcp(port: usize, from: SocketAddrV4, to: SocketAddrV4, flags: u8, sequence: u32) -> Step {
    frame(port, unsummed(build::tcp4(gateway(port), mac(port), from, to, flags, sequence, 1, b"")))
}

fn echo(port: usize, from: Ipv4Addr, to: Ipv4Addr, kind: u8) -> Step {
    let header = IcmpHeader::new(kind, 7, 1);
    frame(port, unsummed(build::icmp4(gateway(port), mac(port), from, to, header, b"ping")))
}

/// A time-exceeded message from outside that quotes a packet of ours.
fn error(quoted: &[u8]) -> Step {
    let header = IcmpHeader::new(11, 0, 0);
    let told = build::icmp4(gateway(EDGE), mac(EDGE), ip4(EDGE), OWN, header, &quoted[14..]);
    frame(EDGE, unsummed(told))
}

/// A datagram in two pieces.
fn fragments(port: usize, from: Ipv4Addr, to: Ipv4Addr) -> [Vec<u8>; 2] {
    let whole = build::udp4(gateway(port), mac(port), at(from, 5000), at(to, 53), &[7; 24]);
    let datagram = &whole[34..];
    [(0, 0x20, &datagram[..16]), (2, 0, &datagram[16..])].map(|(offset, more, part)| {
        let mut piece = build::ipv4(gateway(port), mac(port), from, to, protocol::UDP, part);
        piece[18..22].copy_from_slice(&[0, 9, more, offset]);
        unsummed(piece)
    })
}
