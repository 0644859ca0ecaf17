//! Inside addresses that have mappings: which outside address each is paired with (RFC 4787 REQ-2).

use crate::address::{Address, Family};
use crate::conntrack::{Index, Linked, Links, Owners, Slab};
use crate::hash::Seed;
use crate::id::{NetworkId, PortId};

/// An inside address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    links: Links,
    pub(super) address: Address,
    /// The outside address that its mappings are on.
    pub(super) external: Address,
    /// How many mappings it has, held ones included.
    pub(super) mappings: u32,
    pub(super) network: NetworkId,
    pub(super) owner: PortId,
    epoch: u16,
    pub(super) family: Family,
    /// Whether it is found: not any more once another attachment has its address.
    found: bool,
}

impl Linked for Host {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// The hosts, by place and by address.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Slab<Host>,
    index: Index,
    seed: Seed,
}

impl Hosts {
    pub(super) fn new(capacity: usize, seed: Seed) -> Self {
        Self { hosts: Slab::new(capacity), index: Index::new(capacity), seed }
    }

    pub(super) fn at(&self, place: u32) -> &Host {
        &self.hosts[place]
    }

    pub(super) fn at_mut(&mut self, place: u32) -> &mut Host {
        &mut self.hosts[place]
    }

    /// Whether the host's attachment is still there.
    pub(super) fn lives(&self, place: u32, owners: &Owners) -> bool {
        let host = &self.hosts[place];
        owners.epoch(host.owner) == host.epoch
    }

    /// The host with this address, if its attachment is still there.
    pub(super) fn find(
        &self,
        network: NetworkId,
        family: Family,
        address: Address,
        owners: &Owners,
    ) -> Option<u32> {
        let place = self.index.find(self.hash(network, family, address), |place| {
            let host = &self.hosts[place];
            (host.network, host.family, host.address) == (network, family, address)
        })?;
        self.lives(place, owners).then_some(place)
    }

    /// A host without mappings yet; one of the same address whose attachment is gone is found no more. None when
    /// every place is taken.
    pub(super) fn add(
        &mut self,
        network: NetworkId,
        owner: PortId,
        family: Family,
        address: Address,
        owners: &Owners,
    ) -> Option<u32> {
        let hash = self.hash(network, family, address);
        let former = self.index.find(hash, |place| {
            let host = &self.hosts[place];
            (host.network, host.family, host.address) == (network, family, address)
        });
        if let Some(former) = former {
            self.index.remove(hash, former);
            self.hosts[former].found = false;
        }
        let place = self.hosts.insert(Host {
            links: Links::NONE,
            address,
            external: Address::default(),
            mappings: 0,
            network,
            owner,
            epoch: owners.epoch(owner),
            family,
            found: true,
        })?;
        self.index.insert(hash, place);
        Some(place)
    }

    /// Forgets a host without mappings.
    pub(super) fn remove(&mut self, place: u32) {
        let host = self.hosts[place];
        if host.found {
            self.index.remove(self.hash(host.network, host.family, host.address), place);
        }
        self.hosts.free(place);
    }

    /// A number that depends on nothing but the address and the secret.
    pub(super) fn hash(&self, network: NetworkId, family: Family, address: Address) -> u64 {
        let [a0, a1]: [u64; 2] = zerocopy::transmute!(address);
        self.seed.hash_key([a0, a1, u64::from(network.number()), family as u64, 0x686f_7374])
    }

    /// What it occupies, for the record.
    pub(super) fn bytes(&self) -> usize {
        self.hosts.bytes() + self.index.bytes()
    }
}
