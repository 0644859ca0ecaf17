//! Port mappings: which outside endpoint stands for which inside endpoint.
//!
//! # Theory of operation
//! A mapping is found by its inside endpoint (of its host, see [`super::host`]), with the remote address too where
//! mappings depend on it, and by its outside endpoint, in that address's [`Pool`]. It counts its connections. One
//! without any is held for a while: its own inside endpoint takes it up again with the same port, others do not
//! get the port (RFC 6888 REQ-8), and nothing comes in by it. When ports run out, the one held longest is given
//! up early where that is safe.
//!
//! Bounds: a mapping is made only with a connection, of which there are so many, and outlives it by the hold; so
//! there are twice as many places as for connections, and when they are full, no new mapping.

use std::collections::HashMap;

use crate::address::{Address, Endpoint, Family};
use crate::conntrack::{Index, Linked, Links, Owners, Slab};
use crate::drop_reason::DropReason;
use crate::hash::{Configured, Seed};
use crate::id::{NetworkId, PortId};
use vswitch_wire::protocol;

use super::host::Hosts;
use super::pool::{Pool, Random};
use super::rules::{Filtering, Mapping, NatRules};

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(super) struct PortMapping {
    /// Of its pool's list of held mappings.
    links: Links,
    host: u32,
    pub(super) connections: u32,
    /// Since when it is held.
    since: u32,
    /// Whom it is for, where that matters; else unspecified.
    remote: Address,
    pool: u16,
    port: u16,
    inside_port: u16,
    scope: Mapping,
    /// Whether it is found by its inside endpoint.
    found: bool,
}

impl Linked for PortMapping {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Who wants a mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) network: NetworkId,
    pub(super) owner: PortId,
    pub(super) family: Family,
    pub(super) protocol: u8,
    pub(super) inside: Endpoint,
    pub(super) remote: Address,
}

/// Whom a mapping leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipient {
    pub(super) mapping: u32,
    pub(super) inside: Endpoint,
    pub(super) network: NetworkId,
    pub(super) owner: PortId,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Mappings {
    mappings: Slab<PortMapping>,
    by_inside: Index,
    hosts: Hosts,
    pools: Vec<Pool>,
    /// There are pools for the configuration's addresses only.
    pool_of: HashMap<(Address, Family, u8), u16, Configured>,
    random: Random,
    seed: Seed,
}

impl Mappings {
    /// For as many connections.
    pub(super) fn new(capacity: usize, seed: Seed) -> Self {
        Self {
            mappings: Slab::new(2 * capacity),
            by_inside: Index::new(capacity),
            hosts: Hosts::new(2 * capacity, seed),
            pools: Vec::new(),
            pool_of: HashMap::default(),
            random: Random::new(seed),
            seed,
        }
    }

    /// The outside endpoint.
    pub(super) fn public(&self, place: u32) -> Endpoint {
        let mapping = &self.mappings[place];
        Endpoint { address: self.pools[usize::from(mapping.pool)].address, port: mapping.port }
    }

    /// Whom packets to an outside endpoint are for, if its mapping has a connection and its attachment is there.
    pub(super) fn recipient(
        &self,
        family: Family,
        protocol: u8,
        public: Endpoint,
        owners: &Owners,
    ) -> Option<Recipient> {
        let pool = self.pool_of.get(&(public.address, family, protocol))?;
        let place = self.pools[usize::from(*pool)].at(public.port)?;
        let mapping = &self.mappings[place];
        if mapping.connections == 0 || !self.hosts.lives(mapping.host, owners) {
            return None;
        }
        let host = self.hosts.at(mapping.host);
        let inside = Endpoint { address: host.address, port: mapping.inside_port };
        Some(Recipient { mapping: place, inside, network: host.network, owner: host.owner })
    }

    /// The mapping for a new connection: the one its sender has, or a new one, which is held until
    /// [used](Self::use_by_one).
    ///
    /// # Errors
    /// `NoExternalAddress`, `NoExternalPort`.
    pub(super) fn of_sender(
        &mut self,
        rules: &NatRules,
        owners: &Owners,
        sender: &Sender,
        now: u32,
    ) -> Result<u32, DropReason> {
        let host = self.hosts.find(sender.network, sender.family, sender.inside.address, owners);
        if let Some(place) = host.and_then(|host| self.find(rules.mapping, host, sender)) {
            if self.usable(rules, place) {
                return Ok(place);
            }
            self.lose(place);
        }
        let host = match host {
            Some(host) => host,
            None => self
                .hosts
                .add(sender.network, sender.owner, sender.family, sender.inside.address, owners)
                .ok_or(DropReason::NoExternalPort)?,
        };
        let made = self.make(rules, host, sender, now);
        if made.is_err() && self.hosts.at(host).mappings == 0 {
            self.hosts.remove(host);
        }
        made
    }

