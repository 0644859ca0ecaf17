use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vswitch_wire::{EtherType, Headers, Ipv4Header, MacAddr, UdpHeader, build, parse, protocol};
use zerocopy::IntoBytes;

use super::*;
use crate::fragment::packet::MOST_PIECES;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PORTS: (u16, u16) = (4000, 53);
const START: Time = Time::from_secs(10);

fn from(port: usize) -> Ingress {
    Ingress { port: PortId::new(port).unwrap(), network: NetworkId::FIRST }
}

/// Bytes `range` of a UDP datagram as a fragment; the first shows its ports. In IPv6 there are options in front of the
/// datagram, so that a first fragment has 16 bytes at least, and later ones name another protocol than the first.
fn fragment(v6: bool, identification: u16, range: (u16, u16), more: bool) -> Vec<u8> {
    let datagram = [UdpHeader::new(PORTS.0, PORTS.1, 65_000).as_bytes(), &[7; 65_000]].concat();
    let part = usize::from(range.0)..usize::from(range.1);
    let flags = u16::from(more);
    if v6 {
        let options = [protocol::UDP, 0, 1, 4, 0, 0, 0, 0];
        let [high, low] = (range.0 | flags).to_be_bytes();
        let [a, b] = identification.to_be_bytes();
        let header = [protocol::DESTINATION_OPTIONS, 0, high, low, 0, 0, a, b];
        let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from([9; 16]));
        let payload = [&header[..], &[&options[..], &datagram].concat()[part]].concat();
        return build::ipv6(B, A, source, destination, protocol::FRAGMENT, &payload);
    }
    let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let mut header = Ipv4Header::new(source, destination, protocol::UDP, part.len());
    header.flags_fragment.set((range.0 / 8) | (flags << 13));
    header.set_identification(identification);
    build::ethernet(B, A, EtherType::IPV4, &[header.as_bytes(), &datagram[part]].concat())
}

struct World {
    tracker: FragmentTracker,
    leaving: Vec<Leaving>,
}

impl World {
    fn new(limits: FragmentLimits) -> Self {
        Self { tracker: FragmentTracker::new(limits, Seed::new(5)), leaving: Vec::new() }
    }

    /// Offers a frame, and answers its headers if it passes.
    fn offer(&mut self, port: usize, frame: &[u8], now: Time) -> Result<(Fate, Headers), DropReason> {
        let mut parsed = parse(frame).expect("a well-formed frame");
        let fate = self.tracker.offer(from(port), frame, &mut parsed, now, &mut self.leaving)?;
        Ok((fate, parsed.headers))
    }

    fn fate(&mut self, port: usize, frame: &[u8]) -> Result<Fate, DropReason> {
        self.offer(port, frame, START).map(|(fate, _)| fate)
    }
}

fn is_lent(headers: &Headers) -> bool {
    (headers.source_port, headers.destination_port) == PORTS && headers.protocol == protocol::UDP
}

#[test]
fn later_fragments_are_lent_the_ports_of_their_first() {
    for v6 in [false, true] {
        let mut world = World::new(FragmentLimits::default());
        for (range, more) in [((0, 1480), true), ((1480, 2960), true), ((2960, 3001), false)] {
            let (fate, headers) = world.offer(1, &fragment(v6, 7, range, more), START).unwrap();
            assert_eq!(fate, Fate::Pass);
            assert!(is_lent(&headers), "{headers:?}");
        }
        assert!(world.tracker.is_empty() && world.leaving.is_empty());
    }
}

#[test]
fn identifications_are_the_senders_own() {
    let mut world = World::new(FragmentLimits::default());
    assert_eq!(world.fate(1, &fragment(false, 7, (0, 16), true)), Ok(Fate::Pass));
    assert_eq!(world.fate(1, &fragment(false, 8, (16, 32), false)), Ok(Fate::Held), "another packet");
    assert_eq!(world.fate(2, &fragment(false, 7, (16, 32), false)), Ok(Fate::Held), "another port");
    assert_eq!(world.fate(1, &fragment(true, 7, (16, 32), false)), Ok(Fate::Held), "another version");
    assert_eq!(world.fate(1, &fragment(false, 7, (16, 32), false)), Ok(Fate::Pass));
    assert_eq!(world.tracker.len(), 3);
}

