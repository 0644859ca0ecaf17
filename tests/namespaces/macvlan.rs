//! Networks with driver macvlan: containers are hosts of their own on the LAN of an interface, in every mode, and
//! reach the machine they run on as well.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};

use vswitch_ports::netlink::Netlink;

use super::support::eventually;
use super::support::frames::{IPV4, ethernet, inject, udp_packet};
use super::support::lan::{self, Lan, MACHINE, OWN, PARENT};
use super::support::sockets::until_received;
use super::support::stations::{Audience, Sniffer, datagrams, echo, forwarded, found_at, refusal, udp};
use super::support::switch::Switch;

scenarios! {
    as_root: [
        bridge,
        private,
        vepa,
        passthru,
        broadcasts_of_a_bridge,
        broadcasts_of_private_members,
        broadcasts_of_a_vepa,
        several_subnets,
        one_vlan_of_the_parent,
        the_parent_goes_and_comes_back,
        several_workers,
        a_parent_with_a_smaller_mtu,
        a_parent_that_is_not_there,
        without_root_it_is_refused,
    ],
}

const LEFT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 70);
const RIGHT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 71);
const LEFT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x70);
const RIGHT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x71);

const MEGABYTE: usize = 1 << 20;

/// Two members, `left` and `right`.
fn pair(mode: &str) -> String {
    format!(
        r#"
        [networks.lan]
        driver = "macvlan"
        macvlan_mode = "{mode}"
        parent = "{PARENT}"
        ipam = [{{ subnet = "192.0.2.0/24" }}, {{ subnet = "2001:db8::/64" }}]
        [containers.left.networks.lan]
        ipv4_address = "{LEFT}"
        ipv6_address = "{LEFT6}"
        [containers.right.networks.lan]
        ipv4_address = "{RIGHT}"
        ipv6_address = "{RIGHT6}"
        "#
    )
}

fn bridge() {
    let lan = Lan::new(1);
    let switch = lan.start(&pair("bridge"));
    reaches_the_lan_and_the_machine(&lan, &switch, "left", (LEFT, LEFT6));
    let (left, right) = (switch.netns("left"), switch.netns("right"));
    echo((&left, &right), RIGHT, 4 * MEGABYTE);
    echo((&right, &left), LEFT6, 4 * MEGABYTE);
    datagrams(&udp(&left, LEFT), &udp(&right, RIGHT));
    assert_eq!(found_at(&left, RIGHT), switch.mac("right"));
    switch.stop();
}

/// Flows are spread over them, those of the machine too.
fn several_workers() {
    let lan = Lan::new(1);
    let switch = lan.start(&format!("workers = 2\n{}", pair("bridge")));
    for _ in 0..2 {
        reaches_the_lan_and_the_machine(&lan, &switch, "left", (LEFT, LEFT6));
    }
    switch.stop();
}

fn private() {
    let lan = Lan::new(1);
    let switch = lan.start(&pair("private"));
    reaches_the_lan_and_the_machine(&lan, &switch, "left", (LEFT, LEFT6));
    reaches_the_lan_and_the_machine(&lan, &switch, "right", (RIGHT, RIGHT6));
    // Nobody answers when it asks for its neighbour.
    assert_eq!(refusal(&switch.netns("left"), RIGHT).kind(), ErrorKind::HostUnreachable);
    // Nor does a frame pass that is sent to it unasked.
    let packet = udp_packet((LEFT, 9), (RIGHT, 9), b"psst");
    let frame = ethernet(switch.mac("right"), switch.mac("left"), IPV4, &packet);
    inject(&switch, "left", [(3, &frame[..])]);
    eventually("the frames are dropped", || (switch.drops("left", "private-member") == 3).then_some(()));
    switch.stop();
}

/// Members reach each other by way of the LAN's switch, if that sends back.
fn vepa() {
    let lan = Lan::new(1);
    lan.reflect();
    let switch = lan.start(&pair("vepa"));
    reaches_the_lan_and_the_machine(&lan, &switch, "left", (LEFT, LEFT6));
    let (left, right) = (switch.netns("left"), switch.netns("right"));
    let before = lan.carried_from_machine();
    echo((&left, &right), RIGHT, MEGABYTE);
    echo((&right, &left), LEFT6, MEGABYTE);
    assert!(lan.carried_from_machine() - before > 4 * MEGABYTE as u64, "it went by the LAN's switch");
    datagrams(&udp(&left, LEFT), &udp(&right, RIGHT));
    switch.stop();
}

