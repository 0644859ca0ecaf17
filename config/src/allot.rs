//! Who has which address, at load and while the switch runs.
//!
//! [`Allotter`] holds one [`pool`] per network and, per container, the leases it gave it. Invariants: an address or MAC
//! is taken in a pool if and only if a lease has it or it belongs to the network itself; what one container gives back
//! is exactly what it was given. When a pool is full, [`AllotError::Exhausted`] says so and nothing has changed.
//! Each allotment and release is O(log n); memory grows with what is taken, not with the size of a subnet.

mod defaults;
mod hash;
mod pool;
mod ranges;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use vswitch_wire::MacAddr;

use self::pool::Pool;
pub(crate) use self::{
    defaults::DefaultSubnets,
    hash::stable_hash,
    pool::{Exhausted, first_usable, gateway_mac, own_addresses},
    ranges::RangeSet,
};
use crate::{
    model::{Attachment, Config, Container, Limits, Netns, Network, NetworkMode, PortDriver, Uplink},
    names::{ContainerName, InterfaceName, NetworkName},
};

/// The addresses and MACs of all networks.
#[derive(Debug, Clone, Default)]
pub struct Allotter {
    pools: BTreeMap<NetworkName, Pool>,
    containers: BTreeSet<ContainerName>,
    leases: BTreeMap<ContainerName, Vec<Lease>>,
}

/// What one attachment holds.
#[derive(Debug, Clone)]
struct Lease {
    network: NetworkName,
    mac: MacAddr,
    addresses: Vec<IpAddr>,
}

/// Why a container cannot be attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllotError {
    /// There is no such network.
    #[error("there is no network `{network}`; the networks are: {known}")]
    UnknownNetwork {
        /// The name asked for.
        network: String,
        /// The names there are, with commas between.
        known: String,
    },
    /// A container has this name.
    #[error("there is a container `{name}` already; choose another name")]
    NameTaken {
        /// The name asked for.
        name: ContainerName,
    },
    /// The network has room for one container, which is there.
    #[error(
        "network `{network}` is macvlan in mode passthru, which has room for one container, and `{owner}` has it"
    )]
    Occupied {
        /// The network.
        network: NetworkName,
        /// Who has it.
        owner: ContainerName,
    },
    /// The network has no address left.
    #[error(
        "network `{network}` has no free {family} address left in {ranges}; remove a container or give the network a larger subnet"
    )]
    Exhausted {
        /// The network.
        network: NetworkName,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The ranges that are full, with commas between.
        ranges: String,
    },
}

/// What the configuration says of one attachment; what it leaves open is allotted.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) interface_name: InterfaceName,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) gw_priority: i32,
    pub(crate) aliases: Vec<String>,
    pub(crate) source_guard: bool,
    pub(crate) port_driver: PortDriver,
    pub(crate) limits: Limits,
}

