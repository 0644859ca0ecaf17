//! RFC 5508: NAT Behavioral Requirements for ICMP.

use vswitch_switch::address::{Endpoint, Tuple};
use vswitch_switch::nat::{OneToOne, OneToOnes, Origin, Packet, Query, TranslatedError};
use vswitch_switch::{Address, DropReason};
use vswitch_wire::protocol;

use super::world::{EXTERNAL, World, address, at, external, host, inside, network, owner, remote, tuple};

const THERE: [u8; 4] = [198, 51, 100, 1];

fn error(
    world: &World,
    origin: Origin,
    quoted: &Tuple,
    ends: (Address, Address),
) -> Result<TranslatedError, DropReason> {
    world.nat.translate_error(&world.rules, origin, quoted, ends, world.time())
}

fn one_to_one() -> OneToOnes {
    let entry = OneToOne {
        external: [192, 0, 2, 77].into(),
        internal: [10, 0, 0, 7].into(),
        network: network(0),
        owner: owner(7),
    };
    OneToOnes::new(&[entry]).unwrap()
}

#[test]
fn rfc5508_req_1_queries_from_inside_and_their_answers_pass() {
    let mut world = World::new();
    let left = world.ping(host(2, 33), THERE, Query::Request).unwrap();
    assert_eq!(left, tuple(protocol::ICMP, external(33), at(THERE, 33)));
    let other = world.ping(host(3, 33), THERE, Query::Request).unwrap();
    assert_ne!(other.source.port, 33, "identifiers are told apart");
    assert_eq!(other.source.port, other.destination.port);
    let back = world.pinged(THERE, other.source, Query::Reply).unwrap();
    assert_eq!((back.destination, back.source.port), (host(3, 33), 33));
}

#[test]
fn rfc5508_req_1a_identifiers_do_not_depend_on_the_recipient() {
    let mut world = World::new();
    world.ping(host(3, 33), THERE, Query::Request).unwrap();
    let public = world.ping(host(2, 33), THERE, Query::Request).unwrap().source;
    assert_eq!(world.ping(host(2, 33), [198, 51, 100, 2], Query::Request).unwrap().source, public);
}

#[test]
fn rfc5508_req_1_queries_from_outside_do_not() {
    let mut world = World::new();
    let public = world.ping(host(2, 33), THERE, Query::Request).unwrap().source;
    assert_eq!(world.pinged([198, 51, 100, 2], public, Query::Request), Err(DropReason::NotPublished));
    assert_eq!(world.pinged([198, 51, 100, 2], public, Query::Reply), Err(DropReason::Filtered));
    assert_eq!(world.ping(host(2, 34), THERE, Query::Reply), Err(DropReason::NotAConnection));
}

#[test]
fn rfc5508_req_2_queries_are_kept_for_a_minute() {
    let mut world = World::new();
    let public = world.ping(host(2, 33), THERE, Query::Request).unwrap().source;
    world.wait(60);
    assert!(world.pinged(THERE, public, Query::Reply).is_ok());
    world.wait(1);
    assert!(world.pinged(THERE, public, Query::Reply).is_err());
}

#[test]
fn rfc5508_req_4_errors_from_outside_are_for_whoever_sent_what_they_quote() {
    let mut world = World::new();
    world.out(host(3, 5000), remote(1, 53)).unwrap();
    let left = world.out(host(2, 5000), remote(1, 53)).unwrap();
    let router = address([203, 0, 113, 1]);
    let translated = error(&world, Origin::Outside, &left, (router, address(EXTERNAL))).unwrap();
    let expected = TranslatedError {
        quoted_source: Some(host(2, 5000)),
        destination: Some(address([10, 0, 0, 2])),
        to: Some(network(0)),
        ..TranslatedError::default()
    };
    assert_eq!(translated, expected);
    // A quoted query keeps its identifier in its source's port.
    let left = world.ping(host(2, 33), THERE, Query::Request).unwrap();
    let translated = error(&world, Origin::Outside, &left, (router, address(EXTERNAL))).unwrap();
    assert_eq!(translated.quoted_source, Some(host(2, 33)));
}

#[test]
fn rfc5508_req_4_errors_about_nothing_are_dropped() {
    let mut world = World::new();
    let left = world.out(host(2, 5000), remote(1, 53)).unwrap();
    let router = address([203, 0, 113, 1]);
    let other = Tuple { destination: remote(1, 54), ..left };
    let unrelated = Err(DropReason::IcmpUnrelated);
    assert_eq!(error(&world, Origin::Outside, &other, (router, address(EXTERNAL))), unrelated);
    assert_eq!(
        error(&world, Origin::Outside, &left, (router, address([192, 0, 2, 9]))),
        unrelated,
        "for another"
    );
    world.wait(301);
    assert_eq!(error(&world, Origin::Outside, &left, (router, address(EXTERNAL))), unrelated, "too late");
}

