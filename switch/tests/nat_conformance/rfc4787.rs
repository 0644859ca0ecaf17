//! RFC 4787: NAT Behavioral Requirements for Unicast UDP.

use std::collections::HashSet;
use std::net::IpAddr;

use vswitch_switch::DropReason;
use vswitch_switch::nat::{Filtering, Origin};

use super::world::{EXTERNAL, World, address, at, external, host, remote, tuple};

#[test]
fn rfc4787_req_1_mappings_do_not_depend_on_the_recipient() {
    let mut world = World::new();
    world.out(host(3, 5000), remote(1, 1)).unwrap();
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    assert_ne!(public.port, 5000, "taken by the other");
    for to in [remote(1, 2), remote(9, 1)] {
        assert_eq!(world.out(host(2, 5000), to).unwrap().source, public);
    }
    let six = |last: u16, port| at([0xfd00, 0, 0, 0, 0, 0, 0, last], port);
    let far = |last: u16| at([0x2001, 0xdb8, 9, 0, 0, 0, 0, last], 80);
    let public = world.out(six(2, 7000), far(1)).unwrap().source;
    assert_eq!(public, at("2001:db8::1".parse::<IpAddr>().unwrap(), 7000));
    assert_eq!(world.out(six(2, 7000), far(2)).unwrap().source, public);
}

#[test]
fn rfc4787_req_2_an_inside_address_is_paired_with_one_outside() {
    let mut world = World::new();
    world.rules.external = (1..=8).map(|last| IpAddr::from([192, 0, 2, last])).collect();
    let mut used = HashSet::new();
    for last in 2..40 {
        let mut address = |port, to| world.out(host(last, port), remote(to, 1)).unwrap().source.address;
        let first = address(5000, 1);
        assert!((5001..5020).all(|port| address(port, (port % 200) as u8) == first));
        used.insert(first);
    }
    assert!(used.len() > 4, "hosts are spread over the addresses: {used:?}");
}

#[test]
fn rfc4787_req_3_no_two_share_an_outside_port() {
    let mut world = World::new();
    world.rules.ports = 5000..=5003;
    let publics: HashSet<_> =
        (2..6).map(|last| world.out(host(last, 5000), remote(last, 1)).unwrap().source).collect();
    assert_eq!(publics.len(), 4);
    assert_eq!(world.out(host(6, 5000), remote(6, 1)), Err(DropReason::NoExternalPort));
}

#[test]
fn rfc4787_req_3a_ports_below_1024_stay_there_where_allowed() {
    let mut world = World::new();
    assert!(world.out(host(2, 80), remote(1, 1)).unwrap().source.port >= 1024, "by default none are given");
    world.rules.ports = 1..=65535;
    for last in 3..30 {
        assert!(world.out(host(last, 123), remote(1, 1)).unwrap().source.port < 1024);
        assert!(world.out(host(last, 1024), remote(1, 1)).unwrap().source.port >= 1024);
    }
}

#[test]
fn rfc4787_req_4_parity_is_kept() {
    let mut world = World::new();
    for last in 2..60 {
        for port in [5004, 5005] {
            let public = world.out(host(last, port), remote(1, 1)).unwrap().source;
            assert_eq!(public.port % 2, port % 2);
        }
    }
}

#[test]
fn rfc4787_req_5_a_mapping_lives_for_five_minutes() {
    let mut world = World::new();
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    world.wait(300);
    assert_eq!(world.arrive(remote(1, 1), public).unwrap().destination, host(2, 5000));
    world.wait(1);
    assert_eq!(world.arrive(remote(1, 1), public), Err(DropReason::NotPublished));
}

#[test]
fn rfc4787_req_5a_name_queries_are_forgotten_sooner() {
    let mut world = World::new();
    let public = world.out(host(2, 5000), remote(1, 53)).unwrap().source;
    world.wait(60);
    assert!(world.arrive(remote(1, 53), public).is_ok());
    world.wait(1);
    assert!(world.arrive(remote(1, 53), public).is_err());
}

#[test]
fn rfc4787_req_6_what_leaves_refreshes_and_what_enters_does_not() {
    let mut world = World::new();
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    for _ in 0..10 {
        world.wait(290);
        assert_eq!(world.out(host(2, 5000), remote(1, 1)).unwrap().source, public);
    }
    world.wait(200);
    world.arrive(remote(1, 1), public).unwrap();
    world.wait(101);
    assert!(world.arrive(remote(1, 1), public).is_err());
}

#[test]
fn rfc4787_req_7_inside_and_outside_may_use_the_same_addresses() {
    let mut world = World::new();
    // A stranger numerically equal to an inside host that talks too.
    let stranger = host(9, 4000);
    let public = world.out(host(2, 5000), stranger).unwrap().source;
    let other = world.out(host(9, 4000), remote(1, 1)).unwrap().source;
    assert_eq!(world.arrive(stranger, public).unwrap().destination, host(2, 5000));
    assert_eq!(world.arrive(remote(1, 1), other).unwrap().destination, host(9, 4000));
}

