//! A small town to route in: networks `front` and `back`, each with a gateway and two hosts, and an uplink with a
//! router on the LAN outside.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vswitch_switch::counters::PortTotals;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::hash::Seed;
use vswitch_switch::memory::{MemoryDevice, MemoryFrame};
use vswitch_switch::nat::{NatMode, NatNetworks, NatRules, NetworkNat, Publish, Published, RuleCounters};
use vswitch_switch::parent::{Mode, Parent};
use vswitch_switch::route::{Fib, NextHop, Route};
use vswitch_switch::router::Router;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, Gateway, Host, Network, Port, UnknownUnicast};
use vswitch_switch::{
    DropReason, NetworkCounters, NetworkId, Offloads, PortCounters, PortId, Serviced, Shard, Tables, Time,
};
use vswitch_wire::{ArpPacket, Headers, MacAddr, build, parse, protocol};

pub(crate) const FRONT: usize = 0;
pub(crate) const BACK: usize = 1;
pub(crate) const OUTSIDE: usize = 2;

/// A host of the town: on which port, and its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Station {
    pub(crate) port: usize,
    pub(crate) network: usize,
    pub(crate) mac: MacAddr,
    pub(crate) four: Ipv4Addr,
    pub(crate) six: Ipv6Addr,
}

const fn station(port: usize, network: usize, last: u8) -> Station {
    let six = if network == OUTSIDE {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last as u16)
    } else {
        Ipv6Addr::new(0xfd00, network as u16, 0, 0, 0, 0, 0, last as u16)
    };
    let four = if network == OUTSIDE {
        Ipv4Addr::new(192, 0, 2, last)
    } else {
        Ipv4Addr::new(10, network as u8, 0, last)
    };
    Station { port, network, mac: MacAddr([2, 0x42, 0, network as u8, 0, last]), four, six }
}

pub(crate) const ALICE: Station = station(0, FRONT, 2);
pub(crate) const BOB: Station = station(1, FRONT, 3);
pub(crate) const CAROL: Station = station(2, BACK, 2);
pub(crate) const DAVE: Station = station(3, BACK, 3);
/// The router outside: everything else lives behind it.
pub(crate) const EDGE: Station = station(4, OUTSIDE, 1);

/// The switch's own address outside.
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

/// Somebody far away.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);

const SETTINGS: BridgeSettings = BridgeSettings {
    fdb: FdbLimits { entries: 64, per_port: 32, ageing: 300 },
    storm: StormLimits { broadcast: None, multicast: None, unknown_unicast: None },
    unknown_unicast: UnknownUnicast::Flood,
};

pub(crate) struct Town {
    pub(crate) shard: Shard<MemoryDevice>,
    pub(crate) router: Arc<Router>,
    pub(crate) tables: Tables,
    pub(crate) rules: NatRules,
    pub(crate) now: Time,
    devices: Vec<MemoryDevice>,
    counters: Vec<Arc<PortCounters>>,
}

pub(crate) fn gateway_mac(network: usize) -> MacAddr {
    MacAddr([2, 0x42, 0xff, network as u8, 0, 1])
}

pub(crate) fn gateway_ip(network: usize) -> Ipv4Addr {
    if network == OUTSIDE { OWN } else { Ipv4Addr::new(10, network as u8, 0, 1) }
}

pub(crate) fn gateway_ip6(network: usize) -> Ipv6Addr {
    if network == OUTSIDE { OWN6 } else { Ipv6Addr::new(0xfd00, network as u16, 0, 0, 0, 0, 0, 1) }
}

pub(crate) fn id(network: usize) -> NetworkId {
    NetworkId::new(network).unwrap()
}

