//! Whatever a hop on the way lets through, what is sent arrives, and who must send less is told.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};

use super::support::eventually;
use super::support::icmp::{Icmp, Meaning};
use super::support::sockets::{echo_over, noise, receive};
use super::support::switch::Switch;
use super::support::talk::{call, converse, datagrams, listen, segment_size};
use super::support::world::{BEYOND, INTERFACE_UPLINK, ROUTER, SERVER, SWITCH, World, any, ip};

scenarios! {
    as_root: [
        tcp_over_a_narrow_hop,
        a_sender_of_datagrams_learns_of_a_narrow_hop,
        segments_fit_a_narrow_uplink,
        fragments_of_containers,
        fragments_of_the_switch,
        every_hop_answers_traceroute,
    ],
}

const MEGABYTE: usize = 1 << 20;

const NETWORK: &str = r#"
    [networks.front]
    ipam = [{ subnet = "10.10.0.0/24" }, { subnet = "fd00:10::/64" }]
    [containers]
    one = { networks = ["front"], ports = ["8080:80"] }
"#;

/// The least MTU IPv6 may meet.
const NARROW: u32 = 1280;

/// Both ends learn of it only by the routers' errors, which quote translated packets.
fn tcp_over_a_narrow_hop() {
    let world = World::with_narrow_hop(NARROW);
    let switch = world.switch(&format!("{INTERFACE_UPLINK}{NETWORK}"));
    for (server, own) in SERVER.iter().zip(SWITCH) {
        let listener = listen(&world.far, SocketAddr::new(ip(server), 0));
        converse(&switch.netns("one"), &listener, listener.local_addr().unwrap(), 4 * MEGABYTE);
        let listener = listen(&switch.netns("one"), any(own, 80));
        converse(&world.far, &listener, SocketAddr::new(ip(own), 8080), 4 * MEGABYTE);
    }
    switch.stop();
}

fn a_sender_of_datagrams_learns_of_a_narrow_hop() {
    let world = World::with_narrow_hop(NARROW);
    let switch = world.switch(&format!("{INTERFACE_UPLINK}{NETWORK}"));
    for server in SERVER {
        let far = datagrams(&world.far, SocketAddr::new(ip(server), 0));
        let near = datagrams(&switch.netns("one"), any(server, 0));
        near.connect(far.local_addr().unwrap()).unwrap();
        never_fragment(&near, true);
        assert_eq!(path_mtu(&near), 1500);
        eventually("the path's MTU is learned", || {
            // The errors of before are reported here.
            let _ = near.send(&noise(1452, 1));
            (path_mtu(&near) == NARROW).then_some(())
        });
        let fits = noise(usize::try_from(NARROW).unwrap() - 48, 2);
        eventually("what fits is sent", || near.send(&fits).ok());
        assert!(receive(&far).0 == fits, "what fits arrives");
    }
    switch.stop();
}

/// Nobody is told of it: the options of the first segments are lowered (RFC 4459 §3.2).
fn segments_fit_a_narrow_uplink() {
    let world = World::create();
    let switch = narrow_uplink(&world);
    for (server, own) in SERVER.iter().zip(SWITCH) {
        let limit = if ip(server).is_ipv6() { 1400 - 60 } else { 1400 - 40 };
        let outward = listen(&world.far, SocketAddr::new(ip(server), 0));
        let inward = listen(&switch.netns("one"), any(own, 80));
        let calls = [
            (&world.far, &inward, SocketAddr::new(ip(own), 8080)),
            (&switch.netns("one"), &outward, outward.local_addr().unwrap()),
        ];
        for (netns, listener, to) in calls {
            let (near, far, _) = call(netns, listener, to);
            for end in [&near, &far] {
                // The timestamps of each segment are taken from it.
                let size = segment_size(end);
                assert!((limit - 40..=limit).contains(&size), "{to}: {size} of {limit}");
            }
            echo_over(near, far, MEGABYTE);
        }
    }
    switch.stop();
}

/// Translated, though only the first has ports.
fn fragments_of_containers() {
    let world = World::create();
    let switch = world.switch(&format!("{INTERFACE_UPLINK}{NETWORK}"));
    large_datagrams(&world, &switch);
    switch.stop();
}

