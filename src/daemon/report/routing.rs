//! What routing knows: neighbours, routes and connections.

use std::collections::HashMap;

use vswitch_config::model::Network;
use vswitch_switch::conntrack::ConnectionEntry;
use vswitch_switch::neighbor::NeighborEntry;
use vswitch_switch::route::Route;
use vswitch_switch::tables::Gateway;
use vswitch_switch::{NetworkId, PortId, Tuple};
use vswitch_wire::protocol;

use super::super::Daemon;
use super::published::protocol_name;
use crate::api::types;

/// How many places of the connection table one answer is made from. Looking at so many takes well under a
/// millisecond, for which workers that meet a new flow wait.
const PLACES: u32 = 16 * 1024;

/// What the networks of the dataplane are called.
type Names<'a> = HashMap<NetworkId, &'a str>;

impl Daemon {
    /// Who lives where: the configured hosts of every gateway, and what was found by asking. Sorted.
    pub(super) fn neighbors(&self, only: Option<&str>) -> Vec<types::Neighbor> {
        let (names, owners) = (self.network_names(), self.owners());
        let now = self.dataplane.now();
        let mut found = Vec::new();
        for (id, gateway) in self.dataplane.tables().gateways() {
            let Some(network) = wanted(&names, id, only) else { continue };
            found.extend(gateway.hosts.iter().map(|(address, host)| {
                let neighbor = types::Neighbor {
                    network: network.to_owned(),
                    address: address.to_string(),
                    mac_address: Some(host.mac.to_string()),
                    state: "configured".to_owned(),
                    age: None,
                    container: owners.get(&host.port).map(ToString::to_string),
                };
                (*address, neighbor)
            }));
        }
        let asked: Vec<NeighborEntry> =
            self.dataplane.router().neighbors(|neighbors| neighbors.entries(now).collect());
        found.extend(asked.iter().filter_map(|entry| {
            let neighbor = types::Neighbor {
                network: wanted(&names, entry.network, only)?.to_owned(),
                address: entry.address.to_string(),
                mac_address: entry.mac.map(|mac| mac.to_string()),
                state: entry.state.name().to_owned(),
                age: Some(entry.age),
                container: None,
            };
            Some((entry.address, neighbor))
        }));
        found.sort_by(|(a, one), (b, other)| (&one.network, a).cmp(&(&other.network, b)));
        found.into_iter().map(|(_, neighbor)| neighbor).collect()
    }

    /// Every network's routing table, by name.
    pub(super) fn routes(&self, only: Option<&str>) -> Vec<types::Route> {
        let names = self.network_names();
        let gateways = self.dataplane.tables().gateways();
        let tables = gateways.filter_map(|(id, gateway)| Some((wanted(&names, id, only)?, gateway)));
        let mut tables: Vec<_> = tables.collect();
        tables.sort_by_key(|(network, _)| *network);
        tables.into_iter().flat_map(|(network, gateway)| table(network, gateway, &names)).collect()
    }

    /// The connections in some places of their table, from `from` on.
    pub(super) fn connections(&self, only: Option<&str>, from: u32) -> types::Connections {
        let Some(rules) = self.dataplane.tables().nat() else {
            return types::Connections { connections: Vec::new(), next: None };
        };
        let (now, to) = (self.dataplane.now(), from.saturating_add(PLACES));
        // Nothing but copying under the lock.
        let (entries, places): (Vec<ConnectionEntry>, u32) = {
            let nat = self.dataplane.router().nat();
            (nat.entries_at(from..to, rules, now).collect(), nat.places())
        };
        let (names, owners) = (self.network_names(), self.owners());
        let describe = |entry: &ConnectionEntry| {
            let network = wanted(&names, entry.network, only)?;
            Some(connection(entry, network, owners.get(&entry.owner).copied()))
        };
        let connections = entries.iter().filter_map(describe).collect();
        types::Connections { connections, next: (to < places).then_some(to) }
    }

    /// A network with its router, and that router's table.
    pub(super) fn network_in_full(&self, network: &Network) -> types::NetworkInFull {
        let name = network.name.as_str();
        let names = self.network_names();
        // Where a network shares the uplink's LAN, the router there is the uplink's.
        let id = self.networks.get(name).filter(|id| names.get(id) == Some(&name));
        let gateway = id.and_then(|id| self.dataplane.tables().network(*id)?.gateway.as_deref());
        types::NetworkInFull {
            network: self.network(network),
            gateway: gateway.map(|gateway| types::Gateway {
                mac_address: gateway.mac.to_string(),
                addresses: gateway.addresses.iter().map(ToString::to_string).collect(),
                mtu: gateway.mtu,
            }),
            routes: gateway.map(|gateway| table(name, gateway, &names)).unwrap_or_default(),
        }
    }

    /// Which container is behind which port.
    fn owners(&self) -> HashMap<PortId, &str> {
        let all = self.containers.iter();
        all.flat_map(|(name, live)| live.ports.iter().map(move |port| (port.id, name.as_str()))).collect()
    }
}

