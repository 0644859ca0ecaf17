mod random;

use std::collections::HashSet;

use super::*;
use crate::offload::OffloadHeader;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const SOLICITED: Sighting = Sighting::Solicited { overrides: true };
const GRATUITOUS: Sighting = Sighting::Unsolicited { overrides: true };

fn network(nth: usize) -> NetworkId {
    NetworkId::new(nth).unwrap()
}

fn address(nth: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + nth).to_be_bytes())
}

fn frame(length: usize, mark: u8) -> Held {
    Held {
        ingress: PortId::new(mark.into()).unwrap(),
        frame: vec![mark; length].into(),
        offload: OffloadHeader::NONE,
    }
}

/// A cache with its clock, on one network.
struct Cache {
    neighbors: Neighbors,
    now: Time,
}

impl Cache {
    fn new() -> Self {
        Self::with(NeighborLimits::default())
    }

    fn with(limits: NeighborLimits) -> Self {
        Self { neighbors: Neighbors::new(limits, Seed::new(3)), now: Time::from_secs(100) }
    }

    fn resolve(&mut self, nth: u32) -> Resolution {
        self.neighbors.resolve(network(0), address(nth), self.now)
    }

    fn hold(&mut self, nth: u32, held: Held) -> Option<Held> {
        self.neighbors.hold(network(0), address(nth), held)
    }

    fn heard(&mut self, nth: u32, mac: MacAddr, what: Sighting) -> Vec<Held> {
        let mut release = Vec::new();
        self.neighbors.heard(network(0), address(nth), mac, what, self.now, &mut release);
        release
    }

    fn reachable(&mut self, nth: u32) {
        self.resolve(nth);
        self.heard(nth, MAC, SOLICITED);
    }

    fn state(&self, nth: u32) -> Option<State> {
        self.neighbors.entries(self.now).find(|entry| entry.address == address(nth)).map(|entry| entry.state)
    }

    /// Lets time pass in tenths of a second, as the router does; what was asked, and what was lost.
    fn wait(&mut self, tenths: u32) -> (Vec<Ask>, Vec<(Held, DropReason)>) {
        let (mut asks, mut lost) = (Vec::new(), Vec::new());
        for _ in 0..tenths {
            self.now = self.now.after(Duration::from_millis(100));
            self.neighbors.due(self.now, |ask| asks.push(ask), |held, reason| lost.push((held, reason)));
        }
        (asks, lost)
    }
}

#[test]
fn who_does_not_answer_is_asked_three_times_and_then_refused_for_a_second() {
    let mut cache = Cache::new();
    assert_eq!(cache.resolve(1), Resolution::Pending { ask: true });
    assert_eq!(cache.resolve(1), Resolution::Pending { ask: false });
    assert_eq!(cache.hold(1, frame(60, 1)), None);
    let ask = Ask { network: network(0), address: address(1), unicast: None };
    assert_eq!(cache.wait(29), (vec![ask; 2], vec![]));
    assert_eq!(cache.wait(1), (vec![], vec![(frame(60, 1), DropReason::NeighborUnreachable)]));
    assert_eq!(cache.resolve(1), Resolution::Failed);
    assert_eq!(cache.hold(1, frame(60, 1)), Some(frame(60, 1)), "nobody asks for it");
    cache.wait(10);
    assert_eq!(cache.resolve(1), Resolution::Pending { ask: true });
    assert_eq!(cache.neighbors.epoch(), 1, "no answer was ever given");
}

#[test]
fn an_answer_releases_what_waited_in_order() {
    let mut cache = Cache::new();
    cache.resolve(1);
    for mark in 1..=3 {
        assert_eq!(cache.hold(1, frame(60, mark)), None);
    }
    assert_eq!(cache.hold(1, frame(60, 4)), Some(frame(60, 1)), "the oldest makes way");
    assert_eq!(cache.heard(1, MAC, SOLICITED), [frame(60, 2), frame(60, 3), frame(60, 4)]);
    assert_eq!(cache.resolve(1), Resolution::Known(MAC));
    assert_eq!(cache.neighbors.holding.held(), (0, 0));
    assert_eq!(cache.hold(1, frame(60, 4)), Some(frame(60, 4)), "it has answered");
}

#[test]
fn a_neighbour_in_use_is_probed_and_stays_while_it_answers() {
    let mut cache = Cache::new();
    cache.reachable(1);
    let before = cache.neighbors.epoch();
    let (asks, _) = cache.wait(450);
    assert_eq!((asks.len(), cache.state(1)), (0, Some(State::Stale)), "not in use, not probed");
    assert_eq!(cache.neighbors.epoch(), before + 1, "cached flows come back");
    assert_eq!(cache.resolve(1), Resolution::Known(MAC), "stale is good enough to send to");
    assert_eq!(cache.state(1), Some(State::Delay));
    let probe = Ask { network: network(0), address: address(1), unicast: Some(MAC) };
    assert_eq!(cache.wait(50).0, [probe]);
    cache.heard(1, MAC, SOLICITED);
    assert_eq!(cache.state(1), Some(State::Reachable));
    assert_eq!(cache.neighbors.epoch(), before + 1, "a refresh voids nothing");
}

