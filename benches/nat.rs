//! Connection tracking and translation: what new, known and ended connections cost. Single-threaded, in cache or out
//! of it as it happens with that many.
//!
//! *New* is the slow path of a flow's first packet from inside, a mapping of its own included; *known* is the slow path again, as flagged segments take it, flows in turn; *touch* is what a worker
//! does instead for an established flow. The longest steps are printed: those of growing and those of expiring.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use vswitch_benches::SEED;
use vswitch_switch::address::{Address, Endpoint, Family, Tuple};
use vswitch_switch::conntrack::{Activity, ConnectionRef};
use vswitch_switch::nat::{Nat, NatMode, NatNetworks, NatRules, NetworkNat, Origin, Packet};
use vswitch_switch::{NetworkId, PortId, Time};
use vswitch_wire::protocol;

const MILLION: u32 = 1 << 20;
const NOW: Time = Time::from_secs(100);
const INSIDE: Origin = Origin::Inside { network: NetworkId::FIRST, owner: PortId::FIRST };

/// What `tend` looks at per call, where the daemon calls it between batches.
const STEP: usize = 256;

criterion_group!(benches, new, known, longest_steps);
criterion_main!(benches);

fn rules() -> NatRules {
    let network = NetworkNat { mode: NatMode::Masquerade, subnets: Vec::new() };
    NatRules {
        external: (0..32).map(|last| IpAddr::from([192, 0, 2, last])).collect(),
        networks: NatNetworks::new([(NetworkId::FIRST, network)]),
        max_connections: usize::MAX,
        max_half_open: usize::MAX,
        max_per_port: u32::MAX,
        ..NatRules::default()
    }
}

/// The nth UDP flow, each of an inside endpoint of its own, to one of 64 K recipients.
fn flow(nth: u32) -> Packet {
    let [_, _, high, low] = (nth % 1024).to_be_bytes();
    // Each host has a thousand ports of its own; some are others' too.
    let port = 1024 + u16::try_from(nth.wrapping_mul(0x85eb_ca6b) >> 16).unwrap_or(0) % 64_000;
    let source = Endpoint { address: Address::from(Ipv4Addr::new(10, 0, high, low)), port };
    let [_, _, a, b] = nth.wrapping_mul(0x9e37_79b9).to_be_bytes();
    let destination = Endpoint { address: Address::from(Ipv4Addr::new(198, 18, a, b)), port: 443 };
    let tuple = Tuple { source, destination, family: Family::V4, protocol: protocol::UDP };
    Packet { tuple, tcp_flags: 0, icmp_query: None }
}

fn nat(capacity: u32) -> (Nat, Arc<Activity>) {
    let activity = Arc::new(Activity::new(capacity as usize));
    (Nat::new(Arc::clone(&activity), SEED), activity)
}

/// A table with so many connections, and what refers to them.
fn filled(count: u32, rules: &NatRules) -> (Nat, Arc<Activity>, Vec<ConnectionRef>) {
    let (mut nat, activity) = nat(count);
    let translate = |nth| nat.translate(rules, INSIDE, &flow(nth), NOW).ok();
    let references = (0..count).filter_map(translate).map(|translated| translated.connection).collect();
    (nat, activity, references)
}

/// Into a table that had as many before, so that it need not grow.
fn new(criterion: &mut Criterion) {
    let rules = rules();
    let mut group = criterion.benchmark_group("nat");
    group.sample_size(10);
    for (name, count) in [("10 k", 10_000), ("100 k", 100_000), ("1 M", MILLION)] {
        let (mut nat, _activity, _references) = filled(count, &rules);
        let mut now = 100;
        group.bench_function(format!("new, of {name}"), |bencher| {
            bencher.iter_custom(|connections| {
                // Whole rounds, or the table would be emptier than it says.
                let rounds = connections.div_ceil(count.into());
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    now = forget_all(&mut nat, &rules, now);
                    let time = Time::from_secs(now);
                    let translate = |nth| nat.translate(&rules, INSIDE, black_box(&flow(nth)), time).is_ok();
                    let (made, took) = timed(|| (0..count).map(translate).filter(|made| *made).count());
                    assert_eq!(made, count as usize);
                    spent += took;
                }
                #[allow(clippy::cast_precision_loss, reason = "a ratio")]
                let share = connections as f64 / (rounds * u64::from(count)) as f64;
                spent.mul_f64(share)
            });
        });
    }
    group.finish();
}

/// Waits until every connection and mapping is forgotten; the second when that is.
fn forget_all(nat: &mut Nat, rules: &NatRules, now: u64) -> u64 {
    let later = now + 2000;
    for now in [now + 1000, later] {
        while nat.tend(rules, Time::from_secs(now), STEP) {}
    }
    later
}

fn known(criterion: &mut Criterion) {
    let rules = rules();
    let mut group = criterion.benchmark_group("nat");
    for (name, count) in [("10 k", 10_000), ("1 M", MILLION)] {
        let (mut nat, activity, references) = filled(count, &rules);
        assert_eq!(references.len(), count as usize);
        let mut nth = 0_u32;
        group.bench_function(format!("known, {name}"), |bencher| {
            bencher.iter(|| {
                nth = nth.wrapping_add(7919) % count;
                nat.translate(&rules, INSIDE, black_box(&flow(nth)), NOW)
            });
        });
        let mut place = 0;
        group.bench_function(format!("touch, {name}"), |bencher| {
            bencher.iter(|| {
                place = (place + 7919) % references.len();
                activity.touch(black_box(references[place]), 100)
            });
        });
        println!("{name}: {} bytes per connection", nat.bytes() / nat.len());
    }
    group.finish();
}

/// Not a rate but a maximum: how long a worker may have to wait for the table at worst. The same is done three times,
/// step by step the same, and the quickest of each step counts, so that what else the machine does does not.
fn longest_steps(criterion: &mut Criterion) {
    let rules = rules();
    let (mut growing, mut expiring) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (mut nat, _activity) = nat(MILLION);
        let connect = |nth| timed(|| nat.translate(&rules, INSIDE, &flow(nth), NOW).is_ok()).1;
        quickest(&mut growing, (0..MILLION).map(connect).collect());
        let mut steps = Vec::new();
        for later in [Time::from_secs(1000), Time::from_secs(2000)] {
            let mut more = true;
            while more {
                let (left, took) = timed(|| nat.tend(&rules, later, STEP));
                more = left;
                steps.push(took);
            }
        }
        assert!(nat.is_empty());
        quickest(&mut expiring, steps);
    }
    print_longest("one new connection, growing to 1 M", growing);
    let total: Duration = expiring.iter().sum();
    println!("1 M connections and their mappings expire in {total:?}");
    print_longest("expiring 256", expiring);

    let (mut nat, _activity) = nat(MILLION);
    let mut group = criterion.benchmark_group("nat");
    group.bench_function("tend with nothing to do", |bencher| bencher.iter(|| nat.tend(&rules, NOW, STEP)));
    group.finish();
}

/// The smaller of each step's times.
fn quickest(so_far: &mut Vec<Duration>, steps: Vec<Duration>) {
    if so_far.is_empty() {
        *so_far = steps;
        return;
    }
    for (best, step) in so_far.iter_mut().zip(steps) {
        *best = step.min(*best);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

fn print_longest(what: &str, mut steps: Vec<Duration>) {
    steps.sort_unstable();
    let at = |per_mille: usize| {
        steps.get(steps.len().saturating_sub(1) * per_mille / 1000).copied().unwrap_or_default()
    };
    println!("{what}: longest {:?}, 99.9 % within {:?}, half within {:?}", at(1000), at(999), at(500));
}
