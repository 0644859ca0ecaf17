//! A switch with routers, carried through a [`scenario`](crate::scenario) in the [`town`].
//!
//! Checked all the time: no frame is dropped twice and none is decided not at all, by the counters; what comes out is
//! well-formed, has an offload header that is true and that the egress takes, and fits its MTU; a gateway's packets
//! have a right header checksum and hops left; nobody passes for a gateway; outside, nobody has an address of inside;
//! inside, networks see nothing of each other but what was translated; the wire and the host of a parent see nothing of
//! each other; and every table keeps its bounds.
//!
//! So that the fuzzer gets past the router's first question, an IPv4 header without a checksum gets the right one.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use vswitch_switch::counters::PortTotals;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::fragment::FragmentLimits;
use vswitch_switch::hash::Seed;
use vswitch_switch::neighbor::NeighborLimits;
use vswitch_switch::router::Router;
use vswitch_switch::shard::{Announcement, Chore};
use vswitch_switch::stage::Stage;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, UnknownUnicast};
use vswitch_switch::{
    DropReason, NetworkCounters, OffloadHeader, PortCounters, Serviced, Shard, Tables, Time, TransmitError,
};
use vswitch_wire::checksum::Sum;
use vswitch_wire::{ArpPacket, Layer3, MacAddr, Parsed, build, ipv4_header_checksum_ok, parse, protocol};

use crate::device::{Crossing, FuzzDevice, Outside};
use crate::scenario::{Settings, Step, TOWN_NETWORKS, TOWN_PORTS};
use crate::town::{
    self, BACK, EDGE, FRONT, LAN, OUTSIDE, OWN, gateway_mac, home, mac, network_id, port_id, subnets,
};

const SEED: Seed = Seed::new(0x5eed);

/// Room in the connection table: more than the rules allow.
const CONNECTIONS: usize = 4096;

/// What 256 connections and the table's fixed parts may take.
const NAT_BYTES: usize = 1 << 20;

/// Carries a scenario to its end.
///
/// # Panics
/// When the switch broke a promise.
pub fn check(settings: Settings, steps: impl Iterator<Item = Step>) {
    let mut switch = Switch::new(settings);
    for step in steps {
        switch.take(step);
    }
    switch.carry();
}

struct Worker {
    shard: Shard<FuzzDevice>,
    outsides: Vec<Rc<RefCell<Outside>>>,
    ports: Vec<Arc<PortCounters>>,
    networks: Vec<Arc<NetworkCounters>>,
}

impl Worker {
    fn new(bridge: &BridgeSettings, router: &Arc<Router>) -> Self {
        let mut worker = Self {
            shard: Shard::new(SEED, Arc::clone(router)),
            outsides: (0..TOWN_PORTS).map(|_| Rc::default()).collect(),
            ports: (0..TOWN_PORTS).map(|_| Arc::default()).collect(),
            networks: (0..TOWN_NETWORKS).map(|_| Arc::default()).collect(),
        };
        for (network, counters) in worker.networks.iter().enumerate() {
            worker.shard.open_network(network_id(network), bridge, Arc::clone(counters));
        }
        (0..TOWN_PORTS).for_each(|port| worker.plug(port));
        worker
    }

    fn plug(&mut self, port: usize) {
        let device = FuzzDevice::new(Rc::clone(&self.outsides[port]), town::offloads(port));
        self.shard.attach(port_id(port), device, Arc::clone(&self.ports[port]));
    }
}

fn bridge_settings(settings: Settings) -> BridgeSettings {
    let (entries, per_port) = if settings.has_small_fdb() { (4, 2) } else { (64, 48) };
    let limit = settings.limits_storms().then_some(20);
    BridgeSettings {
        fdb: FdbLimits { entries, per_port, ageing: 80 },
        storm: StormLimits { broadcast: limit, multicast: limit, unknown_unicast: limit },
        unknown_unicast: UnknownUnicast::Flood,
    }
}

struct Switch {
    settings: Settings,
    router: Arc<Router>,
    workers: Vec<Worker>,
    tables: Tables,
    publishes: bool,
    now: Time,
    /// Frames received by now.
    received: u64,
}

