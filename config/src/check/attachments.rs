//! Addresses, MACs and interface names that are given: can each be had, and does only one attachment have it?

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use vswitch_wire::MacAddr;

use super::{
    containers::PlannedContainer,
    subnets::{PlannedNetwork, PlannedNetworks, not_a_host},
};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{PortDriver, Subnet},
    names::{ContainerName, InterfaceName},
    parse::{RawAttachment, RawUplink},
    reader::At,
};

/// Who has what, by network.
#[derive(Default)]
struct Taken<'a> {
    addresses: BTreeMap<(&'a str, IpAddr), (&'a ContainerName, Span)>,
    macs: BTreeMap<(&'a str, MacAddr), (&'a ContainerName, Span)>,
}

/// Checks the attachments of all containers.
pub(crate) fn attachments(
    containers: &[PlannedContainer],
    networks: &PlannedNetworks,
    uplink: &RawUplink,
    workers: usize,
    report: &mut Diagnostics,
) {
    let mut taken = Taken::default();
    for container in containers {
        interface_names(container, report);
        for attachment in &container.attachments {
            let Some(network) = networks.get(attachment.network.value.as_str()) else { continue };
            let name = &container.settings.name;
            let ipv4 =
                attachment.ipv4_address.iter().map(|at| At::new(IpAddr::V4(at.value), at.span.clone()));
            let ipv6 =
                attachment.ipv6_address.iter().map(|at| At::new(IpAddr::V6(at.value), at.span.clone()));
            for address in ipv4.chain(ipv6) {
                if let Some(diagnostic) = unusable(&address, network)
                    .or_else(|| uplinks_own(&address, network, uplink))
                    .or_else(|| taken.address(name, attachment, &address))
                {
                    report.push(diagnostic);
                }
            }
            if let Some(diagnostic) =
                gateways_mac(attachment, network).or_else(|| taken.mac(name, attachment))
            {
                report.push(diagnostic);
            }
            if let Some(diagnostic) = too_few_queues(attachment, workers) {
                report.push(diagnostic);
            }
        }
    }
}

/// Every worker needs a queue of every port, and a plain tap has one.
fn too_few_queues(attachment: &RawAttachment, workers: usize) -> Option<Diagnostic> {
    let port = attachment.port.as_ref().filter(|port| port.value == PortDriver::TapPlain && workers > 1)?;
    let message = format!("a plain tap has one queue, and {workers} workers need one each");
    let help = "use `port = \"tap\"`, or `workers = 1` under `[switch]`";
    Some(Diagnostic::new(message, port.span.clone(), "has one queue").help(help))
}

fn interface_names(container: &PlannedContainer, report: &mut Diagnostics) {
    let mut seen: BTreeMap<&InterfaceName, &Span> = BTreeMap::new();
    for At { value: name, span } in
        container.attachments.iter().filter_map(|attachment| attachment.interface_name.as_ref())
    {
        if let Some(first) = seen.insert(name, span) {
            let message =
                format!("container `{}` has two interfaces called `{name}`", container.settings.name);
            report.push(
                Diagnostic::new(message, span.clone(), "used again here")
                    .also(first.clone(), "first used here")
                    .help("choose another name, or leave it out for the next free `ethN`"),
            );
        }
    }
}

/// Why no container on `network` can have `address`, if so.
fn unusable(address: &At<IpAddr>, network: &PlannedNetwork) -> Option<Diagnostic> {
    let (name, ip, span) = (&network.network.name, address.value, address.span.clone());
    let (family, enabled, prefix_len) = match ip {
        IpAddr::V4(_) => ("IPv4", network.network.enable_ipv4, 24),
        IpAddr::V6(_) => ("IPv6", network.network.enable_ipv6, 64),
    };
    if network.damaged {
        return None;
    }
    if !enabled {
        let message = format!("network `{name}` has no {family}");
        let diagnostic = Diagnostic::new(message, span, format!("an {family} address"))
            .also(network.name_span.clone(), "the network");
        return Some(diagnostic.help(format!(
            "remove the address, or write `enable_{} = true` on the network",
            family.to_lowercase()
        )));
    }
    let of_family: Vec<_> =
        network.declared.iter().filter(|raw| raw.subnet.value.addr().is_ipv4() == ip.is_ipv4()).collect();
    if of_family.is_empty() {
        // Which subnet it is given may change with every other line of the file, so no address in it can be relied on.
        let message = format!("address {ip} needs an {family} subnet on network `{name}`");
        let diagnostic = Diagnostic::new(message, span, "in which subnet?")
            .also(network.name_span.clone(), "names none, and gets the next free one");
        let subnet = IpNet::new(ip, prefix_len).map(|net| net.trunc()).ok()?;
        return Some(
            diagnostic.help(format!("add `ipam = [{{ subnet = \"{subnet}\" }}]` to [networks.{name}]")),
        );
    }
    let Some(raw) = of_family.iter().find(|raw| raw.subnet.value.contains(&ip)) else {
        let nets = of_family.iter().map(|raw| raw.subnet.value.to_string()).collect::<Vec<_>>().join(" or ");
        let message = format!("address {ip} is outside of network `{name}`");
        let diagnostic = Diagnostic::new(message, span, format!("not in {nets}"));
        let diagnostic = of_family
            .iter()
            .fold(diagnostic, |d, raw| d.also(raw.subnet.span.clone(), format!("a subnet of `{name}`")));
        return Some(
            diagnostic.help(format!("choose an address in {nets}, or leave it out for the lowest free one")),
        );
    };
    let subnet = network.network.ipam.iter().find(|subnet| subnet.subnet == raw.subnet.value)?;
    let (label, place) = if let Some(label) = not_a_host(ip, &subnet.subnet) {
        (label, (raw.subnet.span.clone(), "the subnet".to_owned()))
    } else if subnet.gateway == Some(ip) {
        let place = match &raw.gateway {
            Some(gateway) => (gateway.span.clone(), "the gateway is set here".to_owned()),
            None => (raw.subnet.span.clone(), "its gateway is the first address by default".to_owned()),
        };
        ("the gateway has this address".to_owned(), place)
    } else {
        let (aux, at) = raw.aux_addresses.iter().find(|(_, at)| at.value == ip)?;
        (format!("kept free for `{}`", aux.escape_debug()), (at.span.clone(), "here".to_owned()))
    };
    let diagnostic =
        Diagnostic::new(format!("no container can have address {ip}"), span, label).also(place.0, place.1);
    Some(diagnostic.help(spare_help(subnet)))
}

