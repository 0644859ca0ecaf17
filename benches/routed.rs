//! Routed and translated frames, from received to sent, beside a bridged one of the same run; and connections: how
//! fast new ones are made, and how long the others wait while a million expire.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use vswitch_benches::town::{
    BACK, FRONT, NEIGHBOR, OUTSIDE, Town, Varied, destination_ports, ever_new, incoming, opening, outgoing,
    source_ports,
};
use vswitch_benches::{NOW, undisturbed};
use vswitch_switch::device::BATCH_FRAMES;
use vswitch_switch::frame::Pool;
use vswitch_switch::memory::MemoryFrame;

criterion_group! {
    name = benches;
    // Short, so that runs can be repeated and figures of one run be compared on a machine that is shared.
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    targets = known, connections
}
criterion_main!(benches);

/// Connections in rotation.
const MANY: u16 = 10_000;

/// Frames of flows that the cache knows: the whole way, the copy out of the device and the counting included.
fn known(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("known");
    let (mut pool, mut batch) = (Pool::new(BATCH_FRAMES), Vec::with_capacity(BATCH_FRAMES));
    let mut device = Varied::new(&outgoing(FRONT, OUTSIDE), source_ports(1));
    group.bench_function("the devices alone", |bencher| {
        bencher.iter_custom(|frames| {
            undisturbed(frames, BATCH_FRAMES as u64, || device.echo(&mut pool, &mut batch))
        });
    });
    for flows in [1, MANY] {
        for (name, to) in [("bridged", NEIGHBOR), ("routed", BACK), ("translated", OUTSIDE)] {
            let mut town = Town::new(1 << 16);
            town.receives(FRONT, &outgoing(FRONT, to), source_ports(flows));
            measure(&mut group, &format!("{name}, {flows} flows"), &mut town, &[FRONT], flows);
        }
        let mut town = Town::new(1 << 16);
        town.receives(FRONT, &outgoing(FRONT, OUTSIDE), source_ports(flows));
        rounds(&mut town, &[FRONT], flows);
        let ports = town.public_ports();
        assert_eq!(ports.len(), usize::from(flows));
        town.receives(OUTSIDE, &incoming(0), destination_ports(&ports));
        let name = format!("translated, both ways, {} flows", 2 * u32::from(flows));
        measure(&mut group, &name, &mut town, &[FRONT, OUTSIDE], flows);
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn measure(group: &mut Group<'_>, name: &str, town: &mut Town, ports: &[usize], flows: u16) {
    rounds(town, ports, flows);
    let (sent, misses) = (town.sent(), town.misses());
    let mut carried = 0;
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|frames| {
            let per_round = (BATCH_FRAMES * ports.len()) as u64;
            undisturbed(frames, per_round, || {
                ports.iter().for_each(|port| town.batch(*port));
                carried += per_round;
            })
        });
    });
    assert_eq!(town.sent() - sent, carried, "{name}: each frame goes on");
    assert!(town.misses() - misses <= carried / 50, "{name}: {} of {carried} missed", town.misses() - misses);
}

/// Until every flow is known, and a round more.
fn rounds(town: &mut Town, ports: &[usize], flows: u16) {
    for _ in 0..2 * usize::from(flows).div_ceil(BATCH_FRAMES) {
        ports.iter().for_each(|port| town.batch(*port));
    }
}

/// First packets: parse, walk, translate, rewrite, transmit. The table begins empty, so that its growth counts.
fn connections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("new connection");
    let cases: [(&str, fn(usize, usize) -> MemoryFrame, u16); 3] = [
        ("datagram, 50 K mappings", outgoing, 50_000),
        ("SYN, 50 K mappings", opening, 50_000),
        ("datagram, one mapping", outgoing, 1),
    ];
    for (name, frame, ports) in cases {
        let total = if ports == 1 { 50_000 } else { 500_000 };
        group.sample_size(10).bench_function(name, |bencher| {
            bencher.iter_custom(|frames| {
                let mut elapsed = Duration::ZERO;
                let mut left = frames;
                while left > 0 {
                    let count = left.min(total);
                    let mut town = Town::new(1 << 20);
                    town.receives(FRONT, &frame(FRONT, OUTSIDE), ever_new(ports));
                    let mut carried = 0;
                    elapsed += undisturbed(count, BATCH_FRAMES as u64, || {
                        town.batch(FRONT);
                        carried += BATCH_FRAMES;
                    });
                    assert_eq!(town.router.nat().len(), carried, "each frame is a connection");
                    left -= count;
                }
                elapsed
            });
        });
    }
    group.finish();
    expiry();
}

/// A million connections expire, in steps as the chores take them.
#[allow(clippy::print_stdout, reason = "this is its output")]
fn expiry() {
    let count = if std::env::args().any(|argument| argument == "--bench") { 1_000_000 } else { 10_000 };
    let mut town = Town::new(1 << 20);
    town.receives(FRONT, &outgoing(FRONT, OUTSIDE), ever_new(50_000));
    for _ in 0..count / BATCH_FRAMES {
        town.batch(FRONT);
    }
    let mut now = NOW.after(Duration::from_secs(301));
    let mut steps = Vec::new();
    while !town.router.nat().is_empty() {
        let began = Instant::now();
        let next = town.chores(now);
        steps.push(began.elapsed());
        now = next.unwrap_or(now).max(now);
    }
    steps.sort_unstable();
    let at =
        |share: usize| steps.get(steps.len().saturating_sub(1) * share / 1000).copied().unwrap_or_default();
    println!(
        "{count} connections expire in {:?}, in {} steps: median {:?}, 99.9 % {:?}, longest {:?}",
        steps.iter().sum::<Duration>(),
        steps.len(),
        at(500),
        at(999),
        at(1000)
    );
}
