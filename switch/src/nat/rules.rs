//! What the configuration says about translation: part of the snapshot that workers read.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::address::{Address, Endpoint, Family};
use crate::conntrack::Timeouts;
use crate::hash::Configured;
use crate::id::{NetworkId, PortId};

use super::publish::{Publish, Published};

/// Which packets of an inside endpoint share an outside one (RFC 4787 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mapping {
    /// All of them: what RFC 4787 REQ-1 demands.
    EndpointIndependent,
    /// Those to the same address.
    AddressDependent,
    /// Those to the same address and port.
    AddressAndPortDependent,
}

/// From whom an outside endpoint accepts packets (RFC 4787 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filtering {
    /// From everybody.
    EndpointIndependent,
    /// From addresses that the inside endpoint sent to.
    AddressDependent,
    /// From endpoints that the inside endpoint sent to.
    AddressAndPortDependent,
}

/// An outside address that stands for one inside address, ports and all, both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OneToOne {
    /// The address outside.
    pub external: IpAddr,
    /// The attachment's address, of the same family.
    pub internal: IpAddr,
    /// The network it is on.
    pub network: NetworkId,
    /// The attachment.
    pub owner: PortId,
}

/// A list of [`OneToOne`], found from either address.
#[derive(Clone, Debug, Default)]
pub struct OneToOnes {
    by_external: HashMap<IpAddr, OneToOne>,
    by_internal: HashMap<(NetworkId, IpAddr), OneToOne>,
}

/// Two entries, by their places in the list, that cannot both be; or one whose addresses differ in family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OneToOneError {
    /// The entry shares an address with an earlier one.
    #[error("entry {0} uses an address that an earlier entry uses")]
    Overlap(usize),
    /// The entry is to translate between families.
    #[error("entry {0} has addresses of different families")]
    Families(usize),
}

impl OneToOnes {
    /// Indexes the entries.
    ///
    /// # Errors
    /// See [`OneToOneError`].
    pub fn new(entries: &[OneToOne]) -> Result<Self, OneToOneError> {
        let mut all = Self::default();
        for (nth, entry) in entries.iter().enumerate() {
            if entry.external.is_ipv4() != entry.internal.is_ipv4() {
                return Err(OneToOneError::Families(nth));
            }
            let external = all.by_external.insert(entry.external, *entry);
            let internal = all.by_internal.insert((entry.network, entry.internal), *entry);
            if external.is_some() || internal.is_some() {
                return Err(OneToOneError::Overlap(nth));
            }
        }
        Ok(all)
    }

    pub(super) fn of_external(&self, external: IpAddr) -> Option<&OneToOne> {
        self.by_external.get(&external)
    }

    pub(super) fn of_internal(&self, network: NetworkId, internal: IpAddr) -> Option<&OneToOne> {
        self.by_internal.get(&(network, internal))
    }
}

/// How a network's packets leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NatMode {
    /// Behind an external address.
    Masquerade,
    /// As they are. From outside, only published container ports are reachable, and these containers by ping.
    None,
    /// As they are, and everything is reachable from outside: no connections are kept.
    Open,
}

/// Addresses of the switch's own, asked for several times about the first packet of every flow.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses(HashSet<IpAddr, Configured>);

impl OwnAddresses {
    /// Whether this is one of them.
    #[inline]
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.0.contains(address)
    }
}

impl FromIterator<IpAddr> for OwnAddresses {
    fn from_iter<T: IntoIterator<Item = IpAddr>>(addresses: T) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl<const N: usize> From<[IpAddr; N]> for OwnAddresses {
    fn from(addresses: [IpAddr; N]) -> Self {
        addresses.into_iter().collect()
    }
}

/// A network that has a way out.
#[derive(Clone, Debug)]
pub struct NetworkNat {
    /// How.
    pub mode: NatMode,
    /// Its addresses.
    pub subnets: Vec<IpNet>,
}

/// The networks that have a way out, by number, and those that are not translated, by address.
#[derive(Clone, Debug, Default)]
pub struct NatNetworks {
    modes: Vec<Option<NatMode>>,
    routed: Vec<(IpNet, NetworkId)>,
    open: Vec<IpNet>,
}

impl NatNetworks {
    /// Indexes the networks. Where subnets of untranslated networks overlap, the longer prefix has the address.
    pub fn new(networks: impl IntoIterator<Item = (NetworkId, NetworkNat)>) -> Self {
        let mut all = Self::default();
        for (network, nat) in networks {
            if all.modes.len() <= network.index() {
                all.modes.resize(network.index() + 1, None);
            }
            all.modes[network.index()] = Some(nat.mode);
            match nat.mode {
                NatMode::Masquerade => {}
                NatMode::None => all.routed.extend(nat.subnets.into_iter().map(|subnet| (subnet, network))),
                NatMode::Open => all.open.extend(nat.subnets),
            }
        }
        all.routed.sort_by_key(|(subnet, network)| (std::cmp::Reverse(subnet.prefix_len()), *network));
        all
    }