impl Allotter {
    /// The state after `config` has been resolved: all its containers hold what it says.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut allotter = Self::default();
        for network in config.networks.values() {
            allotter.add_network(network);
        }
        allotter.reserve_uplink(&config.uplink);
        for container in config.containers.values() {
            allotter.containers.insert(container.name.clone());
            for attachment in &container.attachments {
                let ipv4 = attachment.ipv4_address.map(|net| net.addr());
                let ipv6 = attachment.ipv6_address.map(|net| net.addr());
                allotter.reserve(&attachment.network, ipv4, ipv6, Some(attachment.mac_address));
                allotter.lease(&container.name, &attachment.network, attachment.mac_address, ipv4, ipv6);
            }
        }
        allotter
    }

    /// Makes a container called `name` with one interface, `eth0`, on `network`: lowest free addresses, a namespace of its own.
    ///
    /// # Errors
    /// The network is unknown, the name is taken, or the network has no free address; then nothing has changed.
    pub fn attach_ephemeral(&mut self, name: &ContainerName, network: &str) -> Result<Container, AllotError> {
        let Some((network, _)) = self.pools.get_key_value(network) else {
            let known = self.pools.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(AllotError::UnknownNetwork { network: network.to_owned(), known });
        };
        let network = network.clone();
        if let Some(owner) = self.only_member(&network) {
            return Err(AllotError::Occupied { network, owner });
        }
        if !self.containers.insert(name.clone()) {
            return Err(AllotError::NameTaken { name: name.clone() });
        }
        let attachment = match self.attach(name, &network, Request::new(interface_name(0))) {
            Ok(attachment) => attachment,
            Err(Exhausted { family, ranges }) => {
                self.containers.remove(name);
                return Err(AllotError::Exhausted { network, family, ranges: list(&ranges) });
            }
        };
        Ok(Container {
            name: name.clone(),
            netns: Netns::New,
            command: None,
            network_mode: NetworkMode::Networks,
            hostname: name.to_string(),
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            labels: BTreeMap::new(),
            environment: BTreeMap::new(),
            ports: Vec::new(),
            expose: Vec::new(),
            attachments: vec![attachment],
        })
    }

    /// Who has all of a network that only one container can be on.
    fn only_member(&self, network: &NetworkName) -> Option<ContainerName> {
        self.pools.get(network).filter(|pool| pool.has_one_member())?;
        let mut leases = self.leases.iter();
        let (owner, _) = leases.find(|(_, leases)| leases.iter().any(|lease| lease.network == *network))?;
        Some(owner.clone())
    }

    /// Takes back the name of a container and all it holds; false if there is no such container.
    pub fn release(&mut self, name: &ContainerName) -> bool {
        for lease in self.leases.remove(name).unwrap_or_default() {
            if let Some(pool) = self.pools.get_mut(&lease.network) {
                pool.release_mac(lease.mac);
                lease.addresses.into_iter().for_each(|address| pool.release(address));
            }
        }
        self.containers.remove(name)
    }

    /// Adds a network with nobody on it.
    pub(crate) fn add_network(&mut self, network: &Network) {
        self.pools.insert(network.name.clone(), Pool::new(network));
    }

    /// Sets aside what is taken on the uplink's LAN: networks on the same one must not give it out. Comes after
    /// the networks.
    pub(crate) fn reserve_uplink(&mut self, uplink: &Uplink) {
        for address in uplink.taken_addresses() {
            for pool in self.pools.values_mut() {
                pool.reserve(address);
            }
        }
    }

    /// Sets given addresses aside, so that no dynamic allotment takes them. They are leased by [`Allotter::attach`].
    pub(crate) fn reserve(
        &mut self,
        network: &NetworkName,
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
        mac: Option<MacAddr>,
    ) {
        let Some(pool) = self.pools.get_mut(network) else { return };
        let addresses = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6));
        for address in addresses {
            pool.reserve(address);
        }
        if let Some(mac) = mac {
            pool.reserve_mac(mac);
        }
    }

    /// Attaches `container` to `network`, which must exist; what `request` gives has been reserved. The gateways are those the
    /// attachment could use; [`keep_one_default_route`] decides among several.
    pub(crate) fn attach(
        &mut self,
        container: &ContainerName,
        network: &NetworkName,
        request: Request,
    ) -> Result<Attachment, Exhausted> {
        let Some(pool) = self.pools.get_mut(network) else {
            return Err(Exhausted { family: "IP", ranges: Vec::new() });
        };
        let (ipv4, ipv6) = pool.allot(request.ipv4, request.ipv6)?;
        let on_device = pool.leads_without_gateway();
        let mac = request.mac.unwrap_or_else(|| pool.allot_mac(container, ipv4));
        let (ipv4_address, gateway4) = ipv4.and_then(|address| pool.ipv4_interface(address)).unzip();
        let (ipv6_address, gateway6) = ipv6.and_then(|address| pool.ipv6_interface(address)).unzip();
        self.lease(container, network, mac, ipv4, ipv6);
        Ok(Attachment {
            network: network.clone(),
            interface_name: request.interface_name,
            mac_address: mac,
            ipv4_address,
            ipv6_address,
            gateway4: gateway4.flatten(),
            gateway6: gateway6.flatten(),
            default_on_device4: on_device && ipv4.is_some(),
            default_on_device6: on_device && ipv6.is_some(),
            gw_priority: request.gw_priority,
            aliases: request.aliases,
            source_guard: request.source_guard,
            port_driver: request.port_driver,
            limits: request.limits,
        })
    }

    fn lease(
        &mut self,
        container: &ContainerName,
        network: &NetworkName,
        mac: MacAddr,
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
    ) {
        let addresses = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)).collect();
        let lease = Lease { network: network.clone(), mac, addresses };
        self.leases.entry(container.clone()).or_default().push(lease);
    }
}

impl Request {
    /// Leaves everything open but the interface's name.
    pub(crate) fn new(interface_name: InterfaceName) -> Self {
        Self {
            interface_name,
            ipv4: None,
            ipv6: None,
            mac: None,
            gw_priority: 0,
            aliases: Vec::new(),
            source_guard: true,
            port_driver: PortDriver::default(),
            limits: Limits::default(),
        }
    }
}

/// Leaves the default route of each family to one attachment, as Docker chooses: the highest `gw_priority`, then
/// not an internal network (those have no default route here), then dual-stack before single, then the network's name.
pub(crate) fn keep_one_default_route(attachments: &mut [Attachment]) {
    let has4 = |attachment: &Attachment| attachment.gateway4.is_some() || attachment.default_on_device4;
    let has6 = |attachment: &Attachment| attachment.gateway6.is_some() || attachment.default_on_device6;
    let rank = |attachment: &Attachment| {
        let single = !(has4(attachment) && has6(attachment));
        (-i64::from(attachment.gw_priority), single, attachment.network.clone())
    };
    let best = |has: &dyn Fn(&Attachment) -> bool| {
        let holder = attachments.iter().filter(|attachment| has(attachment)).min_by_key(|a| rank(a));
        holder.map(|attachment| attachment.network.clone())
    };
    let (holder4, holder6) = (best(&has4), best(&has6));
    for attachment in attachments {
        if holder4.as_ref() != Some(&attachment.network) {
            attachment.gateway4 = None;
            attachment.default_on_device4 = false;
        }
        if holder6.as_ref() != Some(&attachment.network) {
            attachment.gateway6 = None;
            attachment.default_on_device6 = false;
        }
    }
}

/// The interface name `ethN`.
#[allow(clippy::expect_used, reason = "`eth` and at most ten digits are 13 bytes, all of them allowed")]
pub(crate) fn interface_name(index: u32) -> InterfaceName {
    format!("eth{index}").parse().expect("a valid interface name")
}

/// Networks with commas between.
pub(crate) fn list(nets: &[IpNet]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
