//! Random use, and what holds whatever happens.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Resolve(usize, u32),
    Hold(usize, u32, u8),
    Heard(usize, u32, bool, Sighting),
    Wait(u32),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0_usize..3, 0_u32..12);
    let sighting = prop_oneof![
        any::<bool>().prop_map(|overrides| Sighting::Solicited { overrides }),
        any::<bool>().prop_map(|overrides| Sighting::Unsolicited { overrides }),
        Just(Sighting::Request),
    ];
    prop_oneof![
        6 => place().prop_map(|(network, nth)| Step::Resolve(network, nth)),
        3 => (place(), 1_u8..).prop_map(|((network, nth), length)| Step::Hold(network, nth, length)),
        4 => (place(), any::<bool>(), sighting).prop_map(|((network, nth), other, what)| Step::Heard(network, nth, other, what)),
        3 => (1_u32..80).prop_map(Step::Wait),
        1 => (0_usize..3).prop_map(Step::Forget),
    ]
}

proptest! {
    /// A flow cache that keeps every answer until the epoch changes never sends to an address that the table no
    /// longer has, but for the tenth of a second by which changes may show late. Limits hold, in-use entries are
    /// never evicted, and every frame taken is released, reported or still held.
    #[test]
    fn cached_answers_limits_and_frames_are_kept(steps in prop::collection::vec(step(), 0..150)) {
        let limits = NeighborLimits {
            entries: 16, per_network: 8, incomplete: 4, held_frames: 10, held_bytes: 4000, ..NeighborLimits::default()
        };
        let mut neighbors = Neighbors::new(limits, Seed::new(1));
        let mut now = Time::from_secs(10);
        let mut cached: BTreeMap<Key, MacAddr> = BTreeMap::new();
        let mut epoch = neighbors.epoch();
        let mut frames = 0_usize;
        for step in steps {
            let in_use = |neighbors: &Neighbors| -> HashSet<Key> {
                neighbors.entries(now).filter(|e| e.state.in_use()).map(|e| (e.network, e.address)).collect()
            };
            let used = in_use(&neighbors);
            match step {
                Step::Resolve(at, nth) => {
                    if let Resolution::Known(mac) = neighbors.resolve(network(at), address(nth), now) {
                        cached.insert((network(at), address(nth)), mac);
                    }
                    prop_assert!(used.is_subset(&in_use(&neighbors)));
                }
                Step::Hold(at, nth, length) => {
                    let refused = neighbors.hold(network(at), address(nth), frame(length.into(), 1));
                    frames += usize::from(refused.is_none());
                }
                Step::Heard(at, nth, other, what) => {
                    let mut release = Vec::new();
                    let mac = if other { OTHER } else { MAC };
                    neighbors.heard(network(at), address(nth), mac, what, now, &mut release);
                    frames -= release.len();
                }
                Step::Wait(tenths) => for _ in 0..tenths {
                    now = now.after(Duration::from_millis(100));
                    neighbors.due(now, |_| (), |_, _| frames -= 1);
                },
                Step::Forget(at) => neighbors.forget_network(network(at), now),
            }
            if neighbors.epoch() != epoch {
                epoch = neighbors.epoch();
                cached.clear();
            }
            if !neighbors.epoch_overdue {
                let known: BTreeMap<Key, NeighborEntry> =
                    neighbors.entries(now).map(|entry| ((entry.network, entry.address), entry)).collect();
                for (key, mac) in &cached {
                    prop_assert!(known.get(key).is_some_and(|e| e.state.in_use() && e.mac == Some(*mac)), "{key:?}");
                }
            }
            prop_assert!(neighbors.len() <= 16);
            for at in 0..3 {
                let of = || neighbors.entries(now).filter(|entry| entry.network == network(at));
                prop_assert!(of().count() <= 8);
                prop_assert!(of().filter(|entry| entry.state == State::Incomplete).count() <= 4);
            }
            let (held, bytes) = neighbors.holding.held();
            prop_assert_eq!(held, frames);
            prop_assert!(held <= 10 && bytes <= 4000);
        }
        // Time ends everything: nothing is left behind in any index.
        for _ in 0..20_000 {
            let Some(due) = neighbors.next_due() else { break };
            now = now.max(due);
            neighbors.due(now, |_| (), |_, _| frames -= 1);
        }
        prop_assert!(neighbors.is_empty() && frames == 0 && neighbors.next_due().is_none());
    }
}
