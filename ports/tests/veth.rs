//! veth pairs as ports, and the DHCP client's socket on one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod privilege;
mod wires;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use privilege::may_make_namespaces;
use vswitch_ports::device::PortDevice;
use vswitch_ports::dhcp_socket::DhcpSocket;
use vswitch_ports::netlink::{InterfaceSettings, LOOPBACK_INDEX, Netlink};
use vswitch_ports::netns::NetNs;
use vswitch_ports::packet::PacketSocket;
use vswitch_ports::veth::Wiring;
use vswitch_switch::{Device, DeviceError, Pool};
use wires::frames::ethernet;
use wires::{Relay, bulk, drain, hear, mac_of, send, settings, stay_on_this_cpu, wait};

fn connect(wiring: &Wiring, container: &NetNs, end: &str, addresses: &[&str]) -> PacketSocket {
    container.within(|| wiring.connect(&settings("eth0", addresses), end, 1).unwrap().pop().unwrap()).unwrap()
}

#[test]
fn containers_talk_through_veth_ports() {
    if !may_make_namespaces("containers_talk_through_veth_ports") {
        return;
    }
    let wiring = Wiring::create().unwrap();
    let (left, right) = (NetNs::create().unwrap(), NetNs::create().unwrap());
    let ends = [
        connect(&wiring, &left, "left", &["10.0.0.1/24", "fd00::1/64"]),
        connect(&wiring, &right, "right", &["10.0.0.2/24", "fd00::2/64"]),
    ];
    let [left_end, right_end] = ends.map(PortDevice::Packet);
    assert_eq!(left_end.driver(), "veth");
    let relay = Relay::start(left_end, right_end);
    for address in ["10.0.0.2", "fd00::2"] {
        relay.carried.longest.store(0, Ordering::Relaxed);
        bulk(&left, &right, address.parse().unwrap(), 20 << 20);
        assert!(relay.carried.longest.load(Ordering::Relaxed) > 9000);
    }
    assert_eq!(relay.carried.lost.load(Ordering::Relaxed), 0);
}

#[test]
fn our_end_says_nothing_and_goes_with_the_container() {
    if !may_make_namespaces("our_end_says_nothing_and_goes_with_the_container") {
        return;
    }
    stay_on_this_cpu();
    let wiring = Wiring::create().unwrap();
    let container = NetNs::create().unwrap();
    let mut end = connect(&wiring, &container, "end", &["10.0.0.1/24"]);
    let mut inside = container
        .within(|| {
            let options =
                vswitch_ports::packet::Options { side: vswitch_ports::packet::Side::Pair, vlan: None };
            vswitch_ports::packet::open("eth0", 1, options).unwrap().pop().unwrap()
        })
        .unwrap();
    // Whoever the frame is for, our end has nobody to answer.
    let asking = wires::frames::arp_request(
        [2, 0, 0, 0, 0, 1],
        Ipv4Addr::new(10, 0, 0, 1),
        Ipv4Addr::new(10, 0, 0, 9),
    );
    let tagged = ethernet([0xff; 6], [2, 0, 0, 0, 0, 1], 0x8100, &[0x60, 10, 8, 0, b'x']);
    for frame in [&asking, &tagged] {
        send(&mut inside, frame);
        // Whole, tag and all.
        hear(&mut end, |heard| heard.contains(frame));
    }
    let sentinel = ethernet([0xff; 6], [2, 0, 0, 0, 0, 9], 0x88b5, b"first");
    send(&mut end, &sentinel);
    assert_eq!(hear(&mut inside, |heard| heard.contains(&sentinel)), [sentinel]);

    // A second pair of the same name is refused and leaves the first alone.
    let before = container.within(|| Netlink::open().unwrap().link("eth0").unwrap().index).unwrap();
    let refused = container.within(|| wiring.connect(&settings("eth0", &[]), "end", 1)).unwrap().unwrap_err();
    assert!(refused.to_string().contains("File exists"), "{refused}");

    let after = container.within(|| Netlink::open().unwrap().link("eth0").unwrap().index).unwrap();
    assert_eq!(before, after);

    // One whose container's end cannot be configured leaves nothing.
    let other = NetNs::create().unwrap();
    let impossible = InterfaceSettings { mtu: 7, ..settings("eth0", &[]) };
    other.within(|| wiring.connect(&impossible, "impossible", 1)).unwrap().unwrap_err();
    assert_eq!(other.within(|| Netlink::open().unwrap().list_links().unwrap().len()).unwrap(), 1);

    wiring.disconnect("end").unwrap();
    wiring.disconnect("end").unwrap();
    let gone = end.receive(&mut Pool::new(8), &mut Vec::new());
    assert!(matches!(gone, Err(DeviceError::Gone(_))), "{gone:?}");
    assert_eq!(container.within(|| Netlink::open().unwrap().list_links().unwrap().len()).unwrap(), 1);
}

