//! From the configuration to the dataplane's layer 3: gateways with their routes, and the rules of NAT.
//!
//! Made anew, as a whole, whenever a container or the uplink comes or goes: what is up decides which hosts a gateway
//! knows and which ports are published.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vswitch_config::Config;
use vswitch_config::model::{
    self, Attachment, Container, IpvlanMode, NatBehaviour, NatSettings, NetworkDriver,
    NetworkNat as ConfiguredNat, Protocol, PublishedPort, RouteVia,
};
use vswitch_config::names::{ContainerName, NetworkName};
use vswitch_switch::conntrack::Timeouts;
use vswitch_switch::nat::{
    Filtering, Mapping, NatMode, NatNetworks, NatRules, NetworkNat, OneToOne, OneToOnes, Publish, Published,
    RuleCounters,
};
use vswitch_switch::route::{Fib, NextHop, NextHops, Route};
use vswitch_switch::tables::{Advertisement, Gateway, Host};
use vswitch_switch::{NetworkId, PortId};
use vswitch_wire::{MacAddr, protocol};

use super::container::{Live, State};
use super::lan::LiveUplink;
use crate::dataplane::Layer3;

/// What is up, and under which numbers the dataplane knows it.
pub(super) struct Inventory<'a> {
    pub(super) config: &'a Config,
    pub(super) networks: &'a BTreeMap<NetworkName, NetworkId>,
    pub(super) containers: &'a BTreeMap<ContainerName, Live>,
    pub(super) uplink: Option<&'a LiveUplink>,
    /// Differs from that of every inventory before.
    pub(super) generation: u32,
    /// Counters of published ports, which last as long as the port is published.
    pub(super) rules: &'a BTreeMap<(ContainerName, PublishedPort), Arc<RuleCounters>>,
}

/// A port of a container that is up.
#[derive(Clone, Copy)]
struct Up<'a> {
    attachment: &'a Attachment,
    port: PortId,
}