    /// Whether the rules still allow a mapping its outside endpoint.
    pub(super) fn usable(&self, rules: &NatRules, place: u32) -> bool {
        let mapping = &self.mappings[place];
        let pool = &self.pools[usize::from(mapping.pool)];
        let public = Endpoint { address: pool.address, port: mapping.port };
        rules.shared_addresses(pool.family).any(|address| address == pool.address)
            && rules.published.around(pool.protocol, pool.family, public).is_none()
    }

    /// One more connection uses it.
    pub(super) fn use_by_one(&mut self, place: u32) {
        let mapping = &mut self.mappings[place];
        mapping.connections += 1;
        if mapping.connections == 1 {
            let pool = usize::from(mapping.pool);
            self.pools[pool].held.remove(&mut self.mappings, place);
        }
    }

    /// One of its connections is gone.
    pub(super) fn leave_by_one(&mut self, place: u32, now: u32) {
        let mapping = &mut self.mappings[place];
        mapping.connections -= 1;
        if mapping.connections == 0 {
            self.hold(place, now);
        }
    }

    /// Forgets mappings held long enough, up to `budget` of them, of which is left what is left.
    pub(super) fn expire(&mut self, hold: u32, now: u32, budget: &mut usize) {
        for pool in 0..self.pools.len() {
            while let Some(place) = self.pools[pool].held.front() {
                if *budget == 0 || now.saturating_sub(self.mappings[place].since) <= hold {
                    break;
                }
                *budget -= 1;
                self.forget(place);
            }
        }
    }

    /// Whether giving up this connection of the mapping would free a port of the address that `sender` is paired
    /// with, or of any when it is not.
    pub(super) fn would_free(&self, place: u32, sender: &Sender, owners: &Owners) -> bool {
        let mapping = &self.mappings[place];
        let pool = &self.pools[usize::from(mapping.pool)];
        let host = self.hosts.find(sender.network, sender.family, sender.inside.address, owners);
        let wanted = host.map(|host| self.hosts.at(host).external);
        mapping.connections == 1
            && (pool.family, pool.protocol) == (sender.family, sender.protocol)
            && wanted.is_none_or(|wanted| wanted == pool.address)
    }

    /// Gives back memory that nothing needs.
    pub(super) fn shrink(&mut self) {
        self.pools.iter_mut().for_each(Pool::shrink);
    }

    fn find(&self, scope: Mapping, host: u32, sender: &Sender) -> Option<u32> {
        let remote = remote(scope, sender);
        let hash = self.hash(host, sender.inside.port, sender.protocol, remote);
        self.by_inside.find(hash, |place| {
            let mapping = &self.mappings[place];
            (mapping.host, mapping.inside_port, mapping.scope) == (host, sender.inside.port, scope)
                && mapping.remote == remote
                && self.pools[usize::from(mapping.pool)].protocol == sender.protocol
        })
    }

    fn make(&mut self, rules: &NatRules, host: u32, sender: &Sender, now: u32) -> Result<u32, DropReason> {
        let (pool, port) = self.choose(rules, host, sender)?;
        self.hosts.at_mut(host).external = self.pools[usize::from(pool)].address;
        let remote = remote(rules.mapping, sender);
        let found = rules.mapping != Mapping::AddressAndPortDependent;
        let place = self
            .mappings
            .insert(PortMapping {
                links: Links::NONE,
                host,
                connections: 0,
                since: now,
                remote,
                pool,
                port,
                inside_port: sender.inside.port,
                scope: rules.mapping,
                found,
            })
            .ok_or(DropReason::NoExternalPort)?;
        self.pools[usize::from(pool)].take(port, place);
        self.hosts.at_mut(host).mappings += 1;
        if found {
            let hash = self.hash(host, sender.inside.port, sender.protocol, remote);
            self.by_inside.insert(hash, place);
        }
        self.hold(place, now);
        Ok(place)
    }

