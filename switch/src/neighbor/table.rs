//! The entries and their indexes.
//!
//! Trees, because everything asked of them is an order: the next timer, the oldest entry of a network in some state,
//! all entries of a network. An entry stands in both indexes under its state and its timer; entries of one state have
//! timers of one length, so that the next to run out is the oldest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use vswitch_wire::MacAddr;

use super::{Held, State};
use crate::bucket::Bucket;
use crate::id::NetworkId;
use crate::time::Time;

/// An address and where it lives.
pub(super) type Key = (NetworkId, IpAddr);

/// The least address, where ranges begin.
const LEAST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Half a second's worth of questions may be asked at once.
const QUESTION_BURST_NANOS: u64 = 500_000_000;

/// What is known of a neighbour.
#[derive(Debug)]
pub(super) struct Entry {
    /// Changed by [`Table::enter`] only.
    pub(super) state: State,
    /// When the state's timer runs out; likewise.
    due: Time,
    /// Zero while not known.
    pub(super) mac: MacAddr,
    /// Questions asked in this state.
    pub(super) asked: u8,
    /// When it was made or last confirmed.
    pub(super) since: Time,
    held: VecDeque<Held>,
}

impl Entry {
    pub(super) fn new(state: State, mac: MacAddr, due: Time, now: Time) -> Self {
        Self { state, due, mac, asked: 0, since: now, held: VecDeque::new() }
    }
}

/// What a network has in the table.
#[derive(Debug, Default)]
struct Population {
    entries: usize,
    incomplete: usize,
    held_bytes: usize,
    questions: Bucket,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Key, Entry>,
    timers: BTreeSet<(State, Time, Key)>,
    by_network: BTreeSet<(NetworkId, State, Time, IpAddr)>,
    /// Only of networks that have entries, and while the network is asked about.
    populations: BTreeMap<NetworkId, Population>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// Entries and incomplete entries of a network.
    pub(super) fn population(&self, network: NetworkId) -> (usize, usize) {
        self.populations
            .get(&network)
            .map_or((0, 0), |population| (population.entries, population.incomplete))
    }

    /// Takes a network's leave for a question to everybody.
    pub(super) fn may_ask(&mut self, network: NetworkId, per_second: u32, now: Time) -> bool {
        let population = self.populations.entry(network).or_default();
        population.questions.take(per_second, QUESTION_BURST_NANOS, now)
    }

    /// Adds an entry that is not there yet.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        self.index(key, entry.state, entry.due);
        self.populations.entry(key.0).or_default().entries += 1;
        self.entries.insert(key, entry);
    }

    /// Removes an entry. Nothing may be held for it any more.
    pub(super) fn remove(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(&key) else { return };
        self.unindex(key, entry.state, entry.due);
        if let Some(population) = self.populations.get_mut(&key.0) {
            population.entries -= 1;
            if population.entries == 0 {
                self.populations.remove(&key.0);
            }
        }
    }

    /// Moves an entry to a state, whose timer runs out at `due`. Entering another state begins counting questions.
    pub(super) fn enter(&mut self, key: Key, state: State, due: Time) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let (was, was_due) = (entry.state, entry.due);
        if was != state {
            entry.asked = 0;
        }
        (entry.state, entry.due) = (state, due);
        self.unindex(key, was, was_due);
        self.index(key, state, due);
    }

    pub(super) fn set_mac(&mut self, key: Key, mac: MacAddr, confirmed: Option<Time>) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.mac = mac;
            entry.since = confirmed.unwrap_or(entry.since);
        }
    }

    pub(super) fn count_question(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.asked += 1;
        }
    }

    fn index(&mut self, key: Key, state: State, due: Time) {
        self.timers.insert((state, due, key));
        self.by_network.insert((key.0, state, due, key.1));
        if state == State::Incomplete {
            self.populations.entry(key.0).or_default().incomplete += 1;
        }
    }

    fn unindex(&mut self, key: Key, state: State, due: Time) {
        self.timers.remove(&(state, due, key));
        self.by_network.remove(&(key.0, state, due, key.1));
        if state == State::Incomplete
            && let Some(population) = self.populations.get_mut(&key.0)
        {
            population.incomplete -= 1;
        }
    }

    /// What waits with an incomplete entry, and the bytes that wait in its network.
    pub(super) fn held_by(&mut self, key: Key) -> Option<(&mut VecDeque<Held>, &mut usize)> {
        let entry = self.entries.get_mut(&key)?;
        let population = self.populations.get_mut(&key.0)?;
        Some((&mut entry.held, &mut population.held_bytes))
    }

    /// The oldest entry in this state.
    pub(super) fn oldest(&self, state: State) -> Option<Key> {
        self.first(state).map(|(_, key)| key)
    }

    /// The oldest entry of a network in this state.
    pub(super) fn oldest_of(&self, network: NetworkId, state: State) -> Option<Key> {
        let mut from = self.by_network.range((network, state, Time::default(), LEAST)..);
        let (of, in_state, _, address) = from.next()?;
        (*of == network && *in_state == state).then_some((network, *address))
    }

    /// An entry in this state whose timer has run out.
    pub(super) fn due(&self, state: State, now: Time) -> Option<Key> {
        self.first(state).filter(|(due, _)| *due <= now).map(|(_, key)| key)
    }

    /// When the first timer of all runs out.
    pub(super) fn next_due(&self) -> Option<Time> {
        State::ALL.into_iter().filter_map(|state| self.first(state)).map(|(due, _)| due).min()
    }

    fn first(&self, state: State) -> Option<(Time, Key)> {
        let mut from = self.timers.range((state, Time::default(), (NetworkId::FIRST, LEAST))..);
        let (in_state, due, key) = from.next()?;
        (*in_state == state).then_some((*due, *key))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    pub(super) fn keys_of(&self, network: NetworkId) -> Vec<Key> {
        let from = self.entries.range((network, LEAST)..);
        from.map(|(key, _)| *key).take_while(|key| key.0 == network).collect()
    }

    /// Runs over everything that is held.
    pub(super) fn for_each_queue(&mut self, mut visit: impl FnMut(&mut VecDeque<Held>, &mut usize)) {
        for (key, entry) in &mut self.entries {
            if let Some(population) = self.populations.get_mut(&key.0) {
                visit(&mut entry.held, &mut population.held_bytes);
            }
        }
    }
}
