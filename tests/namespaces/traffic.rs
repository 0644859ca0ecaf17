//! What two containers on one network send each other arrives: all of it, unchanged, in order.

use std::thread;

use super::support::sockets::{echo, echo_over, noise, receive, tcp, udp};
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_sockets: [
        tcp_both_ways,
        tcp_over_ipv6,
        many_connections_at_once,
        datagrams_of_every_size,
        bursts_of_equal_datagrams,
        datagrams_over_ipv6,
        jumbo_frames,
        a_plain_tap_beside_one_with_offloads,
        two_plain_taps,
        several_workers,
        two_switches_at_once,
    ],
}

const MEGABYTE: usize = 1 << 20;

const PAIR: &str = r#"
    [networks.lan]
    [containers]
    left.networks = ["lan"]
    right.networks = ["lan"]
"#;

const PAIR_IPV6: &str = r#"
    [networks.lan]
    enable_ipv6 = true
    [containers]
    left.networks = ["lan"]
    right.networks = ["lan"]
"#;

fn tcp_both_ways(user: User) {
    let switch = Switch::start(user, PAIR);
    echo(&switch, ("left", "right"), switch.ipv4("right"), 10 * MEGABYTE);
    echo(&switch, ("right", "left"), switch.ipv4("left"), 10 * MEGABYTE);
    switch.stop();
}

fn tcp_over_ipv6(user: User) {
    let switch = Switch::start(user, PAIR_IPV6);
    echo(&switch, ("left", "right"), switch.ipv6("right"), 10 * MEGABYTE);
    switch.stop();
}

fn many_connections_at_once(user: User) {
    let switch = Switch::start(user, PAIR);
    let (left, right) = (switch.ipv4("left"), switch.ipv4("right"));
    let connections: Vec<_> = (0..20)
        .map(|place| if place % 2 == 0 { (("left", "right"), right) } else { (("right", "left"), left) })
        .map(|(ends, address)| tcp(&switch, ends, address))
        .collect();
    thread::scope(|scope| {
        for (near, far) in connections {
            scope.spawn(|| echo_over(near, far, MEGABYTE));
        }
    });
    switch.stop();
}

fn datagrams_of_every_size(user: User) {
    let switch = Switch::start(user, PAIR);
    let (from, to) = (udp(&switch, "left", switch.ipv4("left")), udp(&switch, "right", switch.ipv4("right")));
    // 1472 bytes are 1500 less the headers of IPv4 and UDP; so few at once overflow no socket's buffer.
    send_in_order(&from, &to, &(0..=1472).collect::<Vec<_>>(), 16);
    switch.stop();
}

/// Neighbouring datagrams of one size are what the switch makes super-frames of, and their last may be shorter.
fn bursts_of_equal_datagrams(user: User) {
    let switch = Switch::start(user, PAIR);
    let (from, to) = (udp(&switch, "left", switch.ipv4("left")), udp(&switch, "right", switch.ipv4("right")));
    for size in [1, 16, 64, 200, 512] {
        send_in_order(&from, &to, &[size; 640], 64);
    }
    let shorter_last: Vec<usize> = (0..640).map(|place| if place % 8 == 7 { 10 } else { 32 }).collect();
    send_in_order(&from, &to, &shorter_last, 64);
    let empty_between: Vec<usize> = (0..640).map(|place| if place % 5 == 0 { 0 } else { 24 }).collect();
    send_in_order(&from, &to, &empty_between, 64);
    switch.stop();
}

fn datagrams_over_ipv6(user: User) {
    let switch = Switch::start(user, PAIR_IPV6);
    let (from, to) = (udp(&switch, "left", switch.ipv6("left")), udp(&switch, "right", switch.ipv6("right")));
    send_in_order(&from, &to, &(0..=1452).step_by(7).collect::<Vec<_>>(), 16);
    send_in_order(&from, &to, &[16; 640], 64);
    switch.stop();
}

fn jumbo_frames(user: User) {
    let switch = Switch::start(user, &PAIR.replace("[networks.lan]", "[networks.lan]\nmtu = 9000"));
    let links = switch.rewire("right", |netlink| netlink.list_links());
    assert!(links.iter().any(|link| link.name == "eth0" && link.mtu == 9000), "{links:?}");
    let (from, to) = (udp(&switch, "left", switch.ipv4("left")), udp(&switch, "right", switch.ipv4("right")));
    send_in_order(&from, &to, &[8972, 1, 8971, 1473, 8972], 5);
    assert_eq!(switch.port("left")["dropped"], 0);
    echo(&switch, ("left", "right"), switch.ipv4("right"), 10 * MEGABYTE);
    switch.stop();
}

