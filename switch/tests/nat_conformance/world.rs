//! A switch with one network, one uplink and a clock; packets are sent as a host or a stranger would.

use std::net::IpAddr;
use std::sync::Arc;

use vswitch_switch::address::{Address, Endpoint, Family, Tuple};
use vswitch_switch::conntrack::{Activity, ConnectionEntry};
use vswitch_switch::hash::Seed;
use vswitch_switch::nat::{
    Nat, NatMode, NatNetworks, NatRules, NetworkNat, Origin, Packet, Publish, Published, Query, Translated,
};
use vswitch_switch::{DropReason, NetworkId, PortId, Time};
use vswitch_wire::{TcpHeader, protocol};

pub(crate) const UDP: u8 = protocol::UDP;
pub(crate) const TCP: u8 = protocol::TCP;
pub(crate) const SYN: u8 = TcpHeader::SYN;
pub(crate) const ACK: u8 = TcpHeader::ACK;
pub(crate) const FIN: u8 = TcpHeader::FIN;
pub(crate) const RST: u8 = TcpHeader::RST;

/// The first external address.
pub(crate) const EXTERNAL: [u8; 4] = [192, 0, 2, 1];

pub(crate) fn at(address: impl Into<IpAddr>, port: u16) -> Endpoint {
    Endpoint { address: address.into().into(), port }
}

/// A container's endpoint.
pub(crate) fn host(last: u8, port: u16) -> Endpoint {
    at([10, 0, 0, last], port)
}

/// A stranger's.
pub(crate) fn remote(last: u8, port: u16) -> Endpoint {
    at([198, 51, 100, last], port)
}

/// One of ours, outside.
pub(crate) fn external(port: u16) -> Endpoint {
    at(EXTERNAL, port)
}

pub(crate) fn network(index: usize) -> NetworkId {
    NetworkId::new(index).unwrap()
}

pub(crate) fn owner(index: usize) -> PortId {
    PortId::new(index).unwrap()
}

pub(crate) fn tuple(protocol: u8, source: Endpoint, destination: Endpoint) -> Tuple {
    let v4 = |endpoint: Endpoint| endpoint.address.0[4..].iter().all(|byte| *byte == 0);
    let family = if v4(source) && v4(destination) { Family::V4 } else { Family::V6 };
    Tuple { source, destination, family, protocol }
}

/// The tuple of a packet after its translation, which gives ICMP's identifier to both sides.
pub(crate) fn applied(tuple: Tuple, translated: &Translated) -> Tuple {
    let mut after = Tuple {
        source: translated.source.unwrap_or(tuple.source),
        destination: translated.destination.unwrap_or(tuple.destination),
        ..tuple
    };
    if matches!(tuple.protocol, protocol::ICMP | protocol::ICMPV6) {
        let changed = translated.destination.or(translated.source);
        let identifier = changed.map_or(tuple.source.port, |endpoint| endpoint.port);
        after.source.port = identifier;
        after.destination.port = identifier;
    }
    after
}

pub(crate) struct World {
    pub(crate) nat: Nat,
    pub(crate) rules: NatRules,
    pub(crate) activity: Arc<Activity>,
    pub(crate) now: u64,
}

/// A datagram's tuple after translation, or why not.
pub(crate) type Sent = Result<Tuple, DropReason>;

impl World {
    /// Network 0 masquerades 10.0.0.0/24 behind 192.0.2.1; its gateway is 10.0.0.1.
    pub(crate) fn new() -> Self {
        Self::with_seed(1)
    }

    pub(crate) fn with_seed(seed: u64) -> Self {
        let subnets = vec!["10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
        let rules = NatRules {
            external: vec![EXTERNAL.into(), "2001:db8::1".parse().unwrap()],
            local: [IpAddr::from([10, 0, 0, 1])].into(),
            networks: NatNetworks::new([(network(0), NetworkNat { mode: NatMode::Masquerade, subnets })]),
            generation: 1,
            ..NatRules::default()
        };
        let activity = Arc::new(Activity::new(100_000));
        Self { nat: Nat::new(Arc::clone(&activity), Seed::new(seed)), rules, activity, now: 1000 }
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_secs(self.now)
    }

    /// Lets time pass, with the housekeeping that happens meanwhile.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        self.tend();
    }