#[test]
fn rfc4787_req_7_the_outside_address_may_change() {
    let mut world = World::new();
    let old = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    world.obey(|rules| rules.external = vec![IpAddr::from([203, 0, 113, 7])]);
    assert!(world.arrive(remote(1, 1), old).is_err());
    let new = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    assert_eq!(new, at([203, 0, 113, 7], 5000));
    assert_eq!(world.arrive(remote(1, 1), new).unwrap().destination, host(2, 5000));
}

#[test]
fn rfc4787_req_8_strangers_are_filtered_by_address() {
    let mut world = World::new();
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    assert_eq!(world.arrive(remote(1, 99), public).unwrap().destination, host(2, 5000));
    assert_eq!(world.arrive(remote(2, 1), public), Err(DropReason::Filtered));
    // The permission ends with the last connection to the address, though the mapping stays.
    world.wait(200);
    world.out(host(2, 5000), remote(2, 1)).unwrap();
    world.wait(101);
    assert!(world.arrive(remote(2, 7), public).is_ok());
    assert_eq!(world.arrive(remote(1, 98), public), Err(DropReason::Filtered));
}

#[test]
fn rfc4787_req_8_a_permission_lasts_as_long_as_any_connection_to_the_address() {
    let mut world = World::new();
    let here = host(2, 5000);
    let public = world.out(here, remote(9, 1)).unwrap().source;
    for port in 1..=5 {
        world.out(here, remote(1, port)).unwrap();
    }
    for lasting in [vec![2, 3, 4], vec![4], vec![]] {
        world.wait(200);
        world.out(here, remote(9, 1)).unwrap();
        for port in &lasting {
            world.out(here, remote(1, *port)).unwrap();
        }
        world.wait(101);
        let stranger = world.arrive(remote(1, 1000 + lasting.len() as u16), public);
        assert_eq!(stranger.is_ok(), !lasting.is_empty(), "{lasting:?}");
        assert!(world.arrive(remote(9, 1000 + lasting.len() as u16), public).is_ok());
    }
}

#[test]
fn rfc4787_req_8_other_filters_are_an_option() {
    let mut world = World::new();
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    world.rules.filtering = Filtering::EndpointIndependent;
    assert_eq!(world.arrive(remote(2, 1), public).unwrap().destination, host(2, 5000));
    world.rules.filtering = Filtering::AddressAndPortDependent;
    assert!(world.arrive(remote(1, 1), public).is_ok());
    assert_eq!(world.arrive(remote(1, 2), public), Err(DropReason::Filtered));
}

#[test]
fn rfc4787_req_9_hairpins_come_from_an_external_source() {
    let mut world = World::new();
    world.rules.filtering = Filtering::EndpointIndependent;
    let mine = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    let yours = world.out(host(3, 6000), remote(1, 1)).unwrap().source;
    let there = world.out(host(2, 5000), yours).unwrap();
    assert_eq!((there.source, there.destination), (mine, host(3, 6000)));
    let back = world.out(host(3, 6000), mine).unwrap();
    assert_eq!((back.source, back.destination), (yours, host(2, 5000)));
}

#[test]
fn rfc4787_req_9_hairpins_punch_holes_through_the_filter() {
    let mut world = World::new();
    let mine = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    let yours = world.out(host(3, 6000), remote(1, 1)).unwrap().source;
    assert_eq!(world.out(host(2, 5000), yours), Err(DropReason::Filtered));
    assert_eq!(world.out(host(3, 6000), mine).unwrap().destination, host(2, 5000));
    assert_eq!(world.out(host(2, 5000), yours).unwrap().destination, host(3, 6000));
}

#[test]
fn rfc4787_req_11_the_same_happens_every_time_and_whatever_else_happens() {
    let walk = |seed| {
        let mut world = World::with_seed(seed);
        (2..40).map(|last| world.out(host(last, 5000), remote(last, 1)).unwrap().source).collect::<Vec<_>>()
    };
    assert_eq!(walk(7), walk(7));
    // A mapping whose port was taken is as independent of the recipient as any.
    let mut world = World::new();
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    let second = world.out(host(3, 5000), remote(1, 1)).unwrap().source;
    assert_eq!(world.out(host(3, 5000), remote(2, 2)).unwrap().source, second);
    assert_eq!(world.arrive(remote(3, 3), second), Err(DropReason::Filtered));
}

#[test]
fn rfc4787_req_12_icmp_does_not_end_a_mapping() {
    let mut world = World::new();
    let left = world.out(host(2, 5000), remote(1, 1)).unwrap();
    for _ in 0..3 {
        let router = address([203, 0, 113, 1]);
        world
            .nat
            .translate_error(&world.rules, Origin::Outside, &left, (router, address(EXTERNAL)), world.time())
            .unwrap();
    }
    assert_eq!(world.arrive(remote(1, 1), left.source).unwrap().destination, host(2, 5000));
}

#[test]
fn rfc4787_req_12a_errors_pass_whoever_sends_them() {
    let mut world = World::new();
    let left = world.out(host(2, 5000), remote(1, 1)).unwrap();
    assert_eq!(left, tuple(17, external(5000), remote(1, 1)));
    let router = address([203, 0, 113, 1]);
    let error = world.nat.translate_error(
        &world.rules,
        Origin::Outside,
        &left,
        (router, address(EXTERNAL)),
        world.time(),
    );
    assert_eq!(error.unwrap().destination, Some(address([10, 0, 0, 2])));
}