    /// How a network's packets leave, if they do.
    pub(super) fn mode(&self, network: NetworkId) -> Option<NatMode> {
        *self.modes.get(network.index())?
    }

    /// The untranslated network that an address is of.
    pub(super) fn routed(&self, address: IpAddr) -> Option<NetworkId> {
        self.routed.iter().find(|(subnet, _)| subnet.contains(&address)).map(|(_, network)| *network)
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct NatRules {
    /// Addresses to translate to, of either family; the first are the uplink's own.
    pub external: Vec<IpAddr>,
    /// Every address that the switch has inside, where published ports answer too.
    pub local: OwnAddresses,
    /// Default: endpoint-independent.
    pub mapping: Mapping,
    /// Default: address-dependent.
    pub filtering: Filtering,
    /// Outside ports to choose from; ICMP identifiers are from all. Default: 1024..=65535.
    pub ports: RangeInclusive<u16>,
    /// Addresses with a public one of their own.
    pub one_to_one: OneToOnes,
    /// Published ports.
    pub published: Published,
    /// The networks that have a way out.
    pub networks: NatNetworks,
    /// How long connections live.
    pub timeouts: Timeouts,
    /// Connections in all, within the table's capacity.
    pub max_connections: usize,
    /// TCP connections in all whose handshake is not complete: a flood evicts its own.
    pub max_half_open: usize,
    /// Connections of an attachment for which `per_port` says nothing else.
    pub max_per_port: u32,
    /// Connections of these attachments.
    pub per_port: HashMap<PortId, u32>,
    /// Differs from that of all earlier rules.
    pub generation: u32,
}

impl Default for NatRules {
    /// Nothing leaves, nothing is reachable.
    fn default() -> Self {
        Self {
            external: Vec::new(),
            local: OwnAddresses::default(),
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressDependent,
            ports: 1024..=u16::MAX,
            one_to_one: OneToOnes::default(),
            published: Published::default(),
            networks: NatNetworks::default(),
            timeouts: Timeouts::default(),
            max_connections: 1 << 20,
            max_half_open: 1 << 16,
            max_per_port: 1 << 15,
            per_port: HashMap::new(),
            generation: 0,
        }
    }
}

impl NatRules {
    /// Whether the switch is known by this address, inside or outside.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.local.contains(&address)
            || self.external.contains(&address)
            || self.one_to_one.of_external(address).is_some()
    }

    /// How a network's packets to an address leave. A hairpin's recipient sees an external source (RFC 4787 REQ-9a)
    /// also if the network is not translated: on that very network, answers would go past the switch otherwise.
    pub(super) fn mode_towards(&self, network: NetworkId, remote: IpAddr) -> Option<NatMode> {
        let mode = self.networks.mode(network)?;
        Some(if self.is_own(remote) { NatMode::Masquerade } else { mode })
    }

    /// The published port that a tuple is for, and the container's endpoint. What is published on any address is not
    /// on 1:1 ones, which are somebody's own.
    pub(super) fn published_to(
        &self,
        protocol: u8,
        family: Family,
        to: Endpoint,
    ) -> Option<(&Publish, Endpoint)> {
        let (rule, inside) = self.published.lookup(protocol, family, to)?;
        let address = to.address.ip(family);
        let named = rule.host.is_some_and(|host| !host.is_unspecified());
        let answers = self.is_own(address) && (named || self.one_to_one.of_external(address).is_none());
        answers.then_some((rule, inside))
    }

    /// Whether a packet to this address, from inside and translated, comes back in: to one of our own addresses
    /// (a hairpin), or to a network whose addresses are not translated.
    pub(super) fn leads_inside(&self, address: IpAddr) -> bool {
        self.is_own(address) || self.networks.routed(address).is_some()
    }

    /// Whether packets from and to this address pass without a connection.
    pub fn is_open(&self, address: IpAddr) -> bool {
        self.networks.open.iter().any(|subnet| subnet.contains(&address))
    }

    /// The addresses that dynamic mappings may use.
    pub(super) fn shared_addresses(&self, family: Family) -> impl Iterator<Item = Address> + Clone {
        self.external
            .iter()
            .filter(move |address| address.is_ipv4() == (family == Family::V4))
            .filter(|address| self.one_to_one.of_external(**address).is_none())
            .map(|address| Address::from(*address))
    }

    /// Whether the address is one of these.
    pub(super) fn is_shared(&self, family: Family, address: Address) -> bool {
        let address = address.ip(family);
        self.external.contains(&address) && self.one_to_one.of_external(address).is_none()
    }

    /// How many connections an attachment may have.
    pub(super) fn limit(&self, port: PortId) -> u32 {
        self.per_port.get(&port).copied().unwrap_or(self.max_per_port)
    }
}
