//! `routes`: does each lead somewhere, and only one to each destination?

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::subnets::{PlannedNetwork, PlannedNetworks, not_a_host, special_kind};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{RouteVia, StaticRoute},
    names::NetworkName,
    parse::{RawRoute, RawVia},
    reader::At,
    suggest::nearest,
};

/// Fills in the routes of every network.
pub(crate) fn routes(networks: &mut PlannedNetworks, refused: &BTreeSet<String>, report: &mut Diagnostics) {
    let resolved: Vec<(NetworkName, Vec<StaticRoute>)> = networks
        .values()
        .filter(|network| !network.routes.is_empty() && !network.damaged)
        .map(|network| (network.network.name.clone(), of_network(network, networks, refused, report)))
        .collect();
    for (name, routes) in resolved {
        if let Some(network) = networks.get_mut(&name) {
            network.network.routes = routes;
        }
    }
}

fn of_network(
    network: &PlannedNetwork,
    networks: &PlannedNetworks,
    refused: &BTreeSet<String>,
    report: &mut Diagnostics,
) -> Vec<StaticRoute> {
    let mut seen: BTreeMap<IpNet, &Span> = BTreeMap::new();
    let mut routes = Vec::new();
    for route in &network.routes {
        let At { value: destination, span } = &route.destination;
        if let Some(first) = seen.get(destination) {
            let message = format!("network `{}` has two routes to {destination}", network.network.name);
            report.push(
                Diagnostic::new(message, span.clone(), "again here")
                    .also((*first).clone(), "first here")
                    .help("remove one of the two; several routers stand in one `via` as a list"),
            );
            continue;
        }
        seen.insert(*destination, span);
        if matches!(&route.via, RawVia::Network(target) if refused.contains(&target.value)) {
            continue;
        }
        match unusable_destination(route, network).map_or_else(|| via(route, network, networks), Err) {
            Ok(via) => routes.push(StaticRoute { destination: *destination, via }),
            Err(diagnostic) => report.push(diagnostic),
        }
    }
    routes
}

fn unusable_destination(route: &RawRoute, network: &PlannedNetwork) -> Option<Diagnostic> {
    let At { value: destination, span } = &route.destination;
    let name = &network.network.name;
    let message = format!("network `{name}` cannot have a route to {destination}");
    if let Some(kind) = special_kind(destination) {
        return Some(
            Diagnostic::new(message, span.clone(), format!("{kind} addresses"))
                .help("routes are for unicast addresses"),
        );
    }
    let (family, key, enabled) = match destination {
        IpNet::V4(_) => ("IPv4", "enable_ipv4", network.network.enable_ipv4),
        IpNet::V6(_) => ("IPv6", "enable_ipv6", network.network.enable_ipv6),
    };
    if !enabled {
        return Some(
            Diagnostic::new(message, span.clone(), format!("the network has no {family}"))
                .also(network.name_span.clone(), "the network")
                .help(format!("remove the route, or write `{key} = true`")),
        );
    }
    let own = network.network.ipam.iter().find(|subnet| subnet.subnet.contains(destination))?;
    let diagnostic = Diagnostic::new(message, span.clone(), "the network's own addresses");
    let declared = network.declared.iter().find(|raw| raw.subnet.value == own.subnet);
    let place = declared.map_or(&network.name_span, |raw| &raw.subnet.span);
    Some(
        diagnostic
            .also(place.clone(), format!("its subnet is {}", own.subnet))
            .help("remove it: members reach each other without a router"),
    )
}

fn via(
    route: &RawRoute,
    network: &PlannedNetwork,
    networks: &PlannedNetworks,
) -> Result<RouteVia, Diagnostic> {
    match &route.via {
        RawVia::Blackhole => Ok(RouteVia::Blackhole),
        RawVia::Unreachable => Ok(RouteVia::Unreachable),
        RawVia::Prohibit => Ok(RouteVia::Prohibit),
        RawVia::Network(target) => {
            target_network(target, route.destination.value, network, networks).map(RouteVia::Network)
        }
        RawVia::Gateways(gateways) => {
            let mut seen: BTreeMap<IpAddr, &Span> = BTreeMap::new();
            for gateway in gateways {
                if let Some(first) = seen.insert(gateway.value, &gateway.span) {
                    let message = format!("router {} is listed twice", gateway.value);
                    return Err(Diagnostic::new(message, gateway.span.clone(), "again here")
                        .also(first.clone(), "first here")
                        .help("remove one of the two"));
                }
                if let Some(diagnostic) = unusable_router(gateway, route.destination.value, network) {
                    return Err(diagnostic);
                }
            }
            Ok(RouteVia::Gateways(gateways.iter().map(|at| at.value).collect()))
        }
    }
}

