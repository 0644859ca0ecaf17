//! What the gateway answers itself, and who may reach whom.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vswitch_switch::DropReason;
use vswitch_switch::route::{NextHop, NextHops, Route};
use vswitch_switch::shard::{Announcement, Chore};
use vswitch_switch::tables::Advertisement;
use vswitch_wire::{ArpPacket, IcmpHeader, Layer3, MacAddr, build};

use crate::town::{
    ALICE, BACK, BOB, CAROL, DAVE, EDGE, FRONT, OUTSIDE, OWN, Station, Town, checksums_ok, destination,
    gateway_ip, gateway_ip6, gateway_mac, headers, id, source, udp,
};

fn to(station: &Station) -> SocketAddr {
    SocketAddr::new(station.four.into(), 53)
}

fn routes_between(town: &mut Town) {
    for (network, other) in [(FRONT, BACK), (BACK, FRONT)] {
        let prefix = |number: usize| format!("10.{number}.0.0/24").parse().unwrap();
        town.set_routes(
            network,
            vec![
                (prefix(network), Route::Connected(id(network))),
                (prefix(other), Route::Connected(id(other))),
            ],
        );
    }
}

#[test]
fn it_answers_for_itself() {
    let mut town = Town::new();
    let asked = build::arp(ArpPacket::REQUEST, ALICE.mac, ALICE.four, MacAddr::ZERO, gateway_ip(FRONT));
    let (port, reply) = town.one(&ALICE, asked);
    assert_eq!(
        (port, headers(&reply).source, headers(&reply).destination),
        (ALICE.port, gateway_mac(FRONT), ALICE.mac)
    );
    assert_eq!(headers(&reply).source_address(), Some(gateway_ip(FRONT).into()));

    let asked = build::neighbor_solicitation(ALICE.mac, ALICE.six, gateway_ip6(FRONT));
    let (port, reply) = town.one(&ALICE, asked);
    assert_eq!((port, headers(&reply).source_address()), (ALICE.port, Some(gateway_ip6(FRONT).into())));
    assert!(checksums_ok(&reply));

    let echo = IcmpHeader::new(IcmpHeader::ECHO_REQUEST, 7, 1);
    for address in [gateway_ip(FRONT), OWN] {
        let ping = build::icmp4(gateway_mac(FRONT), ALICE.mac, ALICE.four, address, echo, b"ping");
        let (port, reply) = town.one(&ALICE, ping);
        assert_eq!((port, source(&reply).ip(), reply[34]), (ALICE.port, IpAddr::from(address), 0));
        assert!(checksums_ok(&reply));
    }
    let ping = build::icmp4(gateway_mac(OUTSIDE), EDGE.mac, EDGE.four, OWN, echo, b"ping");
    assert_eq!(town.one(&EDGE, ping).1[34], 0, "from outside too");
}

#[test]
fn it_answers_for_those_it_knows() {
    let mut town = Town::new();
    let asked = build::arp(ArpPacket::REQUEST, ALICE.mac, ALICE.four, MacAddr::ZERO, BOB.four);
    let (port, reply) = town.one(&ALICE, asked);
    assert_eq!((port, headers(&reply).source_address()), (ALICE.port, Some(BOB.four.into())), "not flooded");
    let probe = build::arp(ArpPacket::REQUEST, ALICE.mac, [0, 0, 0, 0].into(), MacAddr::ZERO, BOB.four);
    assert_eq!(town.one(&ALICE, probe).0, BOB.port, "detection of duplicates is left to the hosts");
}

#[test]
fn closed_ports_refuse() {
    let mut town = Town::new();
    let (reason, sent) =
        town.dropped(&ALICE, udp(&ALICE, 5000, SocketAddr::new(gateway_ip(FRONT).into(), 53)));
    assert_eq!(
        (reason, sent[0].0, sent[0].1.bytes[34], sent[0].1.bytes[35]),
        (DropReason::GatewayClosed, ALICE.port, 3, 3)
    );
}

#[test]
fn networks_are_isolated_unless_routed() {
    let mut town = Town::new();
    let (reason, sent) = town.dropped(&ALICE, udp(&ALICE, 5000, to(&CAROL)));
    assert_eq!(reason, DropReason::RouteProhibited);
    assert_eq!((sent[0].1.bytes[34], sent[0].1.bytes[35]), (3, 13), "administratively prohibited");

    routes_between(&mut town);
    for _ in 0..2 {
        let (port, frame) = town.one(&ALICE, udp(&ALICE, 5000, to(&CAROL)));
        assert_eq!(
            (port, headers(&frame).destination, headers(&frame).source),
            (CAROL.port, CAROL.mac, gateway_mac(BACK))
        );
        assert_eq!(source(&frame).ip(), IpAddr::from(ALICE.four), "routed, not translated");
        assert!(checksums_ok(&frame));
        assert_eq!(town.one(&DAVE, udp(&DAVE, 1, to(&BOB))).0, BOB.port);
    }
}