#[test]
fn a_neighbour_in_use_that_fell_silent_is_forgotten() {
    let mut cache = Cache::new();
    cache.reachable(1);
    cache.wait(450);
    cache.resolve(1);
    let before = cache.neighbors.epoch();
    let (asks, _) = cache.wait(79);
    assert_eq!((asks.len(), cache.state(1)), (3, Some(State::Probe)));
    cache.wait(1);
    assert_eq!(cache.neighbors.epoch(), before + 1);
    assert_eq!(cache.resolve(1), Resolution::Pending { ask: true }, "everybody is asked");
}

#[test]
fn reachable_time_is_random_between_15_and_45_seconds() {
    let mut cache = Cache::new();
    (0..50).for_each(|nth| cache.reachable(nth));
    let mut lengths = HashSet::new();
    for tenth in 0..450 {
        let stale = cache.neighbors.entries(cache.now).filter(|entry| entry.state == State::Stale).count();
        assert!(tenth >= 150 || stale == 0, "{tenth}");
        lengths.insert(stale);
        cache.wait(1);
    }
    assert!(lengths.len() > 20);
    cache.wait(1);
    assert!(cache.neighbors.entries(cache.now).all(|entry| entry.state == State::Stale));
    cache.wait(6000);
    assert!(cache.neighbors.is_empty(), "and what nobody uses is forgotten");
    assert_eq!(cache.neighbors.next_due(), None);
}

#[test]
fn only_requests_and_answers_make_entries() {
    let mut cache = Cache::new();
    for what in [SOLICITED, GRATUITOUS, Sighting::Unsolicited { overrides: false }] {
        cache.heard(1, MAC, what);
        assert_eq!(cache.state(1), None, "{what:?}");
    }
    cache.heard(1, MAC, Sighting::Request);
    assert_eq!(cache.state(1), Some(State::Stale));
    cache.heard(2, MacAddr::BROADCAST, Sighting::Request);
    assert_eq!(cache.state(2), None, "no station has that address");
}

/// The table of RFC 4861 appendix C for advertisements, and §7.2.3 for requests: what was before, whether the
/// address heard is another one, what was heard; what is then, whether with the heard address, and whether flows
/// are voided.
#[test]
fn sightings_change_what_the_rfc_says_they_change() {
    use State::{Incomplete, Reachable, Stale};
    let keep = Sighting::Solicited { overrides: false };
    let gratuitous_keep = Sighting::Unsolicited { overrides: false };
    for (before, changed, what, after, taken, voided) in [
        (Incomplete, true, SOLICITED, Reachable, true, false),
        (Incomplete, true, keep, Reachable, true, false),
        (Incomplete, true, GRATUITOUS, Stale, true, false),
        (Incomplete, true, gratuitous_keep, Stale, true, false),
        (Incomplete, true, Sighting::Request, Stale, true, false),
        (Reachable, true, keep, Stale, false, true),
        (Reachable, true, gratuitous_keep, Stale, false, true),
        (Stale, true, keep, Stale, false, false),
        (Reachable, false, keep, Reachable, true, false),
        (Stale, false, keep, Reachable, true, false),
        (Stale, false, SOLICITED, Reachable, true, false),
        (Reachable, true, SOLICITED, Reachable, true, true),
        (Reachable, true, GRATUITOUS, Stale, true, true),
        (Reachable, false, GRATUITOUS, Reachable, true, false),
        (Stale, false, GRATUITOUS, Stale, true, false),
        (Reachable, true, Sighting::Request, Stale, true, true),
        (Reachable, false, Sighting::Request, Reachable, true, false),
        (Stale, true, Sighting::Request, Stale, true, false),
    ] {
        let mut cache = Cache::new();
        cache.resolve(1);
        if before != Incomplete {
            cache.heard(1, MAC, if before == Reachable { SOLICITED } else { GRATUITOUS });
        }
        assert_eq!(cache.state(1), Some(before));
        let epoch = cache.neighbors.epoch();
        let heard = if changed { OTHER } else { MAC };
        cache.heard(1, heard, what);
        let case = format!("{before:?} {changed} {what:?}");
        assert_eq!(cache.state(1), Some(after), "{case}");
        assert_eq!(cache.resolve(1), Resolution::Known(if taken { heard } else { MAC }), "{case}");
        assert_eq!(cache.neighbors.epoch() != epoch, voided, "{case}");
    }
}