/// RFC 5722, RFC 8200 §4.5: nothing of the packet passes any more.
#[test]
fn an_overlap_refuses_the_packet_and_a_duplicate_itself() {
    let mut world = World::new(FragmentLimits::default());
    assert_eq!(world.fate(1, &fragment(false, 7, (32, 64), true)), Ok(Fate::Held));
    assert_eq!(world.fate(1, &fragment(false, 7, (32, 64), true)), Err(DropReason::FragmentOverlap));
    assert_eq!(world.fate(1, &fragment(false, 7, (0, 32), true)), Ok(Fate::Pass));
    assert_eq!(world.leaving.pop().unwrap().fate, Ok(()));
    assert_eq!(
        world.fate(1, &fragment(false, 7, (128, 160), false)),
        Ok(Fate::Pass),
        "duplicates do no harm"
    );
    assert_eq!(world.fate(1, &fragment(false, 7, (56, 72), true)), Err(DropReason::FragmentOverlap));
    assert_eq!(world.fate(1, &fragment(false, 7, (64, 128), true)), Err(DropReason::FragmentOverlap));

    // Beyond its end, with an end before what was seen, and with two ends.
    for (one, other) in [
        (((16, 32), false), ((32, 48), true)),
        (((32, 48), true), ((16, 32), false)),
        (((16, 32), false), ((32, 48), false)),
    ] {
        let mut world = World::new(FragmentLimits::default());
        assert_eq!(world.fate(1, &fragment(false, 7, one.0, one.1)), Ok(Fate::Held));
        assert_eq!(world.fate(1, &fragment(false, 7, other.0, other.1)), Err(DropReason::FragmentOverlap));
        assert_eq!(
            world.leaving.pop().unwrap().fate,
            Err(DropReason::FragmentOverlap),
            "what was held goes too"
        );
        assert_eq!(world.fate(1, &fragment(false, 7, (0, 16), true)), Err(DropReason::FragmentOverlap));
        assert_eq!(world.tracker.held_bytes(), 0);
    }
}

#[test]
fn what_nothing_fits_behind_is_dropped() {
    let mut world = World::new(FragmentLimits::default());
    for (range, more) in [((16, 25), true), ((16, 16), true), ((16, 16), false)] {
        assert_eq!(world.fate(1, &fragment(false, 7, range, more)), Err(DropReason::FragmentUneven));
        assert_eq!(world.fate(1, &fragment(true, 7, range, more)), Err(DropReason::FragmentUneven));
    }
    let whole = build::ipv4(B, A, Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), 253, &[7; 40]);
    assert_eq!(world.fate(1, &whole), Err(DropReason::NoTransport));
    assert!(world.tracker.is_empty());
}

#[test]
fn a_packet_has_only_so_many_fragments() {
    let mut world = World::new(FragmentLimits::default());
    let last = u16::try_from(MOST_PIECES).unwrap();
    for nth in 1..=last {
        assert_eq!(world.fate(1, &fragment(false, 7, (nth * 8, nth * 8 + 8), true)), Ok(Fate::Held));
    }
    assert_eq!(world.fate(1, &fragment(false, 7, (0, 8), true)), Err(DropReason::FragmentLimit));
    assert_eq!(world.leaving.len(), MOST_PIECES);
    assert_eq!(world.tracker.held_bytes(), 0);
}

