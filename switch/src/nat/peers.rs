//! Whom the inside endpoint of a mapping sent to: what address-dependent filtering asks (RFC 4787 §5).
//!
//! Connections of one mapping to one address are in a ring, and the index knows one of each ring. So a mapping
//! that talks to a thousand ports of an address has one entry there, and asking costs the same as with one.

use crate::address::Address;
use crate::conntrack::{ConnectionTable, Index, Links, NONE};
use crate::hash::Seed;

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
    pub(super) fn any(&self, table: &ConnectionTable, mapping: u32, remote: Address) -> Option<u32> {
        self.index.find(self.hash(mapping, remote), |place| {
            table.at(place).is_some_and(|found| found.mapping == mapping && found.remote.address == remote)
        })
    }

    /// Puts a connection into its ring.
    pub(super) fn join(&mut self, table: &mut ConnectionTable, place: u32) {
        let connection = table.connection_mut(place);
        let (mapping, remote) = (connection.mapping, connection.remote.address);
        let Some(known) = self.any(table, mapping, remote) else {
            table.connection_mut(place).peers = Links { next: place, previous: place };
            self.index.insert(self.hash(mapping, remote), place);
            return;
        };
        let next = table.connection_mut(known).peers.next;
        table.connection_mut(place).peers = Links { next, previous: known };
        table.connection_mut(known).peers.next = place;
        table.connection_mut(next).peers.previous = place;
    }

    /// Takes a connection out of its ring, if it is in one.
    pub(super) fn leave(&mut self, table: &mut ConnectionTable, place: u32) {
        let connection = table.connection_mut(place);
        let Links { next, previous } = std::mem::replace(&mut connection.peers, Links::NONE);
        let hash = self.hash(connection.mapping, connection.remote.address);
        if next == NONE {
            return;
        }
        if next == place {
            self.index.remove(hash, place);
            return;
        }
        table.connection_mut(previous).peers.next = next;
        table.connection_mut(next).peers.previous = previous;
        self.index.replace(hash, place, next);
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
