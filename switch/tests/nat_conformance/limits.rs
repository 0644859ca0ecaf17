//! Floods, full tables, attachments that go: what is established stays, what is bounded is.

use vswitch_switch::DropReason;
use vswitch_switch::nat::{Origin, Packet};

use super::world::{ACK, SYN, TCP, UDP, World, external, host, inside, owner, publish, remote, tuple};

#[test]
fn a_full_table_gives_up_the_oldest_transitory_one() {
    let mut world = World::new();
    world.rules.max_connections = 4;
    world.connect(host(2, 5000), remote(1, 80));
    world.send(TCP, host(2, 5001), remote(1, 80), SYN).unwrap();
    world.now += 1;
    let datagram = world.out(host(2, 5002), remote(1, 1)).unwrap().source;
    world.now += 1;
    world.send(TCP, host(2, 5003), remote(1, 80), SYN).unwrap();
    let alive = |world: &World, port| world.entries().iter().any(|entry| entry.original.source.port == port);
    world.out(host(2, 5004), remote(1, 1)).unwrap();
    assert!(!alive(&world, 5001) && alive(&world, 5002), "the oldest");
    world.arrive(remote(1, 1), datagram).unwrap();
    world.out(host(2, 5005), remote(1, 1)).unwrap();
    assert!(!alive(&world, 5003) && alive(&world, 5002), "an answered datagram is no longer transitory");
    world.arrive(remote(1, 1), external(5004)).unwrap();
    world.arrive(remote(1, 1), external(5005)).unwrap();
    assert_eq!(world.out(host(2, 5006), remote(1, 1)), Err(DropReason::ConnectionTableFull));
    assert!(alive(&world, 5000), "an established one never goes");
}

#[test]
fn used_lately_counts_as_young() {
    let mut world = World::new();
    world.rules.max_connections = 2;
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    world.now += 1;
    world.out(host(2, 5001), remote(1, 1)).unwrap();
    world.now += 1;
    world.out(host(2, 5000), remote(1, 1)).unwrap();
    world.out(host(2, 5002), remote(1, 1)).unwrap();
    let ports: Vec<_> = world.entries().iter().map(|entry| entry.original.source.port).collect();
    assert!(ports.contains(&5000) && !ports.contains(&5001), "{ports:?}");
}

#[test]
fn a_syn_flood_displaces_itself() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80)]);
    world.rules.max_half_open = 100;
    world.connect(host(2, 5000), remote(1, 80));
    for nth in 0..2000_u16 {
        world.receive(TCP, remote((nth % 250) as u8, 1000 + nth), external(8080), SYN).unwrap();
    }
    assert_eq!(world.nat.len(), 101);
    assert!(world.states().contains(&"established"));
    // A client in the midst of it, answered at once, comes through.
    world.receive(TCP, remote(251, 1), external(8080), SYN).unwrap();
    world.send(TCP, host(2, 80), remote(251, 1), SYN | ACK).unwrap();
    world.receive(TCP, remote(251, 1), external(8080), ACK).unwrap();
    assert_eq!(world.states().iter().filter(|state| **state == "established").count(), 2);
}

#[test]
fn a_hairpin_does_not_displace_its_own_half() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80)]);
    world.rules.max_connections = 2;
    world.connect(host(3, 5000), remote(1, 80));
    let hairpin = |world: &mut World| world.send(TCP, host(2, 6000), external(8080), SYN);
    assert_eq!(hairpin(&mut world), Err(DropReason::ConnectionTableFull));
    world.rules.max_connections = 100;
    world.rules.per_port.insert(owner(2), 1);
    assert_eq!(hairpin(&mut world), Err(DropReason::ConnectionLimit));
    world.rules.per_port.clear();
    world.rules.max_half_open = 1;
    assert_eq!(hairpin(&mut world), Err(DropReason::ConnectionTableFull));
    world.rules.max_half_open = 2;
    assert_eq!(hairpin(&mut world).unwrap().destination, host(2, 80));
}

#[test]
fn a_flooded_container_can_still_connect() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80)]);
    world.rules.per_port.insert(owner(2), 50);
    for nth in 0..500_u16 {
        world.receive(TCP, remote(1, 1000 + nth), external(8080), SYN).unwrap();
    }
    assert_eq!(world.nat.len(), 50);
    world.connect(host(2, 5000), remote(1, 80));
    assert!(world.out(host(3, 5000), remote(1, 1)).is_ok());
}

#[test]
fn an_attachment_that_goes_takes_everything_along_at_once() {
    let mut world = World::new();
    world.publish(vec![publish(8080, 80)]);
    let public = world.out(host(2, 5000), remote(1, 1)).unwrap().source;
    world.receive(TCP, remote(1, 1), external(8080), SYN).unwrap();
    let other = world.out(host(3, 6000), remote(1, 1)).unwrap().source;
    world.nat.remove_owner(owner(2));
    assert!(world.arrive(remote(1, 1), public).is_err(), "though nobody has tidied up");
    assert_eq!(world.arrive(remote(1, 1), other).unwrap().destination, host(3, 6000));
    // The next attachment has the same number and address, and not the former's mapping.
    assert_ne!(world.out(host(2, 5000), remote(1, 1)).unwrap().source, public);
    world.tend();
    assert_eq!(world.entries().len(), 2);
}

#[test]
fn what_workers_remember_ends_with_the_connection() {
    let mut world = World::new();
    let packet = Packet { tuple: tuple(UDP, host(2, 5000), remote(1, 1)), tcp_flags: 0, icmp_query: None };
    let kept = world.translate(inside(host(2, 0)), &packet).unwrap();
    let answer = Packet { tuple: tuple(UDP, remote(1, 1), external(5000)), ..packet };
    let back = world.translate(Origin::Outside, &answer).unwrap();
    assert!(kept.connection.refreshes() && !back.connection.refreshes());
    // Workers keep it alive by what leaves, not by what enters.
    for _ in 0..10 {
        world.now += 200;
        assert!(world.activity.touch(kept.connection, world.now as u32));
        world.tend();
    }
    for _ in 0..2 {
        world.now += 200;
        world.activity.touch(back.connection, world.now as u32);
        world.tend();
    }
    assert!(!world.activity.touch(back.connection, world.now as u32));
    assert!(!world.activity.touch(kept.connection, world.now as u32));
}

#[test]
fn tidying_up_goes_by_steps() {
    let mut world = World::new();
    world.rules.external = (1..=2).map(|last| [192, 0, 2, last].into()).collect();
    for nth in 0..5000_u16 {
        world.out(host((nth % 250) as u8, 5000 + nth), remote(1, 1)).unwrap();
    }
    world.tend();
    world.now += 301;
    let mut steps = 0;
    while world.nat.tend(&world.rules, world.time(), 50) {
        steps += 1;
    }
    assert!((100..=110).contains(&steps), "{steps} steps");
    assert!(world.nat.is_empty());
}
