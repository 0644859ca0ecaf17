//! Ports that no container is behind: those that lead to a LAN, and to the host's own stack on it.

use std::collections::HashMap;

use ipnet::IpNet;
use vswitch_switch::{NetworkId, PortId};

use super::super::Daemon;
use super::super::lan::{self, Lan, LanKey, LiveUplink};
use super::{UPLINK, drops, traffic};
use crate::api::types;

/// A port to a LAN, or to the host on it.
struct LanPort<'a> {
    id: PortId,
    /// As the host calls it, with the VLAN behind a dot.
    interface: String,
    network: &'a str,
    driver: &'static str,
    lan: &'a Lan,
}

impl Daemon {
    /// What each network of the dataplane is called.
    pub(super) fn network_names(&self) -> HashMap<NetworkId, &str> {
        let mut names: HashMap<_, _> = self.networks.iter().map(|(name, id)| (*id, name.as_str())).collect();
        let uplink = lan::of_uplink(&self.config.uplink).and_then(|key| self.lans.get(&key));
        // Its router and its table are the uplink's, also where a network shares its LAN.
        names.extend(uplink.map(|lan| (lan.network, UPLINK)));
        names
    }

    pub(super) fn lan_ports(&self, only: Option<&str>) -> Vec<types::Port> {
        let describe = |port: LanPort<'_>| {
            let totals = self.dataplane.port_totals(port.id);
            let [ipv4_address, ipv6_address] = self.own_addresses(port.id);
            types::Port {
                port: port.id.to_string(),
                network: port.network.to_owned(),
                container: None,
                interface: port.interface,
                mac_address: port.lan.mac.to_string(),
                ipv4_address,
                ipv6_address,
                // A DHCP server may say that the LAN carries less.
                mtu: self.uplink_at(port.id).map_or(port.lan.mtu, |uplink| uplink.mtu),
                driver: port.driver.to_owned(),
                offloads: port.lan.offloads.iter().map(ToString::to_string).collect(),
                queues: self.dataplane.workers(),
                source_guard: false,
                up: port.lan.up,
                reason: self.missing(port.id, port.lan),
                traffic: traffic(&totals),
                dropped: totals.dropped(),
            }
        };
        self.on_lans(only).into_iter().map(describe).collect()
    }

    pub(super) fn lan_port_counters(&self, only: Option<&str>) -> Vec<types::PortCounters> {
        let describe = |port: LanPort<'_>| {
            let totals = self.dataplane.port_totals(port.id);
            types::PortCounters {
                port: port.id.to_string(),
                network: port.network.to_owned(),
                container: None,
                interface: port.interface,
                traffic: traffic(&totals),
                drops: drops(&totals),
            }
        };
        self.on_lans(only).into_iter().map(describe).collect()
    }

    /// The ports of all LANs, or of one network's, by number.
    fn on_lans<'a>(&'a self, only: Option<&str>) -> Vec<LanPort<'a>> {
        let names = self.network_names();
        let mut ports = Vec::new();
        for (key, lan) in &self.lans {
            let Some(network) = names.get(&lan.network).copied() else { continue };
            if only.is_some_and(|only| network != only) {
                continue;
            }
            let port = |id, driver| LanPort { id, interface: interface(key), network, driver, lan };
            ports.push(port(lan.wire, lan.wire_is));
            ports.extend(lan.host.map(|host| port(host, "host")));
        }
        ports.sort_by_key(|port| port.id);
        ports
    }

    /// What a port lacks: its interface, or the uplink its address.
    fn missing(&self, port: PortId, lan: &Lan) -> Option<String> {
        if !lan.up {
            return Some("its interface is gone".to_owned());
        }
        self.uplink_at(port)?;
        self.uplink_state().and_then(|(_, state)| state.err())
    }

    /// The uplink, if this is its port.
    fn uplink_at(&self, port: PortId) -> Option<&LiveUplink> {
        self.uplink.as_ref().filter(|uplink| uplink.port == port)
    }

    /// The switch's own addresses on the uplink's port, of IPv4 and of IPv6.
    fn own_addresses(&self, port: PortId) -> [Option<String>; 2] {
        let own = self.uplink_at(port).into_iter().flat_map(|uplink| &uplink.addresses);
        let first = |four: bool| {
            let of_family = |net: &&IpNet| net.addr().is_ipv4() == four;
            own.clone().find(of_family).map(ToString::to_string)
        };
        [first(true), first(false)]
    }
}

fn interface(key: &LanKey) -> String {
    match key.vlan {
        Some(vlan) => format!("{}.{}", key.interface, vlan.number()),
        None => key.interface.to_string(),
    }
}
