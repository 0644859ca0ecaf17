//! A whole switch, carried through a [`scenario`](crate::scenario), with every promise checked on the way. Scenarios
//! with routers are carried by [`routed`](crate::routed), those without here.
//!
//! Two networks of three ports, the same addresses in both. In the first every address is configured and two
//! ports are guarded; the second only learns. Each has an egress with every offload, one with some and one
//! with none. One or two workers; the worker a frame arrives at follows from its length.
//!
//! Checked of every batch: each received frame is forwarded, flooded or dropped, by the counters; each copy is
//! sent or dropped at its egress; what comes out belongs to the network, is well-formed, has an offload header
//! that is true and that the egress takes, fits the MTU, and is not forged; what needed no rewriting is
//! byte for byte what went in; and tables keep their limits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use vswitch_switch::counters::PortTotals;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::guard::Guard;
use vswitch_switch::hash::Seed;
use vswitch_switch::router::Router;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, Network, Port, UnknownUnicast};
use vswitch_switch::{
    DropReason, NetworkCounters, NetworkId, Offloads, PortCounters, PortId, Serviced, Shard, Tables, Time,
    TransmitError,
};
use vswitch_wire::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
use vswitch_wire::{Layer3, MacAddr, Parsed, TcpHeader, UdpHeader, parse, protocol};

use crate::device::{Crossing, FuzzDevice, Outside};
use crate::joined::is_made_of;
use crate::routed;
use crate::scenario::{self, PORTS, Settings, Step};

const NETWORKS: usize = 2;

/// Ports of one network.
const MEMBERS: usize = PORTS / NETWORKS;

/// The first network's ports that may send from their own addresses only.
const GUARDED: [usize; 2] = [0, 2];

/// Some of them, as an older kernel grants.
const SOME: Offloads =
    Offloads { checksum: true, tso4: true, tso6: false, ecn: false, uso4: false, uso6: false };

/// Carries an input to its end.
///
/// # Panics
/// When the switch broke a promise.
pub fn check(input: &[u8]) {
    let (settings, steps) = scenario::read(input);
    if settings.is_routed() {
        return routed::check(settings, steps);
    }
    let mut switch = Switch::new(settings);
    for step in steps {
        switch.take(step);
    }
    switch.carry();
    switch.retire();
}

/// The address of the nth station of either network.
pub fn mac(port: usize) -> MacAddr {
    let [.., nth] = (port % MEMBERS + 1).to_be_bytes();
    MacAddr([2, 0x42, 10, 0, 0, nth])
}

/// The addresses of the station on a port.
fn addresses(port: usize) -> (Ipv4Addr, Ipv6Addr) {
    let [high, low] = u16::try_from(port + 1).unwrap_or(0).to_be_bytes();
    (Ipv4Addr::new(10, 0, high, low), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, low.into()))
}

fn guard(port: usize) -> Option<Guard> {
    let (ipv4, ipv6) = addresses(port);
    GUARDED.contains(&port).then(|| Guard::new(mac(port), Some(ipv4), Some(ipv6)))
}

fn offloads(port: usize) -> Offloads {
    [Offloads::ALL, SOME, Offloads::NONE][port % MEMBERS]
}

fn port_id(port: usize) -> PortId {
    PortId::new(port).unwrap_or_default()
}

fn network_id(network: usize) -> NetworkId {
    NetworkId::new(network).unwrap_or_default()
}

thread_local! {
    /// Making shards costs more than an input does, so they are used again, with every table opened anew.
    static SHARDS: RefCell<Vec<Shard<FuzzDevice>>> = const { RefCell::new(Vec::new()) };
    /// No two scenarios share a generation, so that one finds nothing in the other's flow cache.
    static GENERATION: Cell<u32> = const { Cell::new(0) };
}

pub(crate) fn next_generation() -> u32 {
    GENERATION.set(GENERATION.get().wrapping_add(1).max(1));
    GENERATION.get()
}

struct Worker {
    shard: Shard<FuzzDevice>,
    outsides: Vec<Rc<RefCell<Outside>>>,
    ports: Vec<Arc<PortCounters>>,
    networks: Vec<Arc<NetworkCounters>>,
}

/// The counts of one worker at one moment.
struct Counts {
    ports: Vec<PortTotals>,
    networks: Vec<HashMap<&'static str, u64>>,
}

