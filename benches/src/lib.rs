//! A switch without a kernel, for the benches: one network, a port that replays frames and ports that swallow
//! them, and as many stations known as wanted.

pub mod town;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vswitch_switch::device::BATCH_FRAMES;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::hash::Seed;
use vswitch_switch::memory::{MemoryFrame, Replay};
use vswitch_switch::offload::{GSO_NONE, NEEDS_CHECKSUM};
use vswitch_switch::shard::Heard;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, Network, Port, UnknownUnicast};
use vswitch_switch::{
    NetworkCounters, NetworkId, OffloadHeader, Offloads, PortCounters, PortId, Serviced, Shard, Tables, Time,
};
use vswitch_wire::checksum::pseudo_header_v4;
use vswitch_wire::{MacAddr, TcpHeader, build};

/// Stations known in the benches that say so.
pub const STATIONS: u32 = 64 * 1024;

/// The seed of every hash, so that runs compare.
pub const SEED: Seed = Seed::new(0x9e37_79b9_7f4a_7c15);

/// The moment at which everything happens.
pub const NOW: Time = Time::from_secs(1);

/// The only network.
pub fn network_id() -> NetworkId {
    NetworkId::default()
}

/// A port by its number, which must be below the limit.
pub fn port(number: usize) -> PortId {
    PortId::new(number).unwrap_or_default()
}

/// The nth station's address. Successive ones share no low bits, as those of a real network do not.
pub fn station(nth: u32) -> MacAddr {
    let [a, b, c, d] = nth.wrapping_mul(0x9e37_79b1).to_be_bytes();
    MacAddr([2, 0x42, a, b, c, d])
}

/// The settings of the network: room for every station, no limits.
pub fn settings() -> BridgeSettings {
    let entries = STATIONS as usize;
    BridgeSettings {
        fdb: FdbLimits { entries, per_port: entries, ageing: 300 },
        storm: StormLimits::default(),
        unknown_unicast: UnknownUnicast::Flood,
    }
}

/// The network with these ports.
pub fn network(ports: usize) -> Network {
    Network { members: (0..ports).map(port).collect(), ..Network::new(settings()) }
}

/// A switch whose port 0 replays.
pub struct Bench {
    shard: Shard<Replay>,
    tables: Tables,
    counters: Arc<NetworkCounters>,
}

impl Bench {
    /// A network of `ports` ports: port 0 replays `frames` in whole batches, the others take `offloads` over.
    pub fn new(frames: Vec<MemoryFrame>, ports: usize, offloads: Offloads) -> Self {
        Self::with_batches(frames, BATCH_FRAMES, ports, offloads)
    }

    /// As [`new`](Self::new), with `batch` frames to a batch.
    pub fn with_batches(frames: Vec<MemoryFrame>, batch: usize, ports: usize, offloads: Offloads) -> Self {
        let mut tables = Tables::default();
        let counters = Arc::new(NetworkCounters::default());
        let mut shard = Shard::new(SEED, Arc::new(vswitch_switch::router::Router::new(SEED, 1)));
        shard.open_network(network_id(), &settings(), Arc::clone(&counters));
        tables.set_network(network_id(), Some(network(ports)));
        let replay = Replay::new(frames, batch, Offloads::ALL);
        let sinks = (1..ports).map(|_| Replay::sink(offloads));
        for (number, device) in [replay].into_iter().chain(sinks).enumerate() {
            let configured = Port { network: network_id(), mtu: 1500, guard: None };
            tables.set_port(port(number), Some(configured));
            shard.attach(port(number), device, Arc::new(PortCounters::default()));
        }
        Self { shard, tables, counters }
    }

    /// Makes stations `0..count` known behind port 1.
    pub fn know(mut self, count: u32) -> Self {
        for nth in 0..count {
            self.shard.hear(Heard { network: network_id(), mac: station(nth), port: port(1) }, NOW);
        }
        assert_eq!(self.shard.learned(network_id(), NOW).count(), count as usize);
        self
    }

    /// Carries one batch.
    #[inline]
    pub fn batch(&mut self) {
        let serviced = self.shard.service(&self.tables, port(0), NOW);
        debug_assert!(matches!(serviced, Serviced::More));
        // Others take what was heard; unheard it would fill up and stop.
        self.shard.take_heard(|_| ());
    }