impl Inventory<'_> {
    /// Everything the dataplane has to know of layer 3.
    pub(super) fn layer3(&self) -> Layer3 {
        let routed = self.config.networks.values().filter(|network| has_gateway(network));
        let gateways =
            routed.filter_map(|network| Some((*self.networks.get(&network.name)?, self.gateway(network))));
        let mut gateways: Vec<_> = gateways.collect();
        gateways.extend(self.uplink.map(|uplink| (uplink.network, self.uplink_gateway(uplink))));
        Layer3 {
            gateways,
            uplink: self.uplink.map(|uplink| uplink.network),
            nat: self.uplink.map(|uplink| Arc::new(self.rules(uplink))),
        }
    }

    fn up(&self) -> impl Iterator<Item = (&Container, Up<'_>)> {
        let up = self.containers.iter().filter(|(_, live)| live.state == State::Up);
        up.filter_map(|(name, live)| Some((self.config.containers.get(name)?, live))).flat_map(
            |(spec, live)| {
                let ports = spec.attachments.iter().zip(&live.ports);
                ports.map(move |(attachment, port)| (spec, Up { attachment, port: port.id }))
            },
        )
    }

    /// Who is behind which address on a LAN.
    pub(super) fn addresses_on(&self, lan: NetworkId) -> HashMap<IpAddr, PortId> {
        self.hosts_on(&lan).into_iter().map(|(address, host)| (address, host.port)).collect()
    }

    /// Who lives on a network.
    fn hosts_on(&self, network: &NetworkId) -> HashMap<IpAddr, Host> {
        let members = self.up().filter(|(_, up)| self.networks.get(&up.attachment.network) == Some(network));
        let hosts = members.flat_map(|(_, up)| {
            let host = Host { port: up.port, mac: up.attachment.mac_address };
            addresses(up.attachment).map(move |address| (address, host))
        });
        hosts.collect()
    }

    fn gateway(&self, network: &model::Network) -> Gateway {
        let own = network.ipam.iter().filter_map(|subnet| {
            let prefix = subnet.subnet.prefix_len();
            // A prefix length of a valid subnet is a valid one.
            subnet.gateway.and_then(|gateway| IpNet::new(gateway, prefix).ok())
        });
        // RFC 1812 §4.3.2.4: a router without an address on a network sends errors from another of its own.
        let borrowed = self.uplink.filter(|_| network.driver.is_ipvlan_l3());
        let borrowed =
            borrowed.iter().flat_map(|uplink| &uplink.addresses).map(|net| IpNet::from(net.addr()));
        let advertisement = network.router_advertisements.map(|ra| Advertisement {
            managed: ra.managed,
            other: ra.other,
            autonomous: ra.autonomous,
            lifetime: ra.lifetime,
            interval: ra.interval,
        });
        Gateway {
            mac: network.gateway_mac,
            addresses: own.chain(borrowed).collect(),
            answers_for: Vec::new(),
            routes: Fib::build(self.routes(network)),
            hosts: self.networks.get(&network.name).map(|id| self.hosts_on(id)).unwrap_or_default(),
            mtu: network.mtu,
            advertisement,
        }
    }

    /// A network's own table: its subnets, its routes, the way out; every other network is forbidden ground.
    fn routes(&self, network: &model::Network) -> Vec<(IpNet, Route)> {
        let Some(own) = self.networks.get(&network.name).copied() else { return Vec::new() };
        let mut table: BTreeMap<IpNet, Route> = BTreeMap::new();
        if let Some(uplink) = self.uplink.filter(|_| !network.internal) {
            table.extend(uplink.routes());
        }
        let others =
            self.config.networks.values().filter(|other| other.name != network.name && has_gateway(other));
        table.extend(others.flat_map(|other| &other.ipam).map(|subnet| (subnet.subnet, Route::Prohibit)));
        table.extend(network.ipam.iter().map(|subnet| (subnet.subnet, Route::Connected(own))));
        for route in &network.routes {
            table.insert(route.destination, self.leads(own, route));
        }
        table.into_iter().collect()
    }

    fn leads(&self, own: NetworkId, route: &model::StaticRoute) -> Route {
        match &route.via {
            RouteVia::Gateways(gateways) => through(own, gateways.iter().copied()),
            RouteVia::Network(name) => self.lead_into(name, route.destination),
            RouteVia::Blackhole => Route::Blackhole,
            RouteVia::Unreachable => Route::Unreachable,
            RouteVia::Prohibit => Route::Prohibit,
        }
    }

    /// Where another network's own table sends `destination`.
    fn lead_into(&self, name: &NetworkName, destination: IpNet) -> Route {
        let (Some(network), Some(id)) = (self.config.networks.get(name), self.networks.get(name).copied())
        else {
            return Route::Unreachable;
        };
        if network.ipam.iter().any(|subnet| subnet.subnet.contains(&destination)) {
            return Route::Connected(id);
        }
        let covering = network.routes.iter().filter(|route| route.destination.contains(&destination));
        match covering.max_by_key(|route| route.destination.prefix_len()).map(|route| &route.via) {
            Some(RouteVia::Gateways(gateways)) => through(id, gateways.iter().copied()),
            Some(RouteVia::Blackhole) => Route::Blackhole,
            Some(RouteVia::Prohibit) => Route::Prohibit,
            // Not through a third network: that route belongs to the network itself.
            Some(RouteVia::Network(_) | RouteVia::Unreachable) | None => Route::Unreachable,
        }
    }

    fn uplink_gateway(&self, uplink: &LiveUplink) -> Gateway {
        let mut table: BTreeMap<IpNet, Route> = BTreeMap::new();
        table.extend(uplink.routes());
        // So that nobody outside passes for somebody inside: the way back would not be the uplink.
        for network in self.config.networks.values().filter(|network| has_gateway(network)) {
            if let Some(id) = self.networks.get(&network.name) {
                table.extend(network.ipam.iter().map(|subnet| (subnet.subnet, Route::Connected(*id))));
            }
        }
        let nat = nat_settings(self.config);
        let further = nat.addresses.iter().copied().chain(nat.one_to_one.iter().map(|pair| pair.external));
        Gateway {
            mac: uplink.mac,
            addresses: uplink.addresses.clone(),
            answers_for: further.collect(),
            routes: Fib::build(table.into_iter().collect()),
            // The members of a network that shares the interface.
            hosts: self.hosts_on(&uplink.network),
            mtu: uplink.mtu,
            advertisement: None,
        }
    }

    fn rules(&self, uplink: &LiveUplink) -> NatRules {
        let nat = nat_settings(self.config);
        let own = uplink.addresses.iter().map(|net| net.addr());
        let gateways = self.config.networks.values().filter(|network| has_gateway(network));
        // An internal one has no part in it, lest its gateway's address be a way to what others publish.
        let networks = gateways.clone().filter(|network| !network.internal).filter_map(|network| {
            let rule = NetworkNat {
                mode: match network.nat {
                    // Its members are the LAN's as much as those of mode l2.
                    _ if network.driver.is_ipvlan_l3() => NatMode::Open,
                    ConfiguredNat::Masquerade => NatMode::Masquerade,
                    ConfiguredNat::None => NatMode::None,
                },
                subnets: network.ipam.iter().map(|subnet| subnet.subnet).collect(),
            };
            Some((*self.networks.get(&network.name)?, rule))
        });
        NatRules {
            external: own.chain(nat.addresses.iter().copied()).collect(),
            local: gateways.flat_map(|network| &network.ipam).filter_map(|subnet| subnet.gateway).collect(),
            mapping: mapping(nat.mapping),
            filtering: filtering(nat.filtering),
            ports: nat.ports.0..=nat.ports.1,
            // The configuration has checked both for overlaps.
            one_to_one: OneToOnes::new(&self.one_to_one(nat)).unwrap_or_default(),
            published: Published::new(self.published()).unwrap_or_default(),
            networks: NatNetworks::new(networks),
            timeouts: Timeouts {
                datagram: nat.timeouts.udp,
                tcp_established: nat.timeouts.tcp_established,
                tcp_opening: nat.timeouts.tcp_transitory,
                tcp_closing: nat.timeouts.tcp_transitory,
                query: nat.timeouts.icmp,
                other: nat.timeouts.other,
                ..Timeouts::default()
            },
            max_connections: usize::try_from(nat.max_connections).unwrap_or(usize::MAX),
            max_half_open: usize::try_from(nat.max_connections / 4).unwrap_or(usize::MAX),
            max_per_port: model::Limits::default().connections,
            generation: self.generation,
            per_port: self.up().map(|(_, up)| (up.port, up.attachment.limits.connections)).collect(),
        }
    }

    fn one_to_one(&self, nat: &NatSettings) -> Vec<OneToOne> {
        let pairs = nat.one_to_one.iter().filter_map(|pair| {
            let (_, up) =
                self.up().find(|(_, up)| addresses(up.attachment).any(|own| own == pair.internal))?;
            let network = *self.networks.get(&up.attachment.network)?;
            Some(OneToOne { external: pair.external, internal: pair.internal, network, owner: up.port })
        });
        pairs.collect()
    }

    fn published(&self) -> Vec<Publish> {
        let mut all = Vec::new();
        for (name, live) in self.containers.iter().filter(|(_, live)| live.state == State::Up) {
            let Some(spec) = self.config.containers.get(name) else { continue };
            for published in &spec.ports {
                all.extend(self.publish(spec, live, published));
            }
        }
        all
    }

    /// One entry for each attachment a published port leads to: the one that holds the default route of the family.
    fn publish(&self, spec: &Container, live: &Live, port: &PublishedPort) -> Vec<Publish> {
        let attachments = || spec.attachments.iter().zip(&live.ports);
        let four = attachments().find(|(attachment, _)| attachment.gateway4.is_some());
        let six = attachments().find(|(attachment, _)| attachment.gateway6.is_some());
        let entry = |up: (&Attachment, &super::container::LivePort), container4, container6| {
            Some(Publish {
                host: port.host_ip,
                host_ports: port.host_ports.0..=port.host_ports.1,
                container_port: port.container_ports.0,
                protocol: number(port.protocol),
                container4,
                container6,
                network: *self.networks.get(&up.0.network)?,
                owner: up.1.id,
                counters: Arc::clone(self.rules.get(&(spec.name.clone(), *port))?),
            })
        };
        let address4 = |attachment: &Attachment| attachment.ipv4_address.map(|net| net.addr());
        let address6 = |attachment: &Attachment| attachment.ipv6_address.map(|net| net.addr());
        let entries = match (four, six) {
            (Some(four), Some(six)) if four.1.id == six.1.id => {
                vec![entry(four, address4(four.0), address6(six.0))]
            }
            (four, six) => vec![
                four.and_then(|four| entry(four, address4(four.0), None)),
                six.and_then(|six| entry(six, None, address6(six.0))),
            ],
        };
        entries.into_iter().flatten().collect()
    }
}

