//! Nothing is allocated per frame: of every kind of end a frame can have, many batches, counted by the allocator.
//! `benches/allocations.rs` does the same for a million frames each.

#![allow(clippy::unwrap_used, reason = "everything here is a test or serves one")]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use ipnet::IpNet;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::gateway::icmp_error::{self, ErrorKind};
use vswitch_switch::gateway::{self, Outcome};
use vswitch_switch::hash::Seed;
use vswitch_switch::memory::{MemoryFrame, Replay};
use vswitch_switch::nat::{NatMode, NatRules, NetworkNat};
use vswitch_switch::neighbor::{NeighborLimits, Neighbors, Resolution, Sighting};
use vswitch_switch::offload::NEEDS_CHECKSUM;
use vswitch_switch::route::{Fib, NextHop, Route};
use vswitch_switch::router::Router;
use vswitch_switch::shard::Heard;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{
    Advertisement, BridgeSettings, Gateway, Host, Network, Port, Tables, UnknownUnicast,
};
use vswitch_switch::{
    Family, NetworkCounters, NetworkId, OffloadHeader, Offloads, Pool, PortId, Shard, Time,
};
use vswitch_wire::{IcmpHeader, MacAddr, build, parse};

const BATCHES: usize = 500;
const NOW: Time = Time::from_secs(1);
const CHECKSUM: Offloads = Offloads { checksum: true, ..Offloads::NONE };
const SENDER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn station(nth: u16) -> MacAddr {
    let [high, low] = nth.to_be_bytes();
    MacAddr([2, 0, 0, 1, high, low])
}

/// A datagram whose checksum is to be finished.
fn datagram(to: MacAddr) -> MemoryFrame {
    let source = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 5000);
    let destination = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 53);
    let mut bytes = build::udp4(to, SENDER, source, destination, &[7; 16]);
    // As Linux sends, forbidding fragments, so that it may be joined with others.
    bytes[20] = 0x40;
    let offload = OffloadHeader {
        flags: NEEDS_CHECKSUM,
        checksum_start: 34,
        checksum_offset: 6,
        ..OffloadHeader::NONE
    };
    MemoryFrame { bytes, offload }
}

/// Carries batches of `frames` from port 0 of a network of four and answers how often something was allocated,
/// the counters of the network, and the device writes of port 1, which has `offloads` and every station.
fn carry(frames: Vec<MemoryFrame>, stations: u16, offloads: Offloads) -> (u64, Arc<NetworkCounters>, u64) {
    let (network, ports) = (NetworkId::default(), [0, 1, 2, 3].map(|port| PortId::new(port).unwrap()));
    let settings = BridgeSettings {
        fdb: FdbLimits { entries: 65_536, per_port: 65_536, ageing: 300 },
        storm: StormLimits::default(),
        unknown_unicast: UnknownUnicast::Flood,
    };
    let counters = Arc::new(NetworkCounters::default());
    let mut shard = Shard::new(Seed::new(7), Arc::new(Router::new(Seed::new(7), 1)));
    shard.open_network(network, &settings, Arc::clone(&counters));
    let mut tables = Tables::default();
    let members = ports.to_vec();
    tables.set_network(network, Some(Network { members, ..Network::new(settings) }));
    let mut devices = vec![Replay::new(frames, 64, Offloads::ALL)];
    devices.extend((1..ports.len()).map(|_| Replay::sink(offloads)));
    for (port, device) in ports.into_iter().zip(devices) {
        tables.set_port(port, Some(Port { network, mtu: 1500, guard: None }));
        shard.attach(port, device, Arc::default());
    }
    for nth in 0..stations {
        shard.hear(Heard { network, mac: station(nth), port: ports[1] }, NOW);
    }

    // The sender is learned from its first frame, which may grow a table by its port.
    shard.service(&tables, ports[0], NOW);
    let sent_before = shard.device(ports[1]).unwrap().sent_frames();
    let counted = allocation_counter::measure(|| {
        for _ in 0..BATCHES {
            shard.service(&tables, ports[0], NOW);
            shard.take_heard(|_| ());
        }
    });
    (counted.count_total, counters, shard.device(ports[1]).unwrap().sent_frames() - sent_before)
}

const FRAMES: u64 = BATCHES as u64 * 64;

#[test]
fn the_allocator_counts() {
    assert!(allocation_counter::measure(|| drop(vec![1])).count_total > 0);
}

#[test]
fn a_cached_flow() {
    let (allocated, counters, sent) = carry(vec![datagram(station(0))], 1, CHECKSUM);
    assert_eq!((allocated, sent), (0, FRAMES));
    assert!(counters.flow_hits.read() >= FRAMES);
}

