//! The learned part of a forwarding database: which port a MAC address was last heard on.
//!
//! # Theory of operation
//! One `Fdb` belongs to one network and one worker; configured addresses are not here but in the snapshot
//! ([`crate::tables`]), and win over what is learned. It is an open-addressed table with linear probing and
//! backward-shift deletion, so there are no tombstones and a lookup ends at the first empty slot. A slot is two
//! words: the address with an occupied bit, and port and last-heard second. The table is allocated whole for its
//! limit at a load of at most one half (32 bytes per entry, memory the system gives only as it is touched), so
//! learning never allocates and never rehashes.
//!
//! * **Ageing**: an entry not heard for `ageing` seconds is as good as gone at once (lookups compare) and is
//!   removed by [`Fdb::expire`], which walks a bounded part of the table per call.
//! * **Refreshing**: the last-heard second is rewritten only when it is an eighth of the ageing time old, so a
//!   busy flow does not write the table per frame.
//! * **Moves**: a known address heard on another port moves there. Forwarding decisions made before are then
//!   wrong, which the changed [`Fdb::generation`] tells the flow cache; so do expiry and flushing. Learning a new
//!   address changes no decision that may be cached, since floods are not.
//! * **Full**: at the network's limit, or at one port's share, a new address is not learned; frames to it are
//!   unknown unicast and flood under storm control. Known addresses keep being refreshed and moved, and the port
//!   that floods addresses spends its own share only.

use crate::hash::Seed;
use crate::id::PortId;
use vswitch_wire::MacAddr;

/// What [`Fdb::learn`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// A new entry.
    New,
    /// Known; its age was renewed.
    Refreshed,
    /// Known and fresh; nothing was written.
    Known,
    /// Was on another port.
    Moved,
    /// Not learned: the table or the port's share is full.
    Full,
}

/// How large and how old a table may grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FdbLimits {
    /// Learned addresses in all.
    pub entries: usize,
    /// Learned addresses on one port.
    pub per_port: usize,
    /// Seconds after which an address that was not heard is forgotten.
    pub ageing: u32,
}

/// One entry, as shown to people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FdbEntry {
    /// The address.
    pub mac: MacAddr,
    /// Where it was heard.
    pub port: PortId,
    /// Seconds since it was heard, to the precision of an eighth of the ageing time.
    pub age: u32,
}

/// Address in the low 48 bits and this bit, or zero when empty.
const OCCUPIED: u64 = 1 << 63;

type Slot = [u64; 2];
const EMPTY: Slot = [0, 0];

/// See the [module](self).
#[derive(Debug)]
pub struct Fdb {
    slots: Vec<Slot>,
    seed: Seed,
    limits: FdbLimits,
    learned: usize,
    /// Learned addresses per port, by index; grows once when a port with a higher number is first heard.
    per_port: Vec<u32>,
    generation: u32,
    /// Where [`Fdb::expire`] goes on.
    cursor: usize,
}

impl Fdb {
    /// An empty table with room for `limits.entries`.
    pub fn new(limits: FdbLimits, seed: Seed) -> Self {
        let capacity = (limits.entries.max(1) * 2).next_power_of_two();
        Self {
            slots: vec![EMPTY; capacity],
            seed,
            limits,
            learned: 0,
            per_port: Vec::new(),
            generation: 1,
            cursor: 0,
        }
    }

    /// Changes whenever a decision made from this table may have become wrong.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How many addresses are known, those included that [`expire`](Self::expire) has yet to remove.
    pub fn len(&self) -> usize {
        self.learned
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.learned == 0
    }

    /// Bytes per entry when full, for the record.
    pub fn bytes_per_entry(&self) -> usize {
        self.slots.len() * size_of::<Slot>() / self.limits.entries.max(1)
    }

    /// The port `mac` was heard on, unless that is too long ago.
    #[inline]
    pub fn lookup(&self, mac: MacAddr, now: u32) -> Option<PortId> {
        let slot = self.slots[self.find(key(mac)).ok()?];
        (now.wrapping_sub(seen(slot)) <= self.limits.ageing).then(|| port(slot))
    }

    /// Notes that `mac` was heard on `at`.
    pub fn learn(&mut self, mac: MacAddr, at: PortId, now: u32) -> Learned {
        let key = key(mac);
        match self.find(key) {
            Ok(place) => self.relearn(place, at, now),
            Err(_) if self.learned >= self.limits.entries || self.share(at) >= self.limits.per_port => {
                Learned::Full
            }
            Err(place) => {
                self.slots[place] = [key, pack(at, now)];
                self.learned += 1;
                self.count(at);
                Learned::New
            }
        }
    }