#[test]
fn a_scan_replaces_its_own_entries_and_asks_in_moderation() {
    let mut cache = Cache::new();
    (0..50).for_each(|nth| cache.reachable(nth));
    cache.wait(10);
    let asked = (1000..11_000).filter(|nth| cache.resolve(*nth) == Resolution::Pending { ask: true }).count();
    assert_eq!(asked, 51, "half a second's worth, and the one of now");
    assert_eq!(cache.neighbors.len(), 50 + 256);
    assert!((0..50).all(|nth| cache.state(nth) == Some(State::Reachable)));
    assert_eq!(cache.resolve(10_999), Resolution::Pending { ask: false }, "the newest are kept");
    let (asks, _) = cache.wait(30);
    assert_eq!(asks.len(), 3 * 51, "those without leave to ask take turns");
    assert_eq!(cache.neighbors.resolve(network(1), address(1), cache.now), Resolution::Pending { ask: true });
}

#[test]
fn what_is_in_use_never_makes_way() {
    let mut cache = Cache::with(NeighborLimits { entries: 8, per_network: 6, ..NeighborLimits::default() });
    (0..6).for_each(|nth| cache.reachable(nth));
    assert_eq!(cache.resolve(10), Resolution::Limit);
    cache.heard(10, MAC, Sighting::Request);
    assert_eq!(cache.state(10), None);
    cache.heard(3, OTHER, GRATUITOUS);
    assert_eq!(cache.resolve(10), Resolution::Pending { ask: true }, "a stale one makes way");
    assert_eq!(cache.state(3), None);

    for nth in 0..2 {
        cache.neighbors.resolve(network(1), address(nth), cache.now);
    }
    let elsewhere = cache.neighbors.resolve(network(2), address(0), cache.now);
    assert_eq!(elsewhere, Resolution::Pending { ask: true }, "an incomplete one of any network makes way");
    assert_eq!(cache.neighbors.len(), 8);
}

#[test]
fn held_frames_are_bounded_and_every_one_is_accounted_for() {
    let limits =
        NeighborLimits { incomplete: 8, held_bytes: 40_000, held_frames: 6, ..NeighborLimits::default() };
    let mut cache = Cache::with(limits);
    cache.resolve(1);
    assert_eq!(cache.hold(1, frame(10_001, 1)), Some(frame(10_001, 1)), "a network's share is a quarter");
    (1..=3).for_each(|mark| assert_eq!(cache.hold(1, frame(3000, mark)), None));
    assert_eq!(cache.hold(1, frame(4001, 4)), Some(frame(4001, 4)), "does not fit in place of the oldest");
    assert_eq!(cache.hold(1, frame(4000, 4)), Some(frame(3000, 1)));
    cache.resolve(2);
    assert_eq!(cache.hold(2, frame(1, 5)), Some(frame(1, 5)), "the network's share is spent");
    cache.now = cache.now.after(Duration::from_secs(1));
    (10..18).for_each(|nth| {
        cache.resolve(nth);
    });
    assert_eq!(cache.neighbors.holding.held(), (3, 10_000), "evicted, but not reported yet");
    let (_, lost) = cache.wait(1);
    let marks: Vec<_> = lost.iter().map(|(held, reason)| (held.ingress.number(), *reason)).collect();
    assert_eq!(marks, [2, 3, 4].map(|mark| (mark, DropReason::NeighborLimit)));
    assert_eq!(cache.neighbors.holding.held(), (0, 0));
    for nth in 10..18 {
        cache.hold(nth, frame(1, 1));
    }
    assert_eq!(cache.neighbors.holding.held(), (6, 6), "no more than so many frames");
}

#[test]
fn what_is_gone_is_forgotten_with_its_frames() {
    let mut cache = Cache::new();
    cache.resolve(1);
    cache.hold(1, frame(60, 1));
    cache.hold(1, frame(60, 2));
    cache.neighbors.forget_port(PortId::new(1).unwrap());
    assert_eq!(cache.neighbors.holding.held(), (1, 60));
    cache.neighbors.resolve(network(1), address(1), cache.now);
    let before = cache.neighbors.epoch();
    cache.neighbors.forget_network(network(0), cache.now);
    assert_ne!(cache.neighbors.epoch(), before);
    assert_eq!(cache.wait(1).1, [(frame(60, 2), DropReason::NoNetwork)]);
    assert_eq!(cache.neighbors.len(), 1);
}

#[test]
fn flapping_addresses_void_flows_ten_times_a_second_at_most() {
    let mut cache = Cache::new();
    cache.reachable(1);
    let before = cache.neighbors.epoch();
    for nth in 0..1000 {
        cache.heard(1, if nth % 2 == 0 { OTHER } else { MAC }, SOLICITED);
    }
    assert_eq!(cache.neighbors.epoch(), before + 1);
    assert_eq!(cache.neighbors.next_due(), Some(cache.now.after(EPOCH_INTERVAL)));
    cache.wait(1);
    assert_eq!(cache.neighbors.epoch(), before + 2, "the last change shows too");
    cache.wait(20);
    assert_eq!(cache.neighbors.epoch(), before + 2);
}
