//! Who hears what: broadcast and multicast reach all of a network and none of another.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::support::eventually;
use super::support::frames::{IPV4, ethernet, inject, udp_packet};
use super::support::sockets::{echo, receive, udp, udp_on};
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_sockets: [
        broadcast_reaches_all_others,
        multicast_reaches_all_members,
        networks_are_islands,
        the_same_mac_on_two_networks,
        frames_larger_than_the_mtu_are_dropped,
    ],
}

const THREE: &str = r#"
    [networks.lan]
    enable_ipv6 = true
    [containers]
    one.networks = ["lan"]
    two.networks = ["lan"]
    three.networks = ["lan"]
"#;

const PORT: u16 = 7000;

fn broadcast_reaches_all_others(user: User) {
    let switch = Switch::start(user, THREE);
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let [two, three] = ["two", "three"].map(|name| udp_on(&switch, name, any));
    let one = udp(&switch, "one", switch.ipv4("one"));
    one.send_to(b"to all", (Ipv4Addr::BROADCAST, PORT)).unwrap();
    for listener in [&two, &three] {
        assert_eq!(receive(listener), (b"to all".to_vec(), one.local_addr().unwrap()));
    }
    let counted = &switch.json(&["show", "counters"])["networks"][0]["counters"];
    assert!(counted["broadcast"].as_u64().unwrap() > 0, "{counted}");
    switch.stop();
}

fn multicast_reaches_all_members(user: User) {
    let switch = Switch::start(user, THREE);
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let members = ["two", "three"].map(|name| {
        let member = udp_on(&switch, name, (Ipv4Addr::UNSPECIFIED, PORT).into());
        member.join_multicast_v4(&group, &switch.ipv4(name)).unwrap();
        member
    });
    let one = udp(&switch, "one", switch.ipv4("one"));
    one.send_to(b"to the group", (group, PORT)).unwrap();
    for member in &members {
        assert_eq!(receive(member), (b"to the group".to_vec(), one.local_addr().unwrap()));
    }

    let group: Ipv6Addr = "ff15::4711".parse().unwrap();
    let index = |name| switch.rewire(name, |netlink| netlink.link_index("eth0"));
    let members = ["two", "three"].map(|name| {
        let member = udp_on(&switch, name, (Ipv6Addr::UNSPECIFIED, PORT + 1).into());
        member.join_multicast_v6(&group, index(name)).unwrap();
        member
    });
    let one = udp(&switch, "one", switch.ipv6("one"));
    let scoped = std::net::SocketAddrV6::new(group, PORT + 1, 0, index("one"));
    one.send_to(b"to the group", scoped).unwrap();
    for member in &members {
        assert_eq!(receive(member).0, b"to the group");
    }
    switch.stop();
}

const TWO_NETWORKS: &str = r#"
    [networks.red]
    [networks.blue]
    [containers.red1.networks.red]
    mac_address = "02:00:00:00:00:01"
    source_guard = false
    [containers.blue1.networks.blue]
    mac_address = "02:00:00:00:00:01"
    [containers.both.networks.red]
    interface_name = "eth0"
    [containers.both.networks.blue]
    interface_name = "eth1"
"#;

/// A container on `red` reaches one that is on both, and none on `blue` whatever it sends.
fn networks_are_islands(user: User) {
    let text = TWO_NETWORKS.replace(
        "[containers.blue1.networks.blue]\n    mac_address",
        "[containers.blue1.networks.blue]\n    interface_name = \"eth0\"\n    #",
    );
    let switch = Switch::start(user, &text);
    let (both_red, both_blue) = (on(&switch, "both", "red"), on(&switch, "both", "blue"));
    echo(&switch, ("red1", "both"), both_red, 100_000);
    echo(&switch, ("blue1", "both"), both_blue, 100_000);

    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let [blue1, both] = ["blue1", "both"].map(|name| udp_on(&switch, name, any));
    // Straight to the MAC and IP address of the other network's container: flooded on red, where nobody has it.
    let packet = udp_packet((on(&switch, "red1", "red"), 9), (on(&switch, "blue1", "blue"), PORT), b"across");
    let frame = ethernet(switch.mac("blue1"), switch.mac("red1"), IPV4, &packet);
    inject(&switch, "red1", [(10, &frame[..])]);
    let red1 = udp(&switch, "red1", switch.ipv4("red1"));
    red1.send_to(b"to all on red", (Ipv4Addr::BROADCAST, PORT)).unwrap();
    assert_eq!(receive(&both).0, b"to all on red");
    // All of the above has been through the switch; what comes next is the first that blue hears.
    let sentinel = udp(&switch, "both", both_blue);
    sentinel.send_to(b"on blue", (on(&switch, "blue1", "blue"), PORT)).unwrap();
    assert_eq!(receive(&blue1).0, b"on blue");
    switch.stop();
}

fn the_same_mac_on_two_networks(user: User) {
    let switch = Switch::start(user, TWO_NETWORKS);
    assert_eq!(switch.mac("red1"), switch.mac("blue1"));
    for (container, network) in [("red1", "red"), ("blue1", "blue"), ("red1", "red")] {
        echo(&switch, ("both", container), on(&switch, container, network), 1_000_000);
        echo(&switch, (container, "both"), on(&switch, "both", network), 1_000_000);
    }
    for network in ["red", "blue"] {
        let fdb = switch.json(&["show", "fdb", "--network", network]);
        let entries =
            fdb.as_array().unwrap().iter().filter(|entry| entry["mac_address"] == "02:00:00:00:00:01");
        let owners: Vec<_> = entries.map(|entry| entry["container"].as_str().unwrap().to_owned()).collect();
        assert_eq!(owners, [format!("{network}1")]);
    }
    switch.stop();
}

fn frames_larger_than_the_mtu_are_dropped(user: User) {
    let switch = Switch::start(user, THREE);
    let to = udp(&switch, "two", switch.ipv4("two"));
    switch.rewire("one", |netlink| {
        let index = netlink.link_index("eth0")?;
        netlink.set_mtu(index, 3000)
    });
    let one = udp(&switch, "one", switch.ipv4("one"));
    one.send_to(&[1; 2000], to.local_addr().unwrap()).unwrap();
    eventually("the drop is counted", || (switch.drops("two", "exceeds-mtu") == 1).then_some(()));
    one.send_to(&[2; 1000], to.local_addr().unwrap()).unwrap();
    assert_eq!(receive(&to).0, [2; 1000], "the one that fits, and only that");
    switch.stop();
}

/// A container's address on a network.
fn on(switch: &Switch, container: &str, network: &str) -> Ipv4Addr {
    let ports = switch.json(&["show", "ports", "--network", network]);
    let port = ports.as_array().unwrap().iter().find(|port| port["container"] == container).unwrap();
    port["ipv4_address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap()
}
