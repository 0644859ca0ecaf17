//! What a worker does on time, and not because of a frame: neighbours are asked again, connections and fragments
//! expire, gateways advertise themselves and announce who moved in.
//!
//! # Theory of operation
//! One worker of the switch does the chores of all; which one, its caller decides. [`Shard::chores`] does what is due
//! and answers when it wants to be called next, so that a switch with nothing to wait for sleeps. Each call does a
//! bounded amount: what is left is due at once.
//!
//! Announcements and advertisements are few and rare; they wait in one short list.

use std::net::IpAddr;
use std::time::Duration;

use vswitch_wire::MacAddr;

use super::Shard;
use crate::device::Device;
use crate::drop_reason::DropReason;
use crate::gateway::{advertise, announce};
use crate::hash::Seed;
use crate::id::NetworkId;
use crate::tables::Tables;
use crate::time::Time;

/// Connections looked at per call: about a microsecond each at worst, while packets wait.
const CONNECTIONS: usize = 512;

/// How often expiry is looked at, while there is anything that can expire.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// RFC 4861 §10: the first advertisements follow each other this fast, this many times.
const FIRST_ADVERTISEMENTS: u8 = 3;
const FIRST_INTERVAL: Duration = Duration::from_secs(16);

/// Announcements of an address, and the time between them (RFC 5227 §1.1: two, two seconds apart; engines send three,
/// one second apart, since switches outside lose the first while a link comes up).
const ANNOUNCEMENTS: u8 = 3;
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// The most chores that wait at once: an announcement for every port and family, and every gateway's advertisement.
const MOST: usize = 64 * 1024;

/// Something to be done on time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chore {
    /// A network's gateway advertises itself to IPv6 hosts, for as long as it does.
    Advertise(NetworkId),
    /// An address is announced where it lives.
    Announce(Announcement),
}

/// Who is announced, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The network that shall know.
    pub network: NetworkId,
    /// The address.
    pub address: IpAddr,
    /// The station that has it.
    pub mac: MacAddr,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    due: Time,
    /// How often it has been done.
    done: u8,
    chore: Chore,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Chores {
    waiting: Vec<Waiting>,
    expire_at: Time,
}

impl<D: Device> Shard<D> {
    /// Adds a chore, first due now. One that is waiting already starts anew.
    pub fn add_chore(&mut self, chore: Chore, now: Time) {
        let waiting = &mut self.chores.waiting;
        waiting.retain(|other| other.chore != chore);
        if waiting.len() < MOST {
            waiting.push(Waiting { due: now, done: 0, chore });
        }
    }

    /// Does what is due. Answers when to call again: never, if there is nothing to wait for.
    pub fn chores(&mut self, tables: &Tables, now: Time) -> Option<Time> {
        self.do_waiting(tables, now);
        let expiring = self.expire_router(tables, now);
        let asking = self.ask_neighbors(tables, now);
        self.walk_again(tables, now);
        let waiting = self.chores.waiting.iter().map(|waiting| waiting.due).min();
        [waiting, expiring, asking].into_iter().flatten().min()
    }

    fn do_waiting(&mut self, tables: &Tables, now: Time) {
        let mut place = 0;
        while let Some(waiting) = self.chores.waiting.get(place).copied() {
            if waiting.due > now {
                place += 1;
                continue;
            }
            match self.perform(tables, &waiting) {
                Some(pause) => {
                    let done = waiting.done.saturating_add(1);
                    self.chores.waiting[place] = Waiting { due: now.after(pause), done, ..waiting };
                    place += 1;
                }
                None => {
                    self.chores.waiting.swap_remove(place);
                }
            }
        }
    }

    /// Does one chore. Answers how long until the next time, none when it is done for good.
    fn perform(&mut self, tables: &Tables, waiting: &Waiting) -> Option<Duration> {
        match waiting.chore {
            Chore::Announce(Announcement { network, address, mac }) => {
                let gateway = tables.network(network)?.gateway.as_deref();
                let router = gateway.is_some_and(|gateway| gateway.mac == mac);
                announce::claim(mac, address, router, &mut self.own);
                self.send_own_to_all(tables, network);
                (waiting.done + 1 < ANNOUNCEMENTS).then_some(ANNOUNCE_EVERY)
            }
            Chore::Advertise(network) => {
                let gateway = tables.network(network)?.gateway.as_deref()?;
                let advertisement = gateway.advertisement?;
                if advertise::write(gateway, None, &mut self.own) {
                    self.send_own_to_all(tables, network);
                }
                let pause = jittered(self.seed, waiting, advertisement.interval);
                let first = waiting.done + 1 < FIRST_ADVERTISEMENTS;
                Some(if first { pause.min(FIRST_INTERVAL) } else { pause })
            }
        }
    }

    /// Lets connections and fragments expire. Answers when to look again, while there are any.
    fn expire_router(&mut self, tables: &Tables, now: Time) -> Option<Time> {
        let mut over = Vec::new();
        let fragments = {
            let mut tracker = self.router.fragments();
            tracker.expire(now, &mut over);
            tracker.next_expiry()
        };
        for fragment in over {
            self.let_go(fragment);
        }
        [fragments, self.expire_connections(tables, now)].into_iter().flatten().min()
    }

    fn expire_connections(&mut self, tables: &Tables, now: Time) -> Option<Time> {
        let rules = tables.nat()?;
        let mut nat = self.router.nat();
        if now >= self.chores.expire_at {
            let unfinished = nat.tend(rules, now, CONNECTIONS);
            self.chores.expire_at = if unfinished { now } else { now.after(EXPIRE_EVERY) };
        }
        (!nat.is_empty()).then_some(self.chores.expire_at)
    }

    /// Asks neighbours again, and gives up those that do not answer.
    fn ask_neighbors(&mut self, tables: &Tables, now: Time) -> Option<Time> {
        let router = std::sync::Arc::clone(&self.router);
        let mut asks = Vec::new();
        let mut failed = Vec::new();
        let next = router.neighbors(|neighbors| {
            neighbors.due(now, |ask| asks.push(ask), |held, reason| failed.push((held, reason)));
            neighbors.next_due()
        });
        for question in asks {
            self.ask(tables, &question, now);
        }
        for (held, reason) in failed {
            match reason {
                // It walks again, finds the neighbour failed, and its sender is told.
                DropReason::NeighborUnreachable => self.again.push(held),
                reason => self.count_drop(held.ingress, reason),
            }
        }
        next
    }
}

/// RFC 4861 §6.2.4: between a third of the interval and all of it, so that routers do not fall into step.
fn jittered(seed: Seed, waiting: &Waiting, interval: u16) -> Duration {
    let most = Duration::from_secs(interval.into());
    let fraction = seed.hash_word(waiting.due.nanos()) % 1024;
    let fraction = u32::try_from(fraction).unwrap_or(0);
    most / 3 + most * 2 / 3 * fraction / 1024
}
