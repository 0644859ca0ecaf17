//! The flow cache: an exact match on ingress and headers, answered with what the slow path decided before.
//!
//! # Theory of operation
//! One cache per worker, a fixed table of two-way sets. A [`FlowKey`] is the 56 bytes of headers a flow is told
//! by and the ingress port: one cache line, compared as eight words. The answer is a [`Transform`] with the
//! generations of the tables it was made from; an entry whose generations are not today's is a miss and is
//! overwritten in time. An answer also ends after an eighth of the network's ageing time, so that a busy flow
//! walks the stages now and then and its source address stays learned without a write per frame.
//!
//! Each key has two sets and is looked for in the second when it is not in the first. A new answer takes the place of
//! its key's last one, else one that has ended, else the first of its first set, whose answer moves to the second
//! place. With one set per key, one in 26 of ten thousand flows in turn would share it with two others and never be
//! found; with two, next to none. Thrashing the cache costs a hostile port its own time and others a miss.

use std::fmt;

use vswitch_wire::Headers;
use zerocopy::{FromBytes, Immutable, IntoBytes, transmute_ref};

use crate::conntrack::ConnectionRef;
use crate::hash::Seed;
use crate::id::PortId;
use crate::rewrite::{Hop, Translation};

/// What a flow is told by.
#[derive(Clone, Copy, PartialEq, Eq, IntoBytes, FromBytes, Immutable)]
#[repr(C, align(64))]
pub struct FlowKey {
    headers: Headers,
    ingress: u64,
}

impl FlowKey {
    /// The key of a frame with these headers from this port.
    #[inline]
    pub fn new(headers: Headers, ingress: PortId) -> Self {
        Self { headers, ingress: u64::from(ingress.number()) }
    }

    #[inline]
    fn words(&self) -> &[u64; 8] {
        transmute_ref!(self)
    }
}

/// What is done to every frame of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transform {
    /// Where it goes.
    pub egress: PortId,
    /// How it is changed on the way, when it is routed and not bridged.
    pub routed: Option<Routed>,
}

/// How every packet of a routed flow is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routed {
    /// The Ethernet header towards the next hop.
    pub hop: Hop,
    /// The longest packet its way carries: a longer one walks the stages.
    pub mtu: u16,
    /// The new address and port of one side. Flows that change both walk the stages.
    pub translation: Option<Translation>,
    /// The connection it belongs to, where connections are tracked.
    pub connection: Option<ConnectionRef>,
}

/// The state of the tables a decision was made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generations {
    /// Of what is configured. Never 0.
    pub tables: u32,
    /// Of what was learned.
    pub learned: u32,
}

/// Today's generations, which an answer must have been made from. What is bridged depends on its network alone; what
/// is routed may depend on any network, on neighbours and on stations behind any bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Current {
    /// For bridged flows.
    pub bridged: Generations,
    /// For routed flows.
    pub routed: Generations,
}

impl Current {
    #[inline]
    fn of(&self, transform: &Transform) -> Generations {
        if transform.routed.is_some() { self.routed } else { self.bridged }
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Entry {
    made_from: Generations,
    /// The last second this answer may be given.
    until: u32,
    transform: Transform,
}

impl Entry {
    /// Made from tables that never were.
    const NEVER: Self = Self {
        made_from: Generations { tables: 0, learned: 0 },
        until: 0,
        transform: Transform { egress: PortId::FIRST, routed: None },
    };

    #[inline]
    fn holds(&self, now: u32, current: &Current) -> bool {
        self.made_from == current.of(&self.transform) && now <= self.until
    }
}

/// A flow and its answer: two cache lines, next to each other.
#[derive(Clone, Copy)]
struct Way {
    key: FlowKey,
    entry: Entry,
}

/// See the [module](self).
pub struct FlowCache {
    ways: Vec<Way>,
    seed: Seed,
}

impl fmt::Debug for FlowCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowCache").field("ways", &self.ways.len()).finish_non_exhaustive()
    }
}

/// A place found by [`FlowCache::place`], to look up and insert without hashing twice: where a key's two sets begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    first: u32,
    second: u32,
}

impl Place {
    #[inline]
    fn ways(self) -> [usize; 4] {
        let (first, second) = (self.first as usize, self.second as usize);
        [first, first + 1, second, second + 1]
    }
}

impl FlowCache {
    /// A cache of `flows` entries, rounded up to a power of two, at least two.
    pub fn new(flows: usize, seed: Seed) -> Self {
        let size = flows.next_power_of_two().max(2);
        let never = Way { key: FlowKey::new(Headers::default(), PortId::FIRST), entry: Entry::NEVER };
        Self { ways: vec![never; size], seed }
    }