/// The switch must cut the super-frames of the one for the other.
fn a_plain_tap_beside_one_with_offloads(user: User) {
    let text = r#"
        [networks.lan]
        enable_ipv6 = true
        [containers.left]
        networks.lan.port = "tap-plain"
        [containers.right]
        networks = ["lan"]
    "#;
    let switch = Switch::start(user, text);
    assert_eq!(switch.port("left")["driver"], "tap-plain");
    echo(&switch, ("left", "right"), switch.ipv4("right"), 10 * MEGABYTE);
    echo(&switch, ("right", "left"), switch.ipv4("left"), 10 * MEGABYTE);
    echo(&switch, ("right", "left"), switch.ipv6("left"), 10 * MEGABYTE);
    let (left, right) =
        (udp(&switch, "left", switch.ipv4("left")), udp(&switch, "right", switch.ipv4("right")));
    send_in_order(&right, &left, &[100; 320], 32);
    send_in_order(&left, &right, &[100; 320], 32);
    switch.stop();
}

fn two_plain_taps(user: User) {
    let text = r#"
        [networks.lan]
        [containers]
        left.networks.lan.port = "tap-plain"
        right.networks.lan.port = "tap-plain"
    "#;
    let switch = Switch::start(user, text);
    echo(&switch, ("left", "right"), switch.ipv4("right"), 4 * MEGABYTE);
    switch.stop();
}

fn several_workers(user: User) {
    let switch = Switch::start(user, &format!("workers = 2\n{PAIR}"));
    assert_eq!(switch.json(&["status"])["workers"], 2);
    assert_eq!(switch.port("left")["queues"], 2);
    let connections: Vec<_> = (0..8).map(|_| tcp(&switch, ("left", "right"), switch.ipv4("right"))).collect();
    thread::scope(|scope| {
        for (near, far) in connections {
            scope.spawn(|| echo_over(near, far, 2 * MEGABYTE));
        }
    });
    let (from, to) = (udp(&switch, "left", switch.ipv4("left")), udp(&switch, "right", switch.ipv4("right")));
    send_in_order(&from, &to, &[64; 640], 32);
    switch.stop();
}

/// With the same names, subnets and addresses in both.
fn two_switches_at_once(user: User) {
    let (one, other) = (Switch::start(user, PAIR), Switch::start(user, PAIR));
    assert_eq!(one.ipv4("right"), other.ipv4("right"));
    let address = one.ipv4("right");
    thread::scope(|scope| {
        for switch in [&one, &other] {
            scope.spawn(move || echo(switch, ("left", "right"), address, 4 * MEGABYTE));
        }
    });
    one.stop();
    echo(&other, ("left", "right"), address, MEGABYTE);
    other.stop();
}

/// Sends a datagram of each size, `window` of them before they are read, and compares each with what was sent.
#[track_caller]
fn send_in_order(from: &std::net::UdpSocket, to: &std::net::UdpSocket, sizes: &[usize], window: usize) {
    let address = to.local_addr().unwrap();
    // The sender's kernel lets datagrams overtake those that wait for the first answer to ARP.
    from.send_to(b"first", address).unwrap();
    assert_eq!(receive(to).0, b"first");
    let mut seed = 0;
    for sizes in sizes.chunks(window) {
        let datagrams: Vec<Vec<u8>> = sizes
            .iter()
            .map(|size| {
                seed += 1;
                noise(*size, seed)
            })
            .collect();
        for datagram in &datagrams {
            assert_eq!(from.send_to(datagram, address).unwrap(), datagram.len());
        }
        for (place, datagram) in datagrams.iter().enumerate() {
            let (received, sender) = receive(to);
            assert_eq!(received.len(), datagram.len(), "datagram {place} of {}", datagrams.len());
            assert!(received == *datagram, "datagram {place}, of {} bytes, was changed", datagram.len());
            assert_eq!(sender, from.local_addr().unwrap());
        }
    }
}
