//! Published ports, 1:1 addresses, routed networks: what is reachable from outside, and nothing else.

use std::net::IpAddr;

use vswitch_switch::DropReason;
use vswitch_switch::nat::{NatMode, NatNetworks, NetworkNat, OneToOne, OneToOnes, Publish, Published, Query};
use vswitch_wire::protocol;

use super::world::{
    ACK, EXTERNAL, RST, SYN, TCP, UDP, World, at, external, host, network, owner, publish, remote,
};

fn udp(host_port: u16, container_port: u16) -> Publish {
    Publish { protocol: UDP, ..publish(host_port, container_port) }
}

#[test]
fn the_clients_address_arrives_unchanged() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80), udp(5353, 53)]);
    let sent = world.receive(TCP, remote(9, 1234), external(8080), SYN).unwrap();
    assert_eq!((sent.source, sent.destination), (remote(9, 1234), host(2, 80)));
    let sent = world.arrive(remote(9, 1234), external(5353)).unwrap();
    assert_eq!((sent.source, sent.destination), (remote(9, 1234), host(2, 53)));
    assert_eq!(world.out(host(2, 53), remote(9, 1234)).unwrap().source, external(5353));
    let six: fn(u16) -> IpAddr = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
    let sent = world.receive(TCP, at(six(9), 1), at(six(1), 8080), SYN).unwrap();
    assert_eq!(
        (sent.source, sent.destination),
        (at(six(9), 1), at("fd00::2".parse::<IpAddr>().unwrap(), 80))
    );
}

#[test]
fn what_is_not_published_is_not_reachable() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80)]);
    for (protocol, to) in [
        (TCP, external(80)),
        (UDP, external(8080)),
        (TCP, at([192, 0, 2, 99], 8080)),
        (TCP, host(2, 80)),
        (47, external(0)),
    ] {
        assert_eq!(world.receive(protocol, remote(1, 1), to, SYN), Err(DropReason::NotPublished), "{to:?}");
    }
    assert_eq!(world.receive(TCP, remote(1, 1), external(8080), ACK), Err(DropReason::NotAConnection));
    assert!(world.entries().is_empty());
}

#[test]
fn a_port_of_one_host_address_answers_there_only() {
    let mut world = World::new();
    let gateway = at([10, 0, 0, 1], 8080);
    world.publish(vec![Publish { host: Some(EXTERNAL.into()), ..publish(8080, 80) }]);
    assert!(world.receive(TCP, remote(1, 1), external(8080), SYN).is_ok());
    assert!(world.send(TCP, host(3, 1000), gateway, SYN).is_err());
    world.publish(vec![publish(8080, 80)]);
    assert_eq!(world.send(TCP, host(3, 1000), gateway, SYN).unwrap().destination, host(2, 80));
    let back = world.send(TCP, host(2, 80), external(1000), SYN | ACK);
    // The port below 1024 is not kept.
    assert!(back.is_err());
}

#[test]
fn hairpins_from_the_same_container_and_by_the_gateways_address() {
    let mut world = World::new();
    world.publish(vec![udp(5353, 53)]);
    for (sender, to) in [(host(2, 4000), external(5353)), (host(3, 4001), at([10, 0, 0, 1], 5353))] {
        let there = world.out(sender, to).unwrap();
        assert_eq!(there.destination, host(2, 53));
        assert_eq!(there.source.address, external(0).address);
        let back = world.out(host(2, 53), there.source).unwrap();
        assert_eq!((back.source, back.destination), (to, sender));
    }
}

/// The recipient may be a neighbour, and answer past the switch.
#[test]
fn hairpins_of_an_untranslated_network_come_from_an_external_source() {
    let mut world = World::new();
    let subnets = vec!["10.0.0.0/24".parse().unwrap()];
    world.obey(|all| {
        all.networks = NatNetworks::new([(network(0), NetworkNat { mode: NatMode::None, subnets })]);
        all.published = Published::new(vec![udp(5353, 53)]).unwrap();
    });
    let there = world.out(host(3, 4000), external(5353)).unwrap();
    assert_eq!((there.source.address, there.destination), (external(0).address, host(2, 53)));
    let back = world.out(host(2, 53), there.source).unwrap();
    assert_eq!((back.source, back.destination), (external(5353), host(3, 4000)));
    // New rules find nothing wrong with it.
    world.obey(|_| ());
    assert_eq!(world.entries().len(), 2);
    assert_eq!(world.out(host(3, 4000), remote(1, 1)).unwrap().source, host(3, 4000), "outside it is itself");
}