#[test]
fn a_container_can_be_the_router() {
    let mut town = Town::new();
    let via = Route::Via(NextHop { network: id(FRONT), via: BOB.four.into() }.into());
    town.set_routes(
        FRONT,
        vec![
            ("10.0.0.0/24".parse().unwrap(), Route::Connected(id(FRONT))),
            ("10.1.0.0/24".parse().unwrap(), via),
        ],
    );
    let (port, frame) = town.one(&ALICE, udp(&ALICE, 5000, to(&CAROL)));
    assert_eq!((port, headers(&frame).destination, destination(&frame)), (BOB.port, BOB.mac, to(&CAROL)));
}

#[test]
fn equal_routes_share_the_flows_and_keep_each_on_its_way() {
    let mut town = Town::new();
    let hop = |station: &Station| NextHop { network: id(BACK), via: station.four.into() };
    let both = Route::Via(NextHops::new(vec![hop(&CAROL), hop(&DAVE)]).unwrap());
    let connected = ("10.0.0.0/24".parse().unwrap(), Route::Connected(id(FRONT)));
    town.set_routes(FRONT, vec![connected, ("10.99.0.0/16".parse().unwrap(), both)]);
    let mut ways = [0; 2];
    for source_port in 1..=200 {
        let far = SocketAddr::new([10, 99, 0, 1].into(), 53);
        let (first, _) = town.one(&ALICE, udp(&ALICE, source_port, far));
        let (second, _) = town.one(&ALICE, udp(&ALICE, source_port, far));
        assert_eq!(first, second);
        ways[first - CAROL.port] += 1;
    }
    assert!(ways.iter().all(|flows| *flows > 60), "{ways:?}");
}

#[test]
fn without_icc_members_reach_the_gateway_only() {
    let mut town = Town::new();
    town.change_network(FRONT, |network| network.icc = false);
    let direct =
        build::udp4(BOB.mac, ALICE.mac, "10.0.0.2:1".parse().unwrap(), "10.0.0.3:2".parse().unwrap(), b"");
    assert_eq!(town.dropped(&ALICE, direct).0, DropReason::IccOff);
    assert_eq!(
        town.dropped(&ALICE, udp(&ALICE, 5000, to(&BOB))).0,
        DropReason::IccOff,
        "nor round the corner"
    );
    let asked = build::arp(ArpPacket::REQUEST, ALICE.mac, ALICE.four, MacAddr::ZERO, BOB.four);
    assert_eq!(town.dropped(&ALICE, asked).0, DropReason::IccOff);
    assert_eq!(town.one(&ALICE, udp(&ALICE, 1, SocketAddr::new(crate::town::FAR.into(), 9))).0, EDGE.port);
}

#[test]
fn it_announces_who_moved_in_and_advertises_itself() {
    let mut town = Town::new();
    let announcement = Announcement { network: id(FRONT), address: ALICE.four.into(), mac: ALICE.mac };
    town.shard.add_chore(Chore::Announce(announcement), town.now);
    let sent = town.wait(Duration::from_secs(5));
    let heard: Vec<_> = sent.iter().filter(|(port, _)| *port == BOB.port).collect();
    assert_eq!(heard.len(), 3);
    let said = headers(&heard[0].1.bytes);
    assert_eq!(
        (said.layer3, said.source_address(), said.destination_address()),
        (Layer3::ARP, Some(ALICE.four.into()), Some(ALICE.four.into()))
    );

    let said =
        Advertisement { managed: false, other: false, autonomous: false, lifetime: 1800, interval: 600 };
    town.change_gateway(FRONT, |gateway| gateway.advertisement = Some(said));
    town.shard.add_chore(Chore::Advertise(id(FRONT)), town.now);
    let sent = town.wait(Duration::from_secs(40));
    let advertised = sent.iter().filter(|(port, frame)| *port == BOB.port && frame.bytes[54] == 134).count();
    assert_eq!(advertised, 3, "the first three come soon");
    assert!(sent.iter().all(|(_, frame)| checksums_ok(&frame.bytes)));
}