impl LiveUplink {
    /// The way out as every network's table has it: the uplink's own subnets, routes of DHCP, and the next router.
    fn routes(&self) -> Vec<(IpNet, Route)> {
        let everything = |router: IpAddr| match router {
            IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
            IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
        };
        let default =
            self.routers.iter().map(|router| (everything(*router), through(self.network, [*router])));
        let further = self.routes.iter().map(|route| {
            let way = route.gateway.map(|router| through(self.network, [router.into()]));
            (route.destination.into(), way.unwrap_or(Route::Connected(self.network)))
        });
        let connected = self.addresses.iter().map(|net| (net.trunc(), Route::Connected(self.network)));
        default.chain(further).chain(connected).collect()
    }
}

fn through(network: NetworkId, routers: impl IntoIterator<Item = IpAddr>) -> Route {
    let hops: Vec<_> = routers.into_iter().map(|via| NextHop { network, via }).collect();
    NextHops::new(hops).map_or(Route::Unreachable, Route::Via)
}

/// Whether the switch itself routes for a network; on a LAN somebody else does.
pub(super) fn has_gateway(network: &model::Network) -> bool {
    matches!(network.driver, NetworkDriver::Bridge | NetworkDriver::Ipvlan { mode: IpvlanMode::L3, .. })
}