impl Switch {
    fn new(settings: Settings) -> Self {
        let router = Arc::new(Router::new(SEED, CONNECTIONS));
        let bridge = bridge_settings(settings);
        let workers = if settings.has_two_workers() { 2 } else { 1 };
        let mut switch = Self {
            settings,
            workers: (0..workers).map(|_| Worker::new(&bridge, &router)).collect(),
            router,
            tables: town::tables(settings, bridge),
            publishes: true,
            now: Time::from_secs(1000),
            received: 0,
        };
        let first = &mut switch.workers[0].shard;
        let own =
            Announcement { network: network_id(OUTSIDE), address: OWN.into(), mac: gateway_mac(OUTSIDE) };
        for chore in [Chore::Advertise(network_id(FRONT)), Chore::Announce(own)] {
            first.add_chore(chore, switch.now);
        }
        // The router outside asks for us, and is known from then on.
        for bytes in [
            build::arp(ArpPacket::REQUEST, mac(EDGE), town::ip4(EDGE), MacAddr::ZERO, OWN),
            build::neighbor_solicitation(mac(EDGE), town::ip6(EDGE), town::OWN6),
        ] {
            switch.take(Step::Frame { port: EDGE, offload: OffloadHeader::NONE, bytes });
        }
        switch.carry();
        switch
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Frame { port, offload, mut bytes } => {
                give_header_checksum(&mut bytes);
                let worker = &self.workers[bytes.len() % self.workers.len()];
                worker.outsides[port].borrow_mut().inbound.push_back(Crossing { bytes, offload });
            }
            Step::Wait { milliseconds } => self.wait(milliseconds),
            Step::Change { network: OUTSIDE } => {
                self.publishes = !self.publishes;
                let rules = town::rules(self.settings, self.publishes);
                self.tables.set_uplink(Some(network_id(OUTSIDE)), Some(Arc::new(rules)));
            }
            Step::Change { network } => {
                let changed = town::network(network, self.settings, bridge_settings(self.settings));
                self.tables.set_network(network_id(network), Some(changed));
            }
            Step::Fail { port, how } => {
                let failures = [
                    None,
                    Some(TransmitError::Down),
                    Some(TransmitError::Full),
                    Some(TransmitError::Refused),
                ];
                for worker in &self.workers {
                    worker.outsides[port].borrow_mut().failure = failures[usize::from(how)];
                }
            }
            Step::Replug { port } => {
                for worker in &mut self.workers {
                    assert!(worker.shard.detach(port_id(port)).is_some());
                }
                self.router.forget(port_id(port));
                self.workers.iter_mut().for_each(|worker| worker.plug(port));
            }
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.carry();
        self.now = self.now.after(Duration::from_millis(milliseconds));
        for worker in &mut self.workers {
            worker.shard.expire(self.now);
        }
        // One worker does the chores of all.
        self.workers[0].shard.chores(&self.tables, self.now);
        self.look(0, None);
    }

    /// Services every port until all are empty.
    fn carry(&mut self) {
        for number in 0..self.workers.len() {
            for port in 0..TOWN_PORTS {
                while self.service(number, port) {}
            }
            let mut heard = Vec::new();
            self.workers[number].shard.take_heard(|one| heard.push(one));
            for other in (0..self.workers.len()).filter(|other| *other != number) {
                heard.iter().for_each(|one| self.workers[other].shard.hear(*one, self.now));
            }
        }
    }

    /// One batch; whether there may be more.
    fn service(&mut self, number: usize, ingress: usize) -> bool {
        let worker = &mut self.workers[number];
        let serviced = worker.shard.service(&self.tables, port_id(ingress), self.now);
        let received = std::mem::take(&mut worker.outsides[ingress].borrow_mut().received);
        self.received += received.len() as u64;
        self.look(number, Some(ingress));
        match serviced {
            Serviced::More => true,
            Serviced::Drained => false,
            Serviced::Gone(error) => unreachable!("{error}"),
        }
    }

    /// Looks at everything that came out and that is kept.
    fn look(&self, number: usize, ingress: Option<usize>) {
        let worker = &self.workers[number];
        for (egress, outside) in worker.outsides.iter().enumerate() {
            for frame in outside.borrow_mut().transmitted.drain(..) {
                Emitted { settings: self.settings, ingress, egress }.check(&frame);
            }
        }
        self.check_counts();
        self.check_bounds(worker);
    }

