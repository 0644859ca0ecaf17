//! The ports of one outside address for one protocol: who has which, and which is next.
//!
//! # Theory of operation
//! Ports are kept in pages of 256, allocated when the first of them is taken; a page counts its even and its odd
//! ports, so that a search steps over what is full. A port belongs to one mapping: there is no overloading
//! (RFC 4787 REQ-3). A mapping without connections is *held*: nobody else gets its port for some time.
//!
//! A mapping gets its inside port where that is free; else a random one (RFC 6056 §3.3.1) of the same half of the
//! range (REQ-3a: below 1024 or not) and the same parity (REQ-4); else the next such port; else the next of any
//! parity; else one of the other half.

use std::ops::RangeInclusive;

use crate::address::{Address, Family};
use crate::conntrack::{List, NONE};
use crate::hash::Seed;

/// Random draws before the search goes port by port.
const DRAWS: usize = 16;

/// Ports per page.
const PAGE: u16 = 256;

/// Pages of all ports.
const PAGES: usize = 1 << 8;

/// A generator for choices that outsiders should not foresee: a keyed hash of a counter.
#[derive(Debug)]
pub(super) struct Random {
    seed: Seed,
    drawn: u64,
}

impl Random {
    pub(super) fn new(seed: Seed) -> Self {
        Self { seed, drawn: 0 }
    }

    /// A number below `bound`, which is not 0. The bias, for bounds up to 2^16, is below 2^-47.
    #[allow(clippy::cast_possible_truncation, reason = "below the bound")]
    fn below(&mut self, bound: u32) -> u32 {
        self.drawn += 1;
        let word = self.seed.hash_key([self.drawn, 0, 0, 0, 0x706f_7274]);
        ((u128::from(word) * u128::from(bound)) >> 64) as u32
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) address: Address,
    pub(super) family: Family,
    pub(super) protocol: u8,
    /// Mappings without connections, those held longest first.
    pub(super) held: List,
    pages: Vec<Option<Box<Page>>>,
}

#[derive(Debug)]
struct Page {
    /// How many even and odd ports are taken.
    taken: [u16; 2],
    mappings: [u32; PAGE as usize],
}

impl Page {
    const EMPTY: Self = Self { taken: [0; 2], mappings: [NONE; PAGE as usize] };

    /// Whether no port of this parity, or of either, is free.
    fn full(&self, parity: Option<u16>) -> bool {
        const HALF: u16 = PAGE / 2;
        match parity {
            Some(parity) => self.taken[usize::from(parity)] == HALF,
            None => self.taken == [HALF; 2],
        }
    }
}

impl Pool {
    pub(super) fn new(address: Address, family: Family, protocol: u8) -> Self {
        Self { address, family, protocol, held: List::EMPTY, pages: Vec::new() }
    }

    /// The mapping that has a port.
    #[inline]
    pub(super) fn at(&self, port: u16) -> Option<u32> {
        let mapping = self.page(port)?.mappings[usize::from(port % PAGE)];
        (mapping != NONE).then_some(mapping)
    }

    /// Gives a free port to a mapping.
    pub(super) fn take(&mut self, port: u16, mapping: u32) {
        if self.pages.is_empty() {
            self.pages.resize_with(PAGES, || None);
        }
        let page = self.pages[usize::from(port / PAGE)].get_or_insert_with(|| Box::new(Page::EMPTY));
        page.mappings[usize::from(port % PAGE)] = mapping;
        page.taken[usize::from(port & 1)] += 1;
    }

    /// Frees a taken port.
    pub(super) fn give_back(&mut self, port: u16) {
        if let Some(Some(page)) = self.pages.get_mut(usize::from(port / PAGE)) {
            page.mappings[usize::from(port % PAGE)] = NONE;
            page.taken[usize::from(port & 1)] -= 1;
        }
    }

    /// Gives back the memory of ports that nobody has.
    pub(super) fn shrink(&mut self) {
        for page in &mut self.pages {
            if page.as_ref().is_some_and(|page| page.taken == [0; 2]) {
                *page = None;
            }
        }
    }

    /// A free port within `range` for an inside endpoint with the port `inside`. `blocked` answers the last port
    /// of a run that must not be used, if the port is in one.
    pub(super) fn choose(
        &self,
        inside: u16,
        range: &RangeInclusive<u16>,
        blocked: impl Fn(u16) -> Option<u16>,
        random: &mut Random,
    ) -> Option<u16> {
        let fits = |port| self.at(port).is_none() && blocked(port).is_none();
        if range.contains(&inside) && fits(inside) {
            return Some(inside);
        }
        let (low, high) = (*range.start(), *range.end());
        let (below, above) = ((low, high.min(1023)), (low.max(1024), high));
        // REQ-3a: the inside port's own half of the range first.
        let halves = if inside < 1024 { [below, above] } else { [above, below] };
        let halves = halves.into_iter().filter(|(low, high)| low <= high);
        for half in halves {
            if let Some(drawn) = self.draw(inside & 1, half, fits, random) {
                return Some(drawn);
            }
            let start = random_port(half, random);
            let found = self.search(Some(inside & 1), half, start, &blocked);
            if let Some(found) = found.or_else(|| self.search(None, half, start, &blocked)) {
                return Some(found);
            }
        }
        None
    }

