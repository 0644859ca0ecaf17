//! Connection tracking and translation: what new, known and ended connections cost. Single-threaded, in cache or out
//! of it as it happens with that many.
//!
//! *New* is the slow path of a flow's first packet from inside, a mapping of its own included, while the table grows
//! from nothing; *known* is the slow path again, as flagged segments take it, flows in turn; *touch* is what a worker
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

fn new(criterion: &mut Criterion) {
    let rules = rules();
    let mut group = criterion.benchmark_group("nat");
    for (name, count) in [("10 k", 10_000), ("1 M", MILLION)] {
        group.bench_function(format!("new, growing to {name}"), |bencher| {
            bencher.iter_custom(|connections| {
                let mut spent = Duration::ZERO;
                let mut left = connections;
                while left > 0 {
                    let (mut nat, _activity) = nat(count);
                    let now = u32::try_from(left).unwrap_or(u32::MAX).min(count);
                    let began = Instant::now();
                    for nth in 0..now {
                        let _ = black_box(nat.translate(&rules, INSIDE, black_box(&flow(nth)), NOW));
                    }
                    spent += began.elapsed();
                    left -= u64::from(now);
                }
                spent
            });
        });
    }
    group.finish();
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

/// Not a rate but a maximum: how long a worker may have to wait for the table at worst.
fn longest_steps(criterion: &mut Criterion) {
    let rules = rules();
    let (mut nat, _activity) = nat(MILLION);
    let mut growing: Vec<_> =
        (0..MILLION).map(|nth| timed(|| nat.translate(&rules, INSIDE, &flow(nth), NOW).is_ok()).1).collect();
    print_longest("one new connection, of 1 M", &mut growing);

    let mut expiring = Vec::new();
    for later in [Time::from_secs(1000), Time::from_secs(2000)] {
        loop {
            let (more, took) = timed(|| nat.tend(&rules, later, STEP));
            expiring.push(took);
            if !more {
                break;
            }
        }
    }
    assert!(nat.is_empty());
    let total: Duration = expiring.iter().sum();
    println!("1 M connections and their mappings expired in {total:?}");
    print_longest("expiring 256", &mut expiring);

    let mut group = criterion.benchmark_group("nat");
    group.bench_function("tend with nothing to do", |bencher| bencher.iter(|| nat.tend(&rules, NOW, STEP)));
    group.finish();
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

fn print_longest(what: &str, steps: &mut [Duration]) {
    steps.sort_unstable();
    let at = |per_mille: usize| {
        steps.get(steps.len().saturating_sub(1) * per_mille / 1000).copied().unwrap_or_default()
    };
    println!("{what}: longest {:?}, 99.9 % within {:?}, half within {:?}", at(1000), at(999), at(500));
}
