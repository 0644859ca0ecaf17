//! The town of routed scenarios: which networks, ports, gateways and rules there are.
//!
//! | port | network | who |
//! |---|---|---|
//! | 0, 1 | front: bridge, translated | two hosts, the first guarded; both have published ports |
//! | 2, 3 | back: another, or one that only routes and is not translated | a host with an address of its own outside, and one without offloads |
//! | 4 | outside: the uplink | the wire to a router, behind which everybody else lives |
//! | 5, 6 | LAN: a parent domain | its wire, and the host on the same interface |
//! | 1 + 6 | LAN | a member |
//!
//! Front and back may not reach each other but by what is published. Back's MTU is the smaller one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vswitch_switch::guard::Guard;
use vswitch_switch::nat::{
    NatMode, NatNetworks, NatRules, NetworkNat, OneToOne, OneToOnes, Publish, Published,
};
use vswitch_switch::parent::{Mode, Parent};
use vswitch_switch::route::{Fib, NextHop, Route};
use vswitch_switch::tables::{Advertisement, BridgeSettings, Gateway, Host, Network, Port};
use vswitch_switch::{NetworkId, Offloads, PortId, Tables};
use vswitch_wire::{MacAddr, protocol};

use crate::pipeline::next_generation;
use crate::scenario::{Settings, TOWN_NETWORKS, TOWN_PORTS};

/// A bridge whose members are translated.
pub const FRONT: usize = 0;
/// Another; or one that only routes and is not translated.
pub const BACK: usize = 1;
/// The uplink.
pub const OUTSIDE: usize = 2;
/// A parent domain.
pub const LAN: usize = 3;

/// The port that leads outside.
pub const EDGE: usize = 4;
const LAN_WIRE: usize = 5;
const LAN_HOST: usize = 6;

/// Which network each port is on.
const HOMES: [usize; TOWN_PORTS] = [FRONT, FRONT, BACK, BACK, OUTSIDE, LAN, LAN, LAN];

/// Some offloads, as an older kernel grants.
const SOME: Offloads =
    Offloads { checksum: true, tso4: true, tso6: false, ecn: false, uso4: false, uso6: false };

/// The switch's own addresses outside, and one that stands for a host of back.
pub const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// See [`OWN`].
pub const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// See [`OWN`].
pub const SHARED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);

/// The network a port is on.
pub fn home(port: usize) -> usize {
    HOMES[port]
}

/// What a port's device takes.
pub fn offloads(port: usize) -> Offloads {
    match port {
        1 | 6 => SOME,
        3 => Offloads::NONE,
        _ => Offloads::ALL,
    }
}

/// A port by the number the dataplane knows.
pub fn port_id(port: usize) -> PortId {
    PortId::new(port).unwrap_or_default()
}

/// A network by the number the dataplane knows.
pub fn network_id(network: usize) -> NetworkId {
    NetworkId::new(network).unwrap_or_default()
}

/// The MAC address of the station on a port.
pub fn mac(port: usize) -> MacAddr {
    MacAddr([2, 0x42, 0, 0, low(home(port)), low(port + 2)])
}

/// The MAC address of a network's gateway; of the LAN, that of the parent.
pub fn gateway_mac(network: usize) -> MacAddr {
    MacAddr([2, 0x42, 0xff, 0, low(network), 1])
}

/// The IPv4 address of the station on a port.
pub fn ip4(port: usize) -> Ipv4Addr {
    host4(home(port), low(port + 2))
}

/// The IPv6 address of the station on a port.
pub fn ip6(port: usize) -> Ipv6Addr {
    host6(home(port), low(port + 2))
}

/// A network's subnets.
pub fn subnets(network: usize) -> [IpNet; 2] {
    let four = Ipv4Net::new_assert(host4(network, 0), 24);
    [four.into(), Ipv6Net::new_assert(host6(network, 0), 64).into()]
}

/// The longest packet of a network.
pub fn mtu(network: usize, settings: Settings) -> u16 {
    match network {
        BACK if settings.has_small_mtu() => 1280,
        _ => 1500,
    }
}

fn low(number: usize) -> u8 {
    let [.., low] = number.to_be_bytes();
    low
}

fn host4(network: usize, last: u8) -> Ipv4Addr {
    match network {
        OUTSIDE => Ipv4Addr::new(192, 0, 2, last),
        _ => Ipv4Addr::new(10, low(network), 0, last),
    }
}

fn host6(network: usize, last: u8) -> Ipv6Addr {
    match network {
        OUTSIDE => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()),
        _ => Ipv6Addr::new(0xfd00, low(network).into(), 0, 0, 0, 0, 0, last.into()),
    }
}

/// Ports and networks, and what leads outside.
pub fn tables(settings: Settings, bridge: BridgeSettings) -> Tables {
    let mut tables = Tables::default();
    for port in 0..TOWN_PORTS {
        let guard = (port == 0).then(|| Guard::new(mac(0), Some(ip4(0)), Some(ip6(0))));
        let mtu = mtu(home(port), settings);
        tables.set_port(port_id(port), Some(Port { network: network_id(home(port)), mtu, guard }));
    }
    for number in 0..TOWN_NETWORKS {
        tables.set_network(network_id(number), Some(network(number, settings, bridge)));
    }
    tables.set_uplink(Some(network_id(OUTSIDE)), Some(Arc::new(rules(settings, true))));
    tables
}

