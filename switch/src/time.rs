//! Time as the dataplane knows it: an argument, never read from a clock here.

use std::time::Duration;

/// A moment, in nanoseconds since the switch started. A worker reads its clock once per batch and passes the
/// same `Time` to everything the batch does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time(u64);

impl Time {
    /// The moment `nanoseconds` after the switch started.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The moment `seconds` after the switch started.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// Nanoseconds since the switch started.
    #[inline]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the switch started, which is how tables keep ages: four bytes and good for 136 years.
    #[inline]
    pub const fn seconds(self) -> u32 {
        let seconds = self.0 / 1_000_000_000;
        // Wraps after 136 years of running.
        (seconds & 0xffff_ffff) as u32
    }

    /// The moment `duration` later, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}
