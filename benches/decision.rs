//! From a received frame to the decision where it goes, with 64 K stations known.
//!
//! *hit* and *miss* are what the shard does to a frame between receiving and transmitting it: parse, validate
//! the offload header, ask the flow cache, and on a miss walk the stages and remember the answer. *service*
//! is everything, the copy out of the replaying device and the counting included. Every figure is per frame.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use vswitch_benches::{Bench, NOW, SEED, STATIONS, datagram, network, port, settings, station, undisturbed};
use vswitch_switch::bridge::Stages;
use vswitch_switch::device::BATCH_FRAMES;
use vswitch_switch::fdb::Fdb;
use vswitch_switch::flow::{Current, FlowCache, FlowKey, Generations, Transform};
use vswitch_switch::frame::{Frame, Pool};
use vswitch_switch::gateway::limit::ReplyLimit;
use vswitch_switch::memory::MemoryFrame;
use vswitch_switch::neighbor::Held;
use vswitch_switch::router::Router;
use vswitch_switch::router::hearing::GatewayStage;
use vswitch_switch::storm::Storm;
use vswitch_switch::tables::Port;
use vswitch_switch::{NetworkCounters, NetworkId, Offloads, PortId, Verdict};
use vswitch_wire::{MacAddr, Parsed, parse, parse_into};

/// Flows in use at once: more than a batch, and their cache lines fit into L1 or do not.
const FLOWS: [u16; 2] = [1, 1024];

/// Flows in the cache: a quarter of what the shard has, so that 64 K stations are too many for it.
const FLOWS_REMEMBERED: usize = 16 * 1024;

criterion_group!(benches, decision, parts, service, tables);
criterion_main!(benches);

/// The shard's own tables, to decide without a device.
struct Decider {
    flows: FlowCache,
    fdb: Fdb,
    storm: Storm,
    network: vswitch_switch::tables::Network,
    port: Port,
    counters: NetworkCounters,
    router: Router,
    replies: ReplyLimit,
    reply: Frame,
    again: Vec<Held>,
}

impl Decider {
    fn new() -> Self {
        let mut fdb = Fdb::new(settings().fdb, SEED);
        learn_all(&mut fdb);
        let reply = Pool::new(1).take().unwrap_or_else(|| unreachable!("a new pool is full"));
        Self {
            flows: FlowCache::new(FLOWS_REMEMBERED, SEED),
            fdb,
            storm: Storm::default(),
            network: network(2),
            port: Port { network: NetworkId::default(), mtu: 1500, guard: None },
            counters: NetworkCounters::default(),
            router: Router::new(SEED, 1),
            replies: ReplyLimit::default(),
            reply,
            again: Vec::new(),
        }
    }

    /// What `Shard` does to a frame between receiving and transmitting it.
    #[inline]
    fn decide(&mut self, frame: &MemoryFrame) -> Option<PortId> {
        let mut parsed = Parsed::default();
        parse_into(&frame.bytes, &mut parsed).ok()?;
        let offload = frame.offload.validate(&parsed, frame.bytes.len()).ok()?;
        black_box(offload);
        let current = self.current();
        let key = FlowKey::new(parsed.headers, port(0));
        let place = self.flows.place(&key);
        if let Some(transform) = self.flows.lookup(place, &key, NOW.seconds(), &current) {
            self.counters.flow_hits.add(1);
            return Some(transform.egress);
        }
        self.counters.flow_misses.add(1);
        let mut stages = Stages {
            port: &self.port,
            network: &self.network,
            fdb: &mut self.fdb,
            storm: &mut self.storm,
            counters: &self.counters,
            gateway: GatewayStage {
                router: &self.router,
                network: NetworkId::default(),
                replies: &mut self.replies,
                reply: &mut self.reply,
                again: &mut self.again,
            },
        };
        let Verdict::Forward(egress) = stages.decide(port(0), &frame.bytes, &parsed, NOW).verdict else {
            return None;
        };
        let transform = Transform { egress, routed: None };
        self.flows.insert(place, &key, &self.current(), NOW.seconds(), NOW.seconds() + 37, transform);
        Some(egress)
    }

    #[inline]
    fn current(&self) -> Current {
        let made = Generations { tables: self.network.generation, learned: self.fdb.generation() };
        Current { bridged: made, routed: made }
    }
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for flows in FLOWS {
        let mut decider = Decider::new();
        let frames: Vec<_> = (0..flows).map(|flow| datagram(station(flow.into()), flow, 16)).collect();
        group.bench_function(format!("hit, {flows} flows"), |bencher| {
            let mut next = 0;
            bencher.iter_custom(|count| {
                undisturbed(count, 1, || {
                    next = if next + 1 == frames.len() { 0 } else { next + 1 };
                    black_box(decider.decide(black_box(&frames[next])));
                })
            });
        });
        let (hits, misses) = (decider.counters.flow_hits.read(), decider.counters.flow_misses.read());
        assert!(hits >= misses * 10, "{flows} flows: {hits} hits, {misses} misses");
    }

