//! What the scenarios stand on: the switch as a fixture, sockets inside its containers, and what must not be left.

#[macro_use]
pub(crate) mod user;

pub(crate) mod dhcp_server;
pub(crate) mod frames;
pub(crate) mod icmp;
pub(crate) mod lan;
pub(crate) mod leftovers;
pub(crate) mod named_netns;
pub(crate) mod place;
pub(crate) mod sockets;
pub(crate) mod stations;
pub(crate) mod switch;
pub(crate) mod talk;
pub(crate) mod world;

use std::time::{Duration, Instant};

/// How long a condition may take to come true. Far more than it needs: a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