pub(crate) fn port(station: &Station) -> PortId {
    PortId::new(station.port).unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

impl Town {
    pub(crate) fn new() -> Self {
        let router = Arc::new(Router::new(Seed::new(0x5eed), 4096));
        let mut town = Self {
            shard: Shard::new(Seed::new(0x5eed), Arc::clone(&router)),
            router,
            tables: Tables::default(),
            rules: NatRules::default(),
            now: Time::from_secs(1000),
            devices: Vec::new(),
            counters: Vec::new(),
        };
        for number in [FRONT, BACK, OUTSIDE] {
            town.shard.open_network(id(number), &SETTINGS, Arc::new(NetworkCounters::default()));
            town.tables.set_network(id(number), Some(Network::new(SETTINGS)));
        }
        for station in [ALICE, BOB, CAROL, DAVE, EDGE] {
            town.attach(station);
        }
        for network in [FRONT, BACK] {
            let other = if network == FRONT { BACK } else { FRONT };
            let routes = vec![
                (net(&format!("10.{network}.0.0/24")), Route::Connected(id(network))),
                (net(&format!("fd00:{network}::/64")), Route::Connected(id(network))),
                (net(&format!("10.{other}.0.0/24")), Route::Prohibit),
                (net(&format!("fd00:{other}::/64")), Route::Prohibit),
            ];
            town.set_gateway(network, routes);
        }
        let inside = [FRONT, BACK].into_iter().flat_map(|network| {
            [
                (net(&format!("10.{network}.0.0/24")), Route::Connected(id(network))),
                (net(&format!("fd00:{network}::/64")), Route::Connected(id(network))),
            ]
        });
        town.set_gateway(OUTSIDE, inside.collect());
        town.change_network(OUTSIDE, |network| {
            network.parent = Some(Parent {
                wire: port(&EDGE),
                host: None,
                mac: gateway_mac(OUTSIDE),
                mode: Mode::Bridge,
                addresses: HashMap::new(),
            });
            network.static_macs.clear();
        });
        town.change_gateway(OUTSIDE, |gateway| gateway.hosts.clear());
        town.rules = NatRules {
            external: vec![OWN.into(), OWN6.into()],
            local: [FRONT, BACK]
                .into_iter()
                .flat_map(|network| [gateway_ip(network).into(), IpAddr::from(gateway_ip6(network))])
                .collect(),
            networks: NatNetworks::new([FRONT, BACK].into_iter().map(|network| {
                let subnets =
                    vec![net(&format!("10.{network}.0.0/24")), net(&format!("fd00:{network}::/64"))];
                (id(network), NetworkNat { mode: NatMode::Masquerade, subnets })
            })),
            ..NatRules::default()
        };
        town.apply_rules();
        // The router outside is known: tests of neighbours begin by forgetting it.
        town.learn_edge();
        town
    }

    pub(crate) fn apply_rules(&mut self) {
        self.rules.generation += 1;
        self.tables.set_uplink(Some(id(OUTSIDE)), Some(Arc::new(self.rules.clone())));
    }

    /// Publishes a port of a host on every address of the switch.
    pub(crate) fn publish(
        &mut self,
        station: &Station,
        protocol: u8,
        host_port: u16,
        container_port: u16,
    ) -> Arc<RuleCounters> {
        let counters = Arc::new(RuleCounters::default());
        let publish = Publish {
            host: None,
            host_ports: host_port..=host_port,
            container_port,
            protocol,
            container4: Some(station.four),
            container6: Some(station.six),
            network: id(station.network),
            owner: port(station),
            counters: Arc::clone(&counters),
        };
        self.rules.published = Published::new(vec![publish]).unwrap();
        self.apply_rules();
        counters
    }

    fn attach(&mut self, station: Station) {
        let device = MemoryDevice::new(Offloads::ALL);
        let counters = Arc::new(PortCounters::default());
        self.shard.attach(port(&station), device.clone(), Arc::clone(&counters));
        self.devices.push(device);
        self.counters.push(counters);
        self.tables
            .set_port(port(&station), Some(Port { network: id(station.network), mtu: 1500, guard: None }));
        self.change_network(station.network, |network| {
            network.members.push(port(&station));
            network.static_macs.insert(station.mac, port(&station));
        });
    }

    pub(crate) fn change_network(&mut self, number: usize, change: impl FnOnce(&mut Network)) {
        let mut changed = self.tables.network(id(number)).unwrap().clone();
        change(&mut changed);
        changed.generation += 1;
        self.tables.set_network(id(number), Some(changed));
    }

    pub(crate) fn change_gateway(&mut self, number: usize, change: impl FnOnce(&mut Gateway)) {
        self.change_network(number, |network| {
            let mut gateway = Gateway::clone(network.gateway.as_ref().unwrap());
            change(&mut gateway);
            network.gateway = Some(Arc::new(gateway));
        });
    }

    /// Gives a network its gateway, with these routes and the way out.
    fn set_gateway(&mut self, number: usize, routes: Vec<(IpNet, Route)>) {
        let prefix =
            if number == OUTSIDE { "192.0.2.10/24".to_owned() } else { format!("10.{number}.0.1/24") };
        let prefix6 =
            if number == OUTSIDE { "2001:db8::10/64".to_owned() } else { format!("fd00:{number}::1/64") };
        let hosts = [ALICE, BOB, CAROL, DAVE].into_iter().filter(|station| station.network == number);
        let hosts = hosts.flat_map(|station| {
            let host = Host { port: port(&station), mac: station.mac };
            [(IpAddr::V4(station.four), host), (IpAddr::V6(station.six), host)]
        });
        let gateway = Gateway {
            mac: gateway_mac(number),
            addresses: vec![net(&prefix), net(&prefix6)],
            answers_for: Vec::new(),
            routes: Fib::build(with_way_out(routes)),
            hosts: hosts.collect(),
            mtu: 1500,
            advertisement: None,
        };
        self.change_network(number, |network| network.gateway = Some(Arc::new(gateway)));
    }

    /// Replaces a network's routes; the way out is added.
    pub(crate) fn set_routes(&mut self, number: usize, routes: Vec<(IpNet, Route)>) {
        self.change_gateway(number, |gateway| gateway.routes = Fib::build(with_way_out(routes)));
    }

    fn learn_edge(&mut self) {
        // Somebody outside asks for us, which tells where the asker is.
        let asked = build::arp(ArpPacket::REQUEST, EDGE.mac, EDGE.four, MacAddr::BROADCAST, OWN);
        self.send(&EDGE, asked);
        let solicitation = build::neighbor_solicitation(EDGE.mac, EDGE.six, OWN6);
        self.send(&EDGE, solicitation);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Sends a frame from a host and answers what came out, by port.
    pub(crate) fn send(
        &mut self,
        from: &Station,
        frame: impl Into<MemoryFrame>,
    ) -> Vec<(usize, MemoryFrame)> {
        self.devices[from.port].push(frame.into());
        while let Serviced::More = self.shard.service(&self.tables, port(from), self.now) {}
        self.sent()
    }

    /// What left since it was last asked, by port.
    pub(crate) fn sent(&mut self) -> Vec<(usize, MemoryFrame)> {
        let devices = self.devices.iter().enumerate();
        devices
            .flat_map(|(index, device)| device.take_sent().into_iter().map(move |frame| (index, frame)))
            .collect()
    }

    /// Sends a frame that comes out as one, at one port.
    pub(crate) fn one(&mut self, from: &Station, frame: impl Into<MemoryFrame>) -> (usize, Vec<u8>) {
        let mut sent = self.send(from, frame);
        assert_eq!(sent.len(), 1, "{:?}; drops: {:?}", describe(&sent), self.drops(from));
        let (port, frame) = sent.remove(0);
        (port, frame.bytes)
    }

    /// The reasons counted on a port, with their counts.
    pub(crate) fn drops(&self, station: &Station) -> Vec<(DropReason, u64)> {
        let mut totals = PortTotals::default();
        self.counters[station.port].add_to(&mut totals);
        totals.drops().collect()
    }

    /// Sends a frame that is dropped, and answers the reason and what came out all the same.
    pub(crate) fn dropped(
        &mut self,
        from: &Station,
        frame: impl Into<MemoryFrame>,
    ) -> (DropReason, Vec<(usize, MemoryFrame)>) {
        let before: HashMap<_, _> = self.drops(from).into_iter().collect();
        let sent = self.send(from, frame);
        let after = self.drops(from);
        let mut more = after.into_iter().filter(|(reason, count)| before.get(reason).unwrap_or(&0) < count);
        let (reason, _) = more.next().unwrap_or_else(|| panic!("not dropped: {:?}", describe(&sent)));
        assert_eq!(more.next(), None, "one drop, one reason");
        (reason, sent)
    }

    /// Does what is due until `time` has passed, and answers what came out.
    pub(crate) fn wait(&mut self, time: Duration) -> Vec<(usize, MemoryFrame)> {
        let end = self.now.after(time);
        let mut sent = Vec::new();
        while self.now < end {
            self.now = self.now.after(Duration::from_millis(100));
            self.shard.chores(&self.tables, self.now);
            sent.extend(self.sent());
        }
        sent
    }
}

fn with_way_out(mut routes: Vec<(IpNet, Route)>) -> Vec<(IpNet, Route)> {
    let hop = |via: IpAddr| Route::Via(NextHop { network: id(OUTSIDE), via }.into());
    routes.extend([
        (net("0.0.0.0/0"), hop(EDGE.four.into())),
        (net("::/0"), hop(EDGE.six.into())),
        (net("192.0.2.0/24"), Route::Connected(id(OUTSIDE))),
        (net("2001:db8::/64"), Route::Connected(id(OUTSIDE))),
    ]);
    routes
}

pub(crate) fn describe(sent: &[(usize, MemoryFrame)]) -> Vec<(usize, Headers)> {
    sent.iter().map(|(port, frame)| (*port, parse(&frame.bytes).unwrap().headers)).collect()
}

/// A datagram from a host towards its gateway.
pub(crate) fn udp(from: &Station, source_port: u16, to: impl Into<SocketAddr>) -> Vec<u8> {
    let to = to.into();
    let own: IpAddr = if to.is_ipv4() { from.four.into() } else { from.six.into() };
    udp_from(from, SocketAddr::new(own, source_port), to)
}

/// A frame's headers.
pub(crate) fn headers(frame: &[u8]) -> Headers {
    parse(frame).unwrap().headers
}

pub(crate) fn source(frame: &[u8]) -> SocketAddr {
    let headers = headers(frame);
    SocketAddr::new(headers.source_address().unwrap(), headers.source_port)
}

pub(crate) fn destination(frame: &[u8]) -> SocketAddr {
    let headers = headers(frame);
    SocketAddr::new(headers.destination_address().unwrap(), headers.destination_port)
}

/// A datagram with any source, from a host's port towards its gateway.
pub(crate) fn udp_from(station: &Station, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let gateway = gateway_mac(station.network);
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => build::udp4(gateway, station.mac, from, to, b"payload"),
        (SocketAddr::V6(from), SocketAddr::V6(to)) => build::udp6(gateway, station.mac, from, to, b"payload"),
        _ => panic!("two families"),
    }
}

/// Whether IP and transport checksums of a finished packet are right.
pub(crate) fn checksums_ok(frame: &[u8]) -> bool {
    use vswitch_wire::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
    let parsed = parse(frame).unwrap();
    let headers = &parsed.headers;
    let message = &frame[usize::from(parsed.layer4_offset)..parsed.layer3_end as usize];
    let length = message.len() as u32;
    let pseudo = match (headers.source_address().unwrap(), headers.destination_address().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            assert!(vswitch_wire::ipv4_header_checksum_ok(&frame[14..]), "IPv4 header");
            if headers.protocol == protocol::ICMP {
                return Sum::of(message).checksum() == 0;
            }
            pseudo_header_v4(from, to, headers.protocol, length)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => pseudo_header_v6(from, to, headers.protocol, length),
        _ => unreachable!("one packet, one family"),
    };
    (Sum::of(message) + pseudo).checksum() == 0
}
