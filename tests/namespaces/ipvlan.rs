//! Networks with driver ipvlan: in mode l2 containers share the MAC address of an interface and are told apart by
//! their IP addresses; in mode l3 they are behind the switch, which routes for them and translates nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use super::support::eventually;
use super::support::lan::{self, Lan, MACHINE, MACHINE6, OWN, PARENT};
use super::support::sockets::until_received;
use super::support::stations::{Audience, connect, datagrams, echo, forwarded, found_at, refusal, udp};

scenarios! {
    as_root: [
        l2,
        l2_broadcasts,
        l2_members_for_a_while,
        l2_the_parent_comes_back_with_another_mac_address,
        l3,
    ],
}

const LEFT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 70);
const RIGHT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 71);
const LEFT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x70);
const RIGHT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x71);

const MEGABYTE: usize = 1 << 20;

/// Two members, `left` and `right`.
fn pair(parent: &str) -> String {
    format!(
        r#"
        [networks.lan]
        driver = "ipvlan"
        {parent}
        ipam = [{{ subnet = "192.0.2.0/24", ip_range = "192.0.2.128/25" }}, {{ subnet = "2001:db8::/64" }}]
        [containers.left.networks.lan]
        ipv4_address = "{LEFT}"
        ipv6_address = "{LEFT6}"
        [containers.right.networks.lan]
        ipv4_address = "{RIGHT}"
        ipv6_address = "{RIGHT6}"
        "#
    )
}

fn on_parent() -> String {
    pair(&format!("parent = \"{PARENT}\""))
}

fn l2() {
    let lan = Lan::new(1);
    let switch = lan.start(&on_parent());
    let mac = lan::mac_of(&lan.machine, PARENT);
    assert_eq!((switch.mac("left"), switch.mac("right")), (mac, mac));
    let (left, right) = (switch.netns("left"), switch.netns("right"));
    for (member, addresses) in [(&left, (LEFT, LEFT6)), (&right, (RIGHT, RIGHT6))] {
        lan.meets(member, addresses, mac);
        lan.machine_meets(member, addresses, mac);
    }
    echo((&left, &right), RIGHT, 4 * MEGABYTE);
    echo((&right, &left), LEFT6, 4 * MEGABYTE);
    datagrams(&udp(&left, LEFT6), &udp(&right, RIGHT6));
    // A port nobody listens on is refused, by the container.
    assert_eq!(refusal(&lan.hosts[0], LEFT).kind(), ErrorKind::ConnectionRefused);
    // What is for members has the machine's MAC address, and it is a router: it must not see it all the same.
    assert_eq!(forwarded(&lan.machine), 0);
    switch.stop();
}

fn l2_broadcasts() {
    let lan = Lan::new(1);
    let switch = lan.start(&on_parent());
    let audience = Audience::gather(&[
        ("host", &lan.hosts[0], lan::host(0)),
        ("machine", &lan.machine, MACHINE),
        ("left", &switch.netns("left"), LEFT),
        ("right", &switch.netns("right"), RIGHT),
    ]);
    audience.hears("left", &["host", "machine", "right"], "host");
    audience.hears("host", &["machine", "left", "right"], "left");
    audience.hears("machine", &["host", "left", "right"], "right");
    switch.stop();
}

/// Containers that `exec --network` makes have the parent's MAC address too.
fn l2_members_for_a_while() {
    let lan = Lan::new(1);
    let switch = lan.start(&on_parent());
    let ear = lan.hosts[0].within(|| TcpListener::bind((lan::host(0), 0))).unwrap().unwrap();
    let port = ear.local_addr().unwrap().port();
    let listening = std::thread::spawn(move || {
        let (mut caller, speaker) = ear.accept().unwrap();
        let mut words = [0; 6];
        caller.read_exact(&mut words).unwrap();
        caller.write_all(b"heard\n").unwrap();
        (words, speaker)
    });
    // It waits for the answer: the container, and what it has not sent yet, goes with its command.
    let speak = format!("exec 3<>/dev/tcp/{}/{port}; echo hello >&3; read -r answer <&3", lan::host(0));
    switch.says(&["exec", "--network", "lan", "--", "bash", "-c", &speak]);
    let (words, speaker) = listening.join().unwrap();
    assert_eq!(&words, b"hello\n");
    let std::net::IpAddr::V4(speaker) = speaker.ip() else { panic!("{speaker}") };
    assert_eq!(found_at(&lan.hosts[0], speaker), lan::mac_of(&lan.machine, PARENT));
    switch.stop();
}

