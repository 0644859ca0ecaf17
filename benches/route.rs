//! Longest prefix match: a table as most networks have it, and one of 10 000 routes, looked up in random order.
//!
//! *any* addresses are random, *hit* ones are within a random route. IPv6 tables are under 2001:db8::/32, as an
//! organisation's are, so that their prefixes share their first bits. Every figure is per lookup.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ipnet::IpNet;
use vswitch_benches::SEED;
use vswitch_switch::route::{Fib, Route};
use vswitch_switch::{Address, Family, NetworkId};

/// Looked up one after the other: more than any branch predictor learns by heart.
const LOOKUPS: u64 = 16 * 1024;

criterion_group!(benches, lookup);
criterion_main!(benches);

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    group.throughput(Throughput::Elements(LOOKUPS));
    for family in [Family::V4, Family::V6] {
        for size in [5, 10_000] {
            let routes = routes(family, size);
            let fib = Fib::build(
                routes.iter().map(|prefix| (*prefix, Route::Connected(NetworkId::FIRST))).collect(),
            );
            let any: Vec<_> = (0..LOOKUPS).map(|nth| random(family, nth).into()).collect();
            let hit: Vec<_> = (0..LOOKUPS).map(|nth| within(&routes, nth).into()).collect();
            for (name, addresses) in [("any", any), ("hit", hit)] {
                let id = BenchmarkId::new(format!("{family:?}/{name}"), size);
                group.bench_with_input(id, &addresses, |b, list| b.iter(|| chain(&fib, family, list)));
            }
        }
    }
    group.finish();
}

/// Looks every address up, each only when the one before is found, as a packet waits for its route: overlapped,
/// as in a loop that nothing holds back, lookups would seem to take half as long.
fn chain(fib: &Fib, family: Family, addresses: &[Address]) -> usize {
    let nothing = black_box(0);
    let mut found = 0;
    for nth in 0..addresses.len() {
        let address = &addresses[nth + (found & nothing)];
        found += usize::from(fib.lookup(family, address).is_some());
    }
    found
}

/// Distinct prefixes of the lengths that routers have: /8 to /28, most of them near the longer end.
fn routes(family: Family, size: usize) -> Vec<IpNet> {
    let mut routes: Vec<IpNet> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for nth in 1 << 32.. {
        if routes.len() == size {
            break;
        }
        let spread = SEED.hash_word(!nth) % 16;
        let length = match (family, spread) {
            (Family::V4, 0) => 8,
            (Family::V4, 1..=3) => 16,
            (Family::V4, 4..=6) => 20,
            (Family::V4, 7..=13) => 24,
            (Family::V4, _) => 28,
            (Family::V6, 0..=3) => 48,
            (Family::V6, 4..=7) => 56,
            (Family::V6, _) => 64,
        };
        let Ok(prefix) = IpNet::new(random(family, nth), length) else { continue };
        if seen.insert(prefix.trunc()) {
            routes.push(prefix.trunc());
        }
    }
    routes
}

fn random(family: Family, nth: u64) -> IpAddr {
    let (high, low) = (SEED.hash_word(nth), SEED.hash_word(nth ^ 1 << 40));
    match family {
        Family::V4 => Ipv4Addr::from_bits((high >> 32) as u32).into(),
        Family::V6 => {
            let host = (u128::from(high) << 64 | u128::from(low)) >> 32;
            Ipv6Addr::from_bits(0x2001_0db8 << 96 | host).into()
        }
    }
}

/// An address of a random one of the routes.
fn within(routes: &[IpNet], nth: u64) -> IpAddr {
    let number = SEED.hash_word(nth.wrapping_add(7)) % routes.len() as u64;
    let prefix = routes[usize::try_from(number).unwrap_or(0)];
    match (prefix, random(if prefix.addr().is_ipv4() { Family::V4 } else { Family::V6 }, nth)) {
        (IpNet::V4(prefix), IpAddr::V4(host)) => (prefix.network() | (host & prefix.hostmask())).into(),
        (IpNet::V6(prefix), IpAddr::V6(host)) => (prefix.network() | (host & prefix.hostmask())).into(),
        (prefix, _) => prefix.addr(),
    }
}