fn passthru() {
    let lan = Lan::new(1);
    let only = pair("passthru");
    let (only, _) = only.split_once("[containers.right").unwrap();
    let switch = lan.start(only);
    reaches_the_lan_and_the_machine(&lan, &switch, "left", (LEFT, LEFT6));
    switch.stop();
}

#[track_caller]
fn reaches_the_lan_and_the_machine(
    lan: &Lan,
    switch: &Switch,
    container: &str,
    addresses: (Ipv4Addr, Ipv6Addr),
) {
    let mac = switch.mac(container);
    assert_ne!(mac, lan::mac_of(&lan.machine, PARENT), "one of its own");
    let inside = switch.netns(container);
    lan.meets(&inside, addresses, mac);
    lan.machine_meets(&inside, addresses, mac);
}

fn everybody(lan: &Lan, switch: &Switch) -> Audience {
    Audience::gather(&[
        ("host", &lan.hosts[0], lan::host(0)),
        ("machine", &lan.machine, MACHINE),
        ("left", &switch.netns("left"), LEFT),
        ("right", &switch.netns("right"), RIGHT),
    ])
}

fn broadcasts_of_a_bridge() {
    let lan = Lan::new(1);
    let switch = lan.start(&pair("bridge"));
    let audience = everybody(&lan, &switch);
    audience.hears("left", &["host", "machine", "right"], "host");
    audience.hears("right", &["host", "machine", "left"], "machine");
    audience.hears("host", &["machine", "left", "right"], "left");
    audience.hears("machine", &["host", "left", "right"], "left");
    switch.stop();
}

fn broadcasts_of_private_members() {
    let lan = Lan::new(1);
    let switch = lan.start(&pair("private"));
    let audience = everybody(&lan, &switch);
    audience.hears("left", &["host", "machine"], "host");
    audience.hears("right", &["host", "machine"], "machine");
    audience.hears("host", &["machine", "left", "right"], "machine");
    audience.hears("machine", &["host", "left", "right"], "host");
    switch.stop();
}

/// Each comes once, although the LAN's switch sends back to the machine what came from there.
fn broadcasts_of_a_vepa() {
    let lan = Lan::new(1);
    lan.reflect();
    let switch = lan.start(&pair("vepa"));
    let audience = Audience::gather(&[
        ("host", &lan.hosts[0], lan::host(0)),
        ("left", &switch.netns("left"), LEFT),
        ("right", &switch.netns("right"), RIGHT),
    ]);
    audience.hears("left", &["host", "right"], "right");
    audience.hears("host", &["left", "right"], "left");
    // The machine itself hears members twice: from here, and from the LAN's switch.
    drop(audience);
    let audience =
        Audience::gather(&[("machine", &lan.machine, MACHINE), ("left", &switch.netns("left"), LEFT)]);
    audience.hears("machine", &["left"], "machine");
    switch.stop();
}

/// Two subnets on one LAN, whose router leads from one to the other.
fn several_subnets() {
    let lan = Lan::new(1);
    let router = &lan.hosts[0];
    lan::extend(router, &["198.51.100.1/24"], &[]);
    lan::forward(router);
    let switch = lan.start(&format!(
        r#"
        [networks.lan]
        driver = "macvlan"
        parent = "{PARENT}"
        ipam = [{{ subnet = "192.0.2.0/24" }}, {{ subnet = "198.51.100.0/24" }}]
        [containers]
        near.networks.lan.ipv4_address = "192.0.2.70"
        far.networks.lan.ipv4_address = "198.51.100.70"
        "#
    ));
    let (near, far) = (switch.netns("near"), switch.netns("far"));
    let forwarded_before = forwarded(router);
    echo((&near, &far), Ipv4Addr::new(198, 51, 100, 70), MEGABYTE);
    assert!(forwarded(router) > forwarded_before, "by the LAN's router");
    echo((router, &far), Ipv4Addr::new(198, 51, 100, 70), MEGABYTE);
    assert_eq!(found_at(router, Ipv4Addr::new(198, 51, 100, 70)), switch.mac("far"));
    switch.stop();
}