impl Worker {
    fn new(settings: Settings) -> Self {
        let shard = SHARDS
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| Shard::new(Seed::new(0x5eed), Arc::new(Router::new(Seed::new(0x5eed), 1))));
        let mut worker = Self {
            shard,
            outsides: (0..PORTS).map(|_| Rc::default()).collect(),
            ports: (0..PORTS).map(|_| Arc::default()).collect(),
            networks: (0..NETWORKS).map(|_| Arc::default()).collect(),
        };
        for (network, counters) in worker.networks.iter().enumerate() {
            worker.shard.open_network(network_id(network), &bridge_settings(settings), Arc::clone(counters));
        }
        worker.shard.take_heard(|_| ());
        (0..PORTS).for_each(|port| worker.plug(port));
        worker
    }

    fn plug(&mut self, port: usize) {
        let device = FuzzDevice::new(Rc::clone(&self.outsides[port]), offloads(port));
        self.shard.attach(port_id(port), device, Arc::clone(&self.ports[port]));
    }

    fn counts(&self) -> Counts {
        let total = |counters: &Arc<PortCounters>| {
            let mut total = PortTotals::default();
            counters.add_to(&mut total);
            total
        };
        Counts {
            ports: self.ports.iter().map(total).collect(),
            networks: self
                .networks
                .iter()
                .map(|counters| {
                    counters.named().iter().map(|(name, counter)| (*name, counter.read())).collect()
                })
                .collect(),
        }
    }
}

fn bridge_settings(settings: Settings) -> BridgeSettings {
    let (entries, per_port) = if settings.has_small_fdb() { (4, 2) } else { (64, 48) };
    let limit = settings.limits_storms().then_some(20);
    BridgeSettings {
        fdb: FdbLimits { entries, per_port, ageing: 80 },
        storm: StormLimits { broadcast: limit, multicast: limit, unknown_unicast: limit },
        unknown_unicast: if settings.drops_unknown() { UnknownUnicast::Drop } else { UnknownUnicast::Flood },
    }
}

fn network(number: usize, settings: Settings) -> Network {
    let ports = number * MEMBERS..(number + 1) * MEMBERS;
    Network {
        generation: next_generation(),
        members: ports.clone().map(port_id).collect(),
        static_macs: ports.filter(|_| number == 0).map(|port| (mac(port), port_id(port))).collect(),
        ..Network::new(bridge_settings(settings))
    }
}

struct Switch {
    settings: Settings,
    workers: Vec<Worker>,
    tables: Tables,
    now: Time,
}