/// Why no container on `network` can have `address`, if the uplink or its router has it on the same LAN.
fn uplinks_own(address: &At<IpAddr>, network: &PlannedNetwork, uplink: &RawUplink) -> Option<Diagnostic> {
    let interfaces = uplink.interfaces.iter().map(|at| (at.value.addr(), &at.span));
    let others = uplink.gateways.iter().chain(&uplink.nat.external).map(|at| (at.value, &at.span));
    let (_, place) = interfaces.chain(others).find(|(taken, _)| *taken == address.value)?;
    let message = format!("no container can have address {}", address.value);
    let diagnostic =
        Diagnostic::new(message, address.span.clone(), "taken on the uplink").also(place.clone(), "here");
    let subnet = network.network.ipam.iter().find(|subnet| subnet.subnet.contains(&address.value))?;
    Some(diagnostic.help(spare_help(subnet)))
}

/// The gateway's MAC address is made from the network's name and subnet, and does not step aside.
fn gateways_mac(attachment: &RawAttachment, network: &PlannedNetwork) -> Option<Diagnostic> {
    let At { value: mac, span } = attachment.mac_address.as_ref()?;
    if *mac != network.network.gateway_mac || network.lan.is_some() || network.damaged {
        return None;
    }
    let message = format!("the gateway of network `{}` has MAC address {mac}", network.network.name);
    Some(
        Diagnostic::new(message, span.clone(), "the gateway's own")
            .also(network.name_span.clone(), "the network")
            .help("choose another one, or leave it out for one made from the IP address"),
    )
}

fn spare_help(subnet: &Subnet) -> String {
    format!("choose another address in {}, or leave it out for the lowest free one", subnet.subnet)
}

impl<'a> Taken<'a> {
    fn address(
        &mut self,
        container: &'a ContainerName,
        attachment: &'a RawAttachment,
        address: &At<IpAddr>,
    ) -> Option<Diagnostic> {
        let network = attachment.network.value.as_str();
        let key = (network, address.value);
        let Some((owner, first)) = self.addresses.get(&key) else {
            self.addresses.insert(key, (container, address.span.clone()));
            return None;
        };
        let message = format!("address {} is taken twice on network `{network}`", address.value);
        let diagnostic =
            Diagnostic::new(message, address.span.clone(), format!("container `{container}` has it too"));
        let diagnostic = diagnostic.also(first.clone(), format!("container `{owner}` has it"));
        Some(diagnostic.help("choose another address, or leave it out for the lowest free one"))
    }

    fn mac(&mut self, container: &'a ContainerName, attachment: &'a RawAttachment) -> Option<Diagnostic> {
        let At { value: mac, span } = attachment.mac_address.as_ref()?;
        let network = attachment.network.value.as_str();
        let Some((owner, first)) = self.macs.get(&(network, *mac)) else {
            self.macs.insert((network, *mac), (container, span.clone()));
            return None;
        };
        let message = format!("MAC address {mac} is taken twice on network `{network}`");
        let diagnostic =
            Diagnostic::new(message, span.clone(), format!("container `{container}` has it too"));
        let diagnostic = diagnostic.also(first.clone(), format!("container `{owner}` has it"));
        Some(diagnostic.help("choose another one, or leave it out for one made from the IP address"))
    }
}