#[test]
fn what_waits_too_long_is_dropped() {
    let mut world = World::new(FragmentLimits::default());
    assert_eq!(world.tracker.next_expiry(), None);
    assert_eq!(world.fate(1, &fragment(false, 7, (16, 32), true)), Ok(Fate::Held));
    let end = START.after(FragmentLimits::default().timeout);
    assert_eq!(world.tracker.next_expiry(), Some(end));
    world.tracker.expire(Time::from_nanos(end.nanos() - 1), &mut world.leaving);
    assert_eq!(world.tracker.len(), 1);
    world.tracker.expire(end, &mut world.leaving);
    assert_eq!(world.leaving.pop().unwrap().fate, Err(DropReason::FragmentTimeout));
    assert!(world.tracker.is_empty() && world.tracker.held_bytes() == 0);

    // Over is over, though nobody called.
    assert_eq!(
        world.offer(1, &fragment(false, 7, (0, 16), true), START).map(|(fate, _)| fate),
        Ok(Fate::Pass)
    );
    assert_eq!(
        world.offer(1, &fragment(false, 7, (16, 32), true), end).map(|(fate, _)| fate),
        Ok(Fate::Held)
    );
}

#[test]
fn a_port_that_is_gone_leaves_nothing() {
    let mut world = World::new(FragmentLimits::default());
    for port in [1, 2] {
        assert_eq!(world.fate(port, &fragment(false, 7, (16, 32), true)), Ok(Fate::Held));
    }
    world.tracker.forget_port(from(1).port, &mut world.leaving);
    assert_eq!((world.tracker.len(), world.leaving.len()), (1, 1));
    assert_eq!(world.leaving[0].fate, Err(DropReason::NoNetwork));
}

/// A port that begins packets without end takes places and bytes from itself.
#[test]
fn a_flood_takes_only_what_others_leave() {
    let mut world = World::new(FragmentLimits { packets: 16, bytes: 16 * 1024, ..FragmentLimits::default() });
    let flood = |world: &mut World, count: u16| {
        for nth in 0..count {
            let _ = world.fate(9, &fragment(false, nth, (16, 1016), true));
            assert!(world.tracker.held_bytes() <= 16 * 1024 && world.tracker.len() <= 16);
        }
    };
    flood(&mut world, 100);
    // Others come while the table is full of the flood's.
    for port in 1..=4 {
        assert_eq!(world.fate(port, &fragment(false, 7, (16, 1016), false)), Ok(Fate::Held), "port {port}");
    }
    flood(&mut world, 100);
    world.leaving.clear();
    for port in 1..=4 {
        assert_eq!(world.fate(port, &fragment(false, 7, (0, 16), true)), Ok(Fate::Pass), "port {port}");
    }
    assert_eq!(world.leaving.iter().filter(|left| left.fate == Ok(())).count(), 4);
}

/// The places where a packet of `length` bytes is cut, in an order.
fn cuts() -> impl Strategy<Value = Vec<((u16, u16), bool)>> {
    let inner = prop::collection::btree_set(2_u16..400, 0..20);
    (inner, 401_u16 * 8..5000).prop_flat_map(|(inner, length)| {
        let mut starts: Vec<u16> = inner.into_iter().map(|at| at * 8).collect();
        starts.insert(0, 0);
        starts.push(length);
        let mut pieces: Vec<_> = starts.windows(2).map(|pair| ((pair[0], pair[1]), true)).collect();
        pieces.last_mut().unwrap().1 = false;
        Just(pieces).prop_shuffle()
    })
}