    /// An outside endpoint for a new mapping. A host that has mappings stays with its address, even if others have
    /// ports left (RFC 4787 REQ-2, RFC 7857 §4); one that has none begins at an address that its own decides.
    fn choose(&mut self, rules: &NatRules, host: u32, sender: &Sender) -> Result<(u16, u16), DropReason> {
        let addresses = rules.shared_addresses(sender.family);
        let count = addresses.clone().count();
        if count == 0 {
            return Err(DropReason::NoExternalAddress);
        }
        let record = *self.hosts.at(host);
        if record.mappings > 0 && addresses.clone().any(|address| address == record.external) {
            return self.port_of(rules, record.external, sender).ok_or(DropReason::NoExternalPort);
        }
        let hash = self.hosts.hash(record.network, record.family, record.address);
        let first = usize::try_from(hash % count as u64).unwrap_or(0);
        addresses
            .cycle()
            .skip(first)
            .take(count)
            .find_map(|address| self.port_of(rules, address, sender))
            .ok_or(DropReason::NoExternalPort)
    }

    fn port_of(&mut self, rules: &NatRules, address: Address, sender: &Sender) -> Option<(u16, u16)> {
        let pool = self.pool(address, sender.family, sender.protocol)?;
        // Identifiers are no ports: nobody has configured them.
        let all = 0..=u16::MAX;
        let query = matches!(sender.protocol, protocol::ICMP | protocol::ICMPV6);
        let range = if query { &all } else { &rules.ports };
        let blocked = |port| {
            let around = rules.published.around(sender.protocol, sender.family, Endpoint { address, port });
            around.map(|ports| *ports.end())
        };
        let inside = sender.inside.port;
        if let Some(port) = self.pools[usize::from(pool)].choose(inside, range, blocked, &mut self.random) {
            return Some((pool, port));
        }
        // RFC 6888 REQ-8 lets a port be reused at once where TCP is tracked or strangers are filtered.
        if sender.protocol != protocol::TCP && rules.filtering == Filtering::EndpointIndependent {
            return None;
        }
        let oldest = self.pools[usize::from(pool)].held.front()?;
        let port = self.mappings[oldest].port;
        if !range.contains(&port) || blocked(port).is_some() {
            return None;
        }
        self.forget(oldest);
        Some((pool, port))
    }

    fn pool(&mut self, address: Address, family: Family, protocol: u8) -> Option<u16> {
        if let Some(pool) = self.pool_of.get(&(address, family, protocol)) {
            return Some(*pool);
        }
        let pool = u16::try_from(self.pools.len()).ok()?;
        self.pools.push(Pool::new(address, family, protocol));
        self.pool_of.insert((address, family, protocol), pool);
        Some(pool)
    }

    fn hold(&mut self, place: u32, now: u32) {
        self.mappings[place].since = now;
        let pool = usize::from(self.mappings[place].pool);
        self.pools[pool].held.push(&mut self.mappings, place);
    }

    /// Forgets a held mapping.
    fn forget(&mut self, place: u32) {
        self.lose(place);
        let mapping = self.mappings[place];
        let pool = &mut self.pools[usize::from(mapping.pool)];
        pool.held.remove(&mut self.mappings, place);
        pool.give_back(mapping.port);
        self.mappings.free(place);
        let host = self.hosts.at_mut(mapping.host);
        host.mappings -= 1;
        if host.mappings == 0 {
            self.hosts.remove(mapping.host);
        }
    }

    /// Lets new connections of its inside endpoint find it no more.
    fn lose(&mut self, place: u32) {
        let mapping = self.mappings[place];
        if mapping.found {
            let protocol = self.pools[usize::from(mapping.pool)].protocol;
            let hash = self.hash(mapping.host, mapping.inside_port, protocol, mapping.remote);
            self.by_inside.remove(hash, place);
            self.mappings[place].found = false;
        }
    }

    fn hash(&self, host: u32, inside_port: u16, protocol: u8, remote: Address) -> u64 {
        let [r0, r1]: [u64; 2] = zerocopy::transmute!(remote);
        let inside = u64::from(host) << 32 | u64::from(inside_port) << 16 | u64::from(protocol);
        self.seed.hash_key([r0, r1, inside, 0, 0x6d61_7073])
    }

    /// What it occupies, for the record.
    pub(super) fn bytes(&self) -> usize {
        let pools: usize = self.pools.iter().map(Pool::bytes).sum();
        self.mappings.bytes() + self.by_inside.bytes() + self.hosts.bytes() + pools
    }
}

/// The part of the remote endpoint that the mapping is found by.
fn remote(scope: Mapping, sender: &Sender) -> Address {
    match scope {
        Mapping::AddressDependent => sender.remote,
        Mapping::EndpointIndependent | Mapping::AddressAndPortDependent => Address::default(),
    }
}
