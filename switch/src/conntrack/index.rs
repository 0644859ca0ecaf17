//! An open-addressed index from hashes to small numbers, which grows without a pause.
//!
//! # Theory of operation
//! The hash's top bits choose one of many segments, each a table of its own with linear probing and backward-shift
//! deletion. A slot is 16 further bits of the hash, zero when empty, and the number. Those bits decide both where in
//! its segment an entry belongs and, nearly always, whether it is the one looked for; so a segment grows and closes
//! its gaps without a look at the records, and one that is full is copied in microseconds. The number of segments
//! follows from the capacity, such that a full one holds about [`SEGMENT`] entries; it never changes.
//!
//! A segment is at most four fifths full and grows by a quarter, so that an entry costs 7.5 to 9.4 bytes.

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
    tags: Box<[u16]>,
    values: Box<[u32]>,
    used: usize,
}

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
        Some(segment.values[place])
    }

    /// Adds a number; one that is there already would be there twice.
    pub(crate) fn insert(&mut self, hash: u64, value: u32) {
        let segment = self.segment(hash);
        self.segments[segment].insert(tag(hash), value);
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
            segment.values[place] = new;
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "masked to the number of segments")]
    fn segment(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.segments.len() - 1)
    }

    /// What it occupies, for the record.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| size_of::<Segment>() + segment.tags.len() * 6).sum()
    }
}

impl Segment {
    /// Ends, because a fifth is empty.
    #[inline]
    fn place(&self, tag: u16, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.tags.is_empty() {
            return None;
        }
        let mut place = self.home(tag);
        loop {
            let found = self.tags[place];
            if found == tag && is_it(self.values[place]) {
                return Some(place);
            }
            if found == 0 {
                return None;
            }
            place = self.after(place);
        }
    }

    fn insert(&mut self, tag: u16, value: u32) {
        if (self.used + 1) * 5 > self.tags.len() * 4 {
            self.grow();
        }
        self.put(tag, value);
        self.used += 1;
    }

    fn put(&mut self, tag: u16, value: u32) {
        let mut place = self.home(tag);
        while self.tags[place] != 0 {
            place = self.after(place);
        }
        self.tags[place] = tag;
        self.values[place] = value;
    }

    fn grow(&mut self) {
        let size = (self.tags.len() + self.tags.len() / 4).max(SMALLEST);
        let tags = std::mem::replace(&mut self.tags, vec![0; size].into());
        let values = std::mem::replace(&mut self.values, vec![0; size].into());
        for (tag, value) in tags.into_iter().zip(values).filter(|(tag, _)| *tag != 0) {
            self.put(tag, value);
        }
    }

    /// Empties `hole` and closes the gap: each later entry of the run moves up unless that would put it before
    /// its home.
    fn close(&mut self, mut hole: usize) {
        self.used -= 1;
        let mut place = hole;
        loop {
            place = self.after(place);
            let tag = self.tags[place];
            if tag == 0 {
                break;
            }
            if self.distance(self.home(tag), place) >= self.distance(hole, place) {
                self.tags[hole] = tag;
                self.values[hole] = self.values[place];
                hole = place;
            }
        }
        self.tags[hole] = 0;
    }

    #[inline]
    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * self.tags.len()) >> 16
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 == self.tags.len() { 0 } else { place + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.tags.len() - from }
    }
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
    fn an_entry_costs_at_most_a_tenth_more_than_nine_and_a_half_bytes() {
        let (mut index, seed) = (Index::new(100_000), Seed::new(1));
        let mut worst = 0;
        for n in 0..100_000_u32 {
            index.insert(seed.hash_word(n.into()), n);
            if n > 50_000 && n % 1000 == 0 {
                worst = worst.max(index.bytes() * 100 / n as usize);
            }
        }
        assert!(worst <= 1045, "{worst} hundredths of a byte");
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
