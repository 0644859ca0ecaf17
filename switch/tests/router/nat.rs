//! Outwards, inwards and round the corner.

use std::net::{IpAddr, SocketAddr};

use vswitch_switch::DropReason;
use vswitch_switch::nat::{NatMode, NatNetworks, NetworkNat, OneToOne, OneToOnes};
use vswitch_wire::{IcmpHeader, Ipv4Header, TcpHeader, build, parse, protocol};
use zerocopy::IntoBytes;

use crate::town::{
    ALICE, BOB, CAROL, EDGE, FAR, FAR6, FRONT, OWN, OWN6, Town, checksums_ok, destination, gateway_ip,
    gateway_mac, headers, id, port, source, udp, udp_from,
};

fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// The answer from outside to what left there.
fn answer(sent: &[u8]) -> Vec<u8> {
    udp_from(&EDGE, destination(sent), source(sent))
}

#[test]
fn a_flow_goes_out_with_the_switch_s_address_and_its_answer_comes_back() {
    let mut town = Town::new();
    for (far, own, alice) in [
        (at(FAR, 53), IpAddr::from(OWN), IpAddr::from(ALICE.four)),
        (at(FAR6, 53), OWN6.into(), ALICE.six.into()),
    ] {
        for round in 0..3 {
            let (out, frame) = town.one(&ALICE, udp(&ALICE, 5000, far));
            assert_eq!(
                (out, source(&frame), destination(&frame)),
                (EDGE.port, at(own, 5000), far),
                "{round}"
            );
            assert_eq!(headers(&frame).destination, EDGE.mac);
            assert!(checksums_ok(&frame));
            let (back, frame) = town.one(&EDGE, answer(&frame));
            assert_eq!((back, source(&frame), destination(&frame)), (ALICE.port, far, at(alice, 5000)));
            assert_eq!(
                (headers(&frame).destination, headers(&frame).source),
                (ALICE.mac, gateway_mac(FRONT))
            );
            assert!(checksums_ok(&frame));
        }
    }
}

#[test]
fn two_hosts_with_the_same_port_never_share_one_outside() {
    let mut town = Town::new();
    let (_, alice) = town.one(&ALICE, udp(&ALICE, 5000, at(FAR, 53)));
    let (_, bob) = town.one(&BOB, udp(&BOB, 5000, at(FAR, 53)));
    assert_eq!(source(&alice), at(OWN, 5000), "kept where it is free");
    assert_ne!(source(&bob), source(&alice));
    let (back, frame) = town.one(&EDGE, answer(&bob));
    assert_eq!((back, destination(&frame)), (BOB.port, at(BOB.four, 5000)));
}

#[test]
fn strangers_are_not_let_in() {
    let mut town = Town::new();
    let (reason, sent) = town.dropped(&EDGE, udp_from(&EDGE, at(FAR, 9), at(OWN, 5000)));
    assert_eq!((reason, sent.len()), (DropReason::NotPublished, 0), "and hear nothing");
    town.one(&ALICE, udp(&ALICE, 5000, at(FAR, 53)));
    let stranger = at([198, 51, 100, 8], 53);
    let (reason, _) = town.dropped(&EDGE, udp_from(&EDGE, stranger, at(OWN, 5000)));
    assert_eq!(reason, DropReason::Filtered, "address-dependent filtering");
    town.one(&EDGE, udp_from(&EDGE, at(FAR, 54), at(OWN, 5000)));
}

#[test]
fn a_published_port_sees_the_client_as_it_is() {
    let mut town = Town::new();
    let counters = town.publish(&ALICE, protocol::UDP, 8080, 80);
    for (own, far, alice) in [
        (IpAddr::from(OWN), at(FAR, 4321), IpAddr::from(ALICE.four)),
        (OWN6.into(), at(FAR6, 4321), ALICE.six.into()),
    ] {
        for _ in 0..2 {
            let (to, frame) = town.one(&EDGE, udp_from(&EDGE, far, at(own, 8080)));
            assert_eq!((to, source(&frame), destination(&frame)), (ALICE.port, far, at(alice, 80)));
            assert!(checksums_ok(&frame));
            let (to, frame) = town.one(&ALICE, udp(&ALICE, 80, far));
            assert_eq!((to, source(&frame), destination(&frame)), (EDGE.port, at(own, 8080), far));
            assert!(checksums_ok(&frame));
        }
    }
    assert_eq!(counters.accepted(), 2);
    let (reason, _) = town.dropped(&EDGE, udp_from(&EDGE, at(FAR, 4321), at(OWN, 80)));
    assert_eq!(reason, DropReason::NotPublished);
}