/// What a network is called, if it is one that was asked for.
fn wanted<'a>(names: &Names<'a>, id: NetworkId, only: Option<&str>) -> Option<&'a str> {
    names.get(&id).copied().filter(|name| only.is_none_or(|only| *name == only))
}

fn table(network: &str, gateway: &Gateway, names: &Names<'_>) -> Vec<types::Route> {
    let hop = |via: Option<String>, id| types::NextHop {
        via,
        network: names.get(&id).map_or_else(|| id.to_string(), |name| (*name).to_owned()),
    };
    let describe = |(destination, route): (ipnet::IpNet, &Route)| {
        let (kind, next_hops) = match route {
            Route::Connected(id) => ("connected", vec![hop(None, *id)]),
            Route::Via(hops) => {
                let all = hops.all().iter();
                ("via", all.map(|next| hop(Some(next.via.to_string()), next.network)).collect())
            }
            Route::Blackhole => ("blackhole", Vec::new()),
            Route::Unreachable => ("unreachable", Vec::new()),
            Route::Prohibit => ("prohibit", Vec::new()),
        };
        types::Route {
            network: network.to_owned(),
            destination: destination.to_string(),
            kind: kind.to_owned(),
            next_hops,
        }
    };
    gateway.routes.routes().map(describe).collect()
}

fn connection(entry: &ConnectionEntry, network: &str, container: Option<&str>) -> types::Connection {
    types::Connection {
        network: network.to_owned(),
        container: container.map(ToOwned::to_owned),
        protocol: protocol_name(entry.original.protocol),
        direction: if entry.outbound { "outbound" } else { "inbound" }.to_owned(),
        original: tuple(&entry.original),
        reply: tuple(&entry.reply),
        state: entry.state.name().to_owned(),
        idle: entry.idle,
        remaining: entry.remaining,
    }
}

fn tuple(Tuple { source, destination, family, protocol }: &Tuple) -> types::Tuple {
    let query = matches!(*protocol, protocol::ICMP | protocol::ICMPV6);
    let ported = matches!(*protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    types::Tuple {
        source: source.address.ip(*family),
        source_port: ported.then_some(source.port),
        destination: destination.address.ip(*family),
        destination_port: ported.then_some(destination.port),
        // It is in the endpoint that is ours, and the other's port is 0.
        identifier: query.then_some(source.port.max(destination.port)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr};

    use vswitch_switch::route::{Fib, NextHop, NextHops};
    use vswitch_switch::{Endpoint, Family};
    use vswitch_wire::MacAddr;

    use super::*;

    fn id(index: usize) -> NetworkId {
        NetworkId::new(index).unwrap()
    }

    #[test]
    fn a_table_names_the_networks_it_leads_to() {
        let via = |last| NextHop { network: id(1), via: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)) };
        let routes = vec![
            ("10.0.0.0/24".parse().unwrap(), Route::Connected(id(0))),
            ("10.9.0.0/16".parse().unwrap(), Route::Prohibit),
            ("0.0.0.0/0".parse().unwrap(), Route::Via(NextHops::new(vec![via(1), via(2)]).unwrap())),
        ];
        let gateway = Gateway {
            mac: MacAddr::ZERO,
            addresses: Vec::new(),
            answers_for: Vec::new(),
            routes: Fib::build(routes),
            hosts: HashMap::new(),
            mtu: 1500,
            advertisement: None,
        };
        let names = HashMap::from([(id(0), "front"), (id(1), "uplink")]);
        let table = table("front", &gateway, &names);
        let hop = |via: Option<&str>, network: &str| types::NextHop {
            via: via.map(ToOwned::to_owned),
            network: network.to_owned(),
        };
        let lines: Vec<_> =
            table.iter().map(|route| (&*route.destination, &*route.kind, route.next_hops.clone())).collect();
        assert_eq!(
            lines,
            [
                (
                    "0.0.0.0/0",
                    "via",
                    vec![hop(Some("192.0.2.1"), "uplink"), hop(Some("192.0.2.2"), "uplink")]
                ),
                ("10.0.0.0/24", "connected", vec![hop(None, "front")]),
                ("10.9.0.0/16", "prohibit", vec![]),
            ]
        );
    }

    #[test]
    fn a_query_has_an_identifier_and_no_ports() {
        let end = |last, port| Endpoint { address: Ipv4Addr::new(10, 0, 0, last).into(), port };
        let of = |protocol, source, destination| Tuple { source, destination, family: Family::V4, protocol };
        for ping in [of(protocol::ICMP, end(1, 7), end(2, 0)), of(protocol::ICMP, end(2, 0), end(1, 7))] {
            let shown = tuple(&ping);
            assert_eq!((shown.source_port, shown.destination_port, shown.identifier), (None, None, Some(7)));
        }
        let shown = tuple(&of(protocol::TCP, end(1, 7), end(2, 80)));
        assert_eq!((shown.source_port, shown.destination_port, shown.identifier), (Some(7), Some(80), None));
        let shown = tuple(&of(47, end(1, 0), end(2, 0)));
        assert_eq!((shown.source_port, shown.destination_port, shown.identifier), (None, None, None));
    }
}
