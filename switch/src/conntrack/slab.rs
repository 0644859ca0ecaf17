//! Records that keep their place, and lists of them.
//!
//! A [`Slab`] grows by chunks, so that growing never copies what is there, and reuses the place freed last. The
//! links of a [`List`] are in the records, which therefore can be taken out of the middle; a free record's links
//! hold the list of free places.

use std::ops::{Index, IndexMut};

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// Records per chunk.
const CHUNK: usize = 1024;

/// A record's neighbours in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    pub(crate) next: u32,
    pub(crate) previous: u32,
}

impl Links {
    pub(crate) const NONE: Self = Self { next: NONE, previous: NONE };
}

/// A record that can be in a list.
pub(crate) trait Linked {
    fn links(&mut self) -> &mut Links;
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    places: usize,
    limit: usize,
    free: u32,
    len: usize,
}

impl<T: Linked> Slab<T> {
    /// Without records, and never with more than `limit`, below [`NONE`].
    pub(crate) fn new(limit: usize) -> Self {
        Self { chunks: Vec::new(), places: 0, limit: limit.min(NONE as usize - 1), free: NONE, len: 0 }
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many places there ever were: every record's place is below.
    pub(crate) fn places(&self) -> u32 {
        // Within the limit, which is below `NONE`.
        u32::try_from(self.places).unwrap_or(NONE)
    }

    /// Puts a record into a place; none when it is full.
    pub(crate) fn insert(&mut self, record: T) -> Option<u32> {
        let place = if self.free == NONE {
            self.extend(record)?
        } else {
            let place = self.free;
            self.free = self[place].links().next;
            self[place] = record;
            place
        };
        self.len += 1;
        Some(place)
    }

    fn extend(&mut self, record: T) -> Option<u32> {
        if self.places >= self.limit {
            return None;
        }
        if self.places.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks.last_mut()?.push(record);
        self.places += 1;
        u32::try_from(self.places - 1).ok()
    }

    /// Frees a record's place. It must be in no list, and whoever walks the places must be able to tell.
    pub(crate) fn free(&mut self, place: u32) {
        self[place].links().next = self.free;
        self.free = place;
        self.len -= 1;
    }

    /// What it occupies, for the record.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: u32) -> &T {
        &self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }
}

/// A queue of records of one slab.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    front: u32,
    back: u32,
    len: usize,
}

impl List {
    pub(crate) const EMPTY: Self = Self { front: NONE, back: NONE, len: 0 };

    /// The record that is longest in the list.
    pub(crate) fn front(&self) -> Option<u32> {
        (self.front != NONE).then_some(self.front)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends a record that is in no list.
    pub(crate) fn push<T: Linked>(&mut self, slab: &mut Slab<T>, place: u32) {
        *slab[place].links() = Links { next: NONE, previous: self.back };
        match self.back {
            NONE => self.front = place,
            back => slab[back].links().next = place,
        }
        self.back = place;
        self.len += 1;
    }

    /// Takes a record out, which must be in this list.
    pub(crate) fn remove<T: Linked>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Links { next, previous } = *slab[place].links();
        match previous {
            NONE => self.front = next,
            previous => slab[previous].links().next = next,
        }
        match next {
            NONE => self.back = previous,
            next => slab[next].links().previous = previous,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    struct Record(Links);

    impl Linked for Record {
        fn links(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    #[test]
    fn a_slab_is_full_at_its_limit_and_takes_freed_places() {
        let mut slab = Slab::new(1500);
        let places: Vec<_> = (0..1500).map(|_| slab.insert(Record(Links::NONE)).unwrap()).collect();
        assert!(slab.insert(Record(Links::NONE)).is_none());
        slab.free(places[3]);
        slab.free(places[1400]);
        assert_eq!(slab.len(), 1498);
        assert_eq!(slab.insert(Record(Links::NONE)), Some(places[1400]));
        assert_eq!(slab.insert(Record(Links::NONE)), Some(places[3]));
        assert_eq!(slab.places(), 1500);
    }

    proptest! {
        #[test]
        fn a_list_is_a_queue_that_can_be_taken_from_the_middle(steps in prop::collection::vec((any::<bool>(), 0usize..64), 0..200)) {
            let mut slab = Slab::new(64);
            let (mut list, mut model) = (List::EMPTY, VecDeque::new());
            for (push, nth) in steps {
                if push {
                    if let Some(place) = slab.insert(Record(Links::NONE)) {
                        list.push(&mut slab, place);
                        model.push_back(place);
                    }
                } else if !model.is_empty() {
                    let place = model.remove(nth % model.len()).unwrap();
                    list.remove(&mut slab, place);
                    slab.free(place);
                }
                prop_assert_eq!(list.front(), model.front().copied());
                prop_assert_eq!((list.len(), slab.len()), (model.len(), model.len()));
            }
            while let Some(front) = list.front() {
                prop_assert_eq!(Some(front), model.pop_front());
                list.remove(&mut slab, front);
            }
            prop_assert!(model.is_empty());
        }
    }
}