#[test]
fn published_ports_are_reached_from_inside_by_whatever_address_the_switch_has() {
    let mut town = Town::new();
    town.publish(&ALICE, protocol::UDP, 8080, 80);
    for client in [ALICE, BOB, CAROL] {
        for (address, port) in [(OWN, 7000), (gateway_ip(client.network), 7001)] {
            let (to, frame) = town.one(&client, udp(&client, port, at(address, 8080)));
            assert_eq!(
                (to, destination(&frame)),
                (ALICE.port, at(ALICE.four, 80)),
                "{client:?} by {address}"
            );
            assert_eq!(source(&frame).ip(), IpAddr::from(OWN), "RFC 4787 REQ-9: with its external address");
            assert!(checksums_ok(&frame));
            let (to, frame) = town.one(&ALICE, udp(&ALICE, 80, source(&frame)));
            assert_eq!(
                (to, source(&frame), destination(&frame)),
                (client.port, at(address, 8080), at(client.four, port))
            );
            assert!(checksums_ok(&frame));
        }
    }
}

#[test]
fn one_to_one_is_open_both_ways() {
    let mut town = Town::new();
    let external = [192, 0, 2, 50];
    town.rules.one_to_one = OneToOnes::new(&[OneToOne {
        external: external.into(),
        internal: CAROL.four.into(),
        network: id(1),
        owner: port(&CAROL),
    }])
    .unwrap();
    town.apply_rules();
    town.change_gateway(2, |gateway| gateway.answers_for = vec![external.into()]);
    let (to, frame) = town.one(&EDGE, udp_from(&EDGE, at(FAR, 1), at(external, 2222)));
    assert_eq!((to, destination(&frame)), (CAROL.port, at(CAROL.four, 2222)));
    let (_, frame) = town.one(&CAROL, udp(&CAROL, 3333, at(FAR, 9)));
    assert_eq!(source(&frame), at(external, 3333));
}

#[test]
fn pings_are_translated_by_their_identifier() {
    let mut town = Town::new();
    let echo = |kind, code| IcmpHeader { code, ..IcmpHeader::new(kind, 77, 1) };
    let request = |from: &crate::town::Station| {
        build::icmp4(gateway_mac(FRONT), from.mac, from.four, FAR, echo(IcmpHeader::ECHO_REQUEST, 0), b"ping")
    };
    let (to, alice) = town.one(&ALICE, request(&ALICE));
    let (_, bob) = town.one(&BOB, request(&BOB));
    assert_eq!((to, source(&alice).ip()), (EDGE.port, IpAddr::from(OWN)));
    assert_ne!(headers(&alice).source_port, headers(&bob).source_port, "told apart by identifier");
    assert!(checksums_ok(&alice) && checksums_ok(&bob));
    for (ping, host) in [(alice, ALICE), (bob, BOB)] {
        let identifier = headers(&ping).source_port;
        let reply = IcmpHeader::new(IcmpHeader::ECHO_REPLY, identifier, 1);
        let reply = build::icmp4(gateway_mac(2), EDGE.mac, FAR, OWN, reply, b"ping");
        let (to, frame) = town.one(&EDGE, reply);
        assert_eq!((to, headers(&frame).source_port), (host.port, 77));
        assert!(checksums_ok(&frame));
    }
}

#[test]
fn an_error_from_outside_finds_its_sender_and_quotes_what_it_sent() {
    let mut town = Town::new();
    let sent = udp(&ALICE, 5000, at(FAR, 53));
    let (_, out) = town.one(&ALICE, sent.clone());
    let unreachable = IcmpHeader { code: 3, ..IcmpHeader::new(3, 0, 0) };
    let router = [203, 0, 113, 1].into();
    let error = build::icmp4(gateway_mac(2), EDGE.mac, router, OWN, unreachable, &out[14..14 + 28]);
    let (to, frame) = town.one(&EDGE, error);
    assert_eq!(
        (to, source(&frame).ip(), destination(&frame).ip()),
        (ALICE.port, IpAddr::from(router), ALICE.four.into())
    );
    assert!(checksums_ok(&frame));
    let quote = &frame[14 + 20 + 8..];
    assert_eq!(quote[12..20], sent[26..34], "the addresses it used");
    assert_eq!(quote[20..28], sent[34..42], "the ports, and the checksum it wrote");

    let nobody = build::udp4(
        gateway_mac(2),
        EDGE.mac,
        "192.0.2.10:9".parse().unwrap(),
        "198.51.100.7:9".parse().unwrap(),
        b"",
    );
    let error = build::icmp4(gateway_mac(2), EDGE.mac, router, OWN, unreachable, &nobody[14..42]);
    assert_eq!(town.dropped(&EDGE, error).0, DropReason::IcmpUnrelated);
}

