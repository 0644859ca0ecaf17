//! What the flow cache answers is what the stages decided, until something changes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vswitch_switch::DropReason;
use vswitch_wire::protocol;

use crate::town::{ALICE, EDGE, FAR, FRONT, OUTSIDE, OWN, Town, destination, headers, source, udp, udp_from};

fn far() -> SocketAddr {
    SocketAddr::new(FAR.into(), 53)
}

#[test]
fn every_packet_of_a_flow_is_changed_alike() {
    let mut town = Town::new();
    let (_, walked) = town.one(&ALICE, udp(&ALICE, 5000, far()));
    for _ in 0..10 {
        let (_, cached) = town.one(&ALICE, udp(&ALICE, 5000, far()));
        assert_eq!(cached, walked);
    }
    assert_eq!(headers(&walked).source_port, 5000);
}

#[test]
fn a_connection_that_ends_is_not_answered_from_the_cache() {
    let mut town = Town::new();
    town.publish(&ALICE, protocol::UDP, 8080, 80);
    let inward = || udp_from(&EDGE, far(), SocketAddr::new(OWN.into(), 8080));
    for _ in 0..3 {
        town.one(&EDGE, inward());
    }
    town.rules.published = Default::default();
    town.apply_rules();
    town.wait(Duration::from_secs(2));
    assert_eq!(town.dropped(&EDGE, inward()).0, DropReason::NotPublished);
}

#[test]
fn idle_connections_go_and_busy_ones_stay() {
    let mut town = Town::new();
    let (_, frame) = town.one(&ALICE, udp(&ALICE, 5000, far()));
    let back = || udp_from(&EDGE, destination(&frame), source(&frame));
    for _ in 0..10 {
        town.wait(Duration::from_secs(60));
        town.one(&ALICE, udp(&ALICE, 5000, far()));
        town.one(&EDGE, back());
    }
    town.wait(Duration::from_secs(400));
    town.now = town.now.after(Duration::from_secs(1));
    // The neighbour outside has been forgotten by now as well, but what comes in needs none.
    assert_eq!(town.dropped(&EDGE, back()).0, DropReason::NotPublished);
}

#[test]
fn a_host_that_moves_is_followed() {
    let mut town = Town::new();
    let (_, frame) = town.one(&ALICE, udp(&ALICE, 5000, far()));
    let back = || udp_from(&EDGE, destination(&frame), source(&frame));
    assert_eq!(town.one(&EDGE, back()).0, ALICE.port);
    assert_eq!(town.one(&EDGE, back()).0, ALICE.port);
    // Bob's port takes over Alice's addresses.
    town.change_gateway(FRONT, |gateway| {
        for host in gateway.hosts.values_mut() {
            host.port = crate::town::port(&crate::town::BOB);
        }
    });
    assert_eq!(town.one(&EDGE, back()).0, crate::town::BOB.port);
}

#[test]
fn a_neighbour_that_moves_is_followed() {
    let mut town = Town::new();
    for _ in 0..2 {
        let (_, frame) = town.one(&ALICE, udp(&ALICE, 5000, far()));
        assert_eq!(headers(&frame).destination, EDGE.mac);
    }
    let elsewhere = vswitch_wire::MacAddr([2, 0, 0, 0, 0, 0x99]);
    let moved = crate::town::Station { mac: elsewhere, ..EDGE };
    town.pass(Duration::from_secs(1));
    let request = vswitch_wire::build::arp(
        vswitch_wire::ArpPacket::REPLY,
        elsewhere,
        EDGE.four,
        crate::town::gateway_mac(OUTSIDE),
        OWN,
    );
    town.send(&moved, request);
    town.wait(Duration::from_millis(300));
    let (_, frame) = town.one(&ALICE, udp(&ALICE, 5000, far()));
    assert_eq!(headers(&frame).destination, elsewhere);
    assert_eq!(headers(&frame).source_address(), Some(IpAddr::from(OWN)));
}
