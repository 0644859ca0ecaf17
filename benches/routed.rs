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

/// What is done once and cannot be repeated in a loop: the same thing five times, each step's time the least of the
/// five, since a neighbour on the machine is seldom in the way of the same step every time.
const RUNS: usize = 5;

/// A step takes about a millisecond: less than the time between two interruptions.
const CONNECTIONS_PER_STEP: usize = 16 * BATCH_FRAMES;

/// First packets: parse, walk, translate, rewrite, transmit; and a million connections that expire.
#[allow(clippy::print_stdout, reason = "this is its output")]
fn connections(_: &mut Criterion) {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let count = if measured { 500_000 } else { 10_000 };
    // Either ten connections of each mapping, or a mapping each.
    let cases: [(&str, MemoryFrame, usize); 3] = [
        ("first datagrams, 50 K mappings", outgoing(FRONT, OUTSIDE), count),
        ("SYNs, 50 K mappings", opening(FRONT, OUTSIDE), count),
        ("first datagrams, each with a new mapping", outgoing(FRONT, OUTSIDE), count / 10),
    ];
    for (name, frame, count) in cases {
        let steps = least(|| {
            let (mut town, mut steps) = (town_of_new(&frame), Vec::new());
            for _ in 0..count / CONNECTIONS_PER_STEP {
                let began = Instant::now();
                (0..CONNECTIONS_PER_STEP / BATCH_FRAMES).for_each(|_| town.batch(FRONT));
                steps.push(began.elapsed());
            }
            assert_eq!(
                town.router.nat().len(),
                steps.len() * CONNECTIONS_PER_STEP,
                "each frame is a connection"
            );
            steps
        });
        let made = u32::try_from(steps.len() * CONNECTIONS_PER_STEP).unwrap_or(u32::MAX);
        println!("{name}: {:?} each", steps.iter().sum::<Duration>() / made.max(1));
    }

    let count = 2 * count;
    let mut steps = least(|| {
        let mut town = town_of_new(&outgoing(FRONT, OUTSIDE));
        (0..count / BATCH_FRAMES).for_each(|_| town.batch(FRONT));
        // Silent for longer than any of them may be.
        let (mut now, mut steps) = (NOW.after(Duration::from_secs(301)), Vec::new());
        while !town.router.nat().is_empty() {
            let began = Instant::now();
            let next = town.chores(now);
            steps.push(began.elapsed());
            now = next.unwrap_or(now).max(now);
        }
        steps
    });
    steps.sort_unstable();
    println!(
        "{count} connections expire in {:?}, {} steps: median {:?}, longest {:?}",
        steps.iter().sum::<Duration>(),
        steps.len(),
        steps.get(steps.len() / 2).copied().unwrap_or_default(),
        steps.last().copied().unwrap_or_default(),
    );
}

fn town_of_new(frame: &MemoryFrame) -> Town {
    let mut town = Town::new(1 << 20);
    town.receives(FRONT, frame, ever_new(50_000));
    town
}

fn least(run: impl Fn() -> Vec<Duration>) -> Vec<Duration> {
    let mut least = run();
    for _ in 1..RUNS {
        least.iter_mut().zip(run()).for_each(|(least, time)| *least = time.min(*least));
    }
    least
}