    /// The sets a key belongs to.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "masked to the table's size")]
    pub fn place(&self, key: &FlowKey) -> Place {
        let hash = self.seed.hash_words(key.words());
        let set = |hash: u64| (hash as usize & (self.ways.len() - 1) & !1) as u32;
        Place { first: set(hash), second: set(hash >> 32) }
    }

    /// Reads a little of what a lookup in this place reads, so that it is at hand when it comes to that. The answer
    /// means nothing, but has to be used for the reading to be done.
    #[inline]
    #[must_use]
    pub fn touch(&self, place: Place) -> u64 {
        let way = &self.ways[place.first as usize];
        way.key.words()[0] ^ u64::from(way.entry.until)
    }

    /// The answer for `key`, if one was made from tables of these generations and has not ended.
    #[inline]
    pub fn lookup(&self, place: Place, key: &FlowKey, now: u32, current: &Current) -> Option<&Transform> {
        let words = key.words();
        for way in place.ways() {
            let way = &self.ways[way];
            if way.entry.holds(now, current) && same(way.key.words(), words) {
                return Some(&way.entry.transform);
            }
        }
        None
    }

    /// Forgets every answer.
    pub fn forget_all(&mut self) {
        self.ways.iter_mut().for_each(|way| way.entry = Entry::NEVER);
    }

    /// Keeps an answer, made from tables of these generations, until the second `until`.
    pub fn insert(
        &mut self,
        place: Place,
        key: &FlowKey,
        current: &Current,
        now: u32,
        until: u32,
        transform: Transform,
    ) {
        let entry = Entry { made_from: current.of(&transform), until, transform };
        let ways = place.ways();
        let its_own = ways.into_iter().find(|way| same(self.ways[*way].key.words(), key.words()));
        let over = || ways.into_iter().find(|way| !self.ways[*way].entry.holds(now, current));
        let way = its_own.or_else(over).unwrap_or_else(|| {
            self.ways[ways[1]] = self.ways[ways[0]];
            ways[0]
        });
        self.ways[way] = Way { key: *key, entry };
    }
}

/// Compared without a branch per word, and without the call to `memcmp` that `==` on 64 bytes becomes.
#[inline]
fn same(a: &[u64; 8], b: &[u64; 8]) -> bool {
    a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn key(n: u16) -> FlowKey {
        FlowKey::new(Headers { source_port: n, ..Headers::default() }, PortId::default())
    }

    const MADE: Generations = Generations { tables: 1, learned: 1 };
    const NOW: Current = Current { bridged: MADE, routed: Generations { tables: 9, learned: 9 } };

    #[test]
    fn key_and_answer_are_one_cache_line_each() {
        assert_eq!((size_of::<FlowKey>(), align_of::<FlowKey>()), (64, 64));
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }

    fn bridged(generations: Generations) -> Current {
        Current { bridged: generations, ..NOW }
    }

    #[test]
    fn an_answer_ends_with_its_time_or_its_tables() {
        let mut cache = FlowCache::new(64, Seed::new(3));
        let place = cache.place(&key(1));
        let transform = Transform { egress: PortId::new(9).unwrap(), routed: None };
        cache.insert(place, &key(1), &NOW, 1, 10, transform);
        assert_eq!(cache.lookup(place, &key(1), 10, &NOW), Some(&transform));
        assert_eq!(cache.lookup(place, &key(1), 11, &NOW), None);
        assert_eq!(cache.lookup(place, &key(1), 10, &bridged(Generations { tables: 2, ..MADE })), None);
        assert_eq!(cache.lookup(place, &key(1), 10, &bridged(Generations { learned: 2, ..MADE })), None);
        assert_eq!(cache.lookup(place, &key(2), 10, &NOW), None);
        cache.forget_all();
        assert_eq!(cache.lookup(place, &key(1), 10, &NOW), None);
    }

    proptest! {
        /// The cache may forget, but never answers otherwise than it was last told.
        #[test]
        fn never_a_wrong_answer(steps in prop::collection::vec((0u16..64, 0usize..8, any::<bool>()), 0..400)) {
            let mut cache = FlowCache::new(16, Seed::new(7));
            let mut told = HashMap::new();
            for (n, egress, insert) in steps {
                let place = cache.place(&key(n));
                if insert {
                    let transform = Transform { egress: PortId::new(egress).unwrap(), routed: None };
                    cache.insert(place, &key(n), &NOW, 1, 10, transform);
                    told.insert(n, transform);
                    prop_assert_eq!(cache.lookup(place, &key(n), 1, &NOW), Some(&transform));
                } else if let Some(answer) = cache.lookup(place, &key(n), 1, &NOW) {
                    prop_assert_eq!(Some(answer), told.get(&n));
                }
            }
        }
    }
}
