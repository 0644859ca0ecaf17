//! Networks on the uplink's own interface: the switch is a router on the LAN, its members are hosts there, and all of
//! them are behind one interface.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::support::eventually;
use super::support::lan::{self, Lan, MACHINE, OWN, PARENT};
use super::support::stations::{connect, connect_on, echo, found_at};
use super::support::switch::Switch;

scenarios! {
    as_root: [macvlan, ipvlan, an_interface_that_comes_back_in_use],
}

const LEFT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 70);
const RIGHT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 71);
const LEFT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x70);

const MEGABYTE: usize = 1 << 20;

/// `left` and `right` on the LAN.
fn members(driver: &str) -> String {
    format!(
        r#"
        [networks.lan]
        driver = "{driver}"
        ipam = [{{ subnet = "192.0.2.0/24" }}, {{ subnet = "2001:db8::/64" }}]
        [containers.left.networks.lan]
        ipv4_address = "{LEFT}"
        ipv6_address = "{LEFT6}"
        [containers.right.networks.lan]
        ipv4_address = "{RIGHT}"
        "#
    )
}

fn macvlan() {
    let lan = Lan::for_uplink(1);
    let switch = lan.start(&format!("{}{}{INNER}", lan::uplink(), members("macvlan")));
    let own = lan::mac_of(&lan.machine, PARENT);
    assert_ne!(switch.mac("left"), own);
    lan.meets(&switch.netns("left"), (LEFT, LEFT6), switch.mac("left"));
    beside_the_switch(&lan, &switch);
    assert_eq!(found_at(&lan.hosts[0], MACHINE), own);
    switch.stop();
}

fn ipvlan() {
    let lan = Lan::for_uplink(1);
    let switch = lan.start(&format!("{}{}{INNER}", lan::uplink(), members("ipvlan")));
    let own = lan::mac_of(&lan.machine, PARENT);
    lan.meets(&switch.netns("left"), (LEFT, LEFT6), own);
    beside_the_switch(&lan, &switch);
    assert_eq!(found_at(&lan.hosts[0], MACHINE), own);
    switch.stop();
}

/// A network behind the uplink, with a published port.
const INNER: &str = r#"
    [networks.inner]
    ipam = [{ subnet = "10.7.0.0/24" }]
    [containers.inner]
    networks = ["inner"]
    ports = ["8080:80"]
"#;

/// `left`, a member of the LAN of the uplink at 192.0.2.70, and the LAN's host meet `inner` by way of the switch, each as it
/// should, and what is for the one is not copied to the other.
#[track_caller]
fn beside_the_switch(lan: &Lan, switch: &Switch) {
    let (left, right) = (switch.netns("left"), switch.netns("right"));
    let (inner, host) = (switch.netns("inner"), &lan.hosts[0]);
    echo((&left, &right), RIGHT, MEGABYTE);
    // To the outside as the switch, wherever on the LAN that is.
    let (_, far) = connect((&inner, host), lan::host(0));
    assert_eq!(far.peer_addr().unwrap().ip(), MACHINE);
    let (_, far) = connect((&inner, &left), LEFT);
    assert_eq!(far.peer_addr().unwrap().ip(), MACHINE);
    // To the published port as themselves.
    for (caller, address) in [(&left, LEFT), (host, lan::host(0))] {
        let (_, far) = connect_on((caller, &inner), (MACHINE, 8080), 80);
        assert_eq!(far.peer_addr().unwrap().ip(), address);
    }
    let copied = || switch.port("left")["sent_bytes"].as_u64().unwrap();
    let before = copied();
    echo((&inner, host), lan::host(0), 4 * MEGABYTE);
    echo((&inner, &right), RIGHT, 4 * MEGABYTE);
    assert!(copied() - before < MEGABYTE as u64, "{} bytes are not left's", copied() - before);
}

/// The machine has given it an address meanwhile: why it is not used is said, once, and it is as soon as it can be.
fn an_interface_that_comes_back_in_use() {
    let lan = Lan::for_uplink(1);
    let switch = lan.start(&format!("{}{INNER}", lan::uplink()));
    let inner = switch.netns("inner");
    echo((&inner, &lan.hosts[0]), lan::host(0), MEGABYTE);
    let says = |words: &str, times: usize| {
        eventually(words, || (switch.stderr().matches(words).count() == times).then_some(()));
    };
    lan.unplug_machine();
    says("waiting for it to come back", 1);
    lan.plug_in_machine(&OWN);
    says("the host has its address", 1);
    lan.unplug_machine();
    lan.plug_in_machine(&[]);
    says("up again", 1);
    echo((&inner, &lan.hosts[0]), lan::host(0), MEGABYTE);
    says("the host has its address", 1);
    switch.stop();
}