#[test]
fn a_miss() {
    // More destinations in turn than the flow cache holds flows.
    let frames = (0..u16::MAX).map(|nth| datagram(station(nth))).collect();
    let (allocated, counters, sent) = carry(frames, u16::MAX, CHECKSUM);
    assert_eq!((allocated, sent), (0, FRAMES));
    assert!(counters.flow_misses.read() >= FRAMES);
}

#[test]
fn a_flood() {
    for destination in [MacAddr::BROADCAST, station(9)] {
        let (allocated, counters, sent) = carry(vec![datagram(destination)], 0, CHECKSUM);
        assert_eq!((allocated, sent), (0, FRAMES));
        assert!(counters.broadcast.read() + counters.unknown_unicast.read() >= FRAMES);
    }
}

#[test]
fn a_coalesced_batch() {
    let (allocated, _, sent) = carry(vec![datagram(station(0))], 1, Offloads::ALL);
    assert_eq!((allocated, sent), (0, BATCHES as u64));
}

#[test]
fn a_checksum_in_software() {
    let (allocated, _, sent) = carry(vec![datagram(station(0))], 1, Offloads::NONE);
    assert_eq!((allocated, sent), (0, FRAMES));
}

#[test]
fn a_drop() {
    let mut false_header = datagram(station(0));
    false_header.offload.checksum_start = u16::MAX;
    let malformed = MemoryFrame::from(vec![0; 13]);
    let to_itself =
        MemoryFrame::from(build::ethernet(SENDER, SENDER, vswitch_wire::EtherType(0x1234), &[0; 46]));
    let (allocated, counters, sent) = carry(vec![false_header, malformed, to_itself], 1, CHECKSUM);
    assert_eq!((allocated, sent), (0, 0));
    assert_eq!(counters.flow_hits.read(), 0);
}