impl Switch {
    fn new(settings: Settings) -> Self {
        let mut tables = Tables::default();
        let mtu = if settings.has_small_mtu() { 576 } else { 1500 };
        for port in 0..PORTS {
            let port_settings = Port { network: network_id(port / MEMBERS), mtu, guard: guard(port) };
            tables.set_port(port_id(port), Some(port_settings));
        }
        for number in 0..NETWORKS {
            tables.set_network(network_id(number), Some(network(number, settings)));
        }
        let workers = if settings.has_two_workers() { 2 } else { 1 };
        let workers = (0..workers).map(|_| Worker::new(settings)).collect();
        Self { settings, workers, tables, now: Time::from_secs(1) }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Frame { port, offload, bytes } => {
                let worker = &self.workers[bytes.len() % self.workers.len()];
                worker.outsides[port].borrow_mut().inbound.push_back(Crossing { bytes, offload });
            }
            Step::Wait { milliseconds } => {
                self.carry();
                self.now = self.now.after(Duration::from_millis(milliseconds));
                for worker in &mut self.workers {
                    worker.shard.expire(self.now);
                }
            }
            Step::Change { network: number } => {
                self.tables.set_network(network_id(number), Some(network(number, self.settings)));
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
                    let on_port = |entry: vswitch_switch::fdb::FdbEntry| entry.port == port_id(port);
                    let learned = worker.shard.learned(network_id(port / MEMBERS), self.now);
                    assert_eq!(
                        learned.map(on_port).filter(|left| *left).count(),
                        0,
                        "learned on a port that is gone"
                    );
                    worker.plug(port);
                }
            }
        }
    }

    /// Services every port until all are empty.
    fn carry(&mut self) {
        for number in 0..self.workers.len() {
            for port in 0..PORTS {
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
        let before = worker.counts();
        let serviced = worker.shard.service(&self.tables, port_id(ingress), self.now);
        let batch = Batch {
            ingress,
            mtu: self.tables.port(port_id(ingress)).map_or(0, |port| port.mtu.into()),
            received: std::mem::take(&mut worker.outsides[ingress].borrow_mut().received),
        };
        batch.check_counts(&before, &worker.counts());
        for (egress, outside) in worker.outsides.iter().enumerate() {
            outside
                .borrow_mut()
                .transmitted
                .drain(..)
                .for_each(|frame| batch.check_transmitted(egress, &frame));
        }
        let limits = bridge_settings(self.settings).fdb;
        for network in 0..NETWORKS {
            let learned: Vec<_> = worker.shard.learned(network_id(network), self.now).collect();
            assert!(learned.len() <= limits.entries, "{} addresses were learned", learned.len());
            for port in 0..PORTS {
                let share = learned.iter().filter(|entry| entry.port == port_id(port)).count();
                assert!(share <= if port / MEMBERS == network { limits.per_port } else { 0 });
            }
        }
        match serviced {
            Serviced::More => true,
            Serviced::Drained => false,
            Serviced::Gone(error) => unreachable!("{error}"),
        }
    }

    fn retire(self) {
        SHARDS.with_borrow_mut(|shards| shards.extend(self.workers.into_iter().map(|worker| worker.shard)));
    }
}

/// One batch as it was received.
struct Batch {
    ingress: usize,
    mtu: usize,
    received: Vec<Crossing>,
}

impl Batch {
    /// Every frame has one end, and every copy of it too.
    fn check_counts(&self, before: &Counts, after: &Counts) {
        let (old, new) = (&before.ports[self.ingress], &after.ports[self.ingress]);
        let received = self.received.len() as u64;
        assert_eq!(new.received_frames - old.received_frames, received);
        assert_eq!(new.sent_frames, old.sent_frames, "sent where it came from");

        let home = self.ingress / MEMBERS;
        let other = 1 - home;
        assert_eq!(after.networks[other], before.networks[other], "another network counted");
        let rose = |name| after.networks[home][name] - before.networks[home][name];
        let floods = rose("broadcast") + rose("multicast") + rose("unknown_unicast");
        let forwards = rose("flow_hits") + rose("unicast");
        let unheard = dropped_for(new, DropReason::NoListener) - dropped_for(old, DropReason::NoListener);
        assert_eq!(unheard, 0, "the network has other ports");
        assert_eq!(forwards + floods + new.dropped() - old.dropped(), received, "a frame without an end");

        let copies = forwards + floods * (MEMBERS as u64 - 1);
        let ends = |counts: &Counts| -> u64 {
            let others = (0..PORTS).filter(|port| *port != self.ingress);
            others.map(|port| counts.ports[port].sent_frames + counts.ports[port].dropped()).sum()
        };
        let ended = ends(after) - ends(before);
        // Cut in software, a super-frame counts once per segment.
        let whole = self.received.iter().all(|frame| !frame.offload.is_super_frame());
        assert!(if whole { ended == copies } else { ended >= copies }, "{copies} copies, {ended} ends");
    }

    fn check_transmitted(&self, egress: usize, frame: &Crossing) {
        assert!(
            egress != self.ingress && egress / MEMBERS == self.ingress / MEMBERS,
            "left at the wrong port"
        );
        let parsed = match parse(&frame.bytes) {
            Ok(parsed) => parsed,
            Err(defect) => unreachable!("transmitted a malformed frame: {}", defect.name()),
        };
        self.check_offload(egress, frame, &parsed);
        self.check_source(frame, &parsed);
        assert!(!parsed.headers.destination.is_link_local_multicast());
        self.check_bytes(egress, frame, &parsed);
    }

    fn check_offload(&self, egress: usize, frame: &Crossing, parsed: &Parsed) {
        let length = frame.bytes.len();
        assert_eq!(frame.offload.validate(parsed, length), Ok(frame.offload), "a false offload header");
        assert!(
            offloads(egress).cover(&frame.offload, parsed),
            "p{egress} does not take {:?}",
            frame.offload
        );
        let longest = frame.offload.longest_packet(parsed, length);
        assert!(longest <= self.mtu, "a packet of {longest} bytes, MTU {}", self.mtu);
    }

    fn check_source(&self, frame: &Crossing, parsed: &Parsed) {
        let source = parsed.headers.source;
        assert!(source.is_unicast());
        if GUARDED.contains(&self.ingress) {
            assert!(is_honest(self.ingress, &frame.bytes, parsed), "forged: {parsed:?}");
        }
        let owner = (0..MEMBERS).find(|port| mac(*port) == source);
        if self.ingress < MEMBERS {
            assert!(
                owner.is_none_or(|owner| owner == self.ingress),
                "p{owner:?}'s address from p{}",
                self.ingress
            );
        }
    }

    /// What needed no rewriting was not rewritten; what was finished in software is right.
    fn check_bytes(&self, egress: usize, frame: &Crossing, parsed: &Parsed) {
        if self.received.iter().any(|received| received.bytes == frame.bytes) {
            return;
        }
        if frame.offload.is_super_frame() || offloads(egress) == Offloads::ALL {
            assert!(frame.offload.is_super_frame(), "neither received nor joined from what was");
            assert!(is_made_of(frame, parsed, &self.received), "joined from what was not received");
        }
        if !frame.offload.needs_checksum() {
            assert!(
                self.received.iter().any(|received| received.offload.needs_checksum()),
                "rewritten for nothing"
            );
            // A checksum is finished from the sum the sender left in its field, so only an honest one comes out
            // right; and one frame cannot be told from another's segment.
            if self
                .received
                .iter()
                .all(|received| !received.offload.needs_checksum() || is_honest_sum(received))
            {
                assert!(checksum_is_right(&frame.bytes, parsed), "finished a checksum wrongly");
            }
        }
    }
}

/// The guard's promise, written down a second time and without its code: addresses are the port's own, or none
/// yet.
fn is_honest(port: usize, frame: &[u8], parsed: &Parsed) -> bool {
    let headers = &parsed.headers;
    let (ipv4, ipv6) = addresses(port);
    let owns_ipv6 = |address: Ipv6Addr| address == ipv6 || address == mac(port).link_local();
    let source = match headers.source_address() {
        Some(IpAddr::V4(source)) => source == ipv4 || source.is_unspecified(),
        Some(IpAddr::V6(source)) => owns_ipv6(source) || source.is_unspecified(),
        None => true,
    };
    let layer3 = usize::from(parsed.layer3_offset);
    // The sender's hardware address follows the eight bytes at the start of an ARP packet (RFC 826).
    let arp = headers.layer3 != Layer3::ARP || frame[layer3 + 8..layer3 + 14] == mac(port).octets();
    // A neighbour advertisement, type 136, names its target in bytes 8 to 24 (RFC 4861 §4.4).
    let advertises =
        headers.is_ipv6() && headers.protocol == protocol::ICMPV6 && headers.destination_port >> 8 == 136;
    let target = frame.get(usize::from(parsed.layer4_offset) + 8..).and_then(<[u8]>::first_chunk::<16>);
    let advertised = !advertises || target.is_some_and(|target| owns_ipv6(Ipv6Addr::from(*target)));
    headers.source == mac(port) && source && arp && advertised
}

fn dropped_for(totals: &PortTotals, reason: DropReason) -> u64 {
    totals.drops().find(|(other, _)| *other == reason).map_or(0, |(_, count)| count)
}

/// Whether the checksum field of TCP or UDP holds what it must before the checksum is finished: the sum of the
/// pseudo-header.
fn is_honest_sum(frame: &Crossing) -> bool {
    let Ok(parsed) = parse(&frame.bytes) else { return false };
    let place = match parsed.headers.protocol {
        protocol::TCP => TcpHeader::CHECKSUM_OFFSET,
        protocol::UDP => UdpHeader::CHECKSUM_OFFSET,
        _ => return false,
    };
    let (start, offset) = (frame.offload.checksum_start, frame.offload.checksum_offset);
    let field =
        frame.bytes.get(usize::from(start) + usize::from(offset)..).and_then(<[u8]>::first_chunk::<2>);
    // Behind a routing header the sum is of another destination (RFC 8200 §8.1); Ethernet's padding is not summed.
    let whole = !parsed.headers.is_fragment()
        && !parsed.headers.has_options()
        && parsed.layer3_end as usize == frame.bytes.len();
    let expected = pseudo_header(&parsed).map(|sum| sum.partial().to_be_bytes());
    whole && start == parsed.layer4_offset && offset == place && field.copied() == expected
}

fn checksum_is_right(frame: &[u8], parsed: &Parsed) -> bool {
    let message = &frame[usize::from(parsed.layer4_offset)..parsed.layer3_end as usize];
    // A right checksum makes the whole sum up to all ones, whose complement is zero (RFC 1071 §1).
    pseudo_header(parsed).is_some_and(|sum| (sum + Sum::of(message)).checksum() == 0)
}

fn pseudo_header(parsed: &Parsed) -> Option<Sum> {
    let headers = &parsed.headers;
    let length = parsed.layer3_end.checked_sub(parsed.layer4_offset.into())?;
    match (headers.source_address()?, headers.destination_address()?) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some(pseudo_header_v4(source, destination, headers.protocol, length))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(pseudo_header_v6(source, destination, headers.protocol, length))
        }
        _ => None,
    }
}
