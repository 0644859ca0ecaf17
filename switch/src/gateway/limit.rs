//! How often the gateway answers one port.
//!
//! One token bucket per port and kind of reply, kept by each worker for what it receives itself. Errors are few, since
//! a port can cause one with every packet (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f); answers to what was asked are many.

use crate::bucket::Bucket;
use crate::drop_reason::DropReason;
use crate::time::Time;

/// What kind of reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyKind {
    /// ARP, neighbour and router discovery: 1000 per second.
    Discovery,
    /// An echo: 10 000 per second, enough for `ping -f`.
    Echo,
    /// An ICMP error or a TCP reset: 100 per second, 50 at once.
    Error,
}

impl ReplyKind {
    /// Replies per second, and nanoseconds' worth of them that may come at once.
    const fn rate(self) -> (u32, u64) {
        match self {
            Self::Discovery => (1000, 100_000_000),
            Self::Echo => (10_000, 100_000_000),
            // Of a hundred per second, 49 intervals and the one of now.
            Self::Error => (100, 490_000_000),
        }
    }
}

/// One port's buckets.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyLimit {
    discovery: Bucket,
    echo: Bucket,
    error: Bucket,
}

impl ReplyLimit {
    /// Lets one reply pass.
    ///
    /// # Errors
    /// [`DropReason::ReplyLimit`], when the port had too many.
    pub fn admit(&mut self, kind: ReplyKind, now: Time) -> Result<(), DropReason> {
        let (per_second, burst_nanos) = kind.rate();
        let bucket = match kind {
            ReplyKind::Discovery => &mut self.discovery,
            ReplyKind::Echo => &mut self.echo,
            ReplyKind::Error => &mut self.error,
        };
        if bucket.take(per_second, burst_nanos, now) { Ok(()) } else { Err(DropReason::ReplyLimit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_fifty_at_once_and_a_hundred_a_second() {
        let mut limit = ReplyLimit::default();
        let start = Time::from_secs(9);
        let mut passed = |kind, now| (0..5000).filter(|_| limit.admit(kind, now).is_ok()).count();
        assert_eq!(passed(ReplyKind::Error, start), 50);
        assert_eq!(passed(ReplyKind::Discovery, start), 101, "another bucket");
        assert_eq!(passed(ReplyKind::Echo, start), 1001, "and another");
        let errors: usize = (1..=100)
            .map(|nth| passed(ReplyKind::Error, Time::from_nanos(start.nanos() + nth * 10_000_000)))
            .sum();
        assert_eq!(errors, 100);
    }
}
