//! Learning, forwarding, flooding and forgetting, with virtual time.

use std::net::{Ipv4Addr, SocketAddrV4};

use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::guard::Guard;
use vswitch_switch::memory::MemoryFrame;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, UnknownUnicast};
use vswitch_switch::{DropReason, TransmitError};
use vswitch_wire::{EtherType, MacAddr, build};

use crate::bed::{Bed, SETTINGS, network, port};
use crate::traffic::mac;

/// A frame of no known protocol.
fn frame(from: u8, to: MacAddr) -> Vec<u8> {
    build::ethernet(to, mac(from), EtherType(0x88b5), b"what it says does not matter to a bridge")
}

fn unicast(from: u8, to: u8) -> Vec<u8> {
    frame(from, mac(to))
}

fn broadcast(from: u8) -> Vec<u8> {
    frame(from, MacAddr::BROADCAST)
}

#[test]
fn the_unknown_is_flooded_and_the_learned_forwarded() {
    let mut bed = Bed::new(SETTINGS, 3);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1), port(2)], "never back to where it came from");
    assert_eq!(bed.send(port(1), &unicast(2, 1)), [port(0)]);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)]);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "and from the flow cache");
    let counters = bed.counters(network(0));
    assert_eq!((counters.learned.read(), counters.unknown_unicast.read()), (2, 1));
    assert_eq!((counters.unicast.read(), counters.flow_hits.read(), counters.flow_misses.read()), (2, 1, 3));
}

#[test]
fn broadcast_and_multicast_reach_everybody_else() {
    let mut bed = Bed::new(SETTINGS, 3);
    assert_eq!(bed.send(port(1), &broadcast(1)), [port(0), port(2)]);
    assert_eq!(bed.send(port(1), &frame(1, MacAddr([1, 0, 0x5e, 0, 0, 1]))), [port(0), port(2)]);
    let counters = bed.counters(network(0));
    assert_eq!((counters.broadcast.read(), counters.multicast.read()), (1, 1));
}

#[test]
fn a_super_frame_is_flooded_to_each_as_each_can_take_it() {
    use crate::traffic::{Flow, Message};
    use vswitch_switch::Offloads;
    let mut bed = Bed::new(SETTINGS, 2);
    let plain = bed.add_port(network(0), Offloads::NONE);
    let flow = Flow { tcp: true, ipv6: false, tagged: true, source_port: 1 };
    let message = Message::new(flow, 0, vec![1; 2500]);
    bed.receive(port(0), [message.super_frame(1000)]);
    let whole = bed.device(port(1)).take_sent();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].bytes, message.super_frame(1000).bytes);
    let cut: Vec<_> = message.cut(1000).iter().map(|segment| MemoryFrame::from(segment.complete())).collect();
    assert_eq!(bed.device(plain).take_sent(), cut);
    assert_eq!((bed.totals(port(1)).sent_frames, bed.totals(plain).sent_frames), (1, 3));
}

#[test]
fn a_flood_does_not_overtake_what_was_held_before_it() {
    use crate::traffic::{Flow, Message};
    let mut bed = Bed::new(SETTINGS, 2);
    bed.send(port(1), &unicast(2, 1));
    let flow = Flow { tcp: false, ipv6: false, tagged: false, source_port: 1 };
    let held = Message::new(flow, 0, vec![1; 16]).open();
    let flooded = MemoryFrame::from(broadcast(1));
    bed.device(port(1)).take_sent();
    bed.receive(port(0), [held.clone(), flooded.clone(), held.clone()]);
    assert_eq!(bed.device(port(1)).take_sent(), [held.clone(), flooded, held]);
}

#[test]
fn what_may_not_be_forwarded_is_dropped() {
    let mut bed = Bed::new(SETTINGS, 2);
    let from = |source| build::ethernet(mac(9), source, EtherType(0x88b5), b"");
    assert_eq!(bed.drop_of(port(0), &from(MacAddr::BROADCAST)), DropReason::SourceNotUnicast);
    assert_eq!(bed.drop_of(port(0), &from(MacAddr::ZERO)), DropReason::SourceNotUnicast);
    let reserved = |last| frame(1, MacAddr([1, 0x80, 0xc2, 0, 0, last]));
    assert_eq!(bed.drop_of(port(0), &reserved(0)), DropReason::LinkLocalMulticast);
    assert_eq!(bed.drop_of(port(0), &reserved(0x0f)), DropReason::LinkLocalMulticast);
    assert_eq!(bed.send(port(0), &reserved(0x10)), [port(1)]);
    bed.send(port(0), &unicast(3, 9));
    assert_eq!(bed.drop_of(port(0), &unicast(1, 3)), DropReason::SamePort);
    assert_eq!(bed.drop_of(port(0), &unicast(1, 1)), DropReason::SamePort, "to itself");
    assert!(matches!(bed.drop_of(port(0), b"short"), DropReason::Malformed(_)));
}

