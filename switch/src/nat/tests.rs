//! What needs a look inside; what can be seen from outside is in `tests/nat_conformance`.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::address::{Address, Family};

fn rules(external: u8) -> NatRules {
    let network = NetworkNat { mode: NatMode::Masquerade, subnets: Vec::new() };
    NatRules {
        external: (1..=external).map(|last| IpAddr::from([192, 0, 2, last])).collect(),
        networks: NatNetworks::new([(NetworkId::FIRST, network)]),
        max_per_port: u32::MAX,
        ..NatRules::default()
    }
}

/// The nth UDP flow, each of another inside endpoint, of a thousand hosts.
fn flow(nth: u32) -> Packet {
    let [_, _, high, low] = (nth % 1000).to_be_bytes();
    let port = u16::try_from(1024 + nth / 1000 % 60_000).unwrap();
    let source = Endpoint { address: Address::from(std::net::Ipv4Addr::new(10, 0, high, low)), port };
    let [_, a, b, c] = nth.to_be_bytes();
    let destination = Endpoint { address: Address::from(std::net::Ipv4Addr::new(198, a, b, c)), port: 80 };
    let tuple = Tuple { source, destination, family: Family::V4, protocol: protocol::UDP };
    Packet { tuple, tcp_flags: 0, icmp_query: None }
}

const INSIDE: Origin = Origin::Inside { network: NetworkId::FIRST, owner: PortId::FIRST };

#[test]
fn a_connection_with_a_mapping_of_its_own_costs_at_most_192_bytes() {
    let mut nat = Nat::new(Arc::new(Activity::new(200_000)), Seed::new(1));
    let rules = rules(4);
    let mut worst = 0;
    for nth in 0..200_000 {
        nat.translate(&rules, INSIDE, &flow(nth), Time::from_secs(1)).unwrap();
        // From where the fixed parts, and the ports that are not taken, no longer count.
        if nth >= 150_000 && nth % 500 == 0 {
            worst = worst.max(nat.bytes() / nat.len());
        }
    }
    assert_eq!(nat.len(), 200_000);
    assert!(worst <= 192, "{worst} bytes");
}

#[test]
fn an_idle_nat_is_small() {
    let nat = Nat::new(Arc::new(Activity::new(1 << 20)), Seed::new(1));
    assert!(nat.bytes() < 300_000, "{} bytes", nat.bytes());
}

#[test]
fn when_all_is_over_nothing_is_left_but_places() {
    let mut nat = Nat::new(Arc::new(Activity::new(10_000)), Seed::new(1));
    let rules = rules(1);
    for nth in 0..5_000 {
        nat.translate(&rules, INSIDE, &flow(nth), Time::from_secs(1)).unwrap();
    }
    let mut now = 1;
    while nat.tend(&rules, Time::from_secs(now), 100) || now < 1000 {
        now += 1;
    }
    assert!(nat.is_empty());
    let places = nat.table.places();
    for nth in 0..5_000 {
        nat.translate(&rules, INSIDE, &flow(nth), Time::from_secs(now)).unwrap();
    }
    assert_eq!(nat.table.places(), places, "places are used again");
    assert_eq!(nat.table.owners.connections(PortId::FIRST), 5_000);
}

#[test]
fn a_table_listed_in_parts_is_listed_whole() {
    let mut nat = Nat::new(Arc::new(Activity::new(10_000)), Seed::new(1));
    let rules = rules(1);
    let now = Time::from_secs(1);
    for nth in 0..1000 {
        nat.translate(&rules, INSIDE, &flow(nth), now).unwrap();
    }
    let mut listed: Vec<_> = (0..nat.places() + 77)
        .step_by(77)
        .flat_map(|from| nat.entries_at(from..from + 77, &rules, now).collect::<Vec<_>>())
        .map(|entry| entry.original.destination.address)
        .collect();
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), 1000);
}