#[test]
fn fragments_follow_their_packet_in_any_order() {
    let mut town = Town::new();
    let datagram = udp(&ALICE, 5000, at(FAR, 53));
    let payload: Vec<u8> = datagram[34..].iter().copied().chain(std::iter::repeat_n(7, 64)).collect();
    let fragment = |offset: usize, bytes: &[u8], more: bool| {
        let mut ip = Ipv4Header::new(ALICE.four, FAR, protocol::UDP, bytes.len());
        let flags = u16::try_from(offset / 8).unwrap() | if more { Ipv4Header::MORE_FRAGMENTS } else { 0 };
        ip.flags_fragment.set(flags);
        ip.set_identification(99);
        ip.checksum.set(0);
        ip.checksum.set(vswitch_wire::checksum::Sum::of(ip.as_bytes()).checksum());
        [&datagram[..14], ip.as_bytes(), bytes].concat()
    };
    let (first, second) = (fragment(0, &payload[..32], true), fragment(32, &payload[32..], false));
    for order in [[&first, &second], [&second, &first]] {
        let mut town2 = Town::new();
        let mut sent = town2.send(&ALICE, order[0].clone());
        sent.extend(town2.send(&ALICE, order[1].clone()));
        assert_eq!(sent.len(), 2, "{:?}", town2.drops(&ALICE));
        for (to, frame) in &sent {
            assert_eq!((*to, headers(&frame.bytes).source_address()), (EDGE.port, Some(OWN.into())));
            assert!(vswitch_wire::ipv4_header_checksum_ok(&frame.bytes[14..]));
        }
        let firsts = sent.iter().filter(|(_, frame)| headers(&frame.bytes).source_port == 5000).count();
        assert_eq!(firsts, 1);
    }
    assert_eq!(town.send(&ALICE, second).len(), 0, "kept until the first comes");
}

#[test]
fn tcp_is_followed_from_its_first_segment_to_its_last() {
    let mut town = Town::new();
    let segment = |flags| {
        let (from, to) = ("10.0.0.2:5000".parse().unwrap(), "198.51.100.7:80".parse().unwrap());
        build::tcp4(gateway_mac(FRONT), ALICE.mac, from, to, flags, 1, 0, b"")
    };
    let (reason, _) = town.dropped(&ALICE, segment(TcpHeader::ACK));
    assert_eq!(reason, DropReason::NotAConnection, "it begins with a SYN");
    let (to, frame) = town.one(&ALICE, segment(TcpHeader::SYN));
    assert_eq!((to, source(&frame)), (EDGE.port, at(OWN, 5000)));
    assert!(checksums_ok(&frame));
    assert_eq!(parse(&frame).unwrap().tcp_flags, TcpHeader::SYN);
}

/// As behind ipvlan in mode l3: the outside has a route, and either side may begin.
#[test]
fn an_open_network_is_routed_and_nothing_is_kept() {
    let mut town = Town::new();
    let subnets = vec!["10.0.0.0/24".parse().unwrap(), "fd00:0::/64".parse().unwrap()];
    town.rules.networks = NatNetworks::new([(id(FRONT), NetworkNat { mode: NatMode::Open, subnets })]);
    town.apply_rules();
    let (alice, far) = (at(ALICE.four, 5000), at(FAR, 53));
    for _ in 0..3 {
        let (out, frame) = town.one(&ALICE, udp(&ALICE, 5000, far));
        assert_eq!((out, source(&frame), destination(&frame)), (EDGE.port, alice, far));
        let (back, frame) = town.one(&EDGE, udp_from(&EDGE, far, alice));
        assert_eq!((back, source(&frame), destination(&frame)), (ALICE.port, far, alice));
        let stranger = at([198, 51, 100, 8], 9);
        let (back, frame) = town.one(&EDGE, udp_from(&EDGE, stranger, at(BOB.four, 7)));
        assert_eq!((back, source(&frame)), (BOB.port, stranger));
    }
    assert!(town.router.nat().is_empty());
    // Its neighbour is behind NAT as before.
    let (reason, _) = town.dropped(&EDGE, udp_from(&EDGE, far, at(CAROL.four, 7)));
    assert_eq!(reason, DropReason::NotPublished);
}