    // One frame in a hot buffer, as after receiving, to another station each time: four times as many as the
    // cache has flows.
    let mut decider = Decider::new();
    let mut frame = datagram(station(0), 1, 16);
    let mut nth = 0;
    group.bench_function("miss, 64 K destinations", |bencher| {
        bencher.iter_custom(|count| {
            undisturbed(count, 1, || {
                nth = (nth + 1) % (STATIONS - 1);
                frame.bytes[..6].copy_from_slice(&station(nth).octets());
                black_box(decider.decide(black_box(&frame)));
            })
        });
    });
    assert!(
        decider.counters.flow_hits.read() * 10 < decider.counters.flow_misses.read(),
        "those were no misses"
    );
    group.finish();
}

/// What a hit is made of.
fn parts(criterion: &mut Criterion) {
    let decider = Decider::new();
    let mut flows = FlowCache::new(FLOWS_REMEMBERED, SEED);
    let current = decider.current();
    let frames: Vec<_> = (0..1024).map(|flow| datagram(station(flow.into()), flow, 16)).collect();
    let headers: Vec<_> = frames.iter().filter_map(|frame| parse(&frame.bytes).ok()).collect();
    for parsed in &headers {
        let key = FlowKey::new(parsed.headers, port(0));
        let transform = Transform { egress: port(1), routed: None };
        flows.insert(flows.place(&key), &key, &current, NOW.seconds(), NOW.seconds() + 1, transform);
    }
    let mut group = criterion.benchmark_group("part");
    group.bench_function("parse", |bencher| bencher.iter(|| parse(black_box(&frames[0].bytes))));
    group.bench_function("validate the offload header", |bencher| {
        let (offload, length) = (frames[0].offload, frames[0].bytes.len());
        bencher.iter(|| black_box(offload).validate(black_box(&headers[0]), length));
    });
    for flows_in_use in FLOWS {
        let headers = &headers[..flows_in_use.into()];
        let mut next = 0;
        group.bench_function(format!("ask the flow cache, {flows_in_use} flows"), |bencher| {
            bencher.iter(|| {
                next = if next + 1 == headers.len() { 0 } else { next + 1 };
                let key = FlowKey::new(black_box(headers[next].headers), port(0));
                flows.lookup(flows.place(&key), &key, NOW.seconds(), &current).copied()
            });
        });
    }
    group.finish();
}

fn service(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("service");
    for flows in FLOWS {
        let frames = (0..flows).map(|flow| datagram(station(flow.into()), flow, 16)).collect();
        // Without offloads to coalesce for, so that every frame is written by itself.
        let offloads = Offloads { checksum: true, ..Offloads::NONE };
        let mut bench = Bench::new(frames, 2, offloads).know(STATIONS - 1);
        group.bench_function(format!("hit, {flows} flows"), |bencher| {
            bencher.iter_custom(|frames| undisturbed(frames, BATCH_FRAMES as u64, || bench.batch()));
        });
        assert!(bench.hit_rate() > 0.9 || bench.sent(1) == 0);
    }
    let frames = (0..STATIONS - 1).map(|nth| datagram(station(nth), 1, 16)).collect();
    let offloads = Offloads { checksum: true, ..Offloads::NONE };
    let mut bench = Bench::new(frames, 2, offloads).know(STATIONS - 1);
    group.bench_function("miss, 64 K destinations", |bencher| {
        bencher.iter_custom(|frames| undisturbed(frames, BATCH_FRAMES as u64, || bench.batch()));
    });
    assert!(bench.hit_rate() < 0.1 || bench.sent(1) == 0);
    group.finish();
}

/// The learned table beside the maps one could have taken instead: 64 K stations, looked up in random order,
/// and one station over and over.
fn tables(criterion: &mut Criterion) {
    let count = STATIONS - 1;
    let mut fdb = Fdb::new(settings().fdb, SEED);
    let map: HashMap<MacAddr, (PortId, u32)> = (0..count).map(|nth| (station(nth), (port(1), 1))).collect();
    let dash: DashMap<MacAddr, (PortId, u32)> = map.iter().map(|(mac, at)| (*mac, *at)).collect();
    learn_all(&mut fdb);
    // Not the order in which they were learned.
    let shuffled: Vec<_> = (0..count).map(|nth| station(nth.wrapping_mul(40_503) % count)).collect();

    let mut group = criterion.benchmark_group("known station");
    for (order, stations) in [("one", &shuffled[..1]), ("64 K random", &shuffled[..])] {
        let mut at = 0;
        let mut next = move || {
            at = if at + 1 == stations.len() { 0 } else { at + 1 };
            black_box(stations[at])
        };
        let mut again = next;
        group.bench_function(format!("fdb, {order}"), |bencher| bencher.iter(|| fdb.lookup(next(), 1)));
        group.bench_function(format!("std HashMap, {order}"), |bencher| {
            bencher.iter(|| map.get(&again()).copied());
        });
        group.bench_function(format!("dashmap, {order}"), |bencher| {
            bencher.iter(|| dash.get(&next()).map(|at| *at));
        });
    }
    group.bench_function("fdb, learn 64 K anew", |bencher| {
        bencher.iter_batched_ref(|| Fdb::new(settings().fdb, SEED), learn_all, BatchSize::LargeInput);
    });
    group.finish();
}

fn learn_all(fdb: &mut Fdb) {
    for nth in 0..STATIONS - 1 {
        fdb.learn(station(nth), port(1), NOW.seconds());
    }
}