#[test]
fn a_reply_of_the_gateway() {
    let (own, owner): (Ipv4Addr, MacAddr) = (Ipv4Addr::new(10, 0, 0, 254), MacAddr([2, 0, 0, 0, 0, 254]));
    let gateway = Gateway {
        mac: owner,
        addresses: vec!["10.0.0.254/24".parse().unwrap(), "fd00::1/64".parse().unwrap()],
        answers_for: Vec::new(),
        routes: vswitch_switch::route::Fib::default(),
        hosts: HashMap::new(),
        mtu: 1500,
        advertisement: Some(Advertisement {
            managed: false,
            other: false,
            autonomous: true,
            lifetime: 1800,
            interval: 600,
        }),
    };
    let sender = Ipv4Addr::new(10, 0, 0, 1);
    let all_routers = (MacAddr([0x33, 0x33, 0, 0, 0, 2]), "ff02::2".parse().unwrap());
    let solicitation = IcmpHeader::new(IcmpHeader::ROUTER_SOLICITATION, 0, 0);
    let echo = IcmpHeader::new(IcmpHeader::ECHO_REQUEST, 1, 2);
    let frames = [
        build::arp(1, SENDER, sender, MacAddr::ZERO, own),
        build::neighbor_solicitation(SENDER, SENDER.link_local(), owner.link_local()),
        build::icmp6(all_routers.0, SENDER, SENDER.link_local(), all_routers.1, solicitation, &[]),
        build::icmp4(owner, SENDER, sender, own, echo, &[1; 1400]),
    ];
    let mut reply = Pool::new(1).take().unwrap();
    let refused = datagram(owner).bytes;
    let counted = allocation_counter::measure(|| {
        for frame in &frames {
            let answer = gateway::answer(&gateway, true, frame, &parse(frame).unwrap(), &mut reply);
            assert!(matches!(answer.outcome, Outcome::Reply(_)), "{answer:?}");
        }
        let parsed = parse(&refused).unwrap();
        assert!(icmp_error::write(ErrorKind::PortUnreachable, &gateway, &refused, &parsed, &mut reply));
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_route_and_a_known_neighbour() {
    let network = NetworkId::default();
    let routes = ["0.0.0.0/0", "10.0.0.0/24", "10.0.1.0/24"];
    let fib = Fib::build(routes.map(|prefix| (prefix.parse().unwrap(), Route::Connected(network))).into());
    let mut neighbors = Neighbors::new(NeighborLimits::default(), Seed::new(7));
    let address = IpAddr::from([10, 0, 0, 9]);
    neighbors.resolve(network, address, NOW);
    let answered = Sighting::Solicited { overrides: true };
    neighbors.heard(network, address, station(9), answered, NOW, &mut Vec::new());
    let counted = allocation_counter::measure(|| {
        assert!(fib.lookup(Family::V4, &address.into()).is_some());
        assert_eq!(neighbors.resolve(network, address, NOW), Resolution::Known(station(9)));
    });
    assert_eq!(counted.count_total, 0);
}

/// Two networks and the way out, each with one port of its number: 0 is `10.0.0.0/24`, 1 is `10.0.1.0/24` and 2 the
/// uplink, where the rest of the world lives behind one router. Port 0 receives `frames`.
fn routed(frames: Vec<MemoryFrame>) -> (u64, u64, Arc<NetworkCounters>) {
    let id = |number| NetworkId::new(number).unwrap();
    let port = |number| PortId::new(number).unwrap();
    let mac = |network: u8| MacAddr([2, 0, 0, 0, 1, network]);
    let settings = BridgeSettings {
        fdb: FdbLimits { entries: 64, per_port: 64, ageing: 300 },
        storm: StormLimits::default(),
        unknown_unicast: UnknownUnicast::Flood,
    };
    let counters = Arc::new(NetworkCounters::default());
    let mut shard = Shard::new(Seed::new(7), Arc::new(Router::new(Seed::new(7), 1024)));
    let mut tables = Tables::default();
    let mut devices = vec![Replay::new(frames, 64, Offloads::ALL)];
    devices.extend([Replay::sink(CHECKSUM), Replay::sink(CHECKSUM)]);
    let edge: IpAddr = [10, 0, 2, 9].into();
    for (number, device) in devices.into_iter().enumerate() {
        let last = u8::try_from(number).unwrap();
        let connected = (0..3).map(|to| (net(&format!("10.0.{to}.0/24")), Route::Connected(id(to))));
        let out = (net("0.0.0.0/0"), Route::Via(NextHop { network: id(2), via: edge }.into()));
        let host = (IpAddr::from([10, 0, last, 9]), Host { port: port(number), mac: station(last.into()) });
        let gateway = Gateway {
            mac: mac(last),
            addresses: vec![net(&format!("10.0.{number}.1/24"))],
            answers_for: Vec::new(),
            routes: Fib::build(connected.chain([out]).collect()),
            hosts: [host].into(),
            mtu: 1500,
            advertisement: None,
        };
        let members = vec![port(number)];
        let network = Network { members, gateway: Some(Arc::new(gateway)), ..Network::new(settings) };
        shard.open_network(id(number), &settings, Arc::clone(&counters));
        tables.set_network(id(number), Some(network));
        tables.set_port(port(number), Some(Port { network: id(number), mtu: 1500, guard: None }));
        shard.attach(port(number), device, Arc::default());
    }
    let subnets = vec![net("10.0.0.0/24")];
    let rules = NatRules {
        external: vec![[10, 0, 2, 1].into()],
        networks: [(id(0), NetworkNat { mode: NatMode::Masquerade, subnets })].into(),
        generation: 1,
        ..NatRules::default()
    };
    tables.set_uplink(Some(id(2)), Some(Arc::new(rules)));

    // The first batch makes the connections, and their tables.
    shard.service(&tables, port(0), NOW);
    let sent =
        |shard: &Shard<Replay>| (1..3).map(|to| shard.device(port(to)).unwrap().sent_frames()).sum::<u64>();
    let sent_before = sent(&shard);
    let counted = allocation_counter::measure(|| {
        for _ in 0..BATCHES {
            shard.service(&tables, port(0), NOW);
            shard.take_heard(|_| ());
        }
    });
    (counted.count_total, sent(&shard) - sent_before, counters)
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A datagram of the host `10.0.0.9` to its gateway.
fn to_gateway(source_port: u16, to: [u8; 4]) -> MemoryFrame {
    let (source, gateway) = (station(0), MacAddr([2, 0, 0, 0, 1, 0]));
    let from = SocketAddrV4::new([10, 0, 0, 9].into(), source_port);
    let bytes = build::udp4(gateway, source, from, SocketAddrV4::new(to.into(), 4433), &[7; 16]);
    MemoryFrame { bytes, offload: OffloadHeader::NONE }
}

#[test]
fn a_routed_flow() {
    let (allocated, sent, counters) = routed(vec![to_gateway(5000, [10, 0, 1, 9])]);
    assert_eq!((allocated, sent), (0, FRAMES));
    assert!(counters.flow_hits.read() >= FRAMES);
}

#[test]
fn a_translated_flow() {
    let frames = (0..64).map(|nth| to_gateway(5000 + nth, [198, 51, 100, 7])).collect();
    let (allocated, sent, counters) = routed(frames);
    assert_eq!((allocated, sent), (0, FRAMES));
    assert!(counters.flow_hits.read() >= FRAMES);
}