    pub(crate) fn tend(&mut self) {
        while self.nat.tend(&self.rules, Time::from_secs(self.now), 64) {}
    }

    pub(crate) fn obey(&mut self, change: impl FnOnce(&mut NatRules)) {
        change(&mut self.rules);
        self.rules.generation += 1;
        self.tend();
    }

    pub(crate) fn translate(&mut self, origin: Origin, packet: &Packet) -> Result<Translated, DropReason> {
        self.nat.translate(&self.rules, origin, packet, Time::from_secs(self.now))
    }

    fn pass(&mut self, origin: Origin, tuple: Tuple, tcp_flags: u8, icmp_query: Option<Query>) -> Sent {
        let translated = self.translate(origin, &Packet { tuple, tcp_flags, icmp_query })?;
        Ok(applied(tuple, &translated))
    }

    /// A datagram from inside.
    pub(crate) fn out(&mut self, from: Endpoint, to: Endpoint) -> Sent {
        self.send(UDP, from, to, 0)
    }

    /// A datagram from outside.
    pub(crate) fn arrive(&mut self, from: Endpoint, to: Endpoint) -> Sent {
        self.receive(UDP, from, to, 0)
    }

    /// Any packet from inside, of the attachment with the number of the address's last byte.
    pub(crate) fn send(&mut self, protocol: u8, from: Endpoint, to: Endpoint, tcp_flags: u8) -> Sent {
        self.pass(inside(from), tuple(protocol, from, to), tcp_flags, None)
    }

    /// Any packet from outside.
    pub(crate) fn receive(&mut self, protocol: u8, from: Endpoint, to: Endpoint, tcp_flags: u8) -> Sent {
        self.pass(Origin::Outside, tuple(protocol, from, to), tcp_flags, None)
    }

    /// An echo from inside.
    pub(crate) fn ping(&mut self, from: Endpoint, to: impl Into<IpAddr>, query: Query) -> Sent {
        let tuple = tuple(protocol::ICMP, from, at(to, from.port));
        self.pass(inside(from), tuple, 0, Some(query))
    }

    /// An echo from outside.
    pub(crate) fn pinged(&mut self, from: impl Into<IpAddr>, to: Endpoint, query: Query) -> Sent {
        self.pass(Origin::Outside, tuple(protocol::ICMP, at(from, to.port), to), 0, Some(query))
    }

    /// Opens a TCP connection from inside and answers its public endpoint.
    pub(crate) fn connect(&mut self, from: Endpoint, to: Endpoint) -> Endpoint {
        let public = self.send(TCP, from, to, SYN).unwrap().source;
        self.receive(TCP, to, public, SYN | ACK).unwrap();
        self.send(TCP, from, to, ACK).unwrap();
        public
    }

    pub(crate) fn entries(&self) -> Vec<ConnectionEntry> {
        self.nat.entries(&self.rules, self.time()).collect()
    }

    /// The states of all connections.
    pub(crate) fn states(&self) -> Vec<&'static str> {
        self.entries().iter().map(|entry| entry.state.name()).collect()
    }

    pub(crate) fn publish(&mut self, rules: Vec<Publish>) {
        self.obey(|all| all.published = Published::new(rules).unwrap());
    }
}

pub(crate) fn inside(endpoint: Endpoint) -> Origin {
    let v4 = endpoint.address.0[4..].iter().all(|byte| *byte == 0);
    Origin::Inside { network: network(0), owner: owner(endpoint.address.0[if v4 { 3 } else { 15 }].into()) }
}

/// Publishes a TCP port of container 10.0.0.2 on every host address.
pub(crate) fn publish(host_port: u16, container_port: u16) -> Publish {
    Publish {
        host: None,
        host_ports: host_port..=host_port,
        container_port,
        protocol: TCP,
        container4: Some([10, 0, 0, 2].into()),
        container6: Some("fd00::2".parse().unwrap()),
        network: network(0),
        owner: owner(2),
        counters: Arc::default(),
    }
}

pub(crate) fn address(ip: impl Into<IpAddr>) -> Address {
    ip.into().into()
}
