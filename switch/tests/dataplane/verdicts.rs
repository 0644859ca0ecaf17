//! Whatever arrives, nothing panics and every frame ends once.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use vswitch_switch::guard::Guard;
use vswitch_switch::memory::MemoryFrame;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::BridgeSettings;
use vswitch_switch::{DropReason, OffloadHeader, Offloads, TransmitError};
use vswitch_wire::parse;

use crate::bed::{Bed, SETTINGS, network, port};
use crate::traffic::{Flow, Message, mac};

/// A frame that is wholly arbitrary, or one that was right before some of its bytes were changed.
fn frames() -> impl Strategy<Value = MemoryFrame> {
    let arbitrary = prop::collection::vec(any::<u8>(), 0..120);
    let changes = prop::collection::vec((0usize..90, any::<u8>()), 0..4);
    let flow = (any::<bool>(), any::<bool>(), any::<bool>(), 0u16..2)
        .prop_map(|(tcp, ipv6, tagged, source_port)| Flow { tcp, ipv6, tagged, source_port });
    let stations = (0u8..5, 0u8..5);
    let nearly_right = (flow, stations, 0usize..3000, 0usize..3, changes, any::<bool>());
    let nearly_right = nearly_right.prop_map(|(flow, (to, from), length, kind, changes, keep)| {
        let message = Message::new(flow, 0, vec![9; length]);
        let mut frame = match kind {
            0 => MemoryFrame::from(message.complete()),
            1 => message.open(),
            _ => message.super_frame(1000),
        };
        // Station 0 is everybody.
        let octets = if to == 0 { [0xff; 6] } else { mac(to).octets() };
        frame.bytes[..6].copy_from_slice(&octets);
        frame.bytes[6..12].copy_from_slice(&mac(from).octets());
        if !keep {
            for (at, byte) in changes {
                if let Some(changed) = frame.bytes.get_mut(at) {
                    *changed = byte;
                }
            }
        }
        frame
    });
    let offload =
        any::<(u8, u8, u16, u16, u16, u16)>().prop_map(|(flags, gso_type, a, b, c, d)| OffloadHeader {
            flags: flags & 3,
            gso_type: gso_type & 0x85,
            header_length: a,
            gso_size: b % 4000,
            checksum_start: c % 200,
            checksum_offset: d % 40,
        });
    let lying =
        (nearly_right.clone(), offload.clone()).prop_map(|(frame, offload)| MemoryFrame { offload, ..frame });
    let noise = (arbitrary, offload).prop_map(|(bytes, offload)| MemoryFrame { bytes, offload });
    prop_oneof![4 => nearly_right, 1 => lying, 1 => noise]
}

fn bed() -> Bed {
    let storm = StormLimits { broadcast: Some(200), multicast: Some(100), unknown_unicast: Some(50) };
    let mut bed = Bed::new(BridgeSettings { storm, ..SETTINGS }, 3);
    bed.add_port(network(0), Offloads::NONE);
    bed.guard(port(1), Some(Guard::new(mac(1), Some(Ipv4Addr::new(10, 0, 0, 1)), None)));
    bed.change_network(network(0), |network| {
        network.static_macs.insert(mac(3), port(3));
    });
    bed
}