/// The uplink takes less than a fragment of the container's.
fn fragments_of_the_switch() {
    let world = World::create();
    let switch = narrow_uplink(&world);
    large_datagrams(&world, &switch);
    switch.stop();
}

fn every_hop_answers_traceroute() {
    let world = World::create();
    let switch = world.switch(&format!("{INTERFACE_UPLINK}{NETWORK}"));
    let gateways = ["10.10.0.1", "fd00:10::1"];
    let own: [IpAddr; 2] = [switch.ipv4("one").into(), switch.ipv6("one").into()];
    for family in 0..2 {
        let icmp = Icmp::open(&switch.netns("one"), own[family]);
        let probe = datagrams(&switch.netns("one"), any(SERVER[family], 0));
        let hops = [
            (gateways[family], Meaning::TimeExceeded),
            (ROUTER[family], Meaning::TimeExceeded),
            (BEYOND[family], Meaning::TimeExceeded),
            (SERVER[family], Meaning::PortUnreachable),
        ];
        for (ttl, (hop, meaning)) in (1..).zip(hops) {
            if family == 0 {
                probe.set_ttl(u32::from(ttl)).unwrap();
            } else {
                sockopt::set_ipv6_unicast_hops(&probe, Some(ttl)).unwrap();
            }
            probe.send_to(b"who is there?", SocketAddr::new(ip(SERVER[family]), 33434)).unwrap();
            let answer = icmp.next();
            assert_eq!((answer.from, answer.meaning), (ip(hop), meaning), "hop {ttl}");
        }
    }
    switch.stop();
}

fn narrow_uplink(world: &World) -> Switch {
    world.switch(&format!("{INTERFACE_UPLINK}    mtu = 1400\n{NETWORK}"))
}

/// Datagrams of 8 KB there and back.
fn large_datagrams(world: &World, switch: &Switch) {
    for server in SERVER {
        let far = datagrams(&world.far, SocketAddr::new(ip(server), 0));
        let near = datagrams(&switch.netns("one"), any(server, 0));
        near.connect(far.local_addr().unwrap()).unwrap();
        never_fragment(&near, false);
        for seed in 0..10 {
            let sent = noise(8192, seed);
            let from = until_arrived(|| drop(near.send(&sent)), &sent, &far);
            let back = noise(8000, seed);
            until_arrived(|| drop(far.send_to(&back, from)), &back, &near);
        }
    }
}

/// Sends until the datagram arrives, as it has to be sent again once the sender of IPv6 has learned the path's MTU.
fn until_arrived(send: impl Fn(), expected: &[u8], to: &UdpSocket) -> SocketAddr {
    to.set_nonblocking(true).unwrap();
    send();
    let mut tries = 0;
    let from = eventually("a datagram of many fragments arrives", || {
        let mut buffer = vec![0; 65_536];
        match to.recv_from(&mut buffer) {
            Ok((length, from)) if buffer[..length] == *expected => Some(from),
            Ok(_) => None,
            Err(_) => {
                tries += 1;
                if tries % 10 == 0 {
                    send();
                }
                None
            }
        }
    });
    to.set_nonblocking(false).unwrap();
    from
}

/// Whether what exceeds the path's MTU is refused here, or cut up.
fn never_fragment(socket: &UdpSocket, never: bool) {
    if socket.local_addr().unwrap().is_ipv6() {
        let mode = if never { Ipv6PathMtuDiscovery::DO } else { Ipv6PathMtuDiscovery::WANT };
        sockopt::set_ipv6_mtu_discover(socket, mode).unwrap();
    } else {
        let mode = if never { Ipv4PathMtuDiscovery::DO } else { Ipv4PathMtuDiscovery::DONT };
        sockopt::set_ip_mtu_discover(socket, mode).unwrap();
    }
}

fn path_mtu(socket: &UdpSocket) -> u32 {
    if socket.local_addr().unwrap().is_ipv6() {
        sockopt::ipv6_mtu(socket).unwrap()
    } else {
        sockopt::ip_mtu(socket).unwrap()
    }
}
