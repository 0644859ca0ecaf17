//! What the configuration says, as the dataplane reads it: an immutable snapshot, swapped whole.
//!
//! Workers share one [`Tables`] and look at it once per batch. Whoever changes the configuration builds a new
//! one, giving each network that changed a new generation; flow cache entries of other networks stay valid.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use vswitch_wire::MacAddr;

use crate::fdb::FdbLimits;
use crate::guard::Guard;
use crate::id::{NetworkId, PortId};
use crate::nat::NatRules;
use crate::parent::Parent;
use crate::route::Fib;
use crate::storm::StormLimits;

/// A snapshot of every port and network.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    ports: Vec<Option<Port>>,
    networks: Vec<Option<Network>>,
    nat: Option<Arc<NatRules>>,
    uplink: Option<NetworkId>,
    generation: u32,
}

/// A port as configured.
#[derive(Clone, Debug)]
pub struct Port {
    /// The network it belongs to.
    pub network: NetworkId,
    /// The longest L3 packet it carries, in bytes.
    pub mtu: u16,
    /// Whose sources it may use; `None` when the guard is switched off.
    pub guard: Option<Guard>,
}

/// What a network does with a frame whose destination nobody is known to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownUnicast {
    /// Copy it to every port, within storm control.
    Flood,
    /// Drop it.
    Drop,
}

/// How a network bridges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BridgeSettings {
    /// The learned table's size and ageing.
    pub fdb: FdbLimits,
    /// Limits on flooded traffic.
    pub storm: StormLimits,
    /// What becomes of unknown destinations.
    pub unknown_unicast: UnknownUnicast,
}

/// A network as configured.
#[derive(Clone, Debug)]
pub struct Network {
    /// Changes with every change of this network's ports or settings; never 0.
    pub generation: u32,
    /// How it bridges.
    pub settings: BridgeSettings,
    /// Its ports that are up: the flood list.
    pub members: Vec<PortId>,
    /// Static FDB entries: the configured attachments' addresses. They neither age nor move.
    pub static_macs: HashMap<MacAddr, PortId>,
    /// Whether members reach each other, and not only the gateway.
    pub icc: bool,
    /// Whether it only routes: every frame of a member is for the gateway, and nothing is sent to all.
    pub layer3_only: bool,
    /// The interface it lives on, if it is a part of a LAN and not a bridge of its own.
    pub parent: Option<Parent>,
    /// The network's router; none where there is none to be reached.
    pub gateway: Option<Arc<Gateway>>,
}

/// A network's own router, as configured: a station of the network that no port leads to.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its MAC address, on this network only.
    pub mac: MacAddr,
    /// Its own addresses, each with its subnet. ICMP errors come from the first of the family.
    pub addresses: Vec<IpNet>,
    /// Further addresses it answers ARP requests and neighbour solicitations for: what NAT translates to.
    pub answers_for: Vec<IpAddr>,
    /// The network's own routing table.
    pub routes: Fib,
    /// Who is known to live on the network: the configured attachments.
    pub hosts: HashMap<IpAddr, Host>,
    /// The longest packet that the network carries, in bytes.
    pub mtu: u16,
    /// What it tells IPv6 hosts of itself; `None`: nothing.
    pub advertisement: Option<Advertisement>,
}

/// A configured attachment, as its neighbours see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// Where it is.
    pub port: PortId,
    /// Its MAC address.
    pub mac: MacAddr,
}

/// What router advertisements say (RFC 4861 §4.2); prefixes are the gateway's IPv6 subnets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advertisement {
    /// Addresses are available by DHCPv6: the M flag.
    pub managed: bool,
    /// Other configuration is available by DHCPv6: the O flag.
    pub other: bool,
    /// Hosts may make addresses from the prefixes (RFC 4862): the A flag of each prefix.
    pub autonomous: bool,
    /// Seconds for which the gateway is a default router, 0..=9000; 0: it is none.
    pub lifetime: u16,
    /// Seconds between unsolicited advertisements at most, 4..=1800.
    pub interval: u16,
}

impl Network {
    /// A network of its first generation that bridges: nobody on it yet, and no gateway.
    pub fn new(settings: BridgeSettings) -> Self {
        Self {
            generation: 1,
            settings,
            members: Vec::new(),
            static_macs: HashMap::new(),
            icc: true,
            layer3_only: false,
            parent: None,
            gateway: None,
        }
    }
}

impl Tables {
    /// Sets or clears a port.
    pub fn set_port(&mut self, id: PortId, port: Option<Port>) {
        place(&mut self.ports, id.index(), port);
        self.generation = self.generation.wrapping_add(1);
    }

    /// Sets or clears a network.
    pub fn set_network(&mut self, id: NetworkId, network: Option<Network>) {
        place(&mut self.networks, id.index(), network);
        self.generation = self.generation.wrapping_add(1);
    }

    /// Says which network leads outside, and how addresses are translated on the way there and back.
    pub fn set_uplink(&mut self, uplink: Option<NetworkId>, nat: Option<Arc<NatRules>>) {
        self.uplink = uplink;
        self.nat = nat;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Changes with every change of anything: what a routed flow was decided from.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The network that leads outside.
    #[inline]
    pub fn uplink(&self) -> Option<NetworkId> {
        self.uplink
    }

    /// How addresses are translated between inside and outside.
    #[inline]
    pub fn nat(&self) -> Option<&NatRules> {
        self.nat.as_deref()
    }

    /// Every network's router, with the network it is on.
    pub fn gateways(&self) -> impl Iterator<Item = (NetworkId, &Gateway)> {
        self.networks.iter().enumerate().filter_map(|(index, network)| {
            Some((NetworkId::new(index)?, network.as_ref()?.gateway.as_deref()?))
        })
    }

    /// The port, if there is one.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(id.index())?.as_ref()
    }

    /// The network, if there is one.
    #[inline]
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(id.index())?.as_ref()
    }
}

fn place<T>(table: &mut Vec<Option<T>>, index: usize, value: Option<T>) {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    table[index] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_found_until_it_is_cleared() {
        let id = |index| PortId::new(index).unwrap();
        let mut tables = Tables::default();
        assert!(tables.port(id(7)).is_none());
        tables.set_port(id(7), Some(Port { network: NetworkId::FIRST, mtu: 1500, guard: None }));
        assert_eq!(tables.port(id(7)).map(|port| port.mtu), Some(1500));
        assert!(tables.port(id(6)).is_none() && tables.port(id(8)).is_none());

        let before = tables.clone();
        tables.set_port(id(7), None);
        assert!(tables.port(id(7)).is_none());
        assert!(before.port(id(7)).is_some(), "a snapshot does not change");
    }
}