fn addresses(attachment: &Attachment) -> impl Iterator<Item = IpAddr> {
    let four = attachment.ipv4_address.map(|net| IpAddr::V4(net.addr()));
    let six = attachment.ipv6_address.map(|net| IpAddr::V6(net.addr()));
    four.into_iter().chain(six)
}

/// The settings of NAT; without an uplink nobody asks for them.
fn nat_settings(config: &Config) -> &NatSettings {
    static DEFAULT: std::sync::LazyLock<NatSettings> = std::sync::LazyLock::new(NatSettings::default);
    match &config.uplink {
        model::Uplink::Interface(uplink) => &uplink.nat,
        model::Uplink::Tap(uplink) => &uplink.nat,
        model::Uplink::None => &DEFAULT,
    }
}

fn mapping(configured: NatBehaviour) -> Mapping {
    match configured {
        NatBehaviour::EndpointIndependent => Mapping::EndpointIndependent,
        NatBehaviour::AddressDependent => Mapping::AddressDependent,
        NatBehaviour::AddressAndPortDependent => Mapping::AddressAndPortDependent,
    }
}

fn filtering(configured: NatBehaviour) -> Filtering {
    match configured {
        NatBehaviour::EndpointIndependent => Filtering::EndpointIndependent,
        NatBehaviour::AddressDependent => Filtering::AddressDependent,
        NatBehaviour::AddressAndPortDependent => Filtering::AddressAndPortDependent,
    }
}

fn number(configured: Protocol) -> u8 {
    match configured {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
    }
}

/// Two addresses of one station, for announcements.
pub(super) fn announced(attachment: &Attachment) -> impl Iterator<Item = (IpAddr, MacAddr)> {
    addresses(attachment).map(|address| (address, attachment.mac_address))
}