#[test]
fn an_interface_may_do_without_arp_router_and_advertisements() {
    if !may_make_namespaces("an_interface_may_do_without_arp_router_and_advertisements") {
        return;
    }
    let wiring = Wiring::create().unwrap();
    let container = NetNs::create().unwrap();
    let mut end = connect(&wiring, &container, "end", &[]);
    let wanted = InterfaceSettings {
        on_link: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        arp: false,
        loopback: false,
        ..settings("eth0", &["10.0.0.1/32", "fd00::1/128"])
    };
    let (link, lo, addresses, routes, advertisements) = container
        .within(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.set_down(LOOPBACK_INDEX).unwrap();
            netlink.configure_interface(&wanted).unwrap();
            let link = netlink.link("eth0").unwrap();
            (
                link.clone(),
                netlink.link("lo").unwrap(),
                netlink.addresses_of(link.index).unwrap(),
                netlink.list_routes().unwrap(),
                std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/accept_ra").unwrap(),
            )
        })
        .unwrap();
    assert_eq!((link.arp, link.ethernet, link.up), (false, true, true));
    assert_eq!((lo.up, lo.ethernet), (false, false), "none of our business");
    for address in ["10.0.0.1/32", "fd00::1/128"] {
        assert!(addresses.contains(&address.parse().unwrap()), "{addresses:?}");
    }
    for destination in ["0.0.0.0/0", "::/0"] {
        let found = routes.iter().any(|route| {
            route.destination == destination.parse().unwrap()
                && route.gateway.is_none()
                && route.index == Some(link.index)
        });
        assert!(found, "{destination} in {routes:?}");
    }
    assert_eq!(advertisements, "0\n");
    // A packet for anybody leaves at once, without a question.
    drain(&mut end);
    for (from, to) in [("10.0.0.1", "203.0.113.5"), ("fd00::1", "2001:db8::5")] {
        let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
        container
            .within(|| UdpSocket::bind((from, 0)).unwrap().send_to(b"anyone", (to, 9)).unwrap())
            .unwrap();
    }
    hear(&mut end, |heard| heard.iter().filter(|frame| frame.ends_with(b"anyone")).count() == 2);
}

#[test]
fn a_dhcp_client_hears_its_port_alone() {
    if !may_make_namespaces("a_dhcp_client_hears_its_port_alone") {
        return;
    }
    stay_on_this_cpu();
    let wiring = Wiring::create().unwrap();
    let server = NetNs::create().unwrap();
    let mut end = connect(&wiring, &server, "end", &["10.0.0.1/24"]);
    let client_side = NetNs::create().unwrap();
    let mut client_end = connect(&wiring, &client_side, "client", &[]);
    let client = client_side.within(|| DhcpSocket::open("eth0")).unwrap().unwrap();
    // What the server sends by broadcast, carried over by hand.
    for (port, text) in [(67, &b"no"[..]), (69, b"no"), (68, b"offer")] {
        server
            .within(|| {
                let socket = UdpSocket::bind("10.0.0.1:67").unwrap();
                socket.set_broadcast(true).unwrap();
                socket.send_to(text, ("10.0.0.255", port)).unwrap();
            })
            .unwrap();
    }
    let is_ipv4 = |frame: &&Vec<u8>| frame[12..14] == [8, 0];
    let sent = hear(&mut end, |heard| heard.iter().filter(is_ipv4).count() == 3);
    for frame in sent.iter().filter(is_ipv4) {
        send(&mut client_end, frame);
    }
    let mut buffer = [0; 1500];
    let arrival = (0..250).find_map(|_| {
        wait(&[client.as_fd().as_raw_fd()]);
        client.receive(&mut buffer).ok()
    });
    let arrival = arrival.expect("the offer");
    assert!(buffer[..arrival.length].ends_with(b"offer"));
    assert_eq!(client.receive(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    // ARP only while an address is looked for, and only about that one.
    let [free, ours] = [9, 7].map(|last| Ipv4Addr::new(10, 0, 0, last));
    let asking = |sender, target| wires::frames::arp_request([2, 0, 0, 0, 0, 1], sender, target);
    let (asks, has, other) = (asking(free, ours), asking(ours, free), asking(free, free));
    let hears = |client_end: &mut PacketSocket| {
        for frame in [&other, &asks, &has] {
            send(client_end, frame);
        }
        let mut buffer = [0; 1500];
        std::iter::from_fn(|| {
            client.receive(&mut buffer).ok().map(|arrival| buffer[..arrival.length].to_vec())
        })
        .collect::<Vec<_>>()
    };
    client.hear_arp(Some(ours)).unwrap();
    assert_eq!(hears(&mut client_end), [asks.clone(), has.clone()]);
    client.hear_arp(None).unwrap();
    assert!(hears(&mut client_end).is_empty());

    let discover = ethernet([0xff; 6], mac_of(&client_side, "eth0"), 0x0800, &[0x45; 300]);
    client.send(&discover).unwrap();
    hear(&mut client_end, |heard| heard.contains(&discover));
}
