//! One text through the configuration: refused with diagnostics that can be shown, or resolved to what
//! `vswitch_config::model` promises.

use std::collections::HashSet;
use std::net::IpAddr;

use vswitch_config::model::{
    Attachment, Config, Container, Network, NetworkMode, PublishedPort, RouteVia, Uplink,
};
use vswitch_config::{
    AllotError, Allotter, DEFAULT_EPHEMERAL_PORTS, Diagnostics, Source, Surroundings, load,
};

/// Loads `text` and checks what comes of it.
///
/// # Panics
/// When a promise of the crate is broken.
pub fn check(text: &str) {
    let source = Source { name: "fuzz.toml".to_owned(), text: text.to_owned() };
    let surroundings = Surroundings {
        netns_exists: &|_| Ok(()),
        ula_seed: 7,
        ephemeral_ports: DEFAULT_EPHEMERAL_PORTS,
        port_is_reserved: &|_| false,
    };
    let loaded = load(&source, &surroundings);
    assert_eq!(load(&source, &surroundings), loaded, "the same text, another answer");
    match loaded {
        Ok(config) => check_config(&config),
        Err(diagnostics) => check_diagnostics(&diagnostics, &source),
    }
}

fn check_diagnostics(diagnostics: &Diagnostics, source: &Source) {
    assert!(!diagnostics.is_empty(), "refused without a reason");
    assert!(diagnostics.render(source, false).contains(&source.name));
    assert!(diagnostics.render(source, true).len() >= diagnostics.render(source, false).len());
    let lines = source.text.split('\n').count();
    for located in diagnostics.located(source) {
        let place = located.place;
        assert!((1..=lines).contains(&place.line) && (1..=lines).contains(&place.end_line), "{place:?}");
        assert!((place.line, place.column) <= (place.end_line, place.end_column), "{place:?}");
    }
    assert!(diagnostics.iter().all(|diagnostic| !diagnostic.message().is_empty()));
}

fn check_config(config: &Config) {
    for network in config.networks.values() {
        check_network(network);
    }
    let subnets: Vec<_> = config.networks.values().flat_map(|network| &network.ipam).collect();
    for (nth, subnet) in subnets.iter().enumerate() {
        for other in &subnets[nth + 1..] {
            let overlap = subnet.subnet.contains(&other.subnet.network())
                || other.subnet.contains(&subnet.subnet.network());
            assert!(!overlap, "{} and {} overlap", subnet.subnet, other.subnet);
        }
    }
    let mut taken = Taken::default();
    for container in config.containers.values() {
        check_container(container, config, &mut taken);
    }
    check_lans(config);
    check_ports(config);
    check_allotter(config);
}

/// Each interface and VLAN has one network at most, and routes lead into bridges with a way out.
fn check_lans(config: &Config) {
    let mut parents = HashSet::new();
    for network in config.networks.values() {
        let parent = network.driver.parent();
        assert!(
            parent.is_none_or(|parent| parents.insert((&parent.interface, parent.vlan))),
            "a parent twice"
        );
        assert!(
            network.driver.is_bridge() || (network.icc && !network.internal && network.routes.is_empty())
        );
        for route in &network.routes {
            match &route.via {
                RouteVia::Network(other) => {
                    let other = &config.networks[other];
                    assert!(other.driver.is_bridge() && !other.internal && other.name != network.name);
                }
                RouteVia::Gateways(gateways) => {
                    assert!(!gateways.is_empty());
                    let on_network =
                        |address| network.ipam.iter().any(|subnet| subnet.subnet.contains(address));
                    assert!(gateways.iter().all(on_network), "a router elsewhere");
                }
                RouteVia::Blackhole | RouteVia::Unreachable | RouteVia::Prohibit => {}
            }
        }
    }
}

/// Nobody has another's host port, and who publishes is reachable.
fn check_ports(config: &Config) {
    let overlap = |a: &PublishedPort, b: &PublishedPort| {
        let families = |port: &PublishedPort| match port.host_ip {
            None => (true, true),
            Some(address) => (address.is_ipv4(), address.is_ipv6()),
        };
        let every = |port: &PublishedPort| port.host_ip.is_none_or(|address| address.is_unspecified());
        let ((a4, a6), (b4, b6)) = (families(a), families(b));
        let addresses = if every(a) || every(b) { (a4 && b4) || (a6 && b6) } else { a.host_ip == b.host_ip };
        addresses
            && a.protocol == b.protocol
            && a.host_ports.0 <= b.host_ports.1
            && b.host_ports.0 <= a.host_ports.1
    };
    let all: Vec<_> = config.containers.values().flat_map(|container| &container.ports).collect();
    for (nth, port) in all.iter().enumerate() {
        assert!(port.host_ports.0 > 0 && port.container_ports.0 > 0);
        assert_eq!(port.host_ports.1 - port.host_ports.0, port.container_ports.1 - port.container_ports.0);
        assert!(!all[nth + 1..].iter().any(|other| overlap(port, other)), "{port} twice");
    }
    for container in config.containers.values().filter(|container| !container.ports.is_empty()) {
        assert_ne!(config.uplink, Uplink::None);
        let reachable = |attachment: &Attachment| {
            let network = &config.networks[&attachment.network];
            network.driver.is_bridge() && !network.internal
        };
        assert!(container.attachments.iter().any(reachable), "{} is not reachable", container.name);
    }
}

