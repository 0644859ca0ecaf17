//! The addresses and MACs of one network: which are taken, which comes next.
//!
//! Holds per subnet the set of taken addresses and per network the set of taken MACs. From the start the subnet's own
//! address, its broadcast address, the gateway and the auxiliary addresses are taken. A dynamic address is the lowest
//! free one of the range; when the ranges of all subnets are full there is none, and nothing changes.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vswitch_wire::MacAddr;

use super::{hash::stable_hash, ranges::RangeSet};
use crate::{
    model::{MacvlanMode, Network, NetworkDriver, Subnet},
    names::{ContainerName, NetworkName},
};

/// What is taken on one network.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    name: NetworkName,
    internal: bool,
    driver: NetworkDriver,
    enable_ipv4: bool,
    enable_ipv6: bool,
    subnets: Vec<SubnetPool>,
    macs: BTreeSet<MacAddr>,
}

#[derive(Debug, Clone)]
struct SubnetPool {
    net: IpNet,
    gateway: Option<IpAddr>,
    range: IpNet,
    taken: RangeSet,
}

/// No address of this family is left on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// `IPv4` or `IPv6`.
    pub(crate) family: &'static str,
    /// Where addresses would have come from.
    pub(crate) ranges: Vec<IpNet>,
}

impl Pool {
    /// The pool of `network`, with no container on it yet.
    pub(crate) fn new(network: &Network) -> Self {
        Self {
            name: network.name.clone(),
            internal: network.internal,
            driver: network.driver.clone(),
            enable_ipv4: network.enable_ipv4,
            enable_ipv6: network.enable_ipv6,
            subnets: network.ipam.iter().map(SubnetPool::new).collect(),
            macs: BTreeSet::from([network.gateway_mac]),
        }
    }

    /// Whether default routes by this network lead to the interface itself.
    pub(crate) fn leads_without_gateway(&self) -> bool {
        self.driver.is_ipvlan_l3()
    }

    /// Whether only one container can be on the network.
    pub(crate) fn has_one_member(&self) -> bool {
        matches!(self.driver, NetworkDriver::Macvlan { mode: MacvlanMode::Passthru, .. })
    }

    /// Takes a given address; false if it is taken or in no subnet.
    pub(crate) fn reserve(&mut self, address: IpAddr) -> bool {
        self.subnet_of_mut(address).is_some_and(|subnet| subnet.taken.insert(number(address)))
    }

    /// Takes a given MAC; false if it is taken.
    pub(crate) fn reserve_mac(&mut self, mac: MacAddr) -> bool {
        self.macs.insert(mac)
    }

    /// Takes an address of each family the network has, for those not given.
    pub(crate) fn allot(
        &mut self,
        given4: Option<Ipv4Addr>,
        given6: Option<Ipv6Addr>,
    ) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), Exhausted> {
        let ipv4 = match given4 {
            None if self.enable_ipv4 => Some(self.lowest_free("IPv4", |range| range.addr().is_ipv4())?),
            _ => None,
        };
        let ipv6 = match given6 {
            None if self.enable_ipv6 => Some(self.lowest_free("IPv6", |range| range.addr().is_ipv6())?),
            _ => None,
        };
        // Both are free and of different families, so neither taking can fail nor spoil the other.
        for address in [ipv4, ipv6].into_iter().flatten() {
            self.reserve(address);
        }
        let ipv4 =
            ipv4.and_then(|address| if let IpAddr::V4(address) = address { Some(address) } else { None });
        let ipv6 =
            ipv6.and_then(|address| if let IpAddr::V6(address) = address { Some(address) } else { None });
        Ok((given4.or(ipv4), given6.or(ipv6)))
    }

    /// Takes a MAC: made from the IPv4 address as Docker does, else from the names; the next one if that is taken.
    pub(crate) fn allot_mac(&mut self, container: &ContainerName, ipv4: Option<Ipv4Addr>) -> MacAddr {
        let [a, b, ..] = MacAddr::from_ipv4(Ipv4Addr::UNSPECIFIED).octets();
        let first = match ipv4 {
            Some(address) => u32::from(address),
            // The high half is as good as any.
            None => (stable_hash(0, &[self.name.as_str(), container.as_str()]) >> 32) as u32,
        };
        let mut low = first;
        loop {
            let [c, d, e, f] = low.to_be_bytes();
            let mac = MacAddr([a, b, c, d, e, f]);
            // Ends: memory is full long before 2^32 MACs are taken.
            if self.reserve_mac(mac) {
                return mac;
            }
            low = low.wrapping_add(1);
        }
    }

    /// Gives back an address. The network's own are not for containers to give back.
    pub(crate) fn release(&mut self, address: IpAddr) {
        if let Some(subnet) = self.subnet_of_mut(address) {
            subnet.taken.remove(number(address));
        }
    }

    /// Gives back a MAC.
    pub(crate) fn release_mac(&mut self, mac: MacAddr) {
        self.macs.remove(&mac);
    }

    /// `address` with the prefix length of its subnet, and the gateway there unless the network is internal.
    pub(crate) fn ipv4_interface(&self, address: Ipv4Addr) -> Option<(Ipv4Net, Option<Ipv4Addr>)> {
        let subnet = self.subnet_of(address.into())?;
        let gateway = if let Some(IpAddr::V4(gateway)) = subnet.gateway { Some(gateway) } else { None };
        let net = Ipv4Net::new(address, subnet.net.prefix_len()).ok()?;
        Some((net, gateway.filter(|_| !self.internal)))
    }

    /// As [`Pool::ipv4_interface`].
    pub(crate) fn ipv6_interface(&self, address: Ipv6Addr) -> Option<(Ipv6Net, Option<Ipv6Addr>)> {
        let subnet = self.subnet_of(address.into())?;
        let gateway = if let Some(IpAddr::V6(gateway)) = subnet.gateway { Some(gateway) } else { None };
        let net = Ipv6Net::new(address, subnet.net.prefix_len()).ok()?;
        Some((net, gateway.filter(|_| !self.internal)))
    }

    fn lowest_free(
        &self,
        family: &'static str,
        of_family: impl Fn(&IpNet) -> bool,
    ) -> Result<IpAddr, Exhausted> {
        let mut subnets = self.subnets.iter().filter(|subnet| of_family(&subnet.range));
        subnets.find_map(SubnetPool::lowest_free).ok_or_else(|| Exhausted {
            family,
            ranges: self.subnets.iter().map(|subnet| subnet.range).filter(|range| of_family(range)).collect(),
        })
    }

    fn subnet_of(&self, address: IpAddr) -> Option<&SubnetPool> {
        self.subnets.iter().find(|subnet| subnet.net.contains(&address))
    }

    fn subnet_of_mut(&mut self, address: IpAddr) -> Option<&mut SubnetPool> {
        self.subnets.iter_mut().find(|subnet| subnet.net.contains(&address))
    }
}

