//! A switch that routes, without a kernel: networks `FRONT` and `BACK`, and an uplink behind which everything else
//! lives. One port each, with a device that makes up what it receives and swallows what it is sent.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use ipnet::IpNet;
use vswitch_switch::device::{BATCH_FRAMES, Device, DeviceError, Received, TransmitError};
use vswitch_switch::frame::{Frame, Pool};
use vswitch_switch::memory::MemoryFrame;
use vswitch_switch::nat::{NatMode, NatRules, NetworkNat};
use vswitch_switch::parent::{Mode, Parent};
use vswitch_switch::route::{Fib, NextHop, Route};
use vswitch_switch::router::Router;
use vswitch_switch::tables::{Gateway, Host, Network, Port};
use vswitch_switch::{NetworkCounters, NetworkId, Offloads, PortCounters, Serviced, Shard, Tables, Time};
use vswitch_wire::{ArpPacket, MacAddr, build};

use crate::{NOW, SEED, partial, port, settings, unfinish};

/// Two networks and the way out. Each has the port of its number.
pub const FRONT: usize = 0;
/// See [`FRONT`].
pub const BACK: usize = 1;
/// See [`FRONT`].
pub const OUTSIDE: usize = 2;
/// A second port of `FRONT`, for what is bridged.
pub const NEIGHBOR: usize = 3;

/// Somebody far away.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The router outside.
const EDGE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The switch's own address outside.
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const PREFIX: [&str; 3] = ["10.0.0.0/16", "10.1.0.0/16", "192.0.2.0/24"];

/// What a device does to its frame before it is received once more.
pub type Vary = Box<dyn FnMut(&mut [u8])>;

/// Receives one frame for ever, each time a little different, and counts what it is sent.
pub struct Varied {
    /// A batch of copies: each is varied long before it is received, so that the processor is done with writing it
    /// when it is read, as with a frame that a kernel has written.
    frames: Vec<MemoryFrame>,
    next: usize,
    vary: Vary,
    sent: u64,
}

impl Varied {
    /// Receives `frame`, varied by `vary` each time.
    pub fn new(frame: &MemoryFrame, mut vary: Vary) -> Self {
        let mut frames = vec![frame.clone(); BATCH_FRAMES];
        frames.iter_mut().for_each(|frame| vary(&mut frame.bytes));
        Self { frames, next: 0, vary, sent: 0 }
    }

    /// Receives a batch and sends it: what a device itself costs.
    pub fn echo(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) {
        // Neither fails.
        let _ = self.receive(pool, batch);
        while let Some(mut frame) = batch.pop() {
            let _ = self.transmit(&mut frame, &[]);
            pool.put(frame);
        }
    }

    fn silent() -> Self {
        Self { frames: Vec::new(), next: 0, vary: Box::new(|_| ()), sent: 0 }
    }
}

impl Device for Varied {
    #[inline]
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        if self.frames.is_empty() {
            return Ok(Received::Drained);
        }
        while batch.len() < BATCH_FRAMES {
            let Some(mut frame) = pool.take() else { break };
            let source = &mut self.frames[self.next];
            frame.copy_from(&source.bytes);
            frame.offload = source.offload;
            batch.push(frame);
            (self.vary)(&mut source.bytes);
            self.next = if self.next + 1 == self.frames.len() { 0 } else { self.next + 1 };
        }
        Ok(Received::More)
    }

    #[inline]
    fn transmit(&mut self, _: &mut Frame, _: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        self.sent += 1;
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        // None to coalesce for, so that every frame is written by itself.
        Offloads { checksum: true, ..Offloads::NONE }
    }
}

/// See the [module](self).
pub struct Town {
    shard: Shard<Varied>,
    /// What the gateways share.
    pub router: Arc<Router>,
    tables: Tables,
    counters: Arc<NetworkCounters>,
    /// What was sent before a device was replaced.
    sent: u64,
}

