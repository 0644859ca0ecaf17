//! The ways out: a tap on whose other end the host routes, and an interface that is the switch's alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use vswitch_ports::netns::NetNs;
use vswitch_wire::{MacAddr, TcpHeader, build};

use super::support::eventually;
use super::support::frames::inject_at;
use super::support::switch::Switch;
use super::support::talk::{connect, converse, datagrams, listen};
use super::support::user::User;
use super::support::world::{
    INTERFACE_UPLINK, LAN, ROUTER, SERVER, SWITCH, UPLINK, World, any, change, ip, route_packets, set,
};

scenarios! {
    by_sockets: [a_tap_that_the_host_routes_on],
    as_root: [
        the_host_is_silent_on_the_uplink,
        an_interface_that_goes_and_comes_back,
        an_interface_that_the_host_uses,
        an_interface_that_is_not_there,
    ],
}

const MEGABYTE: usize = 1 << 20;

const NETWORK: &str = r#"
    [networks.front]
    ipam = [{ subnet = "10.10.0.0/24" }, { subnet = "fd00:10::/64" }]
    [containers]
    one = { networks = ["front"], ports = ["8080:80"] }
"#;

/// What an ordinary user's switch has for a host is a namespace of theirs.
fn a_tap_that_the_host_routes_on(user: User) {
    const OWN: [&str; 2] = ["100.64.0.2", "fd00:64::2"];
    let text = format!(
        r#"
        [uplink]
        kind = "tap"
        tap = "vsw0"
        ipv4 = "100.64.0.1/30"
        ipv6 = "fd00:64::1/64"
        {NETWORK}"#
    );
    let home = NetNs::create().unwrap();
    let switch = match user {
        User::Root => Switch::launch_at(&home, &text),
        User::Ordinary => Switch::launch_by(user, &text, IN_A_NAMESPACE_OF_ONES_OWN),
    };
    let switch = switch.ready();
    let world = World::around(switch.host(), 1500);
    route_packets(&world.home);
    change(&world.home, |netlink| {
        let uplink = netlink.link_index(UPLINK)?;
        for (own, router) in SWITCH.iter().zip(ROUTER) {
            let prefix = if own.contains(':') { 64 } else { 24 };
            netlink.add_address(uplink, format!("{own}/{prefix}").parse().unwrap())?;
            netlink.add_default_route(ip(router), uplink)?;
        }
        Ok(())
    });
    for subnet in ["100.64.0.0/30", "fd00:64::/64"] {
        world.route_to_switch(subnet);
    }
    for (server, own) in SERVER.iter().zip(OWN) {
        let listener = listen(&world.far, SocketAddr::new(ip(server), 0));
        let caller = converse(&switch.netns("one"), &listener, listener.local_addr().unwrap(), 4 * MEGABYTE);
        assert_eq!(caller.ip(), ip(own));
        let listener = listen(&switch.netns("one"), any(own, 80));
        let public = SocketAddr::new(ip(own), 8080);
        assert_eq!(converse(&world.far, &listener, public, 4 * MEGABYTE).ip(), ip(server));
        // The host itself.
        converse(&world.home, &listener, public, MEGABYTE);
    }
    switch.stop();
}

const IN_A_NAMESPACE_OF_ONES_OWN: &str = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \
     unshare --user --map-root-user --net \"$VSWITCH\" run \"$FILE\"";