#[test]
fn alone_on_a_network_nobody_listens() {
    let mut bed = Bed::new(SETTINGS, 1);
    assert_eq!(bed.drop_of(port(0), &broadcast(1)), DropReason::NoListener);
    assert_eq!(bed.drop_of(port(0), &unicast(1, 2)), DropReason::NoListener);
    assert_eq!(bed.counters(network(0)).broadcast.read(), 0, "it was not flooded");
}

#[test]
fn unknown_destinations_may_be_refused() {
    let mut bed = Bed::new(BridgeSettings { unknown_unicast: UnknownUnicast::Drop, ..SETTINGS }, 2);
    assert_eq!(bed.drop_of(port(0), &unicast(1, 2)), DropReason::UnknownUnicast);
    assert_eq!(bed.send(port(0), &broadcast(1)), [port(1)]);
    assert_eq!(bed.send(port(1), &unicast(2, 1)), [port(0)], "learned from the drop and the broadcast");
}

#[test]
fn static_addresses_neither_move_nor_age() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.change_network(network(0), |network| {
        network.static_macs.insert(mac(2), port(1));
    });
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "without having been heard");
    assert_eq!(bed.drop_of(port(2), &unicast(2, 1)), DropReason::StaticMacElsewhere);
    assert_eq!(bed.send(port(1), &unicast(2, 1)), [port(0)]);
    bed.pass(100_000);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)]);
    assert!(bed.shard.learned(network(0), bed.now).all(|entry| entry.mac == mac(1)));
}

#[test]
fn a_static_address_wins_over_a_learned_one_at_once() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.send(port(1), &unicast(2, 1));
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)]);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "cached");
    bed.change_network(network(0), |network| {
        network.static_macs.insert(mac(2), port(2));
    });
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(2)]);
    bed.change_network(network(0), |network| network.static_macs.clear());
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "and gives way as fast");
}

#[test]
fn a_move_redirects_the_very_next_frame() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.send(port(1), &unicast(2, 1));
    for _ in 0..3 {
        assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)]);
    }
    assert!(bed.counters(network(0)).flow_hits.read() >= 2, "the flow was cached");
    bed.send(port(2), &unicast(2, 1));
    assert_eq!(bed.counters(network(0)).moved.read(), 1);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(2)]);
    bed.send(port(1), &unicast(2, 1));
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "and back");

    let hits = bed.counters(network(0)).flow_hits.read();
    bed.send(port(2), &unicast(2, 1));
    bed.send(port(2), &unicast(2, 1));
    assert_eq!(
        bed.counters(network(0)).flow_hits.read(),
        hits + 1,
        "what moved the station is cached already"
    );
}

#[test]
fn a_cached_flow_does_not_keep_its_destination_for_ever() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.send(port(1), &unicast(2, 1));
    let ageing = u64::from(SETTINGS.fdb.ageing);
    // The flow goes on without an answer; its cached decision may outlive the entry by an eighth, no longer.
    for _ in 0..ageing {
        assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)]);
        bed.pass(1);
    }
    bed.pass(ageing / 8 + 1);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1), port(2)], "unknown again");
}

#[test]
fn a_busy_cached_flow_keeps_its_source_learned() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.change_network(network(0), |network| {
        network.static_macs.insert(mac(2), port(1));
    });
    let seconds = 5 * u64::from(SETTINGS.fdb.ageing);
    for _ in 0..seconds {
        bed.send(port(0), &unicast(1, 2));
        bed.pass(1);
        bed.shard.expire(bed.now);
        assert_eq!(bed.send(port(1), &unicast(2, 1)), [port(0)], "still known");
    }
    assert!(bed.counters(network(0)).flow_hits.read() > seconds, "mostly from the cache");
}

#[test]
fn what_is_not_heard_is_forgotten() {
    let mut bed = Bed::new(SETTINGS, 3);
    bed.send(port(1), &unicast(2, 1));
    bed.pass(u64::from(SETTINGS.fdb.ageing));
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1)], "to the last second");
    bed.pass(u64::from(SETTINGS.fdb.ageing) / 8 + 1);
    assert_eq!(bed.send(port(0), &unicast(1, 2)), [port(1), port(2)]);
    let shown: Vec<_> = bed.shard.learned(network(0), bed.now).map(|entry| entry.mac).collect();
    assert_eq!(shown, [mac(1)]);
}

#[test]
fn a_port_that_floods_addresses_spends_its_own_share() {
    let fdb = FdbLimits { entries: 64, per_port: 10, ageing: 80 };
    let mut bed = Bed::new(BridgeSettings { fdb, ..SETTINGS }, 3);
    for source in 100..200 {
        bed.send(port(0), &broadcast(source));
    }
    assert_eq!(bed.counters(network(0)).learned.read(), 10);
    assert_eq!(bed.counters(network(0)).not_learned.read(), 90);
    bed.send(port(1), &broadcast(2));
    assert_eq!(bed.send(port(2), &unicast(3, 2)), [port(1)], "another port's station is learned");
    assert_eq!(bed.send(port(2), &unicast(3, 199)), [port(0), port(1)], "to the unlearned it is flooded");
}

