//! A set of numbers kept as ranges, so that a /8 costs what is taken from it and not what it could hold.

use std::collections::BTreeMap;

/// Numbers in a set. Inclusive ranges by their start; ranges neither overlap nor touch, so the number after a range is free.
#[derive(Debug, Clone, Default)]
pub(crate) struct RangeSet {
    ends: BTreeMap<u128, u128>,
}

impl RangeSet {
    /// Adds `value`; false if it was there. O(log n).
    pub(crate) fn insert(&mut self, value: u128) -> bool {
        let before = self.range_at_or_before(value);
        if before.is_some_and(|(_, end)| end >= value) {
            return false;
        }
        let start = match before {
            Some((start, end)) if end + 1 == value => start,
            _ => value,
        };
        let after = value.checked_add(1).and_then(|next| self.ends.remove(&next));
        self.ends.insert(start, after.unwrap_or(value));
        true
    }

    /// Takes `value` out; false if it was not there. O(log n).
    pub(crate) fn remove(&mut self, value: u128) -> bool {
        let Some((start, end)) = self.range_at_or_before(value).filter(|(_, end)| *end >= value) else {
            return false;
        };
        if start == value {
            self.ends.remove(&start);
        } else {
            self.ends.insert(start, value - 1);
        }
        if end > value {
            self.ends.insert(value + 1, end);
        }
        true
    }

    /// The lowest number of `first..=last` that is not in the set. O(log n).
    pub(crate) fn lowest_free(&self, first: u128, last: u128) -> Option<u128> {
        let free = match self.range_at_or_before(first) {
            Some((_, end)) if end >= first => end.checked_add(1)?,
            _ => first,
        };
        (free <= last).then_some(free)
    }

    fn range_at_or_before(&self, value: u128) -> Option<(u128, u128)> {
        self.ends.range(..=value).next_back().map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u128..24), 0..200), from in 0u128..24, to in 0u128..26) {
            let (mut ranges, mut model) = (RangeSet::default(), BTreeSet::new());
            for (add, value) in steps {
                if add {
                    prop_assert_eq!(ranges.insert(value), model.insert(value));
                } else {
                    prop_assert_eq!(ranges.remove(value), model.remove(&value));
                }
                prop_assert_eq!(ranges.lowest_free(from, to), (from..=to).find(|v| !model.contains(v)));
            }
            let touching = ranges.ends.iter().zip(ranges.ends.iter().skip(1)).any(|((_, end), (start, _))| end + 1 >= *start);
            prop_assert!(!touching);
        }
    }

    #[test]
    fn reaches_the_last_number() {
        let mut ranges = RangeSet::default();
        assert!(ranges.insert(u128::MAX));
        assert_eq!(ranges.lowest_free(u128::MAX, u128::MAX), None);
        assert!(ranges.insert(u128::MAX - 1));
        assert_eq!(ranges.ends.len(), 1);
        assert!(ranges.remove(u128::MAX));
        assert_eq!(ranges.lowest_free(u128::MAX - 1, u128::MAX), Some(u128::MAX));
    }
}