proptest! {
    /// RFC 4787 REQ-14: in any order, each leaves once, not before the first and with its ports.
    #[test]
    fn fragments_pass_in_any_order(pieces in cuts(), v6: bool) {
        prop_assume!(pieces.len() > 1);
        let mut world = World::new(FragmentLimits::default());
        let (mut first_came, mut passed) = (false, HashSet::new());
        for (range, more) in &pieces {
            let frame = fragment(v6, 3, *range, *more);
            let (fate, headers) = world.offer(1, &frame, START).unwrap();
            first_came |= range.0 == 0;
            prop_assert_eq!(fate == Fate::Pass, first_came);
            if fate == Fate::Pass {
                prop_assert!(is_lent(&headers));
                prop_assert!(passed.insert(frame));
            }
            for left in world.leaving.drain(..) {
                prop_assert!(range.0 == 0 && left.fate == Ok(()) && is_lent(&left.parsed.headers));
                prop_assert!(passed.insert(left.bytes.to_vec()));
            }
        }
        prop_assert_eq!(passed.len(), pieces.len());
        prop_assert!(world.tracker.is_empty());
        prop_assert_eq!(world.tracker.held_bytes(), 0);
    }

    /// Against a model that marks every unit of eight bytes.
    #[test]
    fn overlaps_are_seen(
        steps in prop::collection::vec((0_u16..3, 0_u16..12, 1_u16..5, prop::bool::weighted(0.9)), 0..60),
    ) {
        #[derive(Default)]
        struct Model {
            pieces: Vec<(u16, u16, bool)>,
            units: HashSet<u16>,
            end: Option<u16>,
            refused: bool,
        }
        let mut model: HashMap<u16, Model> = HashMap::new();
        let mut world = World::new(FragmentLimits::default());
        for (identification, start, length, more) in steps {
            let end = start + length;
            // All of a packet in one is no fragment.
            let more = more || start == 0;
            let fate = world.fate(1, &fragment(false, identification, (start * 8, end * 8), more));
            let packet = model.entry(identification).or_default();
            let duplicate = packet.pieces.contains(&(start, end, more));
            let beyond = packet.end.is_some_and(|last| end > last || !more)
                || !more && packet.units.iter().any(|unit| *unit >= end);
            let overlap = (start..end).any(|unit| packet.units.contains(&unit));
            if packet.refused || duplicate {
                prop_assert_eq!(fate, Err(DropReason::FragmentOverlap));
            } else if overlap || beyond {
                packet.refused = true;
                prop_assert_eq!(fate, Err(DropReason::FragmentOverlap));
            } else {
                packet.pieces.push((start, end, more));
                packet.units.extend(start..end);
                packet.end = if more { packet.end } else { Some(end) };
                let expected = if packet.units.contains(&0) { Fate::Pass } else { Fate::Held };
                prop_assert_eq!(fate, Ok(expected));
                if packet.end.is_some_and(|end| packet.units.len() == usize::from(end)) {
                    model.remove(&identification);
                }
            }
        }
    }

    /// Whatever comes, the bounds hold, and every frame that was held leaves once.
    #[test]
    fn bounds_hold_and_nothing_is_lost(
        steps in prop::collection::vec((0_usize..4, 0_u16..6, 0_u16..8, any::<bool>(), 0_u64..4), 0..120),
    ) {
        let limits = FragmentLimits { packets: 5, bytes: 1000, ..FragmentLimits::default() };
        let mut world = World::new(limits);
        let (mut held, mut now) = (0, START);
        for (port, identification, start, more, pause) in steps {
            now = now.after(Duration::from_millis(pause * 100));
            if pause == 3 {
                world.tracker.expire(now, &mut world.leaving);
            }
            let frame = fragment(false, identification, (start * 32, start * 32 + 32), more || start == 0);
            let fate = world.offer(port, &frame, now);
            held += usize::from(matches!(fate, Ok((Fate::Held, _))));
            prop_assert!(world.tracker.held_bytes() <= limits.bytes);
            prop_assert!(world.tracker.len() <= limits.packets);
        }
        world.tracker.expire(Time::from_secs(1000), &mut world.leaving);
        prop_assert_eq!(world.leaving.len(), held);
        prop_assert!(world.tracker.is_empty() && world.tracker.held_bytes() == 0);
        prop_assert!(world.tracker.shares.iter().all(|share| share.packets == 0 && share.bytes == 0));
    }
}
