//! The few statistics a comparison needs: exact, and for a handful of rounds or a few million latencies.

/// Median and extremes of a set of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The middle value; of an even number of values, the mean of the two in the middle.
    pub(crate) median: f64,
    /// The smallest value.
    pub(crate) min: f64,
    /// The largest value.
    pub(crate) max: f64,
}

impl Summary {
    /// Summarises `values`, in any order; `None` when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// The smallest of `sorted` that at least `percent` % of the values do not exceed (nearest rank: always a value that
/// was measured). `None` when there are none; `percent` above 100 is the largest value.
pub(crate) fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        let summary = Summary::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(summary, Summary { median: 2.0, min: 1.0, max: 3.0 });
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Summary::of([4.0, 1.0, 3.0, 2.0]).unwrap().median, 2.5);
    }

    #[test]
    fn nothing_has_no_summary_and_no_percentile() {
        assert_eq!(Summary::of([]), None);
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&sorted, 50), Some(100));
        assert_eq!(percentile(&sorted, 99), Some(198));
        assert_eq!(percentile(&sorted, 100), Some(200));
        assert_eq!(percentile(&sorted, 0), Some(1));
        assert_eq!(percentile(&[7], 99), Some(7));
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
            mut values in prop::collection::vec(0u32..50, 1..80), percent in 1usize..=100,
        ) {
            values.sort_unstable();
            let covers = |bound: u32| values.iter().filter(|&&value| value <= bound).count() * 100 >= percent * values.len();
            let naive = values.iter().copied().find(|&value| covers(value));
            prop_assert_eq!(percentile(&values, percent), naive);
        }

        #[test]
        fn the_median_has_as_many_values_below_as_above(values in prop::collection::vec(-1e9f64..1e9, 1..40)) {
            let summary = Summary::of(values.iter().copied()).unwrap();
            let below = values.iter().filter(|&&value| value < summary.median).count();
            let above = values.iter().filter(|&&value| value > summary.median).count();
            prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
            prop_assert!(summary.min <= summary.median && summary.median <= summary.max);
        }
    }
}