fn check_network(network: &Network) {
    assert!((576..=65_521).contains(&network.mtu), "MTU {}", network.mtu);
    for (enabled, family) in [(network.enable_ipv4, true), (network.enable_ipv6, false)] {
        let has = network.ipam.iter().any(|subnet| subnet.subnet.addr().is_ipv4() == family);
        assert!(!enabled || has, "{}: a family without a subnet", network.name);
    }
    for subnet in &network.ipam {
        assert_eq!(subnet.subnet, subnet.subnet.trunc(), "host bits are set");
        assert!(subnet.gateway.is_none_or(|gateway| subnet.subnet.contains(&gateway)));
        assert!(subnet.ip_range.is_none_or(|range| subnet.subnet.contains(&range)));
        assert!(subnet.aux_addresses.values().all(|address| subnet.subnet.contains(address)));
    }
    assert!((1..=network.mac_limit).contains(&network.mac_limit_per_port));
}

/// What attachments hold, by network.
#[derive(Default)]
struct Taken<'a> {
    macs: HashSet<(&'a str, [u8; 6])>,
    addresses: HashSet<(&'a str, IpAddr)>,
}

fn check_container<'a>(container: &'a Container, config: &'a Config, taken: &mut Taken<'a>) {
    assert!(container.command.as_ref().is_none_or(|command| !command.is_empty()));
    assert!(container.attachments.is_empty() || container.network_mode == NetworkMode::Networks);
    let mut mode = &container.network_mode;
    for _ in 0..=config.containers.len() {
        let NetworkMode::Container(next) = mode else { break };
        assert!(config.containers.contains_key(next), "{next} does not exist");
        mode = &config.containers[next].network_mode;
    }
    assert!(!matches!(mode, NetworkMode::Container(_)), "a circle of containers");

    let interfaces: HashSet<_> = container.attachments.iter().map(|a| a.interface_name.as_str()).collect();
    assert_eq!(interfaces.len(), container.attachments.len(), "two interfaces of one name");
    for default_route in [
        container.attachments.iter().filter(|a| a.gateway4.is_some() || a.default_on_device4).count(),
        container.attachments.iter().filter(|a| a.gateway6.is_some() || a.default_on_device6).count(),
    ] {
        assert!(default_route <= 1, "two default routes of one family");
    }
    for attachment in &container.attachments {
        check_attachment(attachment, config, taken);
    }
}

fn check_attachment<'a>(attachment: &'a Attachment, config: &'a Config, taken: &mut Taken<'a>) {
    let network = &config.networks[&attachment.network];
    let name = attachment.network.as_str();
    assert!(attachment.mac_address.is_unicast());
    assert_ne!(attachment.mac_address, network.gateway_mac);
    assert!(taken.macs.insert((name, attachment.mac_address.octets())), "a MAC address twice");
    assert_eq!(attachment.ipv4_address.is_some(), network.enable_ipv4);
    assert_eq!(attachment.ipv6_address.is_some(), network.enable_ipv6);
    let addresses = [
        attachment.ipv4_address.map(|net| IpAddr::V4(net.addr())),
        attachment.ipv6_address.map(|net| IpAddr::V6(net.addr())),
    ];
    for address in addresses.into_iter().flatten() {
        assert!(taken.addresses.insert((name, address)), "{address} twice");
        let subnet = network.ipam.iter().find(|subnet| subnet.subnet.contains(&address));
        assert!(
            subnet.is_some_and(|subnet| subnet.gateway != Some(address)),
            "{address} is outside or the gateway's"
        );
        assert!(network.ipam.iter().all(|subnet| subnet.aux_addresses.values().all(|aux| *aux != address)));
    }
}

/// Containers that come while the switch runs get addresses nobody has.
fn check_allotter(config: &Config) {
    let mut allotter = Allotter::new(config);
    let taken: HashSet<_> = config
        .containers
        .values()
        .flat_map(|container| &container.attachments)
        .collect::<Vec<_>>()
        .into_iter()
        .flat_map(|attachment| {
            [
                attachment.ipv4_address.map(|net| IpAddr::V4(net.addr())),
                attachment.ipv6_address.map(|net| IpAddr::V6(net.addr())),
            ]
        })
        .flatten()
        .collect();
    let Ok(name) = "the-fuzzers-own".parse() else { return };
    if config.containers.contains_key(&name) {
        return;
    }
    for network in config.networks.keys() {
        match allotter.attach_ephemeral(&name, network.as_str()) {
            Ok(container) => {
                let attachment = &container.attachments[0];
                let fresh = |address: Option<IpAddr>| address.is_none_or(|address| !taken.contains(&address));
                assert!(fresh(attachment.ipv4_address.map(|net| net.addr().into())));
                assert!(fresh(attachment.ipv6_address.map(|net| net.addr().into())));
                assert!(allotter.release(&name));
            }
            Err(error) => {
                assert!(
                    matches!(error, AllotError::Exhausted { .. } | AllotError::Occupied { .. }),
                    "{error}"
                );
                assert!(!allotter.release(&name));
            }
        }
    }
}
