//! RFC 6888: Common Requirements for Carrier-Grade NATs, as far as they are for tuples.

use std::collections::HashSet;
use std::net::IpAddr;

use vswitch_switch::DropReason;
use vswitch_switch::nat::{Filtering, NatMode, NatNetworks, NetworkNat};

use super::world::{ACK, FIN, SYN, TCP, World, at, external, host, network, owner, remote};

#[test]
fn rfc6888_req_3_addresses_need_not_be_neighbours() {
    let mut world = World::new();
    world.rules.external = vec![[192, 0, 2, 1].into(), [203, 0, 113, 200].into(), [198, 18, 0, 3].into()];
    let used: HashSet<_> =
        (2..60).map(|last| world.out(host(last, 5000), remote(1, 1)).unwrap().source.address).collect();
    let expected = world.rules.external.iter().map(|address: &IpAddr| (*address).into()).collect();
    assert_eq!(used, expected);
}

#[test]
fn rfc6888_req_4_and_5_an_attachment_has_so_many_and_no_more() {
    let mut world = World::new();
    world.rules.per_port.insert(owner(2), 10);
    let sent = (0..20).filter(|nth| world.out(host(2, 5000 + nth), remote(1, 1)).is_ok()).count();
    assert_eq!(sent, 10);
    assert!(world.out(host(3, 5000), remote(1, 1)).is_ok(), "others are not concerned");
    world.wait(301);
    assert!(world.out(host(2, 6000), remote(1, 1)).is_ok(), "what is over no longer counts");
}

#[test]
fn rfc6888_req_6_translation_can_be_turned_off() {
    let mut world = World::new();
    let subnets = vec!["10.0.0.0/24".parse().unwrap()];
    let nat = NetworkNat { mode: NatMode::None, subnets };
    world.obey(|rules| rules.networks = NatNetworks::new([(network(0), nat)]));
    let left = world.out(host(2, 5000), remote(1, 1)).unwrap();
    assert_eq!(left.source, host(2, 5000));
    assert_eq!(world.arrive(remote(1, 1), host(2, 5000)).unwrap().destination, host(2, 5000));
    assert_eq!(world.arrive(remote(2, 1), host(2, 5000)), Err(DropReason::NotPublished), "still tracked");
}

#[test]
fn rfc6888_req_8_a_port_is_kept_from_others_for_two_minutes() {
    let mut world = World::new();
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    world.wait(301);
    assert!(world.entries().is_empty());
    world.wait(119);
    assert_ne!(world.out(host(3, 5000), remote(1, 1)).unwrap().source, external(5000));
    assert_eq!(world.out(host(2, 5000), remote(2, 2)).unwrap().source, external(5000), "its own takes it up");
    world.wait(301);
    world.wait(121);
    assert_eq!(world.out(host(4, 5000), remote(1, 1)).unwrap().source, external(5000));
}

#[test]
fn rfc6888_req_8_exceptions_when_ports_run_out() {
    let mut world = World::new();
    world.rules.ports = 5000..=5000;
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    assert!(world.out(host(3, 5000), remote(1, 1)).is_err(), "in use");
    world.wait(301);
    world.rules.filtering = Filtering::EndpointIndependent;
    assert!(world.out(host(3, 5000), remote(1, 1)).is_err(), "strangers would reach the wrong one");
    world.rules.filtering = Filtering::AddressDependent;
    assert_eq!(world.out(host(3, 5000), remote(1, 1)).unwrap().source, external(5000));

    // TCP is tracked, whatever the filter: what was reset and forgotten rests for others only while ports last.
    world.rules.filtering = Filtering::EndpointIndependent;
    world.send(TCP, host(2, 5000), remote(1, 80), SYN).unwrap();
    world.wait(241);
    assert!(world.send(TCP, host(3, 5000), remote(1, 80), SYN).is_ok());
    world.wait(241);

    // A connection that is over on both sides gives up its port at once.
    let public = world.connect(host(2, 5000), remote(1, 80));
    assert!(world.send(TCP, host(3, 5000), remote(1, 80), SYN).is_err());
    world.send(TCP, host(2, 5000), remote(1, 80), FIN | ACK).unwrap();
    world.receive(TCP, remote(1, 80), public, FIN | ACK).unwrap();
    assert_eq!(world.send(TCP, host(3, 5000), remote(1, 80), SYN).unwrap().source, public);
}

#[test]
fn a_port_that_rests_is_not_reused_where_rules_no_longer_give_it() {
    let mut world = World::new();
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    world.wait(301);
    world.rules.ports = 6000..=6000;
    assert_eq!(world.out(host(3, 5000), remote(1, 1)).unwrap().source, external(6000));
    assert_eq!(world.out(host(4, 5000), remote(1, 1)), Err(DropReason::NoExternalPort));
}

#[test]
fn rfc6888_req_11_no_mapping_is_given_up_for_another() {
    let mut world = World::new();
    world.rules.ports = 5000..=5001;
    let one = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    let two = world.out(host(3, 5000), remote(1, 1)).unwrap().source;
    for last in 4..20 {
        assert_eq!(world.out(host(last, 5000), remote(1, 1)), Err(DropReason::NoExternalPort));
    }
    assert_eq!(world.arrive(remote(1, 1), one).unwrap().destination, host(2, 5000));
    assert_eq!(world.arrive(remote(1, 1), two).unwrap().destination, host(3, 5000));
}

#[test]
fn rfc6888_req_13_every_port_is_used() {
    let mut world = World::new();
    world.rules.ports = 2000..=2999;
    let publics: HashSet<_> = (0..1000)
        .map(|nth| world.out(host(2 + (nth % 200) as u8, 3000 + nth), remote(1, 1)).unwrap().source.port)
        .collect();
    assert_eq!(publics, (2000..=2999).collect());
}

#[test]
fn rfc6888_req_15_ports_cannot_be_foreseen() {
    let ports = |seed| {
        let mut world = World::with_seed(seed);
        (2..20).map(|last| world.out(host(last, 80), remote(1, 1)).unwrap().source.port).collect::<Vec<_>>()
    };
    assert_ne!(ports(1), ports(2));
    let steps: HashSet<_> = ports(1).windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.len() > 15, "no pattern: {steps:?}");
}

#[test]
fn a_host_outlives_the_port_it_takes_from_itself() {
    let mut world = World::new();
    world.rules.ports = 5000..=5000;
    let far = |last: u16| at([0x2001, 0xdb8, 9, 0, 0, 0, 0, last], 80);
    let six = at([0xfd00, 0, 0, 0, 0, 0, 0, 9], 5000);
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    world.wait(301);
    // Its only mapping, held, gives up the port for its next one.
    assert_eq!(world.out(host(2, 6000), remote(1, 1)).unwrap().source, external(5000));
    // Somebody else, who must not be taken for it.
    world.out(six, far(1)).unwrap();
    assert_eq!(world.arrive(remote(1, 1), external(5000)).unwrap().destination, host(2, 6000));
    assert_eq!(world.out(host(2, 6000), remote(2, 2)).unwrap().source, external(5000));
}