impl Town {
    /// A town with room for so many connections.
    pub fn new(connections: usize) -> Self {
        let router = Arc::new(Router::new(SEED, connections));
        let mut shard = Shard::new(SEED, Arc::clone(&router));
        let mut tables = Tables::default();
        let counters = Arc::new(NetworkCounters::default());
        for number in [FRONT, BACK, OUTSIDE] {
            shard.open_network(id(number), &settings(), Arc::clone(&counters));
            tables.set_network(id(number), Some(network(number)));
        }
        for (number, on) in [(FRONT, FRONT), (BACK, BACK), (OUTSIDE, OUTSIDE), (NEIGHBOR, FRONT)] {
            tables.set_port(port(number), Some(Port { network: id(on), mtu: 1500, guard: None }));
            shard.attach(port(number), Varied::silent(), Arc::new(PortCounters::default()));
        }
        tables.set_uplink(Some(id(OUTSIDE)), Some(Arc::new(rules(connections))));
        let mut town = Self { shard, router, tables, counters, sent: 0 };
        // The router outside asks for us, which tells where it is.
        let asked = build::arp(ArpPacket::REQUEST, mac(OUTSIDE), EDGE, MacAddr::BROADCAST, OWN);
        town.receives(OUTSIDE, &asked.into(), Box::new(|_| ()));
        town.batch(OUTSIDE);
        town
    }

    /// From now on the port receives this frame, varied by `vary` each time.
    pub fn receives(&mut self, number: usize, frame: &MemoryFrame, vary: Vary) {
        self.sent += self.shard.device(port(number)).map_or(0, |device| device.sent);
        let device = Varied::new(frame, vary);
        self.shard.attach(port(number), device, Arc::new(PortCounters::default()));
    }

    /// Carries one batch from a port.
    #[inline]
    pub fn batch(&mut self, number: usize) {
        let serviced = self.shard.service(&self.tables, port(number), NOW);
        debug_assert!(matches!(serviced, Serviced::More));
        self.shard.take_heard(|_| ());
    }

    /// Does what is due.
    pub fn chores(&mut self, now: Time) -> Option<Time> {
        self.shard.chores(&self.tables, now)
    }

    /// How many frames were sent, by any port.
    pub fn sent(&self) -> u64 {
        let now = [FRONT, BACK, OUTSIDE, NEIGHBOR].map(|number| self.shard.device(port(number)));
        self.sent + now.iter().flatten().map(|device| device.sent).sum::<u64>()
    }

    /// How many frames the flow cache did not know.
    pub fn misses(&self) -> u64 {
        self.counters.flow_misses.read()
    }

    /// The outside ports of all connections.
    pub fn public_ports(&self) -> Vec<u16> {
        let Some(rules) = self.tables.nat() else { return Vec::new() };
        self.router.nat().entries(rules, NOW).map(|entry| entry.reply.destination.port).collect()
    }
}

fn id(number: usize) -> NetworkId {
    NetworkId::new(number).unwrap_or_default()
}

/// The MAC address behind a port.
pub fn mac(number: usize) -> MacAddr {
    MacAddr([2, 0x42, 0, 0, 0, u8::try_from(number).unwrap_or_default()])
}

/// The MAC address of a network's gateway.
pub fn gateway(number: usize) -> MacAddr {
    MacAddr([2, 0x42, 0xff, 0, 0, u8::try_from(number).unwrap_or_default()])
}

/// The address of the station behind a port.
fn station(number: usize) -> Ipv4Addr {
    match number {
        OUTSIDE => FAR,
        NEIGHBOR => Ipv4Addr::new(10, 0, 0, 3),
        _ => Ipv4Addr::new(10, u8::try_from(number).unwrap_or_default(), 0, 2),
    }
}

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap_or_default()
}

fn network(number: usize) -> Network {
    let own = if number == OUTSIDE { OWN } else { Ipv4Addr::new(10, station(number).octets()[1], 0, 1) };
    let mut routes: Vec<_> =
        PREFIX.iter().enumerate().map(|(on, text)| (prefix(text), Route::Connected(id(on)))).collect();
    let hop = NextHop { network: id(OUTSIDE), via: EDGE.into() };
    routes.push((prefix("0.0.0.0/0"), Route::Via(hop.into())));
    let inside = number != OUTSIDE;
    let host = (IpAddr::V4(station(number)), Host { port: port(number), mac: mac(number) });
    let mut members = vec![port(number)];
    let mut static_macs = HashMap::new();
    if inside {
        static_macs.insert(mac(number), port(number));
    }
    if number == FRONT {
        members.push(port(NEIGHBOR));
        static_macs.insert(mac(NEIGHBOR), port(NEIGHBOR));
    }
    let parent = Parent {
        wire: port(OUTSIDE),
        host: None,
        mac: gateway(OUTSIDE),
        mode: Mode::Bridge,
        addresses: HashMap::new(),
    };
    let gateway = Gateway {
        mac: gateway(number),
        addresses: vec![prefix(&format!("{own}/{}", prefix(PREFIX[number]).prefix_len()))],
        answers_for: Vec::new(),
        routes: Fib::build(routes),
        hosts: inside.then_some(host).into_iter().collect(),
        mtu: 1500,
        advertisement: None,
    };
    Network {
        members,
        static_macs,
        parent: (!inside).then_some(parent),
        gateway: Some(Arc::new(gateway)),
        ..Network::new(settings())
    }
}