#[test]
fn nothing_to_meet_leaves_nothing_behind() {
    let mut world = World::new();
    for _ in 0..10 {
        assert_eq!(world.out(host(2, 4000), external(9)), Err(DropReason::NotPublished));
        assert_eq!(world.out(host(2, 4000), at([10, 0, 0, 1], 9)), Err(DropReason::NotPublished));
    }
    assert!(world.entries().is_empty());
}

#[test]
fn a_published_port_is_no_ones_mapping() {
    let mut world = World::new();
    world.publish(vec![udp(5000, 53)]);
    assert_ne!(world.out(host(3, 5000), remote(1, 1)).unwrap().source, external(5000));
    // Published after it was taken: the mapping goes.
    assert_eq!(world.out(host(3, 6000), remote(1, 1)).unwrap().source, external(6000));
    world.publish(vec![udp(5000, 53), udp(6000, 54)]);
    assert_eq!(world.arrive(remote(1, 1), external(6000)).unwrap().destination, host(2, 54));
    assert_ne!(world.out(host(3, 6000), remote(1, 1)).unwrap().source, external(6000));
}

#[test]
fn rules_count_what_came_of_them() {
    let mut world = World::new();
    let rule = udp(5353, 53);
    let counters = std::sync::Arc::clone(&rule.counters);
    world.publish(vec![rule]);
    world.rules.per_port.insert(owner(2), 2);
    for port in 1..=5 {
        let _ = world.arrive(remote(1, port), external(5353));
    }
    world.arrive(remote(1, 1), external(5353)).unwrap();
    assert_eq!((counters.accepted(), counters.refused()), (2, 3));
}

#[test]
fn what_is_no_longer_published_ends() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80), udp(5353, 53)]);
    world.receive(TCP, remote(1, 1), external(8080), SYN).unwrap();
    world.arrive(remote(1, 1), external(5353)).unwrap();
    world.out(host(3, 5000), remote(1, 1)).unwrap();
    world.publish(vec![udp(5353, 53)]);
    assert_eq!(world.entries().len(), 2, "only what it was about");
    // The same port, another container port.
    world.publish(vec![udp(5353, 54)]);
    assert_eq!(world.arrive(remote(1, 1), external(5353)).unwrap().destination, host(2, 54));
}

#[test]
fn an_address_that_becomes_ours_turns_flows_round() {
    let mut world = World::new();
    let there = at([192, 0, 2, 50], 5353);
    assert_eq!(world.out(host(3, 5000), there).unwrap().destination, there, "a stranger's");
    world.rules.external.push([192, 0, 2, 50].into());
    world.publish(vec![udp(5353, 53)]);
    assert_eq!(world.out(host(3, 5000), there).unwrap().destination, host(2, 53));
    world.obey(|rules| rules.external.truncate(2));
    assert_eq!(world.out(host(3, 5000), there).unwrap().destination, there);
}

#[test]
fn one_client_port_to_two_host_ports_of_one_container_port() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80), publish(8081, 80)]);
    world.receive(TCP, remote(1, 7), external(8080), SYN).unwrap();
    world.send(TCP, host(2, 80), remote(1, 7), SYN | ACK).unwrap();
    world.receive(TCP, remote(1, 7), external(8080), ACK).unwrap();
    let second = world.receive(TCP, remote(1, 7), external(8081), SYN);
    assert_eq!(second, Err(DropReason::NoExternalPort), "the container could not tell them apart");
    world.receive(TCP, remote(1, 7), external(8080), RST).unwrap();
    assert!(world.receive(TCP, remote(1, 7), external(8081), SYN).is_ok(), "the first is over");
    assert_eq!(world.send(TCP, host(2, 80), remote(1, 7), SYN | ACK).unwrap().source, external(8081));
}

fn with_one_to_one() -> World {
    let mut world = World::new();
    let entry = OneToOne {
        external: [192, 0, 2, 77].into(),
        internal: [10, 0, 0, 7].into(),
        network: network(0),
        owner: owner(7),
    };
    world.obey(|rules| rules.one_to_one = OneToOnes::new(&[entry]).unwrap());
    world
}

