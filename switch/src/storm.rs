//! Storm control: how many frames per second a port may have copied to everybody.
//!
//! One token bucket per port and kind of BUM traffic (broadcast, unknown unicast, multicast). A bucket holds a
//! tenth of a second's worth, so that a burst of ARP after start passes while a loop or a flood is cut off at
//! the limit. Each worker enforces the limit on what it receives itself.

use crate::bucket::Bucket;
use crate::drop_reason::DropReason;
use crate::time::Time;

/// What a bucket holds.
const BURST_NANOS: u64 = 100_000_000;

/// The kinds of traffic that are copied to every port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bum {
    /// To `ff:ff:ff:ff:ff:ff`.
    Broadcast,
    /// To any other group address.
    Multicast,
    /// To a station nobody has heard of.
    UnknownUnicast,
}

/// Frames per second a port may send of each kind; `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StormLimits {
    /// For broadcast.
    pub broadcast: Option<u32>,
    /// For multicast.
    pub multicast: Option<u32>,
    /// For unknown unicast.
    pub unknown_unicast: Option<u32>,
}

/// One port's buckets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Storm {
    broadcast: Bucket,
    multicast: Bucket,
    unknown_unicast: Bucket,
}

impl Storm {
    /// Lets one frame of kind `bum` pass.
    ///
    /// # Errors
    /// The kind's drop reason, when the port is over its limit.
    pub fn admit(&mut self, bum: Bum, limits: &StormLimits, now: Time) -> Result<(), DropReason> {
        let (bucket, limit, reason) = match bum {
            Bum::Broadcast => (&mut self.broadcast, limits.broadcast, DropReason::StormBroadcast),
            Bum::Multicast => (&mut self.multicast, limits.multicast, DropReason::StormMulticast),
            Bum::UnknownUnicast => {
                (&mut self.unknown_unicast, limits.unknown_unicast, DropReason::StormUnknownUnicast)
            }
        };
        match limit {
            None => Ok(()),
            Some(limit) if bucket.take(limit, BURST_NANOS, now) => Ok(()),
            Some(_) => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(limit: Option<u32>, seconds: u64, tries_per_second: u64) -> u64 {
        let mut storm = Storm::default();
        let limits = StormLimits { broadcast: limit, ..StormLimits::default() };
        let tries = seconds * tries_per_second;
        let step = 1_000_000_000 / tries_per_second;
        (0..tries)
            .filter(|nth| storm.admit(Bum::Broadcast, &limits, Time::from_nanos(nth * step)).is_ok())
            .count() as u64
    }

    #[test]
    fn no_limit_lets_everything_pass_and_zero_nothing() {
        assert_eq!(passed(None, 2, 1000), 2000);
        assert_eq!(passed(Some(0), 2, 1000), 0);
    }

    #[test]
    fn kinds_do_not_eat_each_others_tokens() {
        let limits = StormLimits { broadcast: Some(1), multicast: Some(1), unknown_unicast: Some(1) };
        let mut storm = Storm::default();
        let now = Time::from_secs(5);
        while storm.admit(Bum::Broadcast, &limits, now).is_ok() {}
        assert_eq!(storm.admit(Bum::Multicast, &limits, now), Ok(()));
        assert_eq!(storm.admit(Bum::UnknownUnicast, &limits, now), Ok(()));
        assert_eq!(storm.admit(Bum::Broadcast, &limits, now), Err(DropReason::StormBroadcast));
    }

    proptest! {
        #[test]
        fn the_rate_is_the_limit_and_a_burst_at_most_a_tenth_more(limit in 1u32..5_000, over in 2u64..8) {
            let seconds = 3;
            let passed = passed(Some(limit), seconds, u64::from(limit) * over);
            let expected = u64::from(limit) * seconds;
            prop_assert!(passed + 1 >= expected, "{passed} of {expected}");
            prop_assert!(passed <= expected + u64::from(limit) / 10 + 3, "{passed} of {expected}");
        }
    }
}