    fn relearn(&mut self, place: usize, at: PortId, now: u32) -> Learned {
        let slot = self.slots[place];
        let was = port(slot);
        if was != at {
            if self.share(at) >= self.limits.per_port {
                return Learned::Full;
            }
            self.uncount(was);
            self.count(at);
            self.slots[place][1] = pack(at, now);
            self.generation = self.generation.wrapping_add(1);
            return Learned::Moved;
        }
        if now.wrapping_sub(seen(slot)) < self.limits.ageing / 8 {
            return Learned::Known;
        }
        self.slots[place][1] = pack(at, now);
        Learned::Refreshed
    }

    /// Forgets everything heard on `port`.
    pub fn flush_port(&mut self, gone: PortId) {
        self.remove_where(0, self.slots.len(), |slot| port(slot) == gone);
    }

    /// Removes entries that are too old, looking at no more than `budget` slots; the next call goes on there.
    pub fn expire(&mut self, now: u32, budget: usize) {
        let ageing = self.limits.ageing;
        let begin = self.cursor;
        let budget = budget.min(self.slots.len());
        self.remove_where(begin, budget, |slot| now.wrapping_sub(seen(slot)) > ageing);
        self.cursor = (begin + budget) & (self.slots.len() - 1);
    }

    /// Every entry that is not too old, in no order.
    pub fn entries(&self, now: u32) -> impl Iterator<Item = FdbEntry> {
        self.slots.iter().filter(|slot| slot[0] != 0).filter_map(move |&slot| {
            let age = now.wrapping_sub(seen(slot));
            let [_, _, octets @ ..] = slot[0].to_be_bytes();
            (age <= self.limits.ageing).then(|| FdbEntry { mac: MacAddr(octets), port: port(slot), age })
        })
    }

    /// Removes matching entries among `count` slots from `begin` on.
    fn remove_where(&mut self, begin: usize, count: usize, matches: impl Fn(Slot) -> bool) {
        let mask = self.slots.len() - 1;
        let mut removed = false;
        for place in begin..begin + count {
            // A removal may shift a later entry into this place, so look again until nothing matches.
            while self.slots[place & mask][0] != 0 && matches(self.slots[place & mask]) {
                self.remove(place & mask);
                removed = true;
            }
        }
        if removed {
            self.generation = self.generation.wrapping_add(1);
        }
    }

    /// Empties `hole` and closes the gap: each later entry of the run moves up unless that would put it before
    /// the slot its hash names.
    fn remove(&mut self, mut hole: usize) {
        let mask = self.slots.len() - 1;
        self.uncount(port(self.slots[hole]));
        self.learned -= 1;
        let mut place = hole;
        loop {
            place = (place + 1) & mask;
            let slot = self.slots[place];
            if slot[0] == 0 {
                break;
            }
            let distance_home = place.wrapping_sub(self.home(slot[0])) & mask;
            let distance_hole = place.wrapping_sub(hole) & mask;
            if distance_home >= distance_hole {
                self.slots[hole] = slot;
                hole = place;
            }
        }
        self.slots[hole] = EMPTY;
    }

    /// The slot with this key, or the empty one where it would go. Ends, because at least half is empty.
    #[inline]
    fn find(&self, key: u64) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut place = self.home(key);
        loop {
            let found = self.slots[place & mask][0];
            if found == key {
                return Ok(place & mask);
            }
            if found == 0 {
                return Err(place & mask);
            }
            place += 1;
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "masked to the table's size")]
    fn home(&self, key: u64) -> usize {
        self.seed.hash_word(key) as usize & (self.slots.len() - 1)
    }

    fn share(&self, port: PortId) -> usize {
        self.per_port.get(port.index()).map_or(0, |count| *count as usize)
    }

    fn count(&mut self, port: PortId) {
        if self.per_port.len() <= port.index() {
            self.per_port.resize(port.index() + 1, 0);
        }
        self.per_port[port.index()] += 1;
    }

    fn uncount(&mut self, port: PortId) {
        self.per_port[port.index()] -= 1;
    }
}

#[inline]
fn key(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.octets();
    u64::from_be_bytes([0, 0, a, b, c, d, e, f]) | OCCUPIED
}

