//! What must not pass, however it is asked for.

use std::net::SocketAddr;

use vswitch_switch::DropReason;
use vswitch_wire::{EtherType, Tci, TcpHeader, build};

use crate::town::{ALICE, CAROL, EDGE, FAR, FRONT, OWN, Town, gateway_mac, udp, udp_from};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn sources_that_cannot_be() {
    let mut town = Town::new();
    for (source, reason) in [
        ("127.0.0.1:1", DropReason::MartianSource),
        ("0.0.0.0:1", DropReason::MartianSource),
        ("224.0.0.5:1", DropReason::MartianSource),
        ("198.51.100.7:1", DropReason::LandAttack),
        ("10.1.0.2:1", DropReason::ReversePath),
        ("192.0.2.99:1", DropReason::ReversePath),
        ("169.254.3.4:1", DropReason::LinkLocalRouted),
    ] {
        let (dropped, sent) = town.dropped(&ALICE, udp_from(&ALICE, at(source), at("198.51.100.7:1")));
        assert_eq!((dropped, sent.len()), (reason, 0), "{source}");
    }
    let inside = udp_from(&EDGE, at("10.0.0.2:1"), SocketAddr::new(OWN.into(), 5));
    assert_eq!(
        town.dropped(&EDGE, inside).0,
        DropReason::ReversePath,
        "nobody outside passes for somebody inside"
    );
}

#[test]
fn inside_addresses_are_not_reached_from_outside() {
    let mut town = Town::new();
    for host in [ALICE, CAROL] {
        let direct = udp_from(&EDGE, at("198.51.100.7:1"), SocketAddr::new(host.four.into(), 80));
        let (reason, sent) = town.dropped(&EDGE, direct);
        assert_eq!((reason, sent.len()), (DropReason::NotPublished, 0));
    }
}

#[test]
fn what_the_gateway_takes_no_part_in() {
    let mut town = Town::new();
    let tagged = build::tagged(&udp(&ALICE, 1, at("198.51.100.7:1")), EtherType::VLAN, Tci(5));
    assert_eq!(town.dropped(&ALICE, tagged).0, DropReason::TaggedToGateway);
    let other = build::ethernet(gateway_mac(FRONT), ALICE.mac, EtherType(0x88b5), b"hello");
    assert_eq!(town.dropped(&ALICE, other).0, DropReason::GatewayProtocol);
    let forged = build::ethernet(ALICE.mac, gateway_mac(FRONT), EtherType(0x88b5), b"hello");
    assert_eq!(town.dropped(&ALICE, forged).0, DropReason::StaticMacElsewhere);
}

#[test]
fn a_flood_of_syns_does_not_harm_who_is_there() {
    let mut town = Town::new();
    town.one(&ALICE, udp(&ALICE, 5000, SocketAddr::new(FAR.into(), 53)));
    town.rules.max_half_open = 64;
    town.apply_rules();
    for port in 1..2000 {
        let (from, to) = (format!("10.0.0.2:{}", 10_000 + port), "198.51.100.9:80");
        let syn = build::tcp4(
            gateway_mac(FRONT),
            ALICE.mac,
            from.parse().unwrap(),
            to.parse().unwrap(),
            TcpHeader::SYN,
            1,
            0,
            b"",
        );
        town.send(&ALICE, syn);
    }
    assert!(town.router.nat().len() <= 4096);
    town.one(&ALICE, udp(&ALICE, 5000, SocketAddr::new(FAR.into(), 53)));
}

#[test]
fn the_gateway_does_not_answer_for_ever() {
    let mut town = Town::new();
    let mut answered = 0;
    for _ in 0..10_000 {
        let mut frame = udp(&ALICE, 5000, at("198.51.100.7:53"));
        frame[22] = 1;
        frame[24..26].fill(0);
        let sum = vswitch_wire::checksum::Sum::of(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        answered += town.send(&ALICE, frame).len();
    }
    assert!((1..1000).contains(&answered), "{answered}");
}
