//! The neighbour cache: which MAC address the stations have that nobody configured, found by asking.
//!
//! # Theory of operation
//! One [`Neighbors`] serves every network of the switch and both families: ARP is run by the rules of IPv6's neighbour
//! unreachability detection (RFC 4861 §7.3), whose states an entry goes through:
//!
//! * **incomplete**: asked for by multicast or broadcast, up to three times, a second apart. Packets wait with it.
//! * **reachable**: answered less than about 30 seconds ago. **stale**: longer ago, or the address was only overheard.
//! * **delay**: stale and in use; five seconds later it becomes **probe**, and is asked directly up to three times.
//! * **failed**: did not answer. Packets are refused for a second, then the next one asks anew. An entry that was in
//!   use and does not answer its probes is forgotten instead, so that the next packet asks everybody at once.
//!
//! An address is used in every state but incomplete and failed. Only answers to what was asked and requests to the
//! gateway make entries or confirm them; anything else overheard corrects what is known and is not believed reachable.
//!
//! Invariants:
//! * An answer that may be cached was given in the states reachable, delay and probe only (asking moves stale to
//!   delay). Leaving them other than for each other, and a changed address, change the [`epoch`](Neighbors::epoch). A
//!   flow cache that heeds it asks again, which is how flows that are never looked up keep their neighbour probed. At
//!   most ten changes a second show, later ones together, so that nobody can keep all flows from being cached.
//! * `table` keeps every entry in its two indexes by timer. All work is logarithmic; [`due`](Neighbors::due) does a bounded
//!   number of steps per call and goes on in the next.
//!
//! **Full**: a network has so many incomplete entries at most; beyond, the oldest makes way for the new one. At a
//! network's share, or the table's end, failed entries make way first, then incomplete ones, then stale ones; those in
//! use never do. So a scan of a /64 or /8 replaces its own entries. Questions to everybody are rate limited per network,
//! probes are not: there are three per entry in use, and a scan must not starve them. Held frames are bounded per
//! neighbour, per network and in all; where there is no room the frame is dropped.

mod held;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::net::IpAddr;
use std::time::Duration;

use vswitch_wire::MacAddr;

pub use self::held::Held;
use self::held::Holding;
use self::table::{Entry, Key, Table};
pub use self::words::{Ask, NeighborEntry, NeighborLimits, Resolution, Sighting, State};
use crate::drop_reason::DropReason;
use crate::hash::Seed;
use crate::id::{NetworkId, PortId};
use crate::time::Time;

/// `REACHABLE_TIME`, and half of it: `MIN_RANDOM_FACTOR` (RFC 4861 §10).
const REACHABLE_TIME: Duration = Duration::from_secs(30);
const SHORTEST_REACHABLE: Duration = Duration::from_secs(15);
/// `DELAY_FIRST_PROBE_TIME` (RFC 4861 §10).
const DELAY: Duration = Duration::from_secs(5);
/// `RETRANS_TIMER` (RFC 4861 §10).
const RETRANSMIT: Duration = Duration::from_secs(1);
/// `MAX_MULTICAST_SOLICIT` and `MAX_UNICAST_SOLICIT` (RFC 4861 §10).
const SOLICITATIONS: u8 = 3;
/// How long packets are refused before an address that did not answer is asked for again.
const REFUSED: Duration = Duration::from_secs(1);
/// How long an address that nobody uses is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The least time between two changes of the epoch.
const EPOCH_INTERVAL: Duration = Duration::from_millis(100);
/// Timers that one call of [`Neighbors::due`] looks at.
const TIMERS_PER_CALL: usize = 256;

/// See the [module](self).
#[derive(Debug)]
pub struct Neighbors {
    table: Table,
    holding: Holding,
    limits: NeighborLimits,
    seed: Seed,
    /// Counts what was drawn from the seed.
    drawn: u64,
    epoch: u32,
    epoch_changed: Time,
    /// The epoch has to change, but changed too recently.
    epoch_overdue: bool,
}

impl Neighbors {
    /// An empty cache.
    pub fn new(limits: NeighborLimits, seed: Seed) -> Self {
        Self {
            table: Table::default(),
            holding: Holding::new(limits),
            limits,
            seed,
            drawn: 0,
            epoch: 1,
            epoch_changed: Time::default(),
            epoch_overdue: false,
        }
    }

