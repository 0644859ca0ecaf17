//! What belongs to one network or port stays there, also while ports come and go; and what two workers tell
//! each other.

use vswitch_switch::shard::Heard;
use vswitch_switch::{DropReason, Offloads, Serviced};
use vswitch_wire::{EtherType, MacAddr, build};

use crate::bed::{Bed, SETTINGS, network, port};
use crate::traffic::mac;

fn unicast(from: u8, to: u8) -> Vec<u8> {
    build::ethernet(mac(to), mac(from), EtherType(0x88b5), b"")
}

fn broadcast(from: u8) -> Vec<u8> {
    build::ethernet(MacAddr::BROADCAST, mac(from), EtherType(0x88b5), b"")
}

/// Ports 0 and 1 on one network, 2 and 3 on another.
fn two_networks() -> Bed {
    let mut bed = Bed::new(SETTINGS, 2);
    let other = bed.add_network(SETTINGS);
    bed.add_port(other, Offloads::ALL);
    bed.add_port(other, Offloads::ALL);
    bed
}

#[test]
fn networks_with_the_same_addresses_do_not_meet() {
    let mut bed = two_networks();
    for round in 0..3 {
        assert_eq!(bed.send(port(0), &broadcast(1)), [port(1)]);
        assert_eq!(bed.send(port(2), &broadcast(1)), [port(3)]);
        assert_eq!(bed.send(port(1), &unicast(2, 1)), [port(0)], "round {round}");
        assert_eq!(bed.send(port(3), &unicast(2, 1)), [port(2)], "round {round}");
        assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "round {round}");
        assert_eq!(bed.send(port(2), &unicast(1, 2)), [port(3)], "round {round}");
    }
    for id in [network(0), network(1)] {
        assert_eq!(bed.counters(id).moved.read(), 0);
        assert_eq!(bed.shard.learned(id, bed.now).count(), 2);
    }
}

#[test]
fn a_detached_port_is_forgotten() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.send(port(1), &unicast(2, 1));
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)]);
    bed.detach(port(1));
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(2)], "unknown, and one listener fewer");
    assert!(bed.shard.device(port(1)).is_none());
    assert!(bed.shard.detach(port(1)).is_none());
    assert!(matches!(bed.shard.service(&bed.tables, port(1), bed.now), Serviced::Drained));
    bed.attach(port(1), network(0));
    assert_eq!(bed.send(port(2), &broadcast(3)), [port(0), port(1)]);
}

#[test]
fn a_port_given_another_device_starts_anew() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.send(port(1), &unicast(2, 1));
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "cached");
    bed.shard.attach(port(1), bed.device(port(1)).clone(), std::sync::Arc::default());
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1), port(2)]);
}

/// Both networks count their generations from one, so that numbers alone do not tell their decisions apart.
#[test]
fn a_port_number_used_again_elsewhere_inherits_nothing() {
    let mut bed = two_networks();
    bed.send(port(1), &unicast(2, 1));
    for _ in 0..2 {
        assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "cached");
    }
    let cached_at = bed.tables.network(network(0)).unwrap().generation;
    bed.detach(port(0));
    bed.attach(port(0), network(1));
    bed.change_network(network(1), |network| network.generation = cached_at - 1);
    assert_eq!(bed.tables.network(network(1)).unwrap().generation, cached_at);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(2), port(3)]);
}

#[test]
fn a_network_opened_anew_inherits_nothing() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.send(port(1), &unicast(2, 1));
    for _ in 0..2 {
        assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)]);
    }
    bed.shard.open_network(network(0), &SETTINGS, std::sync::Arc::default());
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1), port(2)]);
}

#[test]
fn a_learned_port_of_another_network_is_not_reached() {
    let mut bed = two_networks();
    // As when news of a port is overtaken by its removal and reuse.
    bed.shard.hear(Heard { network: network(0), mac: mac(2), port: port(2) }, bed.now);
    assert_eq!(bed.drop_of(port(0), &unicast(1, 2)), DropReason::EgressDown);
    assert_eq!(bed.drop_of(port(0), &unicast(1, 2)), DropReason::EgressDown, "nor from the cache");
}

#[test]
fn a_port_without_network_is_not_served() {
    let mut bed = Bed::new(SETTINGS, 2);
    bed.tables.set_port(port(0), None);
    assert_eq!(bed.drop_of(port(0), &broadcast(1)), DropReason::NoNetwork);
    let mut bed = Bed::new(SETTINGS, 2);
    bed.tables.set_network(network(0), None);
    assert_eq!(bed.drop_of(port(0), &broadcast(1)), DropReason::NoNetwork);
}

#[test]
fn a_port_whose_device_is_not_there_yet_is_down() {
    let mut bed = Bed::new(SETTINGS, 2);
    bed.change_network(network(0), |network| {
        network.static_macs.insert(mac(2), port(1));
    });
    assert!(bed.shard.detach(port(1)).is_some());
    assert_eq!(bed.drop_of(port(0), &unicast(1, 2)), DropReason::EgressDown);
    assert_eq!(bed.drop_of(port(0), &broadcast(1)), DropReason::EgressDown);
}

#[test]
fn a_device_that_is_gone_says_so_and_stops_nobody() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.device(port(1)).remove();
    assert!(matches!(bed.shard.service(&bed.tables, port(1), bed.now), Serviced::Gone(_)));
    assert_eq!(bed.send(port(0), &broadcast(1)), [port(2)]);
    assert_eq!(bed.totals(port(1)).drops().collect::<Vec<_>>(), [(DropReason::EgressDown, 1)]);
}

#[test]
fn workers_learn_from_each_other() {
    let (mut here, mut there) = (Bed::new(SETTINGS, 3), Bed::new(SETTINGS, 3));
    let tell = |from: &mut Bed, to: &mut Bed| {
        let mut told = 0;
        from.shard.take_heard(|heard| {
            to.shard.hear(heard, to.now);
            told += 1;
        });
        told
    };
    here.send(port(1), &broadcast(2));
    assert_eq!(tell(&mut here, &mut there), 1);
    assert_eq!(tell(&mut here, &mut there), 0, "told once");
    assert_eq!(there.send(port(0), &unicast(1, 2)), [port(1)], "heard by the other worker only");
    assert_eq!(there.send(port(0), &unicast(1, 2)), [port(1)], "cached");

    // The station moves, and it is again the other worker that hears it.
    here.send(port(2), &broadcast(2));
    tell(&mut here, &mut there);
    assert_eq!(there.send(port(0), &unicast(1, 2)), [port(2)]);
    there.shard.take_heard(|heard| assert_eq!(heard.mac, mac(1), "hearsay is not passed on"));

    // A station that speaks to one worker only is kept known by the other.
    for _ in 0..3 * SETTINGS.fdb.ageing {
        here.pass(1);
        there.pass(1);
        here.send(port(2), &broadcast(2));
        tell(&mut here, &mut there);
    }
    assert_eq!(there.send(port(0), &unicast(1, 2)), [port(2)]);
}

#[test]
fn news_of_a_detached_port_comes_too_late() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.detach(port(1));
    bed.shard.hear(Heard { network: network(0), mac: mac(2), port: port(1) }, bed.now);
    assert_eq!(bed.shard.learned(network(0), bed.now).count(), 0);
    bed.shard.hear(Heard { network: network(9), mac: mac(2), port: port(0) }, bed.now);
}
