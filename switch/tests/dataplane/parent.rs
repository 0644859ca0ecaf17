//! Networks on a parent, and such as only route: who gets a copy, and who is not believed.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use vswitch_switch::parent::{Mode, Parent};
use vswitch_switch::shard::{Announcement, Chore};
use vswitch_switch::{DropReason, PortId};
use vswitch_wire::{ArpPacket, MacAddr, build};

use crate::bed::{Bed, SETTINGS, network, port};
use crate::traffic::mac;

/// The ports of [`lan`], and who is where: the LAN's station 9 on the wire, the parent's 8, members 2 and 3.
const WIRE: usize = 0;
const HOST: usize = 1;
const ONE: usize = 2;
const OTHER: usize = 3;
const PARENT: u8 = 8;
const STATION: u8 = 9;

const MODES: [Mode; 5] = [Mode::Bridge, Mode::Private, Mode::Vepa, Mode::Passthru, Mode::Shared];

fn lan(mode: Mode) -> Bed {
    let mut bed = Bed::new(SETTINGS, 4);
    let shared = mode == Mode::Shared;
    let addresses = if shared {
        HashMap::from([(ip(2).into(), port(ONE)), (ip(3).into(), port(OTHER))])
    } else {
        HashMap::new()
    };
    bed.change_network(network(0), |network| {
        if !shared {
            network.static_macs = HashMap::from([(mac(2), port(ONE)), (mac(3), port(OTHER))]);
        }
        let (wire, host, mac) = (port(WIRE), Some(port(HOST)), mac(PARENT));
        network.parent = Some(Parent { wire, host, mac, mode, addresses });
    });
    bed
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn question(from: MacAddr) -> Vec<u8> {
    build::arp(ArpPacket::REQUEST, from, ip(2), MacAddr::BROADCAST, ip(77))
}

fn datagram(from: MacAddr, to: (MacAddr, u8)) -> Vec<u8> {
    build::udp4(to.0, from, SocketAddrV4::new(ip(2), 1), SocketAddrV4::new(ip(to.1), 2), b"x")
}

fn ports<const N: usize>(numbers: [usize; N]) -> Vec<PortId> {
    numbers.map(port).to_vec()
}

#[test]
fn what_a_member_says_to_all_is_heard_as_the_mode_says() {
    for mode in MODES {
        let mut bed = lan(mode);
        let source = if mode == Mode::Shared { mac(PARENT) } else { mac(2) };
        let heard = bed.send(port(ONE), &question(source));
        let all = matches!(mode, Mode::Bridge | Mode::Shared);
        let expected = if all { ports([WIRE, HOST, OTHER]) } else { ports([WIRE, HOST]) };
        assert_eq!(heard, expected, "{mode:?}");
    }
}

#[test]
fn what_is_announced_for_a_member_goes_where_the_member_would_be_heard() {
    for (mode, expected) in [(Mode::Bridge, ports([WIRE, HOST, OTHER])), (Mode::Private, ports([WIRE, HOST]))]
    {
        let mut bed = lan(mode);
        let announcement = Announcement { network: network(0), address: ip(2).into(), mac: mac(2) };
        bed.shard.add_chore(Chore::Announce(announcement), bed.now);
        bed.shard.chores(&bed.tables, bed.now);
        let announced = (0..4).map(port).filter(|id| !bed.device(*id).take_sent().is_empty());
        assert_eq!(announced.collect::<Vec<_>>(), expected, "{mode:?}");
    }
}

#[test]
fn the_lan_and_the_host_are_heard_by_members_alone() {
    for mode in MODES {
        let mut bed = lan(mode);
        assert_eq!(bed.send(port(WIRE), &question(mac(STATION))), ports([ONE, OTHER]), "{mode:?}");
        assert_eq!(bed.send(port(HOST), &question(mac(PARENT))), ports([ONE, OTHER]), "{mode:?}");
        let between = datagram(mac(STATION), (mac(PARENT), 8));
        assert_eq!(bed.drop_of(port(WIRE), &between), DropReason::NotForUs, "{mode:?}");
    }
}

/// The LAN's switch sends back what came from here, or somebody pretends.
#[test]
fn the_parent_is_never_heard_from_the_wire() {
    for mode in MODES {
        let mut bed = lan(mode);
        let reflected = question(mac(PARENT));
        assert_eq!(bed.drop_of(port(WIRE), &reflected), DropReason::StaticMacElsewhere, "{mode:?}");
    }
}

#[test]
fn a_vepas_frames_come_back_to_all_but_their_sender() {
    let mut bed = lan(Mode::Vepa);
    assert_eq!(bed.send(port(WIRE), &question(mac(2))), ports([OTHER]));
    let there = datagram(mac(2), (mac(3), 3));
    assert_eq!(bed.send(port(ONE), &there), ports([WIRE]));
    assert_eq!(bed.send(port(WIRE), &there), ports([OTHER]));
}

/// The answer is for whom the address inside it is of, as the MAC address does not say.
#[test]
fn with_one_mac_address_arp_is_told_apart_by_address() {
    let mut bed = lan(Mode::Shared);
    for (address, at) in [(2, ONE), (3, OTHER)] {
        let answer = build::arp(ArpPacket::REPLY, mac(STATION), ip(77), mac(PARENT), ip(address));
        assert_eq!(bed.send(port(WIRE), &answer), ports([at]));
        let answer = build::arp(ArpPacket::REPLY, mac(PARENT), ip(8), mac(PARENT), ip(address));
        assert_eq!(bed.send(port(HOST), &answer), ports([at]), "from the host");
    }
    let answer = build::arp(ArpPacket::REPLY, mac(PARENT), ip(2), mac(PARENT), ip(8));
    assert_eq!(bed.send(port(ONE), &answer), ports([HOST]));
}

#[test]
fn a_network_that_only_routes_has_no_neighbours() {
    let mut bed = Bed::new(SETTINGS, 2);
    bed.change_network(network(0), |network| network.layer3_only = true);
    assert_eq!(bed.drop_of(port(0), &question(mac(2))), DropReason::Layer3Only);
    let group = MacAddr([0x01, 0x00, 0x5e, 1, 2, 3]);
    assert_eq!(bed.drop_of(port(0), &datagram(mac(2), (group, 3))), DropReason::Layer3Only);
    // Not even by its MAC address: every packet is the router's, which there is none of here.
    assert_eq!(bed.drop_of(port(0), &datagram(mac(2), (mac(3), 3))), DropReason::NoRoute);
}
