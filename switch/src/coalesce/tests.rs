#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::net::SocketAddrV4;

use vswitch_wire::{MacAddr, Parsed, build, parse};

use super::*;
use crate::frame::Pool;

// That what is joined arrives as it was sent is proven through a whole shard, in tests/dataplane/coalescing.rs.

/// Datagrams with an open checksum, one per source port named.
fn batch(source_ports: &[u16]) -> (Vec<Frame>, Vec<Parsed>) {
    let mut pool = Pool::new(source_ports.len());
    let frames: Vec<_> = source_ports
        .iter()
        .map(|source_port| {
            let mut frame = pool.take().unwrap();
            let source = SocketAddrV4::new([10, 0, 0, 1].into(), *source_port);
            let destination = SocketAddrV4::new([10, 0, 0, 2].into(), 80);
            let (to, from) = (MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 1]));
            frame.copy_from(&build::udp4(to, from, source, destination, b"sixteen bytes it"));
            frame.offload.flags = NEEDS_CHECKSUM;
            frame.offload.checksum_start = 34;
            frame.offload.checksum_offset = 6;
            frame
        })
        .collect();
    let parsed = frames.iter().map(|frame| parse(frame.bytes()).unwrap()).collect();
    (frames, parsed)
}

fn members(group: &Group) -> Vec<usize> {
    [group.head()].into_iter().chain(group.tails()).collect()
}

fn egress(number: usize) -> PortId {
    PortId::new(number).unwrap()
}

#[test]
fn one_flow_too_many_displaces_the_oldest() {
    let ports: Vec<u16> = (0..=GROUPS as u16).collect();
    let (frames, parsed) = batch(&ports);
    let mut coalescer = Coalescer::new();
    let mut offer =
        |index| coalescer.offer(index, egress(1), &Offloads::ALL, &frames, |index| &parsed[index].headers);
    for index in 0..GROUPS {
        assert!(matches!(offer(index), Offer::Held));
    }
    let Offer::Displaced(oldest) = offer(GROUPS) else { panic!("nothing was displaced") };
    assert_eq!(members(&oldest), [0]);
    for index in 1..=GROUPS {
        assert_eq!(members(&coalescer.release_any().unwrap()), [index], "in the order they were opened");
    }
    assert!(coalescer.release_any().is_none());
}

#[test]
fn egresses_are_released_one_by_one() {
    let (frames, parsed) = batch(&[1; 4]);
    let mut coalescer = Coalescer::new();
    for (index, to) in [(0, 1), (1, 2), (2, 1), (3, 2)] {
        let headers_of = |index: usize| &parsed[index].headers;
        assert!(matches!(
            coalescer.offer(index, egress(to), &Offloads::ALL, &frames, headers_of),
            Offer::Held
        ));
    }
    assert_eq!(members(&coalescer.release(egress(2)).unwrap()), [1, 3]);
    assert!(coalescer.release(egress(2)).is_none());
    assert_eq!(members(&coalescer.release(egress(1)).unwrap()), [0, 2]);
}

#[test]
fn an_egress_that_cannot_cut_is_offered_nothing() {
    let (frames, parsed) = batch(&[1]);
    for offloads in [
        Offloads::NONE,
        Offloads { uso4: false, ..Offloads::ALL },
        Offloads { checksum: false, ..Offloads::ALL },
    ] {
        let offer = Coalescer::new().offer(0, egress(1), &offloads, &frames, |index| &parsed[index].headers);
        assert!(matches!(offer, Offer::Alone), "{offloads:?}");
    }
}

#[test]
fn a_group_is_gathered_without_copying() {
    let (mut frames, parsed) = batch(&[1, 1, 1]);
    let mut coalescer = Coalescer::new();
    for index in 0..3 {
        coalescer.offer(index, egress(1), &Offloads::ALL, &frames, |index| &parsed[index].headers);
    }
    let group = coalescer.release_any().unwrap();
    let payload = frames[2].bytes()[42..].as_ptr();
    let mut tails = [IoSlice::new(&[]); BATCH_FRAMES];
    let (head, tails) = group.assemble(&mut frames, &mut tails).unwrap();
    assert_eq!((head.len(), tails.len()), (42 + 16, 2));
    assert_eq!((head.offload.gso_type, head.offload.gso_size, head.offload.header_length), (GSO_UDP, 16, 42));
    assert_eq!((&*tails[1], tails[1].as_ptr()), (&b"sixteen bytes it"[..], payload));
}

#[test]
fn a_group_is_not_assembled_from_another_batch() {
    let (mut frames, parsed) = batch(&[1, 1]);
    let mut coalescer = Coalescer::new();
    for index in 0..2 {
        coalescer.offer(index, egress(1), &Offloads::ALL, &frames, |index| &parsed[index].headers);
    }
    let group = coalescer.release_any().unwrap();
    let mut tails = [IoSlice::new(&[]); BATCH_FRAMES];
    assert!(group.assemble(&mut frames[..1], &mut tails).is_none());
}