fn rules(connections: usize) -> NatRules {
    let networks = [FRONT, BACK].map(|number| {
        (id(number), NetworkNat { mode: NatMode::Masquerade, subnets: vec![prefix(PREFIX[number])] })
    });
    NatRules {
        external: vec![OWN.into()],
        local: [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 1, 0, 1)].map(IpAddr::from).into(),
        networks: networks.into(),
        max_connections: connections,
        max_half_open: connections,
        max_per_port: u32::try_from(connections).unwrap_or(u32::MAX),
        generation: 1,
        ..NatRules::default()
    }
}

/// A datagram of 16 bytes to the station behind another port, as a container's kernel hands it over: with its
/// checksum to be finished. By way of the gateway, or bridged to the [`NEIGHBOR`].
pub fn outgoing(from: usize, to: usize) -> MemoryFrame {
    let next = if to == NEIGHBOR { mac(NEIGHBOR) } else { gateway(from) };
    let (source, destination) =
        (SocketAddrV4::new(station(from), 5000), SocketAddrV4::new(station(to), 4433));
    let mut bytes = build::udp4(next, mac(from), source, destination, &[7; 16]);
    unfinish(&mut bytes, 6);
    MemoryFrame { bytes, offload: partial(6) }
}

/// The first segment of a connection, otherwise like [`outgoing`].
pub fn opening(from: usize, to: usize) -> MemoryFrame {
    let (source, destination) = (SocketAddrV4::new(station(from), 5000), SocketAddrV4::new(station(to), 443));
    let mut bytes =
        build::tcp4(gateway(from), mac(from), source, destination, vswitch_wire::TcpHeader::SYN, 1, 0, &[]);
    unfinish(&mut bytes, 16);
    MemoryFrame { bytes, offload: partial(16) }
}

/// An answer from far away, complete, to a port of the switch's own address.
pub fn incoming(to: u16) -> MemoryFrame {
    let (source, destination) = (SocketAddrV4::new(FAR, 4433), SocketAddrV4::new(OWN, to));
    build::udp4(gateway(OUTSIDE), mac(OUTSIDE), source, destination, &[7; 16]).into()
}

/// Gives the frame each of these source ports in turn. Its checksum is unfinished and does not cover them.
pub fn source_ports(count: u16) -> Vary {
    let mut nth = 0;
    Box::new(move |frame| {
        nth = if nth + 1 >= count { 0 } else { nth + 1 };
        put(frame, 34, 10_000 + nth);
    })
}

/// Gives the frame each of these destination ports in turn, and the checksum that belongs to it.
pub fn destination_ports(ports: &[u16]) -> Vary {
    let frames: Vec<_> = ports
        .iter()
        .map(|port| {
            let frame = incoming(*port).bytes;
            (*port, u16::from_be_bytes([frame[40], frame[41]]))
        })
        .collect();
    let mut nth = 0;
    Box::new(move |frame| {
        nth = if nth + 1 >= frames.len() { 0 } else { nth + 1 };
        let (port, checksum) = frames[nth];
        put(frame, 36, port);
        put(frame, 40, checksum);
    })
}

/// Another source and destination each time: `ports` source ports, then another remote port for the same ones. The
/// checksum is unfinished and covers neither.
pub fn ever_new(ports: u16) -> Vary {
    let (mut source, mut destination) = (0, 0);
    Box::new(move |frame| {
        source += 1;
        if source >= ports {
            (source, destination) = (0, destination + 1);
        }
        put(frame, 34, 10_000 + source);
        put(frame, 36, 1_000 + destination);
    })
}

#[inline]
fn put(frame: &mut [u8], at: usize, word: u16) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}
