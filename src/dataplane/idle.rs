//! What a worker does when nothing is left to do: sleep at once, or look a little longer.
//!
//! # Theory of operation
//! Going to sleep and being woken by another CPU costs 15 to 35 µs, most of a round trip; looking again costs
//! half a microsecond, but of a CPU that somebody else may need. So a worker looks on only when experience says
//! that it pays and nobody pays for it:
//!
//! * It pays while sleeps are short. A sleep no longer than [`SHORT`], being woken included, would have been saved
//!   by looking; after [`LONG_SLEEPS`] longer ones in a row the worker sleeps at once, until one is short again.
//! * It costs others while they wait for this CPU. Between two looks the worker yields; a yield that takes longer
//!   than [`CONTENDED`] let somebody else run, and the worker sleeps at once for the next [`BACK_OFF`].
//!
//! A switch without traffic looks a bounded few times and then sleeps for good: 0 % CPU.
//!
//! Time is an argument, so that this can be tested without waiting.

use std::time::{Duration, Instant};

/// How long to look before sleeping after all: about what a wake-up costs, so that looking in vain at most
/// doubles the price.
const LOOK_FOR: Duration = Duration::from_micros(50);

/// A sleep that looking would have saved: as long as looking lasts, and what being woken took.
const SHORT: Duration = Duration::from_micros(100);

/// Sleeps in a row that were too long for looking to have helped, before it is given up.
const LONG_SLEEPS: u32 = 3;

/// A yield that returns sooner found nobody waiting.
const CONTENDED: Duration = Duration::from_micros(4);

/// How long the CPU is left to others after they were found waiting.
const BACK_OFF: Duration = Duration::from_millis(20);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Idle {
    /// Long sleeps in a row.
    long_sleeps: u32,
    /// Sleeps at once until then.
    leave_until: Instant,
}

impl Idle {
    /// Starts by sleeping at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { long_sleeps: LONG_SLEEPS, leave_until: now }
    }

    /// Until when to look for frames before sleeping; `None` to sleep at once.
    pub(super) fn look_until(&self, now: Instant) -> Option<Instant> {
        (self.long_sleeps < LONG_SLEEPS && now >= self.leave_until).then(|| now + LOOK_FOR)
    }

    /// Notes a yield of the CPU; answers whether looking may go on.
    pub(super) fn yielded(&mut self, before: Instant, after: Instant) -> bool {
        if after - before <= CONTENDED {
            return true;
        }
        self.leave_until = after + BACK_OFF;
        false
    }

    /// Notes a sleep that something ended.
    pub(super) fn slept(&mut self, before: Instant, after: Instant) {
        self.long_sleeps = if after - before <= SHORT { 0 } else { (self.long_sleeps + 1).min(LONG_SLEEPS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(1);

    #[test]
    fn looks_only_while_sleeps_are_short() {
        let now = Instant::now();
        let mut idle = Idle::new(now);
        assert_eq!(idle.look_until(now), None, "nothing is known yet");
        idle.slept(now, now + SHORT);
        assert_eq!(idle.look_until(now), Some(now + LOOK_FOR));
        for _ in 1..LONG_SLEEPS {
            idle.slept(now, now + LONG);
            assert!(idle.look_until(now).is_some(), "one pause does not end it");
        }
        idle.slept(now, now + LONG);
        assert_eq!(idle.look_until(now), None);
    }

    #[test]
    fn leaves_the_cpu_to_others_for_a_while() {
        let now = Instant::now();
        let mut idle = Idle::new(now);
        idle.slept(now, now + SHORT);
        assert!(idle.yielded(now, now + Duration::from_micros(1)));
        assert!(!idle.yielded(now, now + CONTENDED * 2));
        assert_eq!(idle.look_until(now + CONTENDED * 2), None);
        assert!(idle.look_until(now + CONTENDED * 2 + BACK_OFF).is_some());
    }
}
