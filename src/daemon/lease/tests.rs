//! What of a lease is used, beside the networks of a switch.

use std::net::Ipv4Addr;

use vswitch_config::{Source, Surroundings, load};
use vswitch_services::Route;

use super::*;

const UPLINK: &str = "
    [uplink]
    kind = 'interface'
    interface = 'eth1'
    ipv4 = 'dhcp'
";

const NETWORKS: &str = "
    [uplink.nat]
    addresses = ['192.0.2.60']
    [networks.front]
    ipam = [{ subnet = '10.10.0.0/24' }]
    [networks.lan]
    driver = 'macvlan'
    parent = 'eth2'
    ipam = [{ subnet = '10.20.0.0/24' }]
";

fn config(uplink: &str) -> Config {
    let source = Source { name: "test".to_owned(), text: format!("{UPLINK}{uplink}{NETWORKS}") };
    let surroundings = Surroundings {
        netns_exists: &|_| Ok(()),
        ula_seed: 0,
        ephemeral_ports: vswitch_config::DEFAULT_EPHEMERAL_PORTS,
        port_is_reserved: &|_| false,
    };
    load(&source, &surroundings).unwrap()
}

fn lease(address: &str) -> Lease {
    Lease {
        address: address.parse().unwrap(),
        router: Some(Ipv4Addr::new(192, 0, 2, 1)),
        routes: Vec::new(),
        dns: Vec::new(),
        domain: None,
        mtu: None,
        server: Ipv4Addr::new(192, 0, 2, 1),
        expires: None,
    }
}

#[test]
fn a_lease_inside_a_network_is_refused() {
    let config = config("");
    for fine in ["192.0.2.50/24", "10.10.1.5/24", "10.20.0.5/24"] {
        assert_eq!(conflict(&config, &lease(fine)), None, "{fine}");
    }
    for (inside, word) in [
        ("10.10.0.5/24", "network front"),
        ("10.10.0.5/25", "10.10.0.0/24"),
        ("10.1.2.3/8", "network front"),
        ("192.0.2.60/24", "[uplink.nat]"),
    ] {
        let refused = conflict(&config, &lease(inside)).unwrap();
        assert!(refused.contains(word) && refused.contains("DHCP gives"), "{refused}");
    }
}

#[test]
fn routes_into_a_network_are_left_out() {
    let route = |destination: &str| Route { destination: destination.parse().unwrap(), gateway: None };
    let given = ["10.0.0.0/8", "10.10.0.0/24", "10.10.0.128/25", "10.20.0.0/25", "198.51.100.0/24"];
    let mut lease = Lease { routes: given.map(route).to_vec(), ..lease("192.0.2.50/24") };
    let config = config("");
    let taken = take_own_networks(&config, &mut lease);
    let taken: Vec<_> = taken.iter().map(|(route, network)| format!("{route} {network}")).collect();
    assert_eq!(taken, ["10.10.0.0/24 front", "10.10.0.128/25 front"]);
    assert_eq!(lease.routes, ["10.0.0.0/8", "10.20.0.0/25", "198.51.100.0/24"].map(route));
}

#[test]
fn a_smaller_mtu_of_the_lease_counts_unless_one_is_configured() {
    let mtu_of = |uplink: &str, own, leased| {
        let lease = Lease { mtu: leased, ..lease("192.0.2.50/24") };
        mtu(&config(uplink).uplink, own, Some(&lease))
    };
    assert_eq!(mtu_of("", 1500, None), 1500);
    assert_eq!(mtu_of("", 1500, Some(1400)), 1400);
    assert_eq!(mtu_of("", 1500, Some(9000)), 1500, "the interface carries no more");
    assert_eq!(mtu_of("mtu = 1450", 1450, Some(1400)), 1450);
    assert_eq!(mtu_of("ipv6 = '2001:db8::10/64'", 1500, Some(576)), 1280);
    assert_eq!(mtu(&config("").uplink, 1500, None), 1500);
}

#[test]
fn a_renewal_on_the_same_terms_is_nothing_new() {
    let first = Lease { expires: Some(vswitch_switch::Time::from_secs(60)), ..lease("192.0.2.50/24") };
    let later = Lease { expires: Some(vswitch_switch::Time::from_secs(120)), ..first.clone() };
    assert!(!matters(Some(&first), Some(&later)));
    assert!(matters(Some(&first), Some(&Lease { mtu: Some(1400), ..later.clone() })));
    assert!(matters(Some(&first), Some(&Lease { router: None, ..later })));
    assert!(matters(Some(&first), None) && matters(None, Some(&first)) && !matters(None, None));
}

#[test]
fn a_lease_is_one_line() {
    let line = describe(&lease("192.0.2.50/24"), Some(Duration::from_millis(3_599_300)));
    assert_eq!(line, "192.0.2.50/24 by DHCP from 192.0.2.1, router 192.0.2.1, for 3599 s");
    let line = describe(&Lease { router: None, ..lease("192.0.2.50/24") }, None);
    assert_eq!(line, "192.0.2.50/24 by DHCP from 192.0.2.1, no router, for ever");
}