impl SubnetPool {
    fn new(subnet: &Subnet) -> Self {
        let mut taken = RangeSet::default();
        for address in own_addresses(&subnet.subnet) {
            taken.insert(number(address));
        }
        for address in subnet.gateway.iter().chain(subnet.aux_addresses.values()) {
            taken.insert(number(*address));
        }
        Self {
            net: subnet.subnet,
            gateway: subnet.gateway,
            range: subnet.ip_range.unwrap_or(subnet.subnet),
            taken,
        }
    }

    fn lowest_free(&self) -> Option<IpAddr> {
        // IpNet::broadcast is the last address, of either family.
        let (first, last) = (number(self.range.network()), number(self.range.broadcast()));
        let free = self.taken.lowest_free(first, last)?;
        Some(match self.net {
            IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(free).ok()?)),
            IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(free)),
        })
    }
}

/// The addresses of `net` that no host may have: IPv4 network and broadcast address (RFC 1122 §3.2.1.3), except in a
/// /31 (RFC 3021 §2.1); the IPv6 subnet-router anycast address (RFC 4291 §2.6.1), except in a /127 (RFC 6164 §5.1).
pub(crate) fn own_addresses(net: &IpNet) -> impl Iterator<Item = IpAddr> {
    let plain = net.max_prefix_len() - net.prefix_len() > 1;
    let broadcast = (plain && net.addr().is_ipv4()).then(|| net.broadcast());
    plain.then(|| net.network()).into_iter().chain(broadcast)
}

/// The MAC address of the network's gateway: from its name and first subnet, so that another switch on the same LAN has
/// another, and neighbours need not learn it anew after a restart.
pub(crate) fn gateway_mac(network: &Network) -> MacAddr {
    let subnet = network.ipam.first().map(|subnet| subnet.subnet.to_string()).unwrap_or_default();
    let hash = stable_hash(0, &["gateway", network.name.as_str(), &subnet]);
    let [a, b, ..] = MacAddr::from_ipv4(Ipv4Addr::UNSPECIFIED).octets();
    let [c, d, e, f, ..] = hash.to_be_bytes();
    MacAddr([a, b, c, d, e, f])
}

/// The first address of `net` a host may have: the default gateway.
pub(crate) fn first_usable(net: &IpNet) -> IpAddr {
    let step = u8::from(net.max_prefix_len() - net.prefix_len() > 1);
    match net.network() {
        IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from(u32::from(base) + u32::from(step))),
        IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(u128::from(base) + u128::from(step))),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(net: &str) -> Vec<String> {
        own_addresses(&net.parse().expect("valid")).map(|address| address.to_string()).collect()
    }

    #[test]
    fn own_addresses_follow_the_rfcs() {
        assert_eq!(own("10.0.0.0/24"), ["10.0.0.0", "10.0.0.255"]);
        assert_eq!(own("10.0.0.0/30"), ["10.0.0.0", "10.0.0.3"]);
        assert_eq!(own("10.0.0.0/31"), [""; 0]);
        assert_eq!(own("fd00::/64"), ["fd00::"]);
        assert_eq!(own("fd00::/127"), [""; 0]);
    }

    #[test]
    fn first_usable_is_never_an_own_address() {
        for (net, first) in [
            ("10.0.0.0/8", "10.0.0.1"),
            ("10.0.0.4/30", "10.0.0.5"),
            ("10.0.0.4/31", "10.0.0.4"),
            ("fd00::/64", "fd00::1"),
            ("fd00::2/127", "fd00::2"),
        ] {
            assert_eq!(first_usable(&net.parse().expect("valid")).to_string(), first);
        }
    }
}