    /// Changes whenever an answer that was cached may have become wrong, or needs asking for again.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// The MAC address of `address`, or what is being done to find it. `address` is a unicast address that lives on
    /// `network`, or is said to.
    pub fn resolve(&mut self, network: NetworkId, address: IpAddr, now: Time) -> Resolution {
        let key = (network, address);
        match self.table.entry(key).map(|entry| (entry.state, entry.mac)) {
            Some((State::Reachable | State::Delay | State::Probe, mac)) => Resolution::Known(mac),
            Some((State::Stale, mac)) => {
                // RFC 4861 §7.3.3: the first packet to a stale neighbour begins the delay, and is sent.
                self.table.enter(key, State::Delay, now.after(DELAY));
                Resolution::Known(mac)
            }
            Some((State::Incomplete, _)) => Resolution::Pending { ask: false },
            Some((State::Failed, _)) => Resolution::Failed,
            None if self.make_room(network, State::Incomplete) => {
                let ask = self.table.may_ask(network, self.limits.questions, now);
                let mut entry = Entry::new(State::Incomplete, MacAddr::ZERO, now.after(RETRANSMIT), now);
                entry.asked = u8::from(ask);
                self.table.insert(key, entry);
                Resolution::Pending { ask }
            }
            None => Resolution::Limit,
        }
    }

    /// Keeps a frame until its neighbour answers. Answers the frame that is dropped for it: the neighbour's oldest
    /// one, or the frame itself where there is no room, or nobody is asking for the neighbour.
    pub fn hold(&mut self, network: NetworkId, address: IpAddr, held: Held) -> Option<Held> {
        let key = (network, address);
        let incomplete = self.table.entry(key).is_some_and(|entry| entry.state == State::Incomplete);
        match self.table.held_by(key) {
            Some((queue, of_network)) if incomplete => self.holding.hold(queue, of_network, held),
            _ => Some(held),
        }
    }

    /// Notes that `address` was heard to be at `mac`. Frames that waited for it are added to `release`.
    pub fn heard(
        &mut self,
        network: NetworkId,
        address: IpAddr,
        mac: MacAddr,
        what: Sighting,
        now: Time,
        release: &mut Vec<Held>,
    ) {
        if !mac.is_unicast() {
            return;
        }
        let key = (network, address);
        match self.table.entry(key).map(|entry| (entry.state, entry.mac)) {
            None => {
                // RFC 4861 §7.2.3, RFC 826: who asks us is about to be answered. Nothing else makes an entry.
                if what == Sighting::Request && self.make_room(network, State::Stale) {
                    self.table.insert(key, Entry::new(State::Stale, mac, now.after(REMEMBERED), now));
                }
            }
            Some((State::Incomplete | State::Failed, _)) => {
                // RFC 4861 §7.2.5: whatever the override flag.
                self.believe(key, mac, matches!(what, Sighting::Solicited { .. }), now);
                if let Some((queue, of_network)) = self.table.held_by(key) {
                    self.holding.release(queue, of_network, release);
                }
            }
            Some((state, known)) => self.compare(key, state, mac != known, mac, what, now),
        }
    }

    /// A known neighbour was heard again, perhaps with another address (RFC 4861 §7.2.5 and, for requests, §7.2.3).
    fn compare(&mut self, key: Key, state: State, changed: bool, mac: MacAddr, what: Sighting, now: Time) {
        match what {
            Sighting::Solicited { overrides: false } | Sighting::Unsolicited { overrides: false }
                if changed =>
            {
                // Two claim the address. The known one is kept, and probed when used.
                if state == State::Reachable {
                    self.table.enter(key, State::Stale, now.after(REMEMBERED));
                    self.void(now);
                }
            }
            Sighting::Solicited { .. } => self.believe(key, mac, true, now),
            Sighting::Unsolicited { .. } | Sighting::Request if changed => self.believe(key, mac, false, now),
            Sighting::Unsolicited { .. } | Sighting::Request => {}
        }
        if changed && state.in_use() && self.table.entry(key).is_some_and(|entry| entry.mac == mac) {
            self.void(now);
        }
    }

    /// Sets the address of an entry.
    fn believe(&mut self, key: Key, mac: MacAddr, confirmed: bool, now: Time) {
        let reachable_time = if confirmed { self.draw_reachable_time() } else { REMEMBERED };
        let state = if confirmed { State::Reachable } else { State::Stale };
        let due = now.after(reachable_time);
        self.table.enter(key, state, due);
        self.table.set_mac(key, mac, confirmed.then_some(now));
    }

    /// Between 0.5 and 1.5 times [`REACHABLE_TIME`] (RFC 4861 §6.3.2).
    fn draw_reachable_time(&mut self) -> Duration {
        self.drawn += 1;
        let span = u64::try_from(REACHABLE_TIME.as_nanos()).unwrap_or(u64::MAX);
        SHORTEST_REACHABLE + Duration::from_nanos(self.seed.hash_word(self.drawn) % span)
    }

    /// Makes room for an entry in this state; whether there is any.
    fn make_room(&mut self, network: NetworkId, state: State) -> bool {
        let (entries, incomplete) = self.table.population(network);
        let victim = if state == State::Incomplete && incomplete >= self.limits.incomplete {
            self.table.oldest_of(network, State::Incomplete)
        } else if entries >= self.limits.per_network {
            EXPENDABLE.iter().find_map(|state| self.table.oldest_of(network, *state))
        } else if self.table.len() >= self.limits.entries {
            EXPENDABLE.iter().find_map(|state| self.table.oldest(*state))
        } else {
            return true;
        };
        let Some(victim) = victim else { return false };
        self.forget(victim, DropReason::NeighborLimit);
        true
    }

