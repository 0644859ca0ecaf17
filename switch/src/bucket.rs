//! The token bucket behind every rate limit.

use crate::time::Time;

/// A token bucket that remembers when it would be full instead of how full it is: one number, no refilling
/// (the virtual scheduling form of the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// The theoretical arrival time of the next one at exactly the limit.
    next: u64,
}

impl Bucket {
    /// Takes a token, if there is one. They come in at `per_second`; a full bucket holds one more than come in within
    /// `burst_nanos`, and at least two.
    pub(crate) fn take(&mut self, per_second: u32, burst_nanos: u64, now: Time) -> bool {
        if per_second == 0 {
            return false;
        }
        let interval = 1_000_000_000 / u64::from(per_second);
        let next = self.next.max(now.nanos());
        if next - now.nanos() > burst_nanos.max(interval) {
            return false;
        }
        self.next = next + interval;
        true
    }
}
