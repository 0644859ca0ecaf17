//! `port = "veth"`: the container's interface is one end of a veth pair, and everything else is as with a tap.

use std::net::Ipv4Addr;

use vswitch_ports::netlink::{Link, Netlink};
use vswitch_ports::netns::NetNs;

use super::support::eventually;
use super::support::named_netns::NamedNetns;
use super::support::sockets::{echo, udp, until_received};
use super::support::stations::{self, datagrams};
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_sockets: [bulk_both_ways, several_workers, beside_a_tap_without_offloads],
    as_root: [a_namespace_of_somebody_else, gone_with_the_switch],
}

const MEGABYTE: usize = 1 << 20;

const PAIR: &str = r#"
    [networks.lan]
    enable_ipv6 = true
    [containers]
    left.networks.lan.port = "veth"
    right.networks = ["lan"]
"#;

fn bulk_both_ways(user: User) {
    for right in [r#"right.networks = ["lan"]"#, r#"right.networks.lan.port = "veth""#] {
        let switch = Switch::start(user, &PAIR.replace(r#"right.networks = ["lan"]"#, right));
        assert_eq!(switch.port("left")["driver"], "veth");
        echo(&switch, ("left", "right"), switch.ipv4("right"), 10 * MEGABYTE);
        echo(&switch, ("right", "left"), switch.ipv4("left"), 10 * MEGABYTE);
        echo(&switch, ("left", "right"), switch.ipv6("right"), 10 * MEGABYTE);
        let count = |what: &str| switch.port("left")[what].as_u64().unwrap();
        assert!(count("received_bytes") / count("received_frames") > 1514, "super-frames stay whole");
        assert!(count("sent_bytes") / count("sent_frames") > 1514, "super-frames stay whole");
        let (left, right) =
            (udp(&switch, "left", switch.ipv4("left")), udp(&switch, "right", switch.ipv4("right")));
        datagrams(&left, &right);
        datagrams(&right, &left);
        switch.stop();
    }
}

fn several_workers(user: User) {
    let switch = Switch::start(user, &format!("workers = 2\n{PAIR}"));
    assert_eq!(switch.port("left")["queues"], 2);
    for _ in 0..4 {
        echo(&switch, ("left", "right"), switch.ipv4("right"), MEGABYTE);
        echo(&switch, ("right", "left"), switch.ipv6("left"), MEGABYTE);
    }
    switch.stop();
}

fn beside_a_tap_without_offloads(user: User) {
    let plain = PAIR.replace(r#"right.networks = ["lan"]"#, r#"right.networks.lan.port = "tap-plain""#);
    let switch = Switch::start(user, &plain);
    echo(&switch, ("left", "right"), switch.ipv4("right"), 4 * MEGABYTE);
    echo(&switch, ("right", "left"), switch.ipv6("left"), 4 * MEGABYTE);
    switch.stop();
}

/// It works there, leaves with the namespace's name, and comes back with it.
fn a_namespace_of_somebody_else() {
    let netns = NamedNetns::create("veth");
    let switch = Switch::start(User::Root, &in_namespace(&netns));
    let right = switch.ipv4("right");
    let held = NetNs::open_path(&netns.path()).unwrap();
    stations::echo((&held, &switch.netns("right")), right, 4 * MEGABYTE);
    let index = link(&held).unwrap().index;

    netns.delete();
    eventually("its interface is gone", || link(&held).is_none().then_some(()));
    assert_eq!(switch.port("left")["up"], false);
    netns.mount();
    eventually("it is up again", || (switch.port("left")["up"] == true).then_some(()));
    let again = switch.netns("left");
    let left: Ipv4Addr = switch.ipv4("left");
    until_received(&stations::udp(&again, left), &udp(&switch, "right", right));
    stations::echo((&switch.netns("right"), &again), left, 4 * MEGABYTE);

    // Somebody else removes it.
    let change = || {
        let mut netlink = Netlink::open()?;
        let index = netlink.link_index("eth0")?;
        netlink.delete_link(index)
    };
    again.within(change).unwrap().unwrap();
    eventually("the loss is reported", || switch.stderr().contains("left: down").then_some(()));
    assert_ne!(index, 0);
    switch.stop();
}

fn gone_with_the_switch() {
    let netns = NamedNetns::create("veth-end");
    let mut switch = Switch::start(User::Root, &in_namespace(&netns));
    let held = NetNs::open_path(&netns.path()).unwrap();
    assert!(link(&held).is_some());
    switch.kill();
    eventually("its interface is gone", || link(&held).is_none().then_some(()));
    switch.launch_again();
    let switch = switch.ready();
    assert!(link(&held).is_some());
    switch.stop();
    eventually("its interface is gone", || link(&held).is_none().then_some(()));
}

fn in_namespace(netns: &NamedNetns) -> String {
    format!(
        r#"
        [networks.lan]
        [containers.left]
        netns = "{}"
        networks.lan.port = "veth"
        [containers.right]
        networks = ["lan"]
        "#,
        netns.name
    )
}

/// The container's interface.
fn link(netns: &NetNs) -> Option<Link> {
    let links = netns.within(|| Netlink::open().unwrap().list_links().unwrap()).unwrap();
    links.into_iter().find(|link| link.name == "eth0")
}
