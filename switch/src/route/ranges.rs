//! Nested intervals made flat, and the search for the range an address is in.
//!
//! The ranges are sorted by where they begin; the first begins at 0 and each ends where the next begins. Every range
//! names the most specific interval that covers it, or [`NOTHING`].
//!
//! The index of a large table is a tree of nodes. A node takes the keys from its first to its last range and divides
//! them into equal slots, about two to four for each range, so that a subtraction and a shift find the slot. A slot
//! names the range that its first key is in, from where the search goes on range by range, or a further node where
//! more than [`CROWD`] ranges begin within the slot. Such a child divides its keys into 32 slots or more, so that no
//! table, however it is written, is more than 26 nodes deep for IPv6 and 7 for IPv4; real ones have one or two.

use std::fmt::Debug;

/// The value of a range that no interval covers.
pub(super) const NOTHING: u32 = u32::MAX;

/// So many ranges are searched one after the other.
const CROWD: usize = 8;

/// Tables up to this size have no index.
const SMALL: usize = 16;

/// In a slot: the rest is the number of a node, not of a range.
const NODE: u32 = 1 << 31;

/// An address as a number.
pub(super) trait Key: Copy + Ord + Debug {
    /// The lowest address.
    const ZERO: Self;

    /// The next address, unless this is the last.
    fn next(self) -> Option<Self>;

    /// How many times `1 << shift` the distance from `base` is, which must not be higher; saturating.
    fn slots_from(self, base: Self, shift: u8) -> usize;

    /// The key that many slots of `1 << shift` above `self`, unless there is none.
    fn plus_slots(self, slots: usize, shift: u8) -> Option<Self>;
}

macro_rules! key {
    ($number:ty) => {
        impl Key for $number {
            const ZERO: Self = 0;

            #[inline]
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            #[inline]
            #[allow(clippy::cast_possible_truncation, reason = "clipped to 32 bits")]
            fn slots_from(self, base: Self, shift: u8) -> usize {
                ((self - base) >> shift).min(<$number>::from(u32::MAX)) as usize
            }

            fn plus_slots(self, slots: usize, shift: u8) -> Option<Self> {
                <$number>::try_from(slots).ok()?.checked_mul(1 << shift)?.checked_add(self)
            }
        }
    };
}

key!(u32);
key!(u128);

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Ranges<K> {
    /// Where each range begins.
    begins: Box<[K]>,
    /// What each range names; as many.
    values: Box<[u32]>,
    /// Empty without an index; else the root comes first.
    nodes: Box<[Node<K>]>,
    slots: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Node<K> {
    /// Where its first range begins.
    base: K,
    /// Its first slot.
    first: u32,
    /// Its last slot, counted from `first`.
    last: u32,
    /// The range before its first.
    below: u32,
    /// A slot is `1 << shift` keys.
    shift: u8,
}

impl<K: Key> Ranges<K> {
    /// The ranges of intervals (first, last, value), sorted by first and, where that is equal, with the wider one
    /// before. Of any two, one lies within the other or they do not touch.
    pub(super) fn build(intervals: impl Iterator<Item = (K, K, u32)>) -> Self {
        let (begins, values) = flatten(intervals);
        let mut index = Index { begins: &begins, nodes: Vec::new(), slots: Vec::new() };
        if begins.len() > SMALL {
            index.add_node(0, begins.len());
        }
        let (nodes, slots) = (index.nodes.into_boxed_slice(), index.slots.into_boxed_slice());
        Self { begins: begins.into_boxed_slice(), values: values.into_boxed_slice(), nodes, slots }
    }

    /// What the range with `key` names.
    #[inline]
    pub(super) fn find(&self, key: K) -> u32 {
        let mut place = self.start(key);
        while self.begins.get(place + 1).is_some_and(|begin| *begin <= key) {
            place += 1;
        }
        self.values[place]
    }

    /// A range that begins at or before `key`, at most [`SMALL`] before the one with it.
    #[inline]
    fn start(&self, key: K) -> usize {
        let Some(mut node) = self.nodes.first() else { return 0 };
        loop {
            if key < node.base {
                return node.below as usize;
            }
            let slot = key.slots_from(node.base, node.shift).min(node.last as usize);
            let found = self.slots[node.first as usize + slot];
            if found & NODE == 0 {
                return found as usize;
            }
            node = &self.nodes[(found & !NODE) as usize];
        }
    }
}

fn flatten<K: Key>(intervals: impl Iterator<Item = (K, K, u32)>) -> (Vec<K>, Vec<u32>) {
    let mut flat = Flat { begins: vec![K::ZERO], values: vec![NOTHING] };
    // The intervals that the sweep is within, the most specific last.
    let mut open: Vec<(K, u32)> = Vec::new();
    for (first, last, value) in intervals {
        while let Some((end, _)) = open.pop_if(|(end, _)| *end < first) {
            flat.resume(end, open.last());
        }
        flat.begin(first, value);
        open.push((last, value));
    }
    while let Some((end, _)) = open.pop() {
        flat.resume(end, open.last());
    }
    (flat.begins, flat.values)
}

struct Flat<K> {
    begins: Vec<K>,
    values: Vec<u32>,
}

impl<K: Key> Flat<K> {
    /// Behind `end` the interval around it goes on.
    fn resume(&mut self, end: K, around: Option<&(K, u32)>) {
        if let Some(begin) = end.next() {
            self.begin(begin, around.map_or(NOTHING, |(_, value)| *value));
        }
    }

    fn begin(&mut self, begin: K, value: u32) {
        if self.begins.last() == Some(&begin) {
            // The range that began here is empty.
            self.begins.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.begins.push(begin);
            self.values.push(value);
        }
    }
}

struct Index<'a, K> {
    begins: &'a [K],
    nodes: Vec<Node<K>>,
    slots: Vec<u32>,
}

impl<K: Key> Index<'_, K> {
    /// Adds a node for the ranges from `low` to before `high`, and its children; answers its number.
    fn add_node(&mut self, low: usize, high: usize) -> u32 {
        let ranges = &self.begins[low..high];
        let (Some(base), Some(highest)) = (ranges.first().copied(), ranges.last().copied()) else {
            unreachable!("a node is made for a table or a slot with more than {CROWD} ranges");
        };
        let wanted = (2 * ranges.len()).next_power_of_two();
        let mut shift = 0;
        while highest.slots_from(base, shift) >= wanted {
            shift += 1;
        }
        let last = highest.slots_from(base, shift);
        let (number, first) = (self.nodes.len(), self.slots.len());
        let below = small(low.saturating_sub(1));
        self.nodes.push(Node { base, first: small(first), last: small(last), below, shift });
        self.slots.resize(first + last + 1, 0);

        let mut begin = low;
        for slot in 0..=last {
            let next = base.plus_slots(slot + 1, shift);
            let within =
                next.map_or(high - begin, |next| self.begins[begin..high].partition_point(|key| *key < next));
            // Where no range begins with the slot, it starts within the range before.
            let starts = base.plus_slots(slot, shift).is_some_and(|key| self.begins.get(begin) == Some(&key));
            self.slots[first + slot] = if within > CROWD {
                NODE | self.add_node(begin, begin + within)
            } else {
                small(if starts { begin } else { begin.saturating_sub(1) })
            };
            begin += within;
        }
        small(number)
    }
}

/// Ranges and slots are at most a few for each route, and two billion routes do not fit into memory.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX) & !NODE
}