#[test]
fn storms_are_cut_off_each_by_its_kind() {
    let storm = StormLimits { broadcast: Some(10), multicast: Some(20), unknown_unicast: Some(30) };
    let multicast = frame(1, MacAddr([1, 0, 0x5e, 0, 0, 1]));
    for (frame, limit, reason) in [
        (broadcast(1), 10, DropReason::StormBroadcast),
        (multicast, 20, DropReason::StormMulticast),
        (unicast(1, 9), 30, DropReason::StormUnknownUnicast),
    ] {
        let mut bed = Bed::new(BridgeSettings { storm, ..SETTINGS }, 2);
        let mut passed = 0;
        for _ in 0..5 {
            bed.receive(port(0), vec![MemoryFrame::from(frame.clone()); 200]);
            passed += bed.device(port(1)).take_sent().len();
            bed.pass(1);
        }
        assert!(
            (4 * limit / 10..=5 * limit).contains(&passed),
            "{passed} in five bursts at {limit} a second"
        );
        assert_eq!(bed.totals(port(0)).drops().collect::<Vec<_>>(), [(reason, 1000 - passed as u64)]);
        assert_eq!(bed.send(port(1), &unicast(2, 1)), [port(0)], "another port has its own bucket");
    }
}

#[test]
fn the_guard_is_switched_on_and_off_at_once() {
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OTHERS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    let udp = |ip| {
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 2);
        build::udp4(mac(2), mac(1), SocketAddrV4::new(ip, 1), to, b"x")
    };
    let mut bed = Bed::new(SETTINGS, 2);
    bed.send(port(1), &unicast(2, 1));
    assert_eq!(bed.send(port(0), &udp(OTHERS)), [port(1)], "no guard");
    assert_eq!(bed.send(port(0), &udp(OTHERS)), [port(1)], "cached");
    bed.guard(port(0), Some(Guard::new(mac(1), Some(OWN), None)));
    assert_eq!(bed.drop_of(port(0), &udp(OTHERS)), DropReason::SpoofedIp, "not from the cache");
    assert_eq!(bed.drop_of(port(0), &unicast(7, 2)), DropReason::SpoofedMac);
    assert_eq!(bed.send(port(0), &udp(OWN)), [port(1)]);
    let known: Vec<_> = bed.shard.learned(network(0), bed.now).map(|entry| entry.mac).collect();
    assert!(!known.contains(&mac(7)), "a spoofed source is not learned");
    bed.guard(port(0), None);
    assert_eq!(bed.send(port(0), &udp(OTHERS)), [port(1)]);
}

#[test]
fn an_advertisement_is_looked_into_every_time() {
    let own = "fd00::1".parse().unwrap();
    let mut bed = Bed::new(SETTINGS, 2);
    bed.send(port(1), &unicast(2, 1));
    bed.guard(port(0), Some(Guard::new(mac(1), None, Some(own))));
    let honest = build::neighbor_advertisement(mac(2), mac(1), "fd00::2".parse().unwrap(), own);
    let mut forged = honest.clone();
    // The last byte of the target; the headers stay the same.
    forged[14 + 40 + 8 + 15] = 2;
    assert_eq!(bed.send(port(0), &honest), [port(1)]);
    assert_eq!(bed.send(port(0), &honest), [port(1)]);
    assert_eq!(bed.drop_of(port(0), &forged), DropReason::SpoofedNeighbor);
}

#[test]
fn what_does_not_leave_counts_where_it_should_have_left() {
    let mut bed = Bed::new(SETTINGS, 2);
    bed.send(port(1), &unicast(2, 1));
    let send = |bed: &mut Bed| bed.receive(port(0), [unicast(1, 2).into()]);
    for (failure, reason) in [
        (TransmitError::Full, DropReason::EgressFull),
        (TransmitError::Refused, DropReason::EgressRefused),
        (TransmitError::Down, DropReason::EgressDown),
    ] {
        bed.device(port(1)).fail(Some(failure));
        send(&mut bed);
        assert!(bed.totals(port(1)).drops().any(|drop| drop == (reason, 1)));
    }
    bed.device(port(1)).fail(None);
    bed.set_mtu(port(1), 39);
    send(&mut bed);
    assert!(bed.totals(port(1)).drops().any(|drop| drop == (DropReason::ExceedsMtu, 1)));
    bed.set_mtu(port(1), 40);
    send(&mut bed);
    assert_eq!((bed.totals(port(1)).sent_frames, bed.totals(port(1)).dropped()), (1, 4));
    assert_eq!(bed.totals(port(0)).dropped(), 0);
}