/// Dropped before there was a verdict to forward or flood; the other reasons are an egress port's.
fn on_the_way_in(reason: DropReason) -> bool {
    use DropReason::{EgressDown, EgressFull, EgressRefused, ExceedsMtu};
    !matches!(reason, EgressDown | EgressFull | EgressRefused | ExceedsMtu)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_frame_ends_once(
        bursts in prop::collection::vec((0usize..4, prop::collection::vec(frames(), 1..80), 0u64..20), 1..8),
        failing in prop::option::of((
            0usize..4,
            prop_oneof![Just(TransmitError::Down), Just(TransmitError::Full), Just(TransmitError::Refused)],
        )),
    ) {
        let mut bed = bed();
        if let Some((index, failure)) = failing {
            bed.device(port(index)).fail(Some(failure));
        }
        let mut sent_writes = 0;
        for (from, frames, pause) in bursts {
            bed.receive(port(from), frames);
            prop_assert_eq!(bed.device(port(from)).waiting(), 0);
            bed.pass(pause);
            bed.shard.expire(bed.now);
            for to in 0..4 {
                for written in bed.device(port(to)).take_sent() {
                    sent_writes += 1;
                    prop_assert_ne!(to, from, "back to where it came from");
                    let parsed = parse(&written.bytes);
                    prop_assert!(parsed.is_ok(), "a malformed frame was sent");
                    let parsed = parsed.unwrap();
                    prop_assert_eq!(written.offload.validate(&parsed, written.bytes.len()), Ok(written.offload));
                    prop_assert!(from != 1 || parsed.headers.source == mac(1), "spoofed");
                    if to == 3 {
                        prop_assert_eq!(written.offload, OffloadHeader::NONE);
                    }
                }
            }
        }

        let totals: Vec<_> = (0..4).map(|index| bed.totals(port(index))).collect();
        let received: u64 = totals.iter().map(|port| port.received_frames).sum();
        let dropped_in: u64 = totals
            .iter()
            .flat_map(|port| port.drops())
            .filter_map(|(reason, count)| on_the_way_in(reason).then_some(count))
            .sum();
        let counters = bed.counters(network(0));
        let floods =
            counters.broadcast.read() + counters.multicast.read() + counters.unknown_unicast.read();
        let forwarded = counters.unicast.read() + counters.flow_hits.read();
        prop_assert_eq!(received, forwarded + floods + dropped_in);

        // Behind the verdict: every copy is sent or counted at its egress, super-frames cut in software more
        // than once, joined frames as often as they were.
        let ended: u64 = totals
            .iter()
            .map(|port| port.sent_frames)
            .chain(totals.iter().flat_map(|port| port.drops()).filter(|(reason, _)| !on_the_way_in(*reason)).map(|(_, count)| count))
            .sum();
        prop_assert!(ended >= forwarded + 3 * floods, "{ended} ends of {forwarded} forwarded, {floods} flooded");
        let sent: u64 = totals.iter().map(|port| port.sent_frames).sum();
        prop_assert!(sent_writes <= sent);
        let (bytes_in, bytes_out) = (
            totals.iter().map(|port| port.received_bytes).sum::<u64>(),
            totals.iter().map(|port| port.sent_bytes).sum::<u64>(),
        );
        // Three copies, and headers of up to 100 bytes on each segment of a thousand or more.
        let segments = bytes_in / 8 + received;
        prop_assert!(bytes_out <= 3 * (bytes_in + 100 * segments), "{bytes_out} bytes of {bytes_in}");
    }
}

#[test]
fn the_pool_is_whole_after_any_batch() {
    let mut bed = bed();
    // More than a pool each time: were one frame lost per batch, the last would not be received.
    for _ in 0..100 {
        bed.receive(port(0), vec![MemoryFrame::from(vec![0xff; 9]); 64]);
        bed.receive(port(0), vec![Message::new(FLOW, 0, vec![1; 50]).open(); 64]);
        assert_eq!(bed.device(port(0)).waiting(), 0);
    }
    assert_eq!(bed.totals(port(0)).received_frames, 12_800);
}

const FLOW: Flow = Flow { tcp: false, ipv6: false, tagged: false, source_port: 1 };

#[test]
fn joined_frames_that_do_not_leave_are_counted_one_by_one() {
    let mut bed = bed();
    bed.change_network(network(0), |network| {
        network.static_macs.insert(mac(2), port(2));
    });
    bed.device(port(2)).fail(Some(TransmitError::Full));
    bed.receive(port(0), vec![Message::new(FLOW, 0, vec![1; 50]).open(); 10]);
    assert_eq!(bed.totals(port(2)).drops().collect::<Vec<_>>(), [(DropReason::EgressFull, 10)]);
    bed.device(port(2)).fail(None);
    bed.set_mtu(port(2), 77);
    bed.receive(port(0), vec![Message::new(FLOW, 0, vec![1; 50]).open(); 10]);
    assert!(bed.totals(port(2)).drops().any(|drop| drop == (DropReason::ExceedsMtu, 10)));
    bed.set_mtu(port(2), 78);
    bed.receive(port(0), vec![Message::new(FLOW, 0, vec![1; 50]).open(); 10]);
    let totals = bed.totals(port(2));
    assert_eq!((totals.sent_frames, totals.coalesced_frames), (10, 10));
    assert_eq!(bed.device(port(2)).take_sent().len(), 1);
}

#[test]
fn a_frame_that_fits_leaves_though_its_neighbour_is_too_long() {
    let mut bed = bed();
    bed.change_network(network(0), |network| {
        network.static_macs.insert(mac(2), port(2));
    });
    bed.set_mtu(port(2), 100);
    let (long, short) = (Message::new(FLOW, 0, vec![1; 200]), Message::new(FLOW, 0, vec![2; 50]));
    bed.receive(port(0), [long.open(), short.open()]);
    let totals = bed.totals(port(2));
    assert_eq!((totals.sent_frames, totals.dropped()), (1, 1));
    assert_eq!(bed.device(port(2)).take_sent()[0].bytes, short.open().bytes);
}
