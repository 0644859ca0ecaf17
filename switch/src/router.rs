//! The router: what the gateways of all networks share, and the stages a packet walks between networks.
//!
//! # Theory of operation
//! A packet for a gateway's MAC address walks the stages of [`walk`] on its network's own table: sanity →
//! destination NAT → route → isolation → source NAT → MTU → neighbour. The answer is a [`Way`](walk::Way): what is
//! rewritten, and to which station it goes. Most are compiled into the flow cache, so that the stages see the first
//! packet of a flow in each direction, TCP segments that begin or end connections, and what cannot be cached.
//!
//! What the stages learn is one for all workers, because the answer to a question may come in at another worker's
//! queue: connections, neighbours, and packets whose fragments are still to come. Each stands behind a lock of its
//! own. Only the stages take it, never a frame the flow cache knows; and no two are held at once.
//!
//! What a cached answer was made from may change: [`Router::epoch`] tells of neighbours, and the connection's entry
//! in [`Activity`] of the connection.

pub mod hearing;
pub mod sanity;
pub mod walk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::conntrack::Activity;
use crate::fragment::{FragmentLimits, FragmentTracker};
use crate::hash::Seed;
use crate::id::PortId;
use crate::nat::Nat;
use crate::neighbor::{NeighborLimits, Neighbors};

/// See the [module](self).
#[derive(Debug)]
pub struct Router {
    nat: Mutex<Nat>,
    neighbors: Mutex<Neighbors>,
    fragments: Mutex<FragmentTracker>,
    activity: Arc<Activity>,
    /// A copy of the neighbours' epoch, to be read without the lock.
    epoch: std::sync::atomic::AtomicU32,
}

impl Router {
    /// A router that knows nobody yet. `connections` bounds the connection table.
    pub fn new(seed: Seed, connections: usize) -> Self {
        let activity = Arc::new(Activity::new(connections));
        Self {
            nat: Mutex::new(Nat::new(Arc::clone(&activity), seed)),
            neighbors: Mutex::new(Neighbors::new(NeighborLimits::default(), seed)),
            fragments: Mutex::new(FragmentTracker::new(FragmentLimits::default(), seed)),
            activity,
            epoch: std::sync::atomic::AtomicU32::new(0),
        }
    }

    /// The connections.
    pub fn nat(&self) -> MutexGuard<'_, Nat> {
        locked(&self.nat)
    }

    /// Packets of which fragments are still to come.
    pub fn fragments(&self) -> MutexGuard<'_, FragmentTracker> {
        locked(&self.fragments)
    }

    /// Asks or changes what is known of neighbours.
    pub fn neighbors<T>(&self, ask: impl FnOnce(&mut Neighbors) -> T) -> T {
        let mut neighbors = locked(&self.neighbors);
        let answer = ask(&mut neighbors);
        self.epoch.store(neighbors.epoch(), std::sync::atomic::Ordering::Release);
        answer
    }

    /// Forgets what a port that is gone had a part in.
    pub fn forget(&self, port: PortId) {
        self.neighbors(|neighbors| neighbors.forget_port(port));
        self.nat().remove_owner(port);
        // Its fragments go with it, uncounted as its counters do.
        self.fragments().forget_port(port, &mut Vec::new());
    }

    /// Whether connections are still there, and when they were last used.
    #[inline]
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Changes when a neighbour is not, or not where, it was.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// A worker that panicked left a table that is still whole: every change is made of steps that keep its invariants, and
/// the panic itself is reported where it happened.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
