//! An open-addressed index from hashes to small numbers, which grows without a pause.
//!
//! # Theory of operation
//! The hash's top bits choose one of many segments, each a table of its own with linear probing and backward-shift
//! deletion. A slot is 16 further bits of the hash, zero when empty, and the number, six bytes that nearly always are
//! in one cache line with the next. Those bits decide both where in its segment an entry belongs and, nearly always,
//! whether it is the one looked for; so a segment grows and closes its gaps without a look at the records, and one
//! that is full is copied in microseconds. The number of segments
//! follows from the capacity, such that a full one holds about [`SEGMENT`] entries; it never changes.
//!
//! A segment is at most four fifths full and grows by a half, so that an entry costs 7.5 to 11.25 bytes.

/// Entries per segment when the index is full.
const SEGMENT: usize = 2048;

/// Slots of a segment's first table.
const SMALLEST: usize = 16;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Index {
    segments: Box<[Segment]>,
}

#[derive(Debug, Default)]
struct Segment {
    slots: Box<[Slot]>,
    used: usize,
}

/// The tag, and the number's lower and upper half.
type Slot = [u16; 3];

const EMPTY: Slot = [0; 3];

impl Index {
    /// Empty, with segments for about `capacity` entries; more do no harm but to the time a growing one takes.
    pub(crate) fn new(capacity: usize) -> Self {
        let segments = (capacity / SEGMENT).next_power_of_two();
        Self { segments: (0..segments).map(|_| Segment::default()).collect() }
    }

    /// The first number with this hash that `is_it`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let segment = &self.segments[self.segment(hash)];
        let place = segment.place(tag(hash), is_it)?;
        Some(value(segment.slots[place]))
    }

    /// Adds a number; one that is there already would be there twice.
    pub(crate) fn insert(&mut self, hash: u64, value: u32) {
        let segment = self.segment(hash);
        self.segments[segment].insert(slot(tag(hash), value));
    }

    /// Removes a number, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, value: u32) {
        let segment = self.segment(hash);
        let segment = &mut self.segments[segment];
        if let Some(place) = segment.place(tag(hash), |found| found == value) {
            segment.close(place);
        }
    }

    /// Puts another number in the place of one with the same hash, if that is there.
    pub(crate) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let segment = self.segment(hash);
        let segment = &mut self.segments[segment];
        if let Some(place) = segment.place(tag(hash), |found| found == old) {
            segment.slots[place] = slot(tag(hash), new);
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "masked to the number of segments")]
    fn segment(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.segments.len() - 1)
    }

    /// What it occupies, for the record.
    pub(crate) fn bytes(&self) -> usize {
        self.segments
            .iter()
            .map(|segment| size_of::<Segment>() + segment.slots.len() * size_of::<Slot>())
            .sum()
    }
}

impl Segment {
    /// Ends, because a fifth is empty.
    #[inline]
    fn place(&self, tag: u16, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut place = self.home(tag);
        loop {
            let slot = self.slots[place];
            if slot[0] == tag && is_it(value(slot)) {
                return Some(place);
            }
            if slot[0] == 0 {
                return None;
            }
            place = self.after(place);
        }
    }

    fn insert(&mut self, slot: Slot) {
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        self.put(slot);
        self.used += 1;
    }

    fn put(&mut self, slot: Slot) {
        let mut place = self.home(slot[0]);
        while self.slots[place][0] != 0 {
            place = self.after(place);
        }
        self.slots[place] = slot;
    }

    fn grow(&mut self) {
        let size = (self.slots.len() + self.slots.len() / 2).max(SMALLEST);
        let slots = std::mem::replace(&mut self.slots, vec![EMPTY; size].into());
        for slot in slots.into_iter().filter(|slot| slot[0] != 0) {
            self.put(slot);
        }
    }

    /// Empties `hole` and closes the gap: each later entry of the run moves up unless that would put it before
    /// its home.
    fn close(&mut self, mut hole: usize) {
        self.used -= 1;
        let mut place = hole;
        loop {
            place = self.after(place);
            let slot = self.slots[place];
            if slot[0] == 0 {
                break;
            }
            if self.distance(self.home(slot[0]), place) >= self.distance(hole, place) {
                self.slots[hole] = slot;
                hole = place;
            }
        }
        self.slots[hole] = EMPTY;
    }

    #[inline]
    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * self.slots.len()) >> 16
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() { 0 } else { place + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }
}

#[inline]
fn value(slot: Slot) -> u32 {
    u32::from(slot[2]) << 16 | u32::from(slot[1])
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the halves")]
fn slot(tag: u16, value: u32) -> Slot {
    [tag, value as u16, (value >> 16) as u16]
}

/// Zero means empty, so that the entries of two tags share one.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the low bits")]
fn tag(hash: u64) -> u16 {
    (hash as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Seed;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_entry_costs_at_most_eleven_and_a_half_bytes() {
        let (mut index, seed) = (Index::new(100_000), Seed::new(1));
        let mut worst = 0;
        for n in 0..100_000_u32 {
            index.insert(seed.hash_word(n.into()), n);
            if n > 50_000 && n % 1000 == 0 {
                worst = worst.max(index.bytes() * 100 / n as usize);
            }
        }
        assert!(worst <= 1150, "{worst} hundredths of a byte");
    }

    proptest! {
        /// Few hashes, so that runs and equal hashes are common.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u64..40, 0u64..3, 0u8..3), 0..300), seed: u64) {
            let hash = |key: u64| match key % 4 {
                0 => key % 8,
                _ => Seed::new(seed).hash_word(key / 2),
            };
            let mut index = Index::new(4096);
            let mut model: HashMap<u64, u32> = HashMap::new();
            for (key, version, what) in steps {
                let value = u32::try_from(key * 10 + version).unwrap();
                let old = model.get(&key).copied();
                match (what, old) {
                    (0, None) => {
                        index.insert(hash(key), value);
                        model.insert(key, value);
                    }
                    (1, Some(old)) => {
                        index.remove(hash(key), old);
                        model.remove(&key);
                    }
                    (2, Some(old)) => {
                        index.replace(hash(key), old, value);
                        model.insert(key, value);
                    }
                    _ => {}
                }
                for key in 0..40 {
                    let found = index.find(hash(key), |found| u64::from(found) / 10 == key);
                    prop_assert_eq!(found, model.get(&key).copied());
                }
            }
        }
    }
}
