//! Interfaces, addresses and routes in namespaces of our own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod privilege;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use ipnet::IpNet;
use privilege::may_make_namespaces;
use vswitch_ports::netlink::{InterfaceSettings, LOOPBACK_INDEX, Netlink, Route};
use vswitch_ports::netns::NetNs;

fn settings(name: &str, addresses: &[&str], gateways: &[&str]) -> InterfaceSettings {
    InterfaceSettings {
        name: name.to_owned(),
        mac: None,
        mtu: 1500,
        txqueuelen: None,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        default_gateways: gateways.iter().map(|address| address.parse().unwrap()).collect(),
        on_link: Vec::new(),
        ipv6: true,
        link_local: true,
        accept_ra: false,
        arp: true,
        loopback: true,
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Sends a greeting from one namespace to a listener in another and brings it back.
fn greet(listening: &NetNs, address: IpAddr, calling: &NetNs) -> String {
    let listener = listening.within(|| TcpListener::bind(SocketAddr::new(address, 0))).unwrap().unwrap();
    let target = listener.local_addr().unwrap();
    let caller = calling.within(|| TcpStream::connect_timeout(&target, Duration::from_secs(5))).unwrap();
    let mut caller = caller.expect("the two namespaces should be joined");
    caller.write_all(b"good day").unwrap();
    drop(caller);
    let mut heard = String::new();
    listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    heard
}

#[test]
fn a_configured_interface_has_what_was_asked() {
    if !may_make_namespaces("a_configured_interface_has_what_was_asked") {
        return;
    }
    let netns = NetNs::create().unwrap();
    let (links, addresses, routes) = netns
        .within(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.create_veth("eth0", "other", None).unwrap();
            let other = netlink_index(&mut netlink, "other");
            netlink.set_up(other).unwrap();
            let mut wanted =
                settings("eth0", &["10.1.0.2/24", "10.1.9.9/32", "fd00:1::2/64"], &["10.1.0.1", "fd00:1::1"]);
            wanted.mac = Some([2, 0x42, 10, 1, 0, 2]);
            wanted.mtu = 1400;
            wanted.txqueuelen = Some(12_345);
            netlink.configure_interface(&wanted).unwrap();
            // Once more: a namespace that comes back may still have everything.
            netlink.configure_interface(&wanted).unwrap();
            (netlink.list_links().unwrap(), netlink.list_addresses().unwrap(), netlink.list_routes().unwrap())
        })
        .unwrap();

    let link = links.iter().find(|link| link.name == "eth0").unwrap();
    assert_eq!(link.kind.as_deref(), Some("veth"));
    assert_eq!(link.mac, Some([2, 0x42, 10, 1, 0, 2]));
    assert_eq!((link.mtu, link.txqueuelen, link.up, link.master), (1400, 12_345, true, None));
    assert!(links.iter().any(|link| link.name == "lo" && link.up && link.index == LOOPBACK_INDEX));

    for expected in ["10.1.0.2/24", "10.1.9.9/32", "fd00:1::2/64"] {
        let found = addresses.iter().find(|address| address.network == net(expected));
        let found = found.unwrap_or_else(|| panic!("{expected} is missing from {addresses:?}"));
        assert_eq!((found.index, found.tentative), (link.index, false), "{expected}");
    }
    for (destination, gateway) in [("0.0.0.0/0", "10.1.0.1"), ("::/0", "fd00:1::1")] {
        let default = Route {
            destination: net(destination),
            gateway: Some(gateway.parse().unwrap()),
            index: Some(link.index),
        };
        assert_eq!(routes.iter().filter(|route| **route == default).count(), 1, "{default:?} in {routes:?}");
    }
    let subnet = Route { destination: net("10.1.0.0/24"), gateway: None, index: Some(link.index) };
    assert!(routes.contains(&subnet), "{routes:?}");
}

#[test]
fn without_ipv6_an_interface_has_no_ipv6_address() {
    if !may_make_namespaces("without_ipv6_an_interface_has_no_ipv6_address") {
        return;
    }
    let addresses = NetNs::create().unwrap().within(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.create_veth("eth0", "eth1", None).unwrap();
        netlink.configure_interface(&settings("eth1", &[], &[])).unwrap();
        let wanted = InterfaceSettings { ipv6: false, ..settings("eth0", &["10.1.0.2/24"], &["10.1.0.1"]) };
        netlink.configure_interface(&wanted).unwrap();
        let switch = std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").unwrap();
        assert_eq!(switch, "1\n", "nobody inside can add one either");
        let index = netlink_index(&mut netlink, "eth0");
        let mut addresses = netlink.list_addresses().unwrap();
        // The other end has its link-local address, so the one missing here is missing because we asked.
        assert!(addresses.iter().any(|address| address.index != index && address.network.addr().is_ipv6()));
        addresses.retain(|address| address.index == index);
        addresses
    });
    let networks: Vec<_> = addresses.unwrap().iter().map(|address| address.network).collect();
    assert_eq!(networks, [net("10.1.0.2/24")]);
}