    /// Removes an entry. Frames that wait with it are reported by the next [`due`](Self::due).
    fn forget(&mut self, key: Key, reason: DropReason) {
        if let Some((queue, of_network)) = self.table.held_by(key) {
            self.holding.lose(queue, of_network, reason);
        }
        self.table.remove(key);
    }

    /// Lets timers run out: `ask` is called for each question to be sent, `lost` for each held frame that is not
    /// going to be sent, with the reason. To be called whenever [`next_due`](Self::next_due) has come, with a
    /// precision of 0.1 to 0.2 seconds.
    pub fn due(&mut self, now: Time, mut ask: impl FnMut(Ask), mut lost: impl FnMut(Held, DropReason)) {
        let mut budget = TIMERS_PER_CALL;
        // Those in use first: thousands that were never there are not to delay their probes.
        for state in State::ALL.into_iter().rev() {
            while budget > 0
                && let Some(key) = self.table.due(state, now)
            {
                budget -= 1;
                self.timer(key, state, now, &mut ask);
            }
        }
        self.holding.report(&mut lost);
        if self.epoch_overdue {
            self.void(now);
        }
    }

    /// An entry's timer has run out. Every arm moves the timer or removes the entry.
    fn timer(&mut self, key: Key, state: State, now: Time, ask: &mut impl FnMut(Ask)) {
        let (network, address) = key;
        let (asked, mac) = self.table.entry(key).map_or((0, MacAddr::ZERO), |entry| (entry.asked, entry.mac));
        match state {
            State::Failed | State::Stale => self.forget(key, DropReason::NeighborUnreachable),
            State::Reachable => {
                self.table.enter(key, State::Stale, now.after(REMEMBERED));
                self.void(now);
            }
            State::Incomplete if asked >= SOLICITATIONS => {
                if let Some((queue, of_network)) = self.table.held_by(key) {
                    self.holding.lose(queue, of_network, DropReason::NeighborUnreachable);
                }
                self.table.enter(key, State::Failed, now.after(REFUSED));
            }
            State::Incomplete => {
                // Without leave to ask it waits another turn; a new one may take its place meanwhile.
                let may_ask = self.table.may_ask(network, self.limits.questions, now);
                self.table.enter(key, State::Incomplete, now.after(RETRANSMIT));
                if may_ask {
                    self.table.count_question(key);
                    ask(Ask { network, address, unicast: None });
                }
            }
            State::Probe if asked >= SOLICITATIONS => {
                self.forget(key, DropReason::NeighborUnreachable);
                self.void(now);
            }
            State::Delay | State::Probe => {
                self.table.enter(key, State::Probe, now.after(RETRANSMIT));
                self.table.count_question(key);
                ask(Ask { network, address, unicast: Some(mac) });
            }
        }
    }

    /// Answers given before may be wrong. See the invariants.
    fn void(&mut self, now: Time) {
        self.epoch_overdue = now < self.epoch_changed.after(EPOCH_INTERVAL);
        if !self.epoch_overdue {
            self.epoch = self.epoch.wrapping_add(1);
            self.epoch_changed = now;
        }
    }

    /// When [`due`](Self::due) is to be called next; `None` while nothing is known or asked for.
    pub fn next_due(&self) -> Option<Time> {
        let epoch = self.epoch_overdue.then(|| self.epoch_changed.after(EPOCH_INTERVAL));
        let lost = self.holding.has_lost().then(Time::default);
        self.table.next_due().into_iter().chain(epoch).chain(lost).min()
    }

    /// Every entry, sorted by network and address.
    pub fn entries(&self, now: Time) -> impl Iterator<Item = NeighborEntry> {
        self.table.iter().map(move |((network, address), entry)| NeighborEntry {
            network,
            address,
            mac: entry.state.usable().then_some(entry.mac),
            state: entry.state,
            age: now.seconds().saturating_sub(entry.since.seconds()),
        })
    }

    /// Forgets a network that is gone, and what was held for its neighbours.
    pub fn forget_network(&mut self, network: NetworkId, now: Time) {
        for key in self.table.keys_of(network) {
            self.forget(key, DropReason::NoNetwork);
        }
        self.void(now);
    }

    /// Drops the frames held that came from a port that is gone.
    pub fn forget_port(&mut self, port: PortId) {
        let holding = &mut self.holding;
        self.table.for_each_queue(|queue, of_network| holding.discard(queue, of_network, port));
    }
}

/// What makes way for new entries, in this order.
const EXPENDABLE: [State; 3] = [State::Failed, State::Incomplete, State::Stale];
