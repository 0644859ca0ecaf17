//! The uplink beside the networks: are their addresses apart, and do translated ones lead to somebody?

use std::net::IpAddr;

use ipnet::IpNet;

use super::subnets::{PlannedNetworks, not_a_host};
use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    parse::RawUplink,
    reader::At,
};

/// Checks the uplink against the networks.
pub(crate) fn uplink(uplink: &RawUplink, networks: &PlannedNetworks, report: &mut Diagnostics) {
    if uplink.damaged {
        return;
    }
    overlaps(uplink, networks, report);
    for external in &uplink.nat.external {
        if let Some(diagnostic) = unusable_external(external, uplink, networks) {
            report.push(diagnostic);
        }
    }
    for internal in &uplink.nat.internal {
        if let Some(diagnostic) = unusable_internal(internal, networks) {
            report.push(diagnostic);
        }
    }
}

/// Networks whose members are not on the uplink's LAN must have other addresses than that.
fn overlaps(uplink: &RawUplink, networks: &PlannedNetworks, report: &mut Diagnostics) {
    for network in networks.values().filter(|network| !network.is_neighbour_of_a_lan()) {
        for raw in &network.declared {
            let net = raw.subnet.value;
            let common = |at: &&At<IpNet>| {
                let own = at.value.trunc();
                own.contains(&net) || net.contains(&own)
            };
            let Some(own) = uplink.interfaces.iter().find(common) else { continue };
            let message = format!("subnet {net} of network `{}` overlaps the uplink's", network.network.name);
            report.push(
                Diagnostic::new(message, raw.subnet.span.clone(), format!("overlaps {}", own.value.trunc()))
                    .also(own.span.clone(), "the uplink's subnet")
                    .help("choose a subnet whose addresses no other one has"),
            );
        }
    }
}

fn unusable_external(
    external: &At<IpAddr>,
    uplink: &RawUplink,
    networks: &PlannedNetworks,
) -> Option<Diagnostic> {
    let address = external.value;
    let refuse = |label: String| {
        let message = format!("{address} cannot be an external address");
        Diagnostic::new(message, external.span.clone(), label)
    };
    let own = uplink.interfaces.iter().find(|at| at.value.addr() == address).map(|at| &at.span);
    let router = uplink.gateways.iter().find(|at| at.value == address).map(|at| &at.span);
    if let Some(span) = own.or(router) {
        let help =
            "remove it, or write one that nobody else has; the uplink's own address is used in any case";
        return Some(refuse("taken already".to_owned()).also(span.clone(), "by this").help(help));
    }
    let (family, key, has) = match address {
        IpAddr::V4(_) => ("IPv4", "ipv4", uplink.uplink.has_ipv4()),
        IpAddr::V6(_) => ("IPv6", "ipv6", uplink.uplink.has_ipv6()),
    };
    if !has {
        return Some(
            refuse(format!("the uplink has no {family}"))
                .help(format!("add `{key}` to [uplink], or remove the address")),
        );
    }
    let nets = uplink.interfaces.iter().map(|at| (at.value.trunc(), &at.span));
    if let Some((net, span)) = nets.into_iter().find(|(net, _)| net.contains(&address))
        && let Some(label) = not_a_host(address, &net)
    {
        return Some(
            refuse(label)
                .also(span.clone(), "the uplink's subnet")
                .help(format!("choose another one in {net}")),
        );
    }
    let of_networks = networks.values().filter(|network| !network.is_neighbour_of_a_lan());
    let mut subnets = of_networks.flat_map(|network| network.declared.iter().map(move |raw| (network, raw)));
    let (network, raw) = subnets.find(|(_, raw)| raw.subnet.value.contains(&address))?;
    Some(
        refuse(format!("inside network `{}`", network.network.name))
            .also(raw.subnet.span.clone(), "its subnet")
            .help("choose an address that the outside sends to this switch"),
    )
}

/// What an address is translated to must be a member's, whichever lines the file gains.
fn unusable_internal(internal: &At<IpAddr>, networks: &PlannedNetworks) -> Option<Diagnostic> {
    let address = internal.value;
    let message = format!("{address} cannot be translated one to one");
    let refuse = |label: String| Diagnostic::new(message.clone(), internal.span.clone(), label);
    if networks.values().any(|network| network.damaged) {
        return None;
    }
    let mut subnets =
        networks.values().flat_map(|network| network.declared.iter().map(move |raw| (network, raw)));
    let Some((network, raw)) = subnets.find(|(_, raw)| raw.subnet.value.contains(&address)) else {
        return Some(
            refuse("in no configured subnet".to_owned())
                .help("write the address of a container in a subnet that `ipam` of its network names"),
        );
    };
    let name = &network.network.name;
    let diagnostic = if network.lan.is_some() {
        refuse(format!("network `{name}` is on a LAN")).help("a container on a LAN is reachable as it is")
    } else if network.network.internal {
        refuse(format!("network `{name}` is internal")).help("choose a container on a network with a way out")
    } else {
        let gateway = network.network.ipam.iter().any(|subnet| subnet.gateway == Some(address));
        let taken = gateway.then(|| "the gateway has this address".to_owned());
        let label = taken.or_else(|| not_a_host(address, &raw.subnet.value))?;
        refuse(label).help("write the address of a container")
    };
    Some(diagnostic.also(raw.subnet.span.clone(), "its subnet"))
}
