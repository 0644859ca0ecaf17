//! RFC 7857: Updates to Network Address Translation Behavioral Requirements.

use vswitch_switch::DropReason;
use vswitch_switch::nat::{Filtering, Origin, Packet};

use super::world::{ACK, FIN, RST, SYN, TCP, UDP, World, external, host, inside, remote, tuple};

#[test]
fn rfc7857_2_1_every_state_of_a_connection_has_its_name() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let public = world.send(TCP, here, there, SYN).unwrap().source;
    let mut names = vec![world.states()[0]];
    let walk = [(false, SYN | ACK), (true, ACK), (true, FIN | ACK), (false, FIN | ACK), (false, RST)];
    for (outbound, flags) in walk {
        let sent = if outbound {
            world.send(TCP, here, there, flags)
        } else {
            world.receive(TCP, there, public, flags)
        };
        sent.unwrap();
        names.push(world.states()[0]);
    }
    let expected = ["syn-sent", "syn-received", "established", "fin-wait", "time-wait", "closed"];
    assert_eq!(names, expected);
}

#[test]
fn rfc7857_2_2_opening_and_closing_have_timeouts_of_their_own() {
    let mut world = World::new();
    world.rules.timeouts.tcp_opening = 10;
    world.rules.timeouts.tcp_closing = 500;
    let there = remote(1, 80);
    world.send(TCP, host(2, 5000), there, SYN).unwrap();
    let public = world.connect(host(3, 6000), there);
    world.receive(TCP, there, public, FIN | ACK).unwrap();
    world.send(TCP, host(3, 6000), there, FIN | ACK).unwrap();
    world.wait(11);
    assert_eq!(world.states(), ["time-wait"]);
    world.wait(489);
    assert_eq!(world.states(), ["time-wait"]);
    world.wait(1);
    assert!(world.states().is_empty());
}

#[test]
fn rfc7857_2_3_a_reset_passes_and_what_was_reset_stays_for_four_minutes() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let public = world.connect(here, there);
    world.wait(5000);
    assert_eq!(world.receive(TCP, there, public, RST).unwrap().destination, here);
    assert_eq!(world.states(), ["closed"]);
    world.wait(240);
    assert_eq!(world.states(), ["closed"]);
    // It was forged: the connection goes on, and for as long as before.
    assert!(world.send(TCP, here, there, ACK).is_ok());
    assert_eq!(world.states(), ["established"]);
    world.wait(7000);
    assert!(world.receive(TCP, there, public, ACK).is_ok());
    // It was not.
    world.send(TCP, here, there, RST).unwrap();
    world.wait(241);
    assert!(world.states().is_empty());
}

#[test]
fn rfc7857_2_3_a_reset_voids_what_workers_remember() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let public = world.connect(here, there);
    let packet = Packet { tuple: tuple(TCP, here, there), tcp_flags: ACK, icmp_query: None };
    let kept = world.translate(inside(here), &packet).unwrap();
    assert!(kept.cacheable && world.activity.touch(kept.connection, 1001));
    world.receive(TCP, there, public, RST).unwrap();
    assert!(!world.activity.touch(kept.connection, 1002), "the next segment is seen, to bring it back");
    assert!(world.translate(inside(here), &packet).unwrap().cacheable);
}

#[test]
fn rfc7857_4_a_paired_address_is_not_left_when_its_ports_run_out() {
    let mut world = World::new();
    world.rules.external = vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    world.rules.ports = 5000..=5003;
    let first = world.out(host(2, 1), remote(1, 1)).unwrap().source.address;
    for port in 2..5 {
        assert_eq!(world.out(host(2, port), remote(1, 1)).unwrap().source.address, first);
    }
    assert_eq!(world.out(host(2, 5), remote(1, 1)), Err(DropReason::NoExternalPort));
}

#[test]
fn rfc7857_5_and_6_protocols_are_mapped_and_filtered_by_themselves() {
    let mut world = World::new();
    world.rules.filtering = Filtering::EndpointIndependent;
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    assert_eq!(world.receive(TCP, remote(1, 1), external(5000), SYN), Err(DropReason::NotPublished));
    assert_eq!(world.send(TCP, host(3, 5000), remote(1, 1), SYN).unwrap().source, external(5000));
}

#[test]
fn rfc7857_7_what_is_filtered_refreshes_nothing() {
    let mut world = World::new();
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    world.wait(299);
    assert!(world.arrive(remote(2, 1), public).is_err());
    world.wait(2);
    assert!(world.arrive(remote(1, 1), public).is_err());
}

#[test]
fn rfc7857_7_1_a_reset_from_inside_refreshes_nothing() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    world.connect(here, there);
    world.send(TCP, here, there, RST).unwrap();
    world.wait(200);
    world.send(TCP, here, there, RST).unwrap();
    world.wait(41);
    assert!(world.states().is_empty());
}

#[test]
fn rfc7857_9_where_the_port_is_kept_or_not_is_no_ones_guess() {
    // A port that is free is kept: applications expect it more than they fear guesses. Others are random.
    let mut world = World::new();
    assert_eq!(world.out(host(2, 5000), remote(1, 1)).unwrap().source, external(5000));
    let ports: Vec<_> =
        (3..8).map(|last| world.out(host(last, 5000), remote(1, 1)).unwrap().source.port).collect();
    assert!(ports.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 2), "{ports:?}");
}

#[test]
fn answers_are_kept_only_where_the_state_cannot_change_unseen() {
    let mut world = World::new();
    let (here, there) = (host(2, 5000), remote(1, 80));
    let cacheable = |world: &mut World, from, source, destination, flags| {
        let packet = Packet { tuple: tuple(TCP, source, destination), tcp_flags: flags, icmp_query: None };
        world.translate(from, &packet).unwrap().cacheable
    };
    assert!(!cacheable(&mut world, inside(here), here, there, SYN));
    assert!(!cacheable(&mut world, Origin::Outside, there, external(5000), SYN | ACK));
    assert!(cacheable(&mut world, inside(here), here, there, ACK));
    assert!(cacheable(&mut world, Origin::Outside, there, external(5000), ACK));
    let packet = Packet { tuple: tuple(UDP, here, there), tcp_flags: 0, icmp_query: None };
    let datagram = world.translate(inside(here), &packet).unwrap();
    assert!(datagram.cacheable && datagram.connection.refreshes());
}