#[test]
fn namespaces_joined_by_a_bridge_talk() {
    if !may_make_namespaces("namespaces_joined_by_a_bridge_talk") {
        return;
    }
    let (middle, left, right) =
        (NetNs::create().unwrap(), NetNs::create().unwrap(), NetNs::create().unwrap());
    let bridged = middle.within(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.create_bridge("br0").unwrap();
        let bridge = netlink_index(&mut netlink, "br0");
        netlink.set_up(bridge).unwrap();
        for (port, netns) in [("left", &left), ("right", &right)] {
            netlink.create_veth(port, "eth0", Some(netns.as_fd())).unwrap();
            let port = netlink_index(&mut netlink, port);
            netlink.set_master(port, Some(bridge)).unwrap();
            netlink.set_up(port).unwrap();
        }
        let links = netlink.list_links().unwrap();
        links.into_iter().filter(|link| link.master == Some(bridge)).map(|link| link.name).collect::<Vec<_>>()
    });
    assert_eq!(bridged.unwrap(), ["left", "right"]);
    for (netns, addresses) in
        [(&left, ["10.2.0.1/24", "fd00:2::1/64"]), (&right, ["10.2.0.2/24", "fd00:2::2/64"])]
    {
        let configured =
            netns.within(|| Netlink::open().unwrap().configure_interface(&settings("eth0", &addresses, &[])));
        configured.unwrap().unwrap();
    }

    assert_eq!(greet(&right, "10.2.0.2".parse().unwrap(), &left), "good day");
    assert_eq!(greet(&left, "fd00:2::1".parse().unwrap(), &right), "good day");

    let received = left.within(|| {
        let links = Netlink::open().unwrap().list_links().unwrap();
        links.into_iter().find(|link| link.name == "eth0").unwrap().statistics
    });
    let received = received.unwrap();
    assert!(received.rx_packets >= 4 && received.tx_bytes > 200, "{received:?}");
}

#[test]
fn links_can_be_changed_moved_and_deleted() {
    if !may_make_namespaces("links_can_be_changed_moved_and_deleted") {
        return;
    }
    let (here, there) = (NetNs::create().unwrap(), NetNs::create().unwrap());
    let left_here = here.within(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.create_veth("a", "b", None).unwrap();
        let (a, b) = (netlink_index(&mut netlink, "a"), netlink_index(&mut netlink, "b"));
        netlink.rename(a, "renamed").unwrap();
        netlink.set_mtu(a, 9000).unwrap();
        netlink.set_mac(a, [2, 0, 0, 0, 0, 7]).unwrap();
        netlink.set_txqueuelen(a, 77).unwrap();
        netlink.set_up(a).unwrap();
        netlink.set_down(a).unwrap();
        netlink.set_netns(b, there.as_fd()).unwrap();
        netlink.list_links().unwrap()
    });
    let left_here = left_here.unwrap();
    assert_eq!(left_here.len(), 2, "lo and the renamed end: {left_here:?}");
    let renamed = left_here.iter().find(|link| link.name == "renamed").unwrap();
    assert_eq!((renamed.mtu, renamed.txqueuelen, renamed.up), (9000, 77, false));
    assert_eq!(renamed.mac, Some([2, 0, 0, 0, 0, 7]));

    let arrived = there.within(|| {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink_index(&mut netlink, "b");
        netlink.add_address(index, net("10.3.0.1/32")).unwrap();
        netlink.set_up(index).unwrap();
        netlink.add_route(net("10.4.7.7/16"), None, index).unwrap();
        netlink.add_route(net("10.5.0.0/16"), Some("192.0.2.1".parse().unwrap()), index).unwrap();
        netlink.add_default_route("192.0.2.9".parse().unwrap(), index).unwrap();
        netlink.add_default_route("192.0.2.10".parse().unwrap(), index).unwrap();
        let routes = netlink.list_routes().unwrap();
        netlink.delete_link(index).unwrap();
        (routes, netlink.link_index("b").unwrap_err())
    });
    let (routes, gone) = arrived.unwrap();
    let found: Vec<_> = routes
        .iter()
        .filter(|route| matches!(route.destination, IpNet::V4(_)))
        .map(|route| (route.destination, route.gateway))
        .collect();
    let expected: [(IpNet, Option<IpAddr>); 3] = [
        (net("0.0.0.0/0"), Some("192.0.2.10".parse().unwrap())),
        (net("10.4.0.0/16"), None),
        (net("10.5.0.0/16"), Some("192.0.2.1".parse().unwrap())),
    ];
    assert_eq!(found, expected);
    assert_eq!(gone.to_string(), "cannot find the interface b: No such device (os error 19)");
    // The other end of the pair is gone with it.
    assert_eq!(here.within(|| Netlink::open().unwrap().list_links().unwrap().len()).unwrap(), 1);
}

#[test]
fn a_refusal_names_the_interface_and_the_kernels_reason() {
    if !may_make_namespaces("a_refusal_names_the_interface_and_the_kernels_reason") {
        return;
    }
    let (bad_mtu, bad_address, usable) = NetNs::create()
        .unwrap()
        .within(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.create_veth("eth0", "eth1", None).unwrap();
            let mtu = InterfaceSettings { mtu: 20, ..settings("eth0", &[], &[]) };
            let bad_mtu = netlink.configure_interface(&mtu).unwrap_err();
            let address = settings("eth0", &["10.0.0.1/24"], &["224.0.0.1"]);
            let bad_route = netlink.configure_interface(&address).unwrap_err();
            // An answer to a request that failed is never taken for the answer to the next.
            (bad_mtu, bad_route, netlink.link_index("eth0").is_ok())
        })
        .unwrap();
    let bad_mtu = bad_mtu.to_string();
    assert!(bad_mtu.contains("eth0") && bad_mtu.contains("(mtu less than device minimum)"), "{bad_mtu}");
    let bad_route = bad_address.to_string();
    assert!(bad_route.contains("eth0 (default via 224.0.0.1)"), "{bad_route}");
    assert!(usable);
}

fn netlink_index(netlink: &mut Netlink, name: &str) -> u32 {
    netlink.link_index(name).unwrap()
}