/// A network of a new generation.
pub fn network(number: usize, settings: Settings, bridge: BridgeSettings) -> Network {
    let members = || (0..TOWN_PORTS).filter(|port| home(*port) == number);
    let stations = members().filter(|port| ![EDGE, LAN_WIRE, LAN_HOST].contains(port));
    let routes_only = number == BACK && settings.has_untranslated();
    Network {
        generation: next_generation(),
        members: members().map(port_id).collect(),
        static_macs: match number {
            LAN if settings.shares_mac() => HashMap::new(),
            _ => stations.map(|port| (mac(port), port_id(port))).collect(),
        },
        icc: !settings.drops_unknown(),
        layer3_only: routes_only,
        parent: parent(number, settings),
        gateway: (number != LAN).then(|| Arc::new(gateway(number, settings))),
        ..Network::new(bridge)
    }
}

fn parent(number: usize, settings: Settings) -> Option<Parent> {
    let mac = gateway_mac(number);
    match number {
        OUTSIDE => {
            let wire = port_id(EDGE);
            Some(Parent { wire, host: None, mac, mode: Mode::Bridge, addresses: HashMap::new() })
        }
        LAN if settings.shares_mac() => {
            let member = port_id(7);
            let addresses = [(ip4(7).into(), member), (ip6(7).into(), member)].into();
            let (wire, host) = (port_id(LAN_WIRE), Some(port_id(LAN_HOST)));
            Some(Parent { wire, host, mac, mode: Mode::Shared, addresses })
        }
        LAN => {
            let (wire, host) = (port_id(LAN_WIRE), Some(port_id(LAN_HOST)));
            let mode = if settings.has_small_fdb() { Mode::Vepa } else { Mode::Private };
            Some(Parent { wire, host, mac, mode, addresses: HashMap::new() })
        }
        _ => None,
    }
}

fn gateway(number: usize, settings: Settings) -> Gateway {
    let inside = (0..EDGE).filter(|port| home(*port) == number);
    let hosts = inside.flat_map(|port| {
        let host = Host { port: port_id(port), mac: mac(port) };
        [(IpAddr::V4(ip4(port)), host), (IpAddr::V6(ip6(port)), host)]
    });
    let (own, further) = match number {
        OUTSIDE => ([OWN.into(), OWN6.into()], vec![SHARED.into()]),
        _ => ([host4(number, 1).into(), host6(number, 1).into()], Vec::new()),
    };
    let prefixes = subnets(number).map(|subnet| subnet.prefix_len());
    let advertisement =
        Advertisement { managed: false, other: false, autonomous: true, lifetime: 1800, interval: 4 };
    Gateway {
        mac: gateway_mac(number),
        addresses: own
            .into_iter()
            .zip(prefixes)
            .filter_map(|(own, prefix)| IpNet::new(own, prefix).ok())
            .collect(),
        answers_for: further,
        routes: Fib::build(routes(number)),
        hosts: hosts.collect(),
        mtu: mtu(number, settings),
        advertisement: (number == FRONT).then_some(advertisement),
    }
}

fn routes(number: usize) -> Vec<(IpNet, Route)> {
    let via = |via: IpAddr| Route::Via(NextHop { network: network_id(OUTSIDE), via }.into());
    let connected = |network: usize| move |subnet| (subnet, Route::Connected(network_id(network)));
    let mut routes = vec![
        (IpNet::V4(Ipv4Net::default()), via(ip4(EDGE).into())),
        (IpNet::V6(Ipv6Net::default()), via(ip6(EDGE).into())),
        (Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24).into(), Route::Blackhole),
        (Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 112, 0), 24).into(), Route::Unreachable),
    ];
    routes.extend(subnets(OUTSIDE).map(connected(OUTSIDE)));
    for network in [FRONT, BACK] {
        let own = network == number || number == OUTSIDE;
        routes.extend(subnets(network).map(|subnet| {
            (subnet, if own { Route::Connected(network_id(network)) } else { Route::Prohibit })
        }));
    }
    routes
}

/// How addresses are translated; every second time, nothing is published.
pub fn rules(settings: Settings, publishes: bool) -> NatRules {
    let few = settings.has_small_fdb();
    let back = if settings.has_untranslated() { NatMode::None } else { NatMode::Masquerade };
    let networks = [(FRONT, NatMode::Masquerade), (BACK, back)];
    let stands_for = OneToOne {
        external: SHARED.into(),
        internal: ip4(2).into(),
        network: network_id(BACK),
        owner: port_id(2),
    };
    let published = if publishes { published() } else { Vec::new() };
    NatRules {
        external: vec![OWN.into(), OWN6.into()],
        local: [FRONT, BACK]
            .into_iter()
            .flat_map(|network| [IpAddr::from(host4(network, 1)), host6(network, 1).into()])
            .collect(),
        one_to_one: OneToOnes::new(&[stands_for]).unwrap_or_default(),
        published: Published::new(published).unwrap_or_default(),
        networks: NatNetworks::new(networks.into_iter().map(|(network, mode)| {
            (network_id(network), NetworkNat { mode, subnets: subnets(network).to_vec() })
        })),
        ports: if few { 40_000..=40_003 } else { 1024..=u16::MAX },
        max_connections: if few { 8 } else { 256 },
        max_half_open: if few { 4 } else { 64 },
        max_per_port: if few { 3 } else { 128 },
        generation: next_generation(),
        ..NatRules::default()
    }
}

fn published() -> Vec<Publish> {
    let publish = |port: usize, protocol, host_ports: RangeInclusive<u16>, container_port| Publish {
        host: None,
        host_ports,
        container_port,
        protocol,
        container4: Some(ip4(port)),
        container6: Some(ip6(port)),
        network: network_id(home(port)),
        owner: port_id(port),
        counters: Arc::default(),
    };
    vec![
        publish(0, protocol::TCP, 8080..=8080, 80),
        publish(0, protocol::UDP, 53..=53, 53),
        publish(1, protocol::UDP, 9000..=9010, 90),
        publish(3, protocol::SCTP, 80..=80, 80),
    ]
}
