//! Subnets for networks that name none.
//!
//! IPv4 comes from Docker's default local pools, in Docker's order; a candidate that overlaps a configured subnet is
//! passed over. IPv6 comes from one /48 of `fd00::/8` made from a seed (RFC 4193 §3.2.2 wants its 40 bits random); which
//! of its /64 a network gets depends on the network's name only, so adding a network moves no other.

use std::{
    collections::{BTreeSet, VecDeque},
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::hash::stable_hash;

/// Docker's default local pools: base, its prefix length, and the prefix length of the subnets cut from it.
const IPV4_POOLS: [(Ipv4Addr, u8, u8); 7] = [
    (Ipv4Addr::new(172, 17, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 18, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 19, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 20, 0, 0), 14, 16),
    (Ipv4Addr::new(172, 24, 0, 0), 14, 16),
    (Ipv4Addr::new(172, 28, 0, 0), 14, 16),
    (Ipv4Addr::new(192, 168, 0, 0), 16, 20),
];

/// The subnets not yet given to anyone.
#[derive(Debug)]
pub(crate) struct DefaultSubnets {
    ipv4: VecDeque<Ipv4Net>,
    ula_prefix: u128,
    ula_configured: Vec<Ipv6Net>,
    ula_taken: BTreeSet<u16>,
}

impl DefaultSubnets {
    /// All but those that overlap a `configured` one.
    pub(crate) fn new(configured: &[IpNet], ula_seed: u64) -> Self {
        let free = |candidate: &Ipv4Net| !configured.iter().any(|net| overlap(net, &IpNet::V4(*candidate)));
        let ipv4 =
            IPV4_POOLS.iter().flat_map(|(base, len, cut)| cut_pool(*base, *len, *cut)).filter(free).collect();
        let global_id = u128::from(stable_hash(ula_seed, &["ula"]) & 0xff_ffff_ffff);
        let ula_prefix = (0xfd_u128 << 120) | (global_id << 80);
        let ula_configured =
            configured.iter().filter_map(|net| if let IpNet::V6(net) = net { Some(*net) } else { None });
        Self { ipv4, ula_prefix, ula_configured: ula_configured.collect(), ula_taken: BTreeSet::new() }
    }

    /// Gives away the next IPv4 subnet.
    pub(crate) fn take_ipv4(&mut self) -> Option<Ipv4Net> {
        self.ipv4.pop_front()
    }

    /// Gives away the IPv6 subnet of `network`, or the next free one after it.
    pub(crate) fn take_ipv6(&mut self, network: &str) -> Option<Ipv6Net> {
        let wanted = (stable_hash(0, &[network]) & 0xffff) as u16; // masked to its width: nothing is cut
        let id = (0..=u16::MAX).map(|step| wanted.wrapping_add(step)).find(|id| self.is_ipv6_free(*id))?;
        self.ula_taken.insert(id);
        Some(self.ipv6(id))
    }

    fn is_ipv6_free(&self, id: u16) -> bool {
        let candidate = IpNet::V6(self.ipv6(id));
        !self.ula_taken.contains(&id)
            && !self.ula_configured.iter().any(|net| overlap(&IpNet::V6(*net), &candidate))
    }

    fn ipv6(&self, id: u16) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::from(self.ula_prefix | (u128::from(id) << 64)), 64)
    }
}

/// Whether the two have an address in common: then one contains the other's base.
fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

fn cut_pool(base: Ipv4Addr, len: u8, cut: u8) -> impl Iterator<Item = Ipv4Net> {
    (0..1_u32 << (cut - len))
        .map(move |i| Ipv4Net::new_assert(Ipv4Addr::from(u32::from(base) + (i << (32 - cut))), cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_has_31_networks() {
        let mut subnets = DefaultSubnets::new(&[], 0);
        let all: Vec<_> = std::iter::from_fn(|| subnets.take_ipv4()).map(|net| net.to_string()).collect();
        assert_eq!(all.len(), 31);
        assert_eq!(
            all[..5],
            ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16", "172.21.0.0/16"]
        );
        assert_eq!(all[14..17], ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]);
        assert_eq!(all[30], "192.168.240.0/20");
    }

    #[test]
    fn configured_subnets_are_passed_over() {
        let configured = ["172.17.3.0/24", "172.18.0.0/15"].map(|net| net.parse().expect("valid"));
        assert_eq!(
            DefaultSubnets::new(&configured, 0).take_ipv4().map(|n| n.to_string()),
            Some("172.20.0.0/16".into())
        );
    }

    #[test]
    fn ipv6_depends_on_seed_and_name_and_never_repeats() {
        let first = DefaultSubnets::new(&[], 7).take_ipv6("a").expect("free");
        assert_eq!(first.addr().octets()[0], 0xfd);
        assert_eq!(DefaultSubnets::new(&[], 7).take_ipv6("a"), Some(first));
        assert_ne!(DefaultSubnets::new(&[], 8).take_ipv6("a"), Some(first));
        let mut avoiding = DefaultSubnets::new(&[IpNet::V6(first)], 7);
        let second = avoiding.take_ipv6("a").expect("free");
        assert_ne!(second, first);
        assert_ne!(avoiding.take_ipv6("a"), Some(second));
    }

    #[test]
    fn a_configured_ula_block_leaves_none() {
        let prefix = DefaultSubnets::new(&[], 7).ula_prefix;
        let all = Ipv6Net::new_assert(Ipv6Addr::from(prefix), 48);
        assert_eq!(DefaultSubnets::new(&[IpNet::V6(all)], 7).take_ipv6("a"), None);
    }
}
