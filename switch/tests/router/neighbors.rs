//! Next hops whose MAC address is not known yet, or not any more.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use vswitch_switch::DropReason;
use vswitch_switch::route::Route;
use vswitch_wire::{ArpPacket, Layer3, build};

use crate::town::{
    ALICE, BACK, BOB, CAROL, EDGE, FRONT, OUTSIDE, OWN, Station, Town, gateway_mac, headers, id, source, udp,
};

const NEIGHBOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

fn to(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(address.into(), 53)
}

#[test]
fn a_packet_waits_for_its_neighbour() {
    let mut town = Town::new();
    let (asked_at, question) = town.one(&ALICE, udp(&ALICE, 5000, to(NEIGHBOR)));
    let asked = headers(&question);
    assert_eq!(
        (asked_at, asked.layer3, asked.destination_address()),
        (EDGE.port, Layer3::ARP, Some(NEIGHBOR.into()))
    );
    assert_eq!((asked.source, asked.source_address()), (gateway_mac(OUTSIDE), Some(IpAddr::from(OWN))));
    assert!(town.send(&ALICE, udp(&ALICE, 5001, to(NEIGHBOR))).is_empty(), "asked already");

    let mac = vswitch_wire::MacAddr([2, 0, 0, 0, 0, 77]);
    let reply = build::arp(ArpPacket::REPLY, mac, NEIGHBOR, gateway_mac(OUTSIDE), OWN);
    let released = town.send(&Station { mac, ..EDGE }, reply);
    let ports: Vec<_> = released.iter().map(|(_, frame)| source(&frame.bytes).port()).collect();
    assert_eq!(ports, [5000, 5001], "in the order they came");
    assert!(
        released.iter().all(|(port, frame)| *port == EDGE.port && headers(&frame.bytes).destination == mac)
    );
}

#[test]
fn the_sender_is_told_when_nobody_answers() {
    let mut town = Town::new();
    town.one(&ALICE, udp(&ALICE, 5000, to(NEIGHBOR)));
    let sent = town.wait(Duration::from_secs(5));
    let questions = sent.iter().filter(|(_, frame)| headers(&frame.bytes).layer3 == Layer3::ARP).count();
    assert_eq!(questions, 2, "three in all");
    let told: Vec<_> = sent.iter().filter(|(port, _)| *port == ALICE.port).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].1.bytes[34], told[0].1.bytes[35]), (3, 1), "host unreachable");
    assert!(town.drops(&ALICE).iter().any(|(reason, _)| *reason == DropReason::NeighborUnreachable));
}

#[test]
fn a_scan_is_bounded_and_hurts_nobody_known() {
    let mut town = Town::new();
    let mut questions = 0;
    for _ in 0..8 {
        for last in 1..=255 {
            questions += town.send(&ALICE, udp(&ALICE, 6000, to(Ipv4Addr::new(192, 0, 2, last)))).len();
        }
    }
    assert!(questions < 400, "{questions}");
    town.one(&ALICE, udp(&ALICE, 5000, SocketAddr::new(crate::town::FAR.into(), 53)));
    assert!(town.router.neighbors(|neighbors| neighbors.len()) <= 4096);
}

#[test]
fn whether_a_neighbour_is_still_there_is_asked_of_itself() {
    let mut town = Town::new();
    let guest =
        Station { mac: vswitch_wire::MacAddr([2, 0, 0, 0, 0, 77]), four: Ipv4Addr::new(10, 0, 0, 77), ..BOB };
    let prefix = |text: &str| text.parse().unwrap();
    let front = Route::Connected(id(FRONT));
    let back = Route::Connected(id(BACK));
    town.set_routes(BACK, vec![(prefix("10.1.0.0/24"), back), (prefix("10.0.0.0/24"), front)]);
    let asked = town.send(&CAROL, udp(&CAROL, 1, to(guest.four)));
    assert_eq!(asked.len(), 2, "everybody on its network: {:?}", town.drops(&CAROL));
    let own = crate::town::gateway_ip(FRONT);
    town.send(&guest, build::arp(ArpPacket::REPLY, guest.mac, guest.four, gateway_mac(FRONT), own));
    // Long enough for it to be stale; the next packet makes it be asked again.
    town.wait(Duration::from_secs(50));
    assert_eq!(town.one(&CAROL, udp(&CAROL, 2, to(guest.four))).0, BOB.port);
    let probes = town.wait(Duration::from_secs(7));
    assert!(!probes.is_empty());
    for (port, probe) in probes {
        let headers = headers(&probe.bytes);
        assert_eq!((port, headers.layer3, headers.destination), (BOB.port, Layer3::ARP, guest.mac));
    }
}