/// It has an address elsewhere, and routes: without the switch it answers for that address on every interface.
fn the_host_is_silent_on_the_uplink() {
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
    let world = World::create();
    route_packets(&world.home);
    change(&world.home, |netlink| {
        netlink.create_bridge("br0")?;
        let bridge = netlink.link_index("br0")?;
        netlink.add_address(bridge, "10.99.0.1/24".parse().unwrap())?;
        netlink.add_address(bridge, "2001:db8:99::1/64".parse().unwrap())?;
        netlink.set_up(bridge)
    });
    set(&world.router, &format!("ipv4/neigh/{LAN}/retrans_time_ms"), "20");
    change(&world.router, |netlink| {
        let lan = netlink.link_index(LAN)?;
        netlink.add_route("10.99.0.0/24".parse().unwrap(), None, lan)
    });
    // And the way back, so that an answer would arrive.
    change(&world.home, |netlink| {
        let uplink = netlink.link_index(UPLINK)?;
        netlink.add_route("192.0.2.0/24".parse().unwrap(), None, uplink)
    });
    let knock = |port| connect(&world.router, (ELSEWHERE, port).into()).unwrap_err().kind();
    assert_eq!(knock(79), ErrorKind::ConnectionRefused, "a host answers for all its addresses");

    let switch = world.switch(&format!("{INTERFACE_UPLINK}{NETWORK}"));
    let before = packets_received(&world.home);
    // The router knows the way from before, and finds that nobody answers any more.
    let mac = |netns: &NetNs, name: &str| MacAddr(change(netns, |netlink| netlink.link(name)).mac.unwrap());
    let (uplink, router) = (mac(&world.home, UPLINK), mac(&world.router, LAN));
    let from = SocketAddrV4::new(SERVER[0].parse().unwrap(), 1234);
    let frames = [
        build::tcp4(uplink, router, from, SocketAddrV4::new(ELSEWHERE, 80), TcpHeader::SYN, 1, 0, &[]),
        // For others: what a router would route.
        build::udp4(uplink, router, from, "10.99.0.7:80".parse().unwrap(), b"route me"),
    ];
    inject_at(&world.router, LAN, frames.iter().map(|frame| (10, &frame[..])));
    // Whatever follows comes after them.
    let listener = listen(&world.far, SocketAddr::new(ip(SERVER[0]), 0));
    converse(&switch.netns("one"), &listener, listener.local_addr().unwrap(), MEGABYTE);
    assert_eq!(packets_received(&world.home), before, "packets that the host's stack took");
    forget_neighbours(&world.router);
    assert_eq!(knock(80), ErrorKind::HostUnreachable, "nobody answers ARP");
    switch.stop();
    forget_neighbours(&world.router);
    assert_eq!(knock(81), ErrorKind::ConnectionRefused, "the host has its interface back");
}

fn an_interface_that_goes_and_comes_back() {
    let world = World::create();
    let switch = world.switch(&format!("{INTERFACE_UPLINK}{NETWORK}"));
    let listener = listen(&world.far, SocketAddr::new(ip(SERVER[0]), 0));
    let works = || {
        converse(&switch.netns("one"), &listener, listener.local_addr().unwrap(), MEGABYTE);
    };
    works();
    for _ in 0..2 {
        change(&world.home, |netlink| netlink.link_index(UPLINK).and_then(|up| netlink.delete_link(up)));
        eventually("the uplink is down", || (switch.uplink_port()["up"] == false).then_some(()));
        let lost = datagrams(&switch.netns("one"), any(SERVER[0], 0));
        let sent = lost.send_to(b"nowhere to go", listener.local_addr().unwrap());
        assert!(sent.is_ok(), "containers are none the worse: {sent:?}");
        world.join_uplink();
        eventually("the uplink is up", || (switch.uplink_port()["up"] == true).then_some(()));
        works();
        let inward = listen(&switch.netns("one"), any(SWITCH[0], 80));
        converse(&world.far, &inward, SocketAddr::new(ip(SWITCH[0]), 8080), MEGABYTE);
    }
    switch.stop();
}

fn an_interface_that_the_host_uses() {
    let world = World::create();
    change(&world.home, |netlink| {
        let uplink = netlink.link_index(UPLINK)?;
        netlink.add_address(uplink, "192.0.2.99/24".parse().unwrap())
    });
    refused(&world, &["up0", "192.0.2.99", "ip addr"]);
}

fn an_interface_that_is_not_there() {
    let world = World::create();
    change(&world.home, |netlink| netlink.link_index(UPLINK).and_then(|up| netlink.delete_link(up)));
    refused(&world, &["up0", "no"]);
}

#[track_caller]
fn refused(world: &World, words: &[&str]) {
    let ended = Switch::launch_at(&world.home, &format!("{INTERFACE_UPLINK}{NETWORK}")).ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word} is missing: {}", ended.stderr);
    }
}

/// How many packets a namespace's IP has taken in, of both families.
fn packets_received(netns: &NetNs) -> [u64; 2] {
    let read = |path: &'static str| netns.within(move || fs::read_to_string(path)).unwrap().unwrap();
    let four = read("/proc/thread-self/net/snmp");
    let mut ip = four.lines().filter(|line| line.starts_with("Ip:")).map(str::split_whitespace);
    let (names, values) = (ip.next().unwrap(), ip.next().unwrap());
    let four: BTreeMap<_, _> = names.zip(values).collect();
    let six = read("/proc/thread-self/net/snmp6");
    let six: BTreeMap<_, _> = six.lines().filter_map(|line| line.split_once(char::is_whitespace)).collect();
    [four["InReceives"], six["Ip6InReceives"].trim()].map(|number| number.parse().unwrap())
}

/// Setting the interface down and up again empties the table of its neighbours.
fn forget_neighbours(router: &NetNs) {
    change(router, |netlink| {
        let lan = netlink.link_index(LAN)?;
        netlink.set_down(lan)?;
        netlink.set_up(lan)?;
        netlink.add_route("10.99.0.0/24".parse().unwrap(), None, lan)
    });
}