#[test]
fn one_to_one_both_ways_with_every_port_and_protocol() {
    let mut world = with_one_to_one();
    let public = |port| at([192, 0, 2, 77], port);
    for protocol in [UDP, TCP, protocol::SCTP] {
        assert_eq!(world.send(protocol, host(7, 80), remote(1, 1), SYN).unwrap().source, public(80));
        assert_eq!(world.receive(protocol, remote(2, 2), public(22), SYN).unwrap().destination, host(7, 22));
    }
    assert_eq!(world.receive(protocol::ESP, remote(2, 0), public(0), 0).unwrap().destination, host(7, 0));
    assert_eq!(world.send(protocol::ESP, host(7, 0), remote(2, 0), 0).unwrap().source, public(0));
    let ping = world.pinged([198, 51, 100, 3], public(5), Query::Request).unwrap();
    assert_eq!(ping.destination, host(7, 5));
    // Others do not use it.
    assert_eq!(world.out(host(3, 80), remote(1, 1)).unwrap().source.address, external(0).address);
}

#[test]
fn one_to_one_hairpins() {
    let mut world = with_one_to_one();
    let there = world.out(host(3, 4000), at([192, 0, 2, 77], 9)).unwrap();
    assert_eq!((there.source, there.destination), (external(4000), host(7, 9)));
    let back = world.out(host(7, 9), external(4000)).unwrap();
    assert_eq!((back.source, back.destination), (at([192, 0, 2, 77], 9), host(3, 4000)));
}

#[test]
fn a_port_published_on_a_one_to_one_address_wins_and_one_on_any_does_not() {
    let mut world = with_one_to_one();
    let host_address = Some([192, 0, 2, 77].into());
    world.publish(vec![Publish { host: host_address, ..udp(5353, 53) }]);
    assert_eq!(world.arrive(remote(1, 1), at([192, 0, 2, 77], 5353)).unwrap().destination, host(2, 53));
    assert_eq!(world.arrive(remote(1, 1), at([192, 0, 2, 77], 5354)).unwrap().destination, host(7, 5354));
    world.publish(vec![udp(5353, 53)]);
    assert_eq!(world.arrive(remote(1, 2), at([192, 0, 2, 77], 5353)).unwrap().destination, host(7, 5353));
}

#[test]
fn a_routed_network_is_reachable_where_it_is_published() {
    let mut world = World::new();
    let subnets = vec!["172.16.0.0/24".parse().unwrap()];
    let routed =
        Publish { container4: Some([172, 16, 0, 2].into()), network: network(1), ..publish(8080, 80) };
    let rules = Published::new(vec![routed]).unwrap();
    world.obey(|all| {
        let masquerade = NetworkNat { mode: NatMode::Masquerade, subnets: Vec::new() };
        let routed = NetworkNat { mode: NatMode::None, subnets };
        all.networks = NatNetworks::new([(network(0), masquerade), (network(1), routed)]);
        all.published = rules;
    });
    let web = |port| at([172, 16, 0, 2], port);
    assert_eq!(world.receive(TCP, remote(1, 1), web(80), SYN).unwrap().destination, web(80));
    assert_eq!(world.receive(TCP, remote(1, 1), web(81), SYN), Err(DropReason::NotPublished));
    assert_eq!(world.receive(TCP, remote(1, 1), web(8080), SYN), Err(DropReason::NotPublished));
    assert!(world.pinged([198, 51, 100, 3], web(5), Query::Request).is_ok());
    assert!(world.pinged([198, 51, 100, 3], at([172, 16, 0, 3], 5), Query::Request).is_err());
    // From behind NAT, as a stranger would see it.
    let there = world.send(TCP, host(3, 4000), web(80), SYN).unwrap();
    assert_eq!((there.source, there.destination), (external(4000), web(80)));
}

#[test]
fn protocols_without_ports_are_behind_an_address_one_host_at_a_time() {
    let mut world = World::new();
    let gre = |world: &mut World, last: u8, to: u8| world.send(47, host(last, 0), remote(to, 0), 0);
    assert_eq!(gre(&mut world, 2, 1).unwrap().source, external(0));
    assert_eq!(gre(&mut world, 3, 1), Err(DropReason::NoExternalPort));
    assert!(gre(&mut world, 3, 2).is_ok());
    assert_eq!(world.receive(47, remote(1, 0), external(0), 0).unwrap().destination, host(2, 0));
    assert_eq!(world.receive(47, remote(2, 0), external(0), 0).unwrap().destination, host(3, 0));
}

#[test]
fn without_an_address_of_the_family_nothing_leaves() {
    let mut world = World::new();
    world.rules.external = vec![EXTERNAL.into()];
    let six = |last: u16| at([0xfd00, 0, 0, 0, 0, 0, 0, last], 5);
    for protocol in [UDP, 47] {
        assert_eq!(world.send(protocol, six(2), six(99), 0), Err(DropReason::NoExternalAddress));
    }
    world.rules.networks = NatNetworks::default();
    assert_eq!(world.out(host(2, 5000), remote(1, 1)), Err(DropReason::NoRoute));
}