    /// Lets the network's tables change, so that every flow is decided anew.
    pub fn change(&mut self) {
        let mut changed = network(0);
        if let Some(current) = self.tables.network(network_id()) {
            changed = Network { generation: current.generation + 1, ..current.clone() };
        }
        self.tables.set_network(network_id(), Some(changed));
    }

    /// The share of frames answered by the flow cache so far, to prove that a bench measures what it says.
    pub fn hit_rate(&self) -> f64 {
        let (hits, misses) = (self.counters.flow_hits.read(), self.counters.flow_misses.read());
        #[allow(clippy::cast_precision_loss, reason = "a share, to be compared with one half")]
        let rate = hits as f64 / (hits + misses).max(1) as f64;
        rate
    }

    /// Device writes of port `number`.
    pub fn sent(&self, number: usize) -> u64 {
        self.shard.device(port(number)).map_or(0, Replay::sent_frames)
    }
}

fn address(host: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), port)
}

/// A sender that is none of the [`station`]s.
const SENDER: MacAddr = MacAddr([2, 0x42, 0xff, 0, 0, 1]);

/// A UDP datagram to a station, as a container's kernel hands it over: with its checksum to be finished.
pub fn datagram(to: MacAddr, source_port: u16, payload: usize) -> MemoryFrame {
    let mut bytes = build::udp4(to, SENDER, address(1, source_port), address(2, 53), &vec![7; payload]);
    unfinish(&mut bytes, 6);
    MemoryFrame { bytes, offload: partial(6) }
}

/// A TCP segment to a station, with its checksum to be finished.
pub fn segment(to: MacAddr, sequence: u32, payload: usize) -> MemoryFrame {
    let (source, destination) = (address(1, 5000), address(2, 80));
    let mut bytes =
        build::tcp4(to, SENDER, source, destination, TcpHeader::ACK, sequence, 1, &vec![7; payload]);
    unfinish(&mut bytes, 16);
    MemoryFrame { bytes, offload: partial(16) }
}

/// A TCP super-frame of `payload` bytes to a station, to be cut into segments of 1448.
pub fn super_frame(to: MacAddr, payload: usize) -> MemoryFrame {
    let mut frame = segment(to, 1, payload);
    frame.offload.gso_type = vswitch_switch::offload::GSO_TCP4;
    frame.offload.gso_size = 1448;
    frame.offload.header_length = 54;
    frame
}

fn partial(checksum_offset: u16) -> OffloadHeader {
    OffloadHeader {
        flags: NEEDS_CHECKSUM,
        gso_type: GSO_NONE,
        checksum_start: 34,
        checksum_offset,
        ..OffloadHeader::NONE
    }
}

/// Leaves an IPv4 frame as Linux does for a device to finish: with the pseudo-header's sum for a checksum, and
/// forbidding fragments, so that the identification means nothing and frames may be joined.
fn unfinish(frame: &mut [u8], checksum_offset: usize) {
    frame[20] |= 0x40;
    if let Some(ip) = frame[14..].first_chunk::<20>() {
        let [source, destination] =
            [12, 16].map(|at| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
        let length = u32::from(u16::from_be_bytes([ip[2], ip[3]])) - 20;
        let sum = pseudo_header_v4(source, destination, ip[9], length).partial();
        frame[34 + checksum_offset..36 + checksum_offset].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The time that `frames` frames take in rounds of `per_round`: what the median of short windows makes of it. On a
/// machine that is shared, a mean tells more of the neighbours than of the code; a window is shorter than the time
/// between two interruptions.
pub fn undisturbed(frames: u64, per_round: u64, mut round: impl FnMut()) -> Duration {
    const WINDOW: u64 = 10_000;
    let rounds = WINDOW.div_ceil(per_round);
    let mut windows: Vec<_> = (0..frames.div_ceil(rounds * per_round))
        .map(|_| {
            let began = Instant::now();
            (0..rounds).for_each(|_| round());
            began.elapsed()
        })
        .collect();
    windows.sort_unstable();
    let median = windows.get(windows.len() / 2).copied().unwrap_or_default();
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    let share = frames as f64 / (rounds * per_round) as f64;
    median.mul_f64(share)
}

/// One million frames in batches, for counts.
pub const BATCHES_OF_A_MILLION: usize = 1_000_000_usize.div_ceil(BATCH_FRAMES);