    fn draw(
        &self,
        parity: u16,
        half: (u16, u16),
        fits: impl Fn(u16) -> bool,
        random: &mut Random,
    ) -> Option<u16> {
        (0..DRAWS)
            .map(|_| random_port(half, random) & !1 | parity)
            .find(|port| (half.0..=half.1).contains(port) && fits(*port))
    }

    /// The first free port from `start` on, then from the beginning.
    fn search(
        &self,
        parity: Option<u16>,
        (low, high): (u16, u16),
        start: u16,
        blocked: &impl Fn(u16) -> Option<u16>,
    ) -> Option<u16> {
        self.search_between(parity, u32::from(start), u32::from(high), blocked)
            .or_else(|| self.search_between(parity, u32::from(low), u32::from(start), blocked))
    }

    fn search_between(
        &self,
        parity: Option<u16>,
        from: u32,
        to: u32,
        blocked: &impl Fn(u16) -> Option<u16>,
    ) -> Option<u16> {
        let mut next = from;
        while next <= to {
            let port = u16::try_from(next).ok()?;
            if self.page(port).is_some_and(|page| page.full(parity)) {
                next = (next | u32::from(PAGE - 1)) + 1;
            } else if parity.is_some_and(|parity| port & 1 != parity) || self.at(port).is_some() {
                next += 1;
            } else if let Some(last) = blocked(port) {
                next = u32::from(last) + 1;
            } else {
                return Some(port);
            }
        }
        None
    }

    #[inline]
    fn page(&self, port: u16) -> Option<&Page> {
        self.pages.get(usize::from(port / PAGE))?.as_deref()
    }

    /// What it occupies, for the record.
    pub(super) fn bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        self.pages.len() * size_of::<Option<Box<Page>>>() + pages * size_of::<Page>()
    }
}

fn random_port((low, high): (u16, u16), random: &mut Random) -> u16 {
    let offset = random.below(u32::from(high - low) + 1);
    low + u16::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn pool() -> Pool {
        Pool::new(Address::default(), Family::V4, 17)
    }

    fn free(_: u16) -> Option<u16> {
        None
    }

    #[test]
    fn the_inside_port_is_kept_where_it_is_free() {
        let (mut pool, mut random) = (pool(), Random::new(Seed::new(1)));
        assert_eq!(pool.choose(5000, &(1024..=65535), free, &mut random), Some(5000));
        pool.take(5000, 1);
        let other = pool.choose(5000, &(1024..=65535), free, &mut random).unwrap();
        assert!(other != 5000 && other % 2 == 0 && other >= 1024);
        pool.give_back(5000);
        assert_eq!(pool.choose(5000, &(1024..=65535), free, &mut random), Some(5000));
    }

    #[test]
    fn well_known_ports_stay_so_where_that_is_allowed() {
        let (mut pool, mut random) = (pool(), Random::new(Seed::new(1)));
        pool.take(80, 1);
        let other = pool.choose(80, &(1..=65535), free, &mut random).unwrap();
        assert!(other < 1024 && other % 2 == 0, "{other}");
        assert!(pool.choose(80, &(1024..=65535), free, &mut random).unwrap() >= 1024);
    }

    #[test]
    fn others_choices_cannot_be_counted_on() {
        let choices = |seed| {
            let (mut pool, mut random) = (pool(), Random::new(Seed::new(seed)));
            pool.take(5000, 1);
            (0..8).map(|_| pool.choose(5000, &(1024..=65535), free, &mut random).unwrap()).collect::<Vec<_>>()
        };
        assert_ne!(choices(1), choices(2));
        assert_eq!(choices(1).iter().collect::<HashSet<_>>().len(), 8);
    }

    proptest! {
        /// Until the last port that is neither taken nor blocked, and parity as long as there is one.
        #[test]
        fn every_port_is_found_once(low in 1000u16..1100, length in 0u16..300, blocked_from in 1000u16..1400, blocked_length in 0u16..90, seed: u64) {
            let range = low..=low + length;
            let run = blocked_from..=blocked_from + blocked_length;
            let blocked = |port| run.contains(&port).then_some(*run.end());
            let (mut pool, mut random) = (pool(), Random::new(Seed::new(seed)));
            let mut left: HashSet<u16> = range.clone().filter(|port| !run.contains(port)).collect();
            while let Some(port) = pool.choose(1025, &range, blocked, &mut random) {
                prop_assert!(left.remove(&port), "{} is taken, blocked or out of range", port);
                let own_half = |other: &u16| *other % 2 == 1 && *other >= 1024;
                prop_assert!(own_half(&port) || !left.iter().any(own_half), "{} though {:?}", port, left);
                pool.take(port, 0);
            }
            prop_assert!(left.is_empty(), "{:?} were not found", left);
        }
    }
}