/// Members of VLAN 10 reach those of the same VLAN elsewhere on the LAN, and nobody without a tag.
fn one_vlan_of_the_parent() {
    let lan = Lan::new(1);
    let other = lan.another_machine();
    let tagged = |parent: &str| pair("bridge").replace(&format!("\"{PARENT}\""), parent);
    let here = lan.start(&tagged(&format!("\"{PARENT}\"\nvlan = 10")));
    let there = lan::launch_on(
        &other,
        &tagged(&format!("\"{PARENT}.10\"")).replace(".7", ".8").replace("::7", "::8"),
    );
    let there = there.ready();
    let mut plain = Sniffer::start(&lan.hosts[0], None);
    let mut tagged = Sniffer::start(&lan.hosts[0], Some(10));

    let (left, right) = (here.netns("left"), there.netns("right"));
    echo((&left, &right), Ipv4Addr::new(192, 0, 2, 81), 4 * MEGABYTE);
    echo((&right, &left), LEFT6, 4 * MEGABYTE);
    echo((&left, &here.netns("right")), RIGHT, MEGABYTE);
    assert_eq!(found_at(&left, Ipv4Addr::new(192, 0, 2, 81)), there.mac("right"));

    // What is asked of all on the VLAN is heard, with a tag; without one nothing is.
    assert_eq!(refusal(&left, lan::host(0)).kind(), ErrorKind::HostUnreachable);
    let from_left = |frames: Vec<Vec<u8>>| frames.iter().any(|frame| frame[6..12] == here.mac("left"));
    assert!(from_left(tagged.heard()), "left has asked");
    assert!(!from_left(plain.heard()), "without a tag");
    assert_eq!(refusal(&lan.hosts[0], LEFT).kind(), ErrorKind::HostUnreachable);
    here.stop();
    there.stop();
}

fn the_parent_goes_and_comes_back() {
    let lan = Lan::new(1);
    let switch = lan.start(&pair("bridge"));
    let (left, right, host) = (switch.netns("left"), switch.netns("right"), &lan.hosts[0]);
    echo((&left, host), lan::host(0), 1);
    lan.unplug_machine();
    eventually("the loss is reported", || {
        switch.stderr().contains("waiting for it to come back").then_some(())
    });
    // They do not need it for each other.
    echo((&left, &right), RIGHT, MEGABYTE);
    lan.plug_in_machine(&OWN);
    until_received(&udp(&left, LEFT), &udp(host, lan::host(0)));
    reaches_the_lan_and_the_machine(&lan, &switch, "left", (LEFT, LEFT6));
    switch.stop();
}

/// Members send no longer packets than the parent does.
fn a_parent_with_a_smaller_mtu() {
    let lan = Lan::new(1);
    let narrow = || {
        let mut netlink = Netlink::open()?;
        let index = netlink.link_index(PARENT)?;
        netlink.set_mtu(index, 1400)
    };
    lan.machine.within(narrow).unwrap().unwrap();
    let switch = lan.start(&pair("bridge"));
    let left = switch.netns("left");
    let links = left.within(|| Netlink::open().unwrap().list_links().unwrap()).unwrap();
    assert!(links.iter().any(|link| link.name == "eth0" && link.mtu == 1400), "{links:?}");
    assert_eq!(switch.port("left")["mtu"], 1400);
    echo((&left, &lan.hosts[0]), lan::host(0), MEGABYTE);
    switch.stop();
}

fn a_parent_that_is_not_there() {
    let lan = Lan::new(0);
    let ended = lan.launch(&pair("bridge").replace(PARENT, "nothing0")).ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing0"), "{}", ended.stderr);
}

fn without_root_it_is_refused() {
    let lan = Lan::for_uplink(0);
    let tagged = pair("bridge").replace("[containers.left", "vlan = 10\n[containers.left");
    let uplink = format!("{}[networks.inner]", lan::uplink());
    for (text, missing) in [(pair("bridge"), "CAP_BPF"), (tagged, "CAP_NET_RAW"), (uplink, "CAP_BPF")] {
        let ended = lan::launch_on_as_user(&lan.machine, &text).ended();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        for word in [PARENT, "not permitted", "root", missing] {
            assert!(ended.stderr.contains(word), "{word} is missing: {}", ended.stderr);
        }
    }
}