#[test]
fn rfc5508_req_5_errors_from_inside_come_from_our_address() {
    let mut world = World::new();
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    let delivered = world.arrive(remote(1, 1), public).unwrap();
    let expected = TranslatedError {
        quoted_destination: Some(public),
        source: Some(address(EXTERNAL)),
        ..TranslatedError::default()
    };
    for sender in [[10, 0, 0, 2], [10, 0, 0, 250]] {
        let ends = (address(sender), address([198, 51, 100, 1]));
        assert_eq!(error(&world, inside(host(2, 0)), &delivered, ends), Ok(expected));
    }
    let unknown = Tuple { source: remote(1, 2), ..delivered };
    let ends = (address([10, 0, 0, 2]), address([198, 51, 100, 1]));
    assert_eq!(error(&world, inside(host(2, 0)), &unknown, ends), Err(DropReason::IcmpUnrelated));
}

#[test]
fn rfc5508_req_6_errors_neither_refresh_nor_end_a_query() {
    let mut world = World::new();
    let left = world.ping(host(2, 33), THERE, Query::Request).unwrap();
    world.wait(50);
    error(&world, Origin::Outside, &left, (address(THERE), address(EXTERNAL))).unwrap();
    assert!(world.pinged(THERE, left.source, Query::Reply).is_ok());
    world.wait(11);
    assert!(world.pinged(THERE, left.source, Query::Reply).is_err());
}

#[test]
fn rfc5508_req_7_hairpinned_errors_turn_round_too() {
    let mut world = World::new();
    let mine = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    let yours = world.out(host(3, 6000), remote(1, 1)).unwrap().source;
    assert!(world.out(host(2, 5000), yours).is_err());
    world.out(host(3, 6000), mine).unwrap();
    let delivered = world.out(host(2, 5000), yours).unwrap();
    assert_eq!(delivered, tuple(17, mine, host(3, 6000)));
    // Host 3 says that nobody listens.
    let ends = (address([10, 0, 0, 3]), mine.address);
    let expected = TranslatedError {
        quoted_source: Some(host(2, 5000)),
        quoted_destination: Some(yours),
        source: Some(address(EXTERNAL)),
        destination: Some(address([10, 0, 0, 2])),
        to: Some(network(0)),
    };
    assert_eq!(error(&world, inside(host(3, 0)), &delivered, ends), Ok(expected));
}

#[test]
fn rfc5508_req_7_hairpinned_queries_reach_a_one_to_one_address() {
    let mut world = World::new();
    world.obey(|rules| rules.one_to_one = one_to_one());
    world.ping(host(3, 33), THERE, Query::Request).unwrap();
    let there = world.ping(host(2, 33), [192, 0, 2, 77], Query::Request).unwrap();
    let identifier = there.source.port;
    assert_eq!((there.source.address, there.destination), (address(EXTERNAL), host(7, identifier)));
    assert_ne!(identifier, 33, "taken by the other");
    let back = world.ping(host(7, identifier), EXTERNAL, Query::Reply).unwrap();
    let expected = (at([192, 0, 2, 77], 33), host(2, 33));
    assert_eq!((back.source, back.destination), expected);
}

#[test]
fn rfc5508_req_7_hairpinned_errors_about_queries_have_one_identifier() {
    let mut world = World::new();
    world.obey(|rules| rules.one_to_one = one_to_one());
    world.ping(host(3, 33), THERE, Query::Request).unwrap();
    let delivered = world.ping(host(2, 33), [192, 0, 2, 77], Query::Request).unwrap();
    let ends = (address([10, 0, 0, 7]), address(EXTERNAL));
    let translated = error(&world, inside(host(7, 0)), &delivered, ends).unwrap();
    assert_eq!(translated.quoted_source, Some(host(2, 33)));
    assert_eq!(translated.quoted_destination, Some(at([192, 0, 2, 77], 33)));
    assert_eq!(translated.destination, Some(address([10, 0, 0, 2])));
}

#[test]
fn rfc5508_req_8_refusals_are_told_apart_from_silence() {
    // The gateway answers these with "administratively prohibited"; see docs/nat-conformance.md.
    let mut world = World::new();
    world.rules.per_port.insert(owner(2), 1);
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    assert_eq!(world.out(host(2, 5001), remote(1, 1)), Err(DropReason::ConnectionLimit));
}

#[test]
fn rfc5508_req_11_other_messages_are_dropped() {
    let mut world = World::new();
    let zero = |last| Endpoint { port: 0, ..host(last, 0) };
    let tuple = tuple(protocol::ICMP, zero(2), remote(1, 0));
    let packet = Packet { tuple, tcp_flags: 0, icmp_query: None };
    assert_eq!(world.translate(inside(host(2, 0)), &packet), Err(DropReason::NoTransport));
}