fn l2_the_parent_comes_back_with_another_mac_address() {
    let lan = Lan::new(1);
    let switch = lan.start(&on_parent());
    let (left, right, host) = (switch.netns("left"), switch.netns("right"), &lan.hosts[0]);
    let before = switch.mac("left");
    echo((&left, host), lan::host(0), 1);
    echo((&left, &right), RIGHT, 1);
    lan.unplug_machine();
    eventually("the loss is reported", || {
        switch.stderr().contains("waiting for it to come back").then_some(())
    });
    lan.plug_in_machine(&OWN);
    let after = lan::mac_of(&lan.machine, PARENT);
    assert_ne!(before, after);
    until_received(&udp(&left, LEFT), &udp(host, lan::host(0)));
    until_received(&udp(&left, LEFT), &udp(&right, RIGHT));
    assert_eq!((switch.mac("left"), lan::mac_of(&left, "eth0")), (after, after));
    lan.meets(&left, (LEFT, LEFT6), after);
    lan.machine_meets(&left, (LEFT, LEFT6), after);
    echo((&left, &right), RIGHT, MEGABYTE);
    switch.stop();
}

/// Members of two subnets and the LAN reach each other by routing alone. The LAN has routes to them.
fn l3() {
    const NEAR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
    const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
    const FAR: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
    const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 77);
    let lan = Lan::for_uplink(1);
    let host = &lan.hosts[0];
    lan::extend(host, &[], &[MACHINE.into(), MACHINE6.into()]);
    let switch = lan.start(&format!(
        r#"
        {}
        [networks.behind]
        driver = "ipvlan"
        ipvlan_mode = "l3"
        ipam = [{{ subnet = "10.1.0.0/24" }}, {{ subnet = "10.2.0.0/24" }}, {{ subnet = "fd00:1::/64" }}]
        [containers.near.networks.behind]
        ipv4_address = "{NEAR}"
        ipv6_address = "{NEAR6}"
        [containers]
        far.networks.behind.ipv4_address = "{FAR}"
        "#,
        lan::uplink()
    ));
    let (near, far) = (switch.netns("near"), switch.netns("far"));
    echo((&near, &far), FAR, 4 * MEGABYTE);
    echo((&far, &near), NEAR, 4 * MEGABYTE);
    echo((&near, host), lan::host(0), 4 * MEGABYTE);
    echo((host, &near), NEAR, 4 * MEGABYTE);
    echo((&near, host), lan::host6(0), MEGABYTE);
    echo((host, &near), NEAR6, MEGABYTE);
    echo((host, &far), FAR, MEGABYTE);
    datagrams(&udp(&near, NEAR), &udp(host, lan::host(0)));
    datagrams(&udp(host, lan::host6(0)), &udp(&near, NEAR6));
    let (_, accepted) = connect((&near, host), lan::host(0));
    assert_eq!(accepted.peer_addr().unwrap().ip(), NEAR, "nothing is translated");
    assert_eq!(found_at(host, MACHINE), lan::mac_of(&lan.machine, PARENT));

    // Whoever asks for an address nobody has is told, inside and outside.
    assert_eq!(refusal(&near, NOBODY).kind(), ErrorKind::HostUnreachable);
    assert_eq!(refusal(host, NOBODY).kind(), ErrorKind::HostUnreachable);

    // Nothing is for all.
    for (to, reason) in [([239, 1, 2, 3], "layer3-only"), ([10, 1, 0, 255], "neighbor-unreachable")] {
        let before = switch.drops("near", reason);
        udp(&near, NEAR).send_to(b"to all", (Ipv4Addr::from(to), 9)).unwrap();
        eventually(reason, || (switch.drops("near", reason) > before).then_some(()));
    }
    assert_eq!(forwarded(&lan.machine), 0);
    switch.stop();
}
