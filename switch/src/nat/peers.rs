//! Whom the inside endpoint of a mapping sent to: what address-dependent filtering asks (RFC 4787 §5).
//!
//! A mapping itself knows one of its connections, and mostly has no other. Its further connections to one address are
//! in a ring, and the index knows one of each ring. So a mapping that talks to a thousand ports of an address has
//! one entry there, and asking costs the same as with one.

use crate::address::Address;
use crate::conntrack::{ConnectionTable, Index, Links, NONE};
use crate::hash::Seed;

use super::mapping::Mappings;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Peers {
    index: Index,
    seed: Seed,
}

impl Peers {
    pub(super) fn new(capacity: usize, seed: Seed) -> Self {
        Self { index: Index::new(capacity), seed }
    }

    /// A connection of the mapping to the address, whichever.
    pub(super) fn any(
        &self,
        table: &ConnectionTable,
        mappings: &mut Mappings,
        mapping: u32,
        remote: Address,
    ) -> Option<u32> {
        let first = *mappings.first(mapping);
        let is_it = |place: &u32| {
            table.at(*place).is_some_and(|found| found.mapping == mapping && found.remote.address == remote)
        };
        Some(first)
            .filter(|first| *first != NONE)
            .filter(is_it)
            .or_else(|| self.in_ring(table, mapping, remote))
    }

    /// Notes a connection from inside.
    pub(super) fn join(&mut self, table: &mut ConnectionTable, mappings: &mut Mappings, place: u32) {
        let connection = table.connection_mut(place);
        let (mapping, remote) = (connection.mapping, connection.remote.address);
        let first = mappings.first(mapping);
        if *first == NONE {
            *first = place;
            return;
        }
        let Some(known) = self.in_ring(table, mapping, remote) else {
            table.connection_mut(place).peers = Links { next: place, previous: place };
            self.index.insert(self.hash(mapping, remote), place);
            return;
        };
        let next = table.connection_mut(known).peers.next;
        table.connection_mut(place).peers = Links { next, previous: known };
        table.connection_mut(known).peers.next = place;
        table.connection_mut(next).peers.previous = place;
    }

    /// Forgets a connection of a mapping, if it was noted.
    pub(super) fn leave(&mut self, table: &mut ConnectionTable, mappings: &mut Mappings, place: u32) {
        let connection = table.connection_mut(place);
        let first = mappings.first(connection.mapping);
        if *first == place {
            *first = NONE;
            return;
        }
        let Links { next, previous } = std::mem::replace(&mut connection.peers, Links::NONE);
        if next == NONE {
            return;
        }
        let hash = self.hash(connection.mapping, connection.remote.address);
        if next == place {
            self.index.remove(hash, place);
            return;
        }
        table.connection_mut(previous).peers.next = next;
        table.connection_mut(next).peers.previous = previous;
        self.index.replace(hash, place, next);
    }

    fn in_ring(&self, table: &ConnectionTable, mapping: u32, remote: Address) -> Option<u32> {
        self.index.find(self.hash(mapping, remote), |place| {
            table.at(place).is_some_and(|found| found.mapping == mapping && found.remote.address == remote)
        })
    }

    fn hash(&self, mapping: u32, remote: Address) -> u64 {
        let [r0, r1]: [u64; 2] = zerocopy::transmute!(remote);
        self.seed.hash_key([r0, r1, u64::from(mapping), 0, 0x7065_6572])
    }

    /// What it occupies, for the record.
    pub(super) fn bytes(&self) -> usize {
        self.index.bytes()
    }
}