    /// Every frame was decided, and dropped once at most.
    fn check_counts(&self) {
        let mut totals = PortTotals::default();
        let all = || self.workers.iter();
        all().flat_map(|worker| &worker.ports).for_each(|port| port.add_to(&mut totals));
        assert_eq!(totals.received_frames, self.received);
        // A flood may be dropped at several egresses; elsewhere a frame has one end.
        let dropped: u64 = totals
            .drops()
            .filter(|(reason, _)| !reason.stages().contains(&Stage::Egress))
            .map(|(_, count)| count)
            .sum();
        assert!(dropped <= self.received, "{dropped} drops of {} frames", self.received);
        let unread = |reason: DropReason| reason.stages()[0] < Stage::Guard;
        let early: u64 = totals.drops().filter(|(reason, _)| unread(*reason)).map(|(_, count)| count).sum();
        let networks = all().flat_map(|worker| &worker.networks);
        let decided: u64 =
            networks.map(|network| network.flow_hits.read() + network.flow_misses.read()).sum();
        // What was held is decided again.
        assert!(early + decided >= self.received, "a frame without a decision");
    }

    fn check_bounds(&self, worker: &Worker) {
        let limits = bridge_settings(self.settings).fdb;
        for network in 0..TOWN_NETWORKS {
            let learned = worker.shard.learned(network_id(network), self.now).count();
            assert!(learned <= limits.entries, "{learned} addresses were learned");
        }
        let most = town::rules(self.settings, false).max_connections;
        let nat = self.router.nat();
        assert!(nat.len() <= most, "{} connections", nat.len());
        assert!(nat.bytes() <= NAT_BYTES, "{} bytes for connections", nat.bytes());
        drop(nat);
        let (neighbors, limits) = (self.router.neighbors(|all| all.len()), NeighborLimits::default());
        assert!(neighbors <= limits.entries, "{neighbors} neighbours");
        let (fragments, limits) = (self.router.fragments(), FragmentLimits::default());
        assert!(fragments.len() <= limits.packets && fragments.held_bytes() <= limits.bytes);
    }
}

/// Where a frame left.
struct Emitted {
    settings: Settings,
    /// The port that was serviced; none when it was time that made the frame leave.
    ingress: Option<usize>,
    egress: usize,
}

impl Emitted {
    fn check(&self, frame: &Crossing) {
        let parsed = match parse(&frame.bytes) {
            Ok(parsed) => parsed,
            Err(defect) => unreachable!("transmitted a malformed frame: {}", defect.name()),
        };
        let headers = &parsed.headers;
        assert!(headers.source.is_unicast() && !headers.destination.is_link_local_multicast());
        self.check_offload(frame, &parsed);
        let home = home(self.egress);
        // On a LAN there is no gateway, and the host and its neighbours have its parent's address.
        if home != LAN && headers.source == gateway_mac(home) {
            return self.check_routed(frame, &parsed);
        }
        let Some(ingress) = self.ingress else { unreachable!("nobody sent {parsed:?}") };
        assert_eq!(town::home(ingress), home, "bridged to another network");
        if ingress == self.egress {
            return self.check_answer(&frame.bytes, &parsed);
        }
        assert!(
            home != OUTSIDE && (home != BACK || !self.settings.has_untranslated()),
            "nothing is bridged here"
        );
        let lan_to_host = ingress.min(self.egress) == 5 && ingress.max(self.egress) == 6;
        assert!(!lan_to_host, "the kernel passes this on itself");
    }

    /// What goes back where it came from is an answer on behalf of a configured host.
    fn check_answer(&self, frame: &[u8], parsed: &Parsed) {
        let headers = &parsed.headers;
        let station = (0..EDGE).filter(|port| home(*port) == home(self.egress) && *port != self.egress);
        assert!(station.map(mac).any(|mac| mac == headers.source), "sent where it came from: {parsed:?}");
        // The operation of ARP follows its first six bytes; 136 is a neighbour advertisement.
        let operation = usize::from(parsed.layer3_offset) + 6;
        let arp = headers.layer3 == Layer3::ARP && frame[operation..operation + 2] == [0, 2];
        let advertisement = headers.protocol == protocol::ICMPV6 && headers.destination_port >> 8 == 136;
        assert!(arp || advertisement, "sent where it came from: {parsed:?}");
    }

    fn check_offload(&self, frame: &Crossing, parsed: &Parsed) {
        let length = frame.bytes.len();
        assert_eq!(frame.offload.validate(parsed, length), Ok(frame.offload), "a false offload header");
        assert!(
            town::offloads(self.egress).cover(&frame.offload, parsed),
            "p{} does not take {:?}",
            self.egress,
            frame.offload
        );
        let longest = frame.offload.longest_packet(parsed, length);
        let mtu = usize::from(town::mtu(home(self.egress), self.settings));
        assert!(longest <= mtu, "a packet of {longest} bytes, MTU {mtu}");
    }

