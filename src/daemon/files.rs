//! What the files of a container say: `/etc/hosts` and `/etc/resolv.conf`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use vswitch_config::Config;
use vswitch_config::model::{Attachment, Container, HostAddr};
use vswitch_config::names::NetworkName;

/// What precedes every hosts file.
const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// What the texts are made from, gathered once for all containers.
pub(super) struct Texts {
    /// Who is on each network: address, and the names that lead there.
    members: BTreeMap<NetworkName, Vec<(IpAddr, String)>>,
    /// The gateway of each network, IPv4 before IPv6.
    gateways: BTreeMap<NetworkName, Vec<IpAddr>>,
    host_resolv_conf: String,
}

impl Texts {
    /// Gathers the names of a configuration. `host_resolv_conf` is the host's own file.
    pub(super) fn new(config: &Config, host_resolv_conf: &str) -> Self {
        let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for container in config.containers.values() {
            for attachment in &container.attachments {
                let names = names(container, attachment);
                let addresses = addresses(attachment).map(|address| (address, names.clone()));
                members.entry(attachment.network.clone()).or_default().extend(addresses);
            }
        }
        let gateways = config.networks.values().map(|network| {
            let mut gateways: Vec<_> = network.ipam.iter().filter_map(|subnet| subnet.gateway).collect();
            gateways.sort();
            (network.name.clone(), gateways)
        });
        Self { members, gateways: gateways.collect(), host_resolv_conf: host_resolv_conf.to_owned() }
    }

    /// `/etc/hosts`: its own names, those of the containers it shares a network with, and its `extra_hosts`.
    pub(super) fn hosts(&self, container: &Container) -> String {
        let mut text = LOCALHOST.to_owned();
        for extra in &container.extra_hosts {
            let addresses = match extra.address {
                HostAddr::Ip(address) => vec![address],
                HostAddr::Gateway => self.gateways_of(container),
            };
            for address in addresses {
                line(&mut text, address, &extra.name);
            }
        }
        // Its own names first, so that its host name leads to its first address.
        for attachment in &container.attachments {
            let names = names(container, attachment);
            addresses(attachment).for_each(|address| line(&mut text, address, &names));
        }
        let own: Vec<IpAddr> = container.attachments.iter().flat_map(addresses).collect();
        for attachment in &container.attachments {
            for (address, names) in self.members.get(&attachment.network).into_iter().flatten() {
                if !own.contains(address) {
                    line(&mut text, *address, names);
                }
            }
        }
        text
    }

    /// `/etc/resolv.conf`: what the container configures, and for what it leaves open what the host has, without
    /// resolvers on the host's loopback, which a container cannot reach.
    pub(super) fn resolv_conf(&self, container: &Container) -> String {
        let host = |keyword: &str| {
            let values = self.host_resolv_conf.lines().filter_map(|line| line.trim().strip_prefix(keyword));
            let values = values.filter(|rest| rest.starts_with(char::is_whitespace));
            values.map(|rest| rest.trim().to_owned()).collect::<Vec<_>>()
        };
        let mut servers: Vec<String> = container.dns.iter().map(ToString::to_string).collect();
        if servers.is_empty() {
            let reachable =
                |server: &String| server.parse().is_ok_and(|address: IpAddr| !address.is_loopback());
            servers = host("nameserver").into_iter().filter(reachable).collect();
        }
        let or_host = |own: &[String], keyword| match own {
            [] => host(keyword).pop(),
            // Docker's way to say "none, not even the host's".
            [dot] if dot == "." => None,
            own => Some(own.join(" ")),
        };
        let mut text = String::new();
        for server in servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if let Some(search) = or_host(&container.dns_search, "search") {
            let _ = writeln!(text, "search {search}");
        }
        if let Some(options) = or_host(&container.dns_options, "options") {
            let _ = writeln!(text, "options {options}");
        }
        text
    }

    fn gateways_of(&self, container: &Container) -> Vec<IpAddr> {
        let holds_default_route =
            |attachment: &&Attachment| attachment.gateway4.is_some() || attachment.gateway6.is_some();
        let attachment =
            container.attachments.iter().find(holds_default_route).or(container.attachments.first());
        attachment.and_then(|attachment| self.gateways.get(&attachment.network)).cloned().unwrap_or_default()
    }
}

/// The names by which a container is known on a network.
fn names(container: &Container, attachment: &Attachment) -> String {
    let mut names = vec![container.name.as_str()];
    for name in std::iter::once(&container.hostname).chain(&attachment.aliases) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.join(" ")
}

fn addresses(attachment: &Attachment) -> impl Iterator<Item = IpAddr> + use<> {
    let ipv4 = attachment.ipv4_address.map(|net| IpAddr::V4(net.addr()));
    let ipv6 = attachment.ipv6_address.map(|net| IpAddr::V6(net.addr()));
    ipv4.into_iter().chain(ipv6)
}

fn line(text: &mut String, address: IpAddr, names: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{address}\t{names}");
}
