//! RFC 5382: NAT Behavioral Requirements for TCP.

use vswitch_switch::DropReason;
use vswitch_switch::nat::{Filtering, Origin};

use super::world::{ACK, EXTERNAL, FIN, RST, SYN, TCP, World, address, external, host, publish, remote};

#[test]
fn rfc5382_req_1_mappings_do_not_depend_on_the_recipient() {
    let mut world = World::new();
    world.connect(host(3, 5000), remote(1, 80));
    let public = world.connect(host(2, 5000), remote(1, 80));
    assert_ne!(public.port, 5000);
    assert_eq!(world.connect(host(2, 5000), remote(1, 81)), public);
    assert_eq!(world.connect(host(2, 5000), remote(2, 80)), public);
}

#[test]
fn rfc5382_req_2_handshakes_from_inside_and_from_outside() {
    let mut world = World::new();
    world.connect(host(2, 5000), remote(1, 80));
    assert_eq!(world.states(), ["established"]);
    world.publish(vec![publish(8080, 80)]);
    assert_eq!(world.receive(TCP, remote(2, 9), external(8080), SYN).unwrap().destination, host(2, 80));
    assert_eq!(world.send(TCP, host(2, 80), remote(2, 9), SYN | ACK).unwrap().source, external(8080));
    world.receive(TCP, remote(2, 9), external(8080), ACK).unwrap();
    assert_eq!(world.states(), ["established"; 2]);
}

#[test]
fn rfc5382_req_2a_simultaneous_open() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 6000));
    let public = world.send(TCP, here, there, SYN).unwrap().source;
    assert_eq!(world.receive(TCP, there, public, SYN).unwrap().destination, here);
    world.send(TCP, here, there, SYN | ACK).unwrap();
    world.receive(TCP, there, public, SYN | ACK).unwrap();
    assert_eq!(world.states(), ["established"]);
}

#[test]
fn rfc5382_req_2_half_closed_connections_go_on() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let public = world.connect(here, there);
    world.send(TCP, here, there, FIN | ACK).unwrap();
    assert_eq!(world.states(), ["fin-wait"]);
    world.wait(2 * 3600);
    assert_eq!(world.receive(TCP, there, public, ACK).unwrap().destination, here);
    world.receive(TCP, there, public, FIN | ACK).unwrap();
    assert_eq!(world.states(), ["time-wait"]);
    assert_eq!(world.send(TCP, here, there, ACK).unwrap().source, public, "the last acknowledgement");
}

#[test]
fn rfc5382_req_2_endpoints_are_used_again() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let public = world.connect(here, there);
    world.send(TCP, here, there, FIN | ACK).unwrap();
    world.receive(TCP, there, public, FIN | ACK).unwrap();
    assert_eq!(world.connect(here, there), public);
    assert_eq!(world.states(), ["established"]);
}

#[test]
fn rfc5382_req_3_strangers_are_filtered_by_address() {
    let mut world = World::new();
    let public = world.connect(host(2, 5000), remote(1, 80));
    assert_eq!(world.receive(TCP, remote(1, 81), public, SYN).unwrap().destination, host(2, 5000));
    assert_eq!(world.receive(TCP, remote(2, 80), public, SYN), Err(DropReason::Filtered));
    world.rules.filtering = Filtering::EndpointIndependent;
    assert!(world.receive(TCP, remote(2, 80), public, SYN).is_ok());
}

#[test]
fn rfc5382_req_4_an_unsolicited_syn_is_dropped_and_may_be_solicited_later() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 6000));
    assert_eq!(world.receive(TCP, there, external(5000), SYN), Err(DropReason::NotPublished));
    assert!(world.entries().is_empty(), "it leaves nothing behind");
    let public = world.send(TCP, here, there, SYN).unwrap().source;
    assert_eq!(world.receive(TCP, there, public, SYN).unwrap().destination, here, "sent again");
}

#[test]
fn rfc5382_req_5_established_connections_may_be_silent_for_two_hours_and_four_minutes() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let public = world.connect(here, there);
    world.wait(7440);
    assert!(world.receive(TCP, there, public, ACK).is_ok(), "either side refreshes");
    world.wait(7440);
    assert!(world.send(TCP, here, there, ACK).is_ok());
    world.wait(7441);
    assert_eq!(world.send(TCP, here, there, ACK), Err(DropReason::NotAConnection));
}

#[test]
fn rfc5382_req_5_opening_and_closing_ones_for_four_minutes() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let public = world.send(TCP, here, there, SYN).unwrap().source;
    world.wait(240);
    assert!(world.receive(TCP, there, public, SYN | ACK).is_ok());
    world.wait(241);
    assert!(world.receive(TCP, there, public, SYN | ACK).is_err());

    world.connect(here, there);
    world.send(TCP, here, there, FIN | ACK).unwrap();
    world.receive(TCP, there, public, FIN | ACK).unwrap();
    world.wait(240);
    assert!(world.send(TCP, here, there, ACK).is_ok());
    world.wait(241);
    assert!(world.send(TCP, here, there, ACK).is_err());
}

#[test]
fn rfc5382_req_7_no_two_share_an_outside_port() {
    let mut world = World::new();
    world.rules.ports = 5000..=5001;
    let one = world.connect(host(2, 5000), remote(1, 80));
    let two = world.connect(host(3, 5000), remote(2, 80));
    assert_ne!(one, two);
    assert_eq!(world.send(TCP, host(4, 5000), remote(3, 80), SYN), Err(DropReason::NoExternalPort));
}

#[test]
fn rfc5382_req_8_hairpins() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80)]);
    let there = world.send(TCP, host(3, 5000), external(8080), SYN).unwrap();
    assert_eq!((there.source, there.destination), (external(5000), host(2, 80)));
    let back = world.send(TCP, host(2, 80), external(5000), SYN | ACK).unwrap();
    assert_eq!((back.source, back.destination), (external(8080), host(3, 5000)));
    world.send(TCP, host(3, 5000), external(8080), ACK).unwrap();
    assert_eq!(world.states(), ["established"; 2]);
}

#[test]
fn rfc5382_req_9_errors_are_translated() {
    let mut world = World::new();
    let left = world.send(TCP, host(2, 5000), remote(1, 80), SYN).unwrap();
    let ends = (address([203, 0, 113, 1]), address(EXTERNAL));
    let error = world.nat.translate_error(&world.rules, Origin::Outside, &left, ends, world.time()).unwrap();
    assert_eq!(error.quoted_source, Some(host(2, 5000)));
    assert_eq!(error.destination, Some(address([10, 0, 0, 2])));
}

#[test]
fn rfc5382_req_10_icmp_ends_nothing() {
    let mut world = World::new();
    world.connect(host(2, 5000), remote(1, 80));
    let before = world.entries()[0];
    let quoted = before.original;
    let left = vswitch_switch::Tuple { source: external(5000), ..quoted };
    let ends = (address([198, 51, 100, 1]), address(EXTERNAL));
    world.nat.translate_error(&world.rules, Origin::Outside, &left, ends, world.time()).unwrap();
    assert_eq!(world.states(), ["established"]);
}

#[test]
fn segments_of_no_connection_are_dropped() {
    let mut world = World::new();
    for flags in [ACK, SYN | ACK, RST, FIN | ACK, SYN | RST, SYN | FIN, 0] {
        let sent = world.send(TCP, host(2, 5000), remote(1, 80), flags);
        assert_eq!(sent, Err(DropReason::NotAConnection), "flags {flags:#x}");
    }
}