/// Why the gateway of `network` cannot send to `router`, if so.
fn unusable_router(router: &At<IpAddr>, destination: IpNet, network: &PlannedNetwork) -> Option<Diagnostic> {
    let (address, name) = (router.value, &network.network.name);
    let message = format!("no route of network `{name}` can lead by {address}");
    let refuse = |label: &str| Diagnostic::new(message.clone(), router.span.clone(), label);
    if address.is_ipv4() != destination.addr().is_ipv4() {
        return Some(
            refuse("of the other family")
                .help(format!("write the address of a router that {destination} is behind, of its family")),
        );
    }
    let declared: Vec<_> = network
        .declared
        .iter()
        .filter(|raw| raw.subnet.value.addr().is_ipv4() == address.is_ipv4())
        .collect();
    if declared.is_empty() {
        return Some(
            refuse("in which subnet?")
                .also(network.name_span.clone(), "names none, and gets the next free one")
                .help("name the subnet in `ipam`, so that the router stays in it"),
        );
    }
    let Some(raw) = declared.iter().find(|raw| raw.subnet.value.contains(&address)) else {
        let nets = declared.iter().map(|raw| raw.subnet.value.to_string()).collect::<Vec<_>>().join(" or ");
        let diagnostic = declared.iter().fold(refuse(&format!("not in {nets}")), |d, raw| {
            d.also(raw.subnet.span.clone(), "a subnet of the network")
        });
        return Some(diagnostic.help(
            "a router is a member of the network; what is behind another network is reached by \"network:NAME\"",
        ));
    };
    let gateway = network.network.ipam.iter().any(|subnet| subnet.gateway == Some(address));
    let label = match gateway {
        true => "this is the gateway, which has the route".to_owned(),
        false => not_a_host(address, &raw.subnet.value)?,
    };
    Some(
        refuse(&label)
            .also(raw.subnet.span.clone(), "the subnet")
            .help("write the address of a member that routes on"),
    )
}

fn target_network(
    target: &At<String>,
    destination: IpNet,
    network: &PlannedNetwork,
    networks: &PlannedNetworks,
) -> Result<NetworkName, Diagnostic> {
    let name = &network.network.name;
    let Some(other) = networks.get(target.value.as_str()) else {
        let message = format!("a route of network `{name}` leads into an unknown network");
        let label = format!("there is no network `{}`", target.value.escape_debug());
        let diagnostic = Diagnostic::new(message, target.span.clone(), label);
        let names = networks.keys().map(NetworkName::as_str).filter(|other| *other != name.as_str());
        return Err(match nearest(&target.value, names) {
            Some(near) => diagnostic.help(format!("did you mean \"network:{near}\"?")),
            None => diagnostic.help(format!("declare it: [networks.{}]", target.value.escape_debug())),
        });
    };
    let message = format!("no route of network `{name}` can lead into network `{}`", other.network.name);
    let refuse = |label: &str| Diagnostic::new(message.clone(), target.span.clone(), label);
    if other.network.name == *name {
        return Err(refuse("the network itself").help("name another network, or a router by its address"));
    }
    if other.lan.is_some() {
        return Err(refuse("it is on a LAN, whose routers are not this switch's")
            .also(other.name_span.clone(), "the network")
            .help("leave the route out: by default what is outside is reached by the uplink"));
    }
    if let Some(internal) = [network, other].into_iter().find(|network| network.network.internal) {
        return Err(refuse(&format!("network `{}` is internal", internal.network.name))
            .also(internal.name_span.clone(), "nothing leaves or enters it")
            .help("attach a container to both networks, or write `internal = false`"));
    }
    let (family, enabled) = match destination {
        IpNet::V4(_) => ("IPv4", other.network.enable_ipv4),
        IpNet::V6(_) => ("IPv6", other.network.enable_ipv6),
    };
    if !enabled {
        return Err(refuse(&format!("it has no {family}"))
            .also(other.name_span.clone(), "the network")
            .help(format!("write `enable_{} = true` there", family.to_lowercase())));
    }
    Ok(other.network.name.clone())
}