#[inline]
fn pack(port: PortId, seen: u32) -> u64 {
    u64::from(port.number()) << 32 | u64::from(seen)
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the low half is the second")]
fn seen(slot: Slot) -> u32 {
    slot[1] as u32
}

#[inline]
fn port(slot: Slot) -> PortId {
    // Only `pack` fills the upper half, so the number is a valid one; port 0 could only follow a broken table.
    PortId::new((slot[1] >> 32) as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const LIMITS: FdbLimits = FdbLimits { entries: 24, per_port: 16, ageing: 80 };

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn port_id(n: usize) -> PortId {
        PortId::new(n).unwrap()
    }

    #[test]
    fn a_full_table_keeps_what_it_knows_and_learns_nothing_new() {
        let mut fdb = Fdb::new(FdbLimits { entries: 2, per_port: 2, ageing: 80 }, Seed::new(1));
        assert_eq!(fdb.learn(mac(1), port_id(0), 0), Learned::New);
        assert_eq!(fdb.learn(mac(2), port_id(1), 0), Learned::New);
        assert_eq!(fdb.learn(mac(3), port_id(1), 0), Learned::Full);
        assert_eq!(fdb.learn(mac(1), port_id(1), 0), Learned::Moved, "a known address still moves");
        assert_eq!(fdb.lookup(mac(3), 0), None);
    }

    #[test]
    fn one_port_cannot_take_the_others_share() {
        let mut fdb = Fdb::new(FdbLimits { entries: 100, per_port: 3, ageing: 80 }, Seed::new(1));
        let learned = (0..100).filter(|n| fdb.learn(mac(*n), port_id(7), 0) == Learned::New).count();
        assert_eq!(learned, 3);
        assert_eq!(fdb.learn(mac(200), port_id(8), 0), Learned::New);
    }

    #[test]
    fn only_what_invalidates_decisions_changes_the_generation() {
        let mut fdb = Fdb::new(LIMITS, Seed::new(1));
        let before = fdb.generation();
        fdb.learn(mac(1), port_id(0), 0);
        fdb.learn(mac(1), port_id(0), 40);
        assert_eq!(fdb.generation(), before, "new and refreshed");
        fdb.learn(mac(1), port_id(1), 41);
        assert_eq!(fdb.generation(), before + 1, "moved");
        fdb.expire(121, usize::MAX);
        assert_eq!(fdb.generation(), before + 1, "nothing was old enough");
        fdb.expire(122, usize::MAX);
        assert_eq!(fdb.generation(), before + 2, "expired");
        assert!(fdb.is_empty());
    }

    #[test]
    fn an_entry_costs_at_most_32_bytes() {
        assert!(
            Fdb::new(FdbLimits { entries: 65_536, per_port: 1, ageing: 1 }, Seed::new(1)).bytes_per_entry()
                <= 32
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Learn(u8, usize),
        Wait(u32),
        Expire(usize),
        Flush(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..40, 0usize..3).prop_map(|(mac, port)| Step::Learn(mac, port)),
            2 => (0u32..60).prop_map(Step::Wait),
            1 => (0usize..80).prop_map(Step::Expire),
            1 => (0usize..3).prop_map(Step::Flush),
        ]
    }

    proptest! {
        /// Against a plain map that knows port and time of each address. The model keeps expired entries until
        /// the table dropped them too, since they count towards the limits until then.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec(step(), 0..200), seed: u64) {
            let mut fdb = Fdb::new(LIMITS, Seed::new(seed));
            let mut model: HashMap<u8, (usize, u32)> = HashMap::new();
            let mut now = 1000;
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Flush(port) => {
                        fdb.flush_port(port_id(port));
                        model.retain(|_, (at, _)| *at != port);
                    }
                    Step::Expire(budget) => {
                        fdb.expire(now, budget);
                        model.retain(|n, (_, seen)| now - *seen <= LIMITS.ageing || fdb.find(key(mac(*n))).is_ok());
                    }
                    Step::Learn(n, at) => {
                        let share = model.values().filter(|(port, _)| *port == at).count();
                        let full = share >= LIMITS.per_port;
                        let expected = match model.get(&n) {
                            Some((port, _)) if *port != at && full => Learned::Full,
                            Some((port, _)) if *port != at => Learned::Moved,
                            Some((_, seen)) if now - seen < LIMITS.ageing / 8 => Learned::Known,
                            Some(_) => Learned::Refreshed,
                            None if model.len() >= LIMITS.entries || full => Learned::Full,
                            None => Learned::New,
                        };
                        prop_assert_eq!(fdb.learn(mac(n), port_id(at), now), expected);
                        if !matches!(expected, Learned::Full | Learned::Known) {
                            model.insert(n, (at, now));
                        }
                    }
                }
                prop_assert_eq!(fdb.len(), model.len());
                for n in 0..40 {
                    let expected = model.get(&n).filter(|(_, seen)| now - seen <= LIMITS.ageing);
                    prop_assert_eq!(fdb.lookup(mac(n), now).map(PortId::index), expected.map(|(port, _)| *port));
                }
            }
            let shown = fdb.entries(now).count();
            prop_assert_eq!(shown, model.values().filter(|(_, seen)| now - seen <= LIMITS.ageing).count());
        }
    }
}