    /// What a gateway sent: routed, or its own.
    fn check_routed(&self, frame: &Crossing, parsed: &Parsed) {
        let headers = &parsed.headers;
        assert!(headers.tag().is_none(), "gateways know no VLAN");
        let (Some(source), packet) =
            (headers.source_address(), &frame.bytes[usize::from(parsed.layer3_offset)..])
        else {
            return;
        };
        let hops = if headers.is_ipv4() {
            assert!(ipv4_header_checksum_ok(packet), "a wrong header checksum");
            packet[8]
        } else {
            packet[7]
        };
        assert!(hops > 0, "no hops left");
        if home(self.egress) == OUTSIDE {
            let ours = [OWN.into(), town::OWN6.into(), town::SHARED.into()].contains(&source)
                || source == gateway_mac(OUTSIDE).link_local();
            let routed =
                self.settings.has_untranslated() && subnets(BACK).iter().any(|net| net.contains(&source));
            assert!(ours || routed, "{source} was seen outside: {parsed:?}");
        }
        // A network whose addresses are not translated is seen by the others.
        let private = [FRONT, BACK]
            .into_iter()
            .filter(|network| *network == FRONT || !self.settings.has_untranslated());
        for network in private.filter(|network| *network != home(self.egress)) {
            let hidden = subnets(network).iter().all(|subnet| !subnet.contains(&source));
            assert!(hidden, "{source} was seen on another network: {parsed:?}");
        }
    }
}

fn give_header_checksum(frame: &mut [u8]) {
    let Ok(parsed) = parse(frame) else { return };
    let at = usize::from(parsed.layer3_offset);
    if !parsed.headers.is_ipv4() || frame[at + 10..at + 12] != [0, 0] {
        return;
    }
    let length = usize::from(frame[at] & 0x0f) * 4;
    let sum = Sum::of(&frame[at..at + length]).checksum();
    frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;
    use crate::scenario;

    const FAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 53);

    fn town(settings: u8) -> Switch {
        Switch::new(scenario::read(&[settings]).0)
    }

    /// How many frames a port was sent by a datagram from another one.
    fn sent(
        switch: &mut Switch,
        from: usize,
        to: usize,
        source: SocketAddrV4,
        destination: SocketAddrV4,
    ) -> u64 {
        let count = |switch: &Switch| {
            let mut totals = PortTotals::default();
            switch.workers.iter().for_each(|worker| worker.ports[to].add_to(&mut totals));
            totals.sent_frames
        };
        let before = count(switch);
        let bytes = build::udp4(gateway_mac(home(from)), mac(from), source, destination, b"hello");
        switch.take(Step::Frame { port: from, offload: OffloadHeader::NONE, bytes });
        switch.carry();
        count(switch) - before
    }

    /// Without this, everything that is checked would be true of a switch that drops all.
    #[test]
    fn packets_do_cross_the_town() {
        for settings in [32, 32 | 16, 32 | 64] {
            let mut switch = town(settings);
            let alice = SocketAddrV4::new(town::ip4(0), 5000);
            assert_eq!(sent(&mut switch, 0, EDGE, alice, FAR), 1, "out");
            assert_eq!(sent(&mut switch, EDGE, 0, FAR, SocketAddrV4::new(OWN, 5000)), 1, "and back");
            assert_eq!(sent(&mut switch, EDGE, 1, FAR, SocketAddrV4::new(OWN, 9000)), 1, "published");
            assert_eq!(sent(&mut switch, EDGE, 1, FAR, SocketAddrV4::new(OWN, 9011)), 0, "not published");
            let carol = SocketAddrV4::new(town::ip4(2), 5000);
            assert_eq!(sent(&mut switch, 0, 2, alice, carol), 0, "isolated");
            assert_eq!(sent(&mut switch, 2, 0, carol, SocketAddrV4::new(OWN, 53)), 1, "hairpin");
        }
    }

    #[test]
    #[should_panic = "was seen on another network"]
    fn a_leak_is_noticed() {
        let switch = town(32);
        let bytes =
            build::udp4(mac(EDGE), gateway_mac(OUTSIDE), SocketAddrV4::new(town::ip4(0), 1), FAR, b"x");
        let leaked = Crossing { bytes, offload: OffloadHeader::NONE };
        Emitted { settings: switch.settings, ingress: Some(0), egress: EDGE }.check(&leaked);
    }
}
