//! Published ports: can they be reached, and who gets which host port?
//!
//! First those with a fixed host port take it, then those with a choice of a few the lowest free one, last those that
//! take any; each in the order of the text. Which free port one gets depends first of all on the container's name, port
//! and protocol, so it is the same at the next start, and mostly so after other lines of the file have changed.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    claims::{Claim, Claims},
    containers::PlannedContainer,
    subnets::{PlannedNetwork, PlannedNetworks},
};
use crate::{
    Surroundings,
    allot::stable_hash,
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{Protocol, PublishedPort, Uplink},
    names::ContainerName,
    parse::{PortSpec, RawUplink},
    reader::{At, listed},
};

/// One port or range of one container that is to be published.
struct Wish {
    /// Index of the container.
    container: usize,
    host_ip: Option<IpAddr>,
    host: HostPorts,
    container_ports: (u16, u16),
    protocol: Protocol,
    span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HostPorts {
    Fixed((u16, u16)),
    OneOf((u16, u16)),
    Any,
}

/// Fills in the published ports of all containers.
pub(crate) fn publish(
    containers: &mut [PlannedContainer],
    networks: &PlannedNetworks,
    uplink: &RawUplink,
    surroundings: &Surroundings<'_>,
    report: &mut Diagnostics,
) {
    let mut wishes = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let asked = container.publish.ports.len();
        if asked == 0 && container.publish.all.is_none() || !container.has_networks() {
            continue;
        }
        if let Some(diagnostic) = unreachable(container, networks, uplink) {
            report.push(diagnostic);
            continue;
        }
        for port in &container.publish.ports {
            match unusable_address(port, container, networks, uplink) {
                Some(diagnostic) => report.push(diagnostic),
                None => wishes.extend(of_spec(index, port)),
            }
        }
        wishes.extend(of_exposed(index, container));
    }
    // Stable: of one kind, those further up come first.
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|at| match wishes[*at].host {
        HostPorts::Fixed(_) => 0,
        HostPorts::OneOf(_) => 1,
        HostPorts::Any => 2,
    });
    let mut claims = Claims::default();
    let mut refused = BTreeSet::new();
    let mut published: Vec<Option<PublishedPort>> = vec![None; wishes.len()];
    for at in order {
        let wish = &wishes[at];
        let name = &containers[wish.container].settings.name;
        match grant(wish, name, &mut claims, surroundings) {
            Ok(port) => published[at] = Some(port),
            // A range that is exposed says it once.
            Err(diagnostic) => {
                if refused.insert(wish.span.start) {
                    report.push(diagnostic);
                }
            }
        }
    }
    for (wish, port) in wishes.iter().zip(published) {
        containers[wish.container].settings.ports.extend(port);
    }
}

/// Why nothing of the container can be reached from outside, if so.
fn unreachable(
    container: &PlannedContainer,
    networks: &PlannedNetworks,
    uplink: &RawUplink,
) -> Option<Diagnostic> {
    let name = &container.settings.name;
    let span = container.publish.keys.first().map_or(&container.name_span, |key| &key.span);
    let message = format!("container `{name}` cannot publish ports");
    let refuse = |label: &str| Diagnostic::new(message.clone(), span.clone(), label);
    if uplink.damaged || container.incomplete {
        return None;
    }
    if uplink.uplink == Uplink::None {
        let diagnostic = refuse("the switch has no uplink to be reached by");
        let diagnostic = match &uplink.kind_span {
            Some(kind) => diagnostic.also(kind.clone(), "the uplink"),
            None => diagnostic,
        };
        return Some(diagnostic.help("add an uplink: [uplink] kind = \"interface\" or \"tap\""));
    }
    let attached =
        || container.attachments.iter().filter_map(|at| Some((at, networks.get(at.network.value.as_str())?)));
    if attached().any(|(_, network)| network.damaged) {
        return None;
    }
    if attached().all(|(_, network)| !publishes(network)) {
        let diagnostic = refuse("it is on no bridge network with a way out");
        let diagnostic = attached().fold(diagnostic, |diagnostic, (attachment, network)| {
            let why = match &network.lan {
                Some(lan) => format!("{}: its members are reachable as they are", lan.mode.what()),
                None => "internal".to_owned(),
            };
            diagnostic.also(attachment.network.span.clone(), why)
        });
        return Some(diagnostic.help("attach it to a bridge network as well, or remove the ports"));
    }
    let common = attached().any(|(_, network)| {
        publishes(network)
            && (network.network.enable_ipv4 && uplink.uplink.has_ipv4()
                || network.network.enable_ipv6 && uplink.uplink.has_ipv6())
    });
    (!common).then(|| {
        let diagnostic =
            refuse("it and the uplink have addresses of different families, or the uplink has none");
        let diagnostic = match &uplink.kind_span {
            Some(kind) => diagnostic.also(kind.clone(), "the uplink"),
            None => diagnostic,
        };
        diagnostic.help("give the uplink an address of a family that the container has")
    })
}

/// As Docker has it, only bridges have ports mapped; what is on a LAN is there itself.
fn publishes(network: &PlannedNetwork) -> bool {
    network.lan.is_none() && !network.network.internal
}

/// Why `port` cannot be published at the address it names, if so.
fn unusable_address(
    port: &At<PortSpec>,
    container: &PlannedContainer,
    networks: &PlannedNetworks,
    uplink: &RawUplink,
) -> Option<Diagnostic> {
    let address = port.value.host_ip.filter(|_| !uplink.damaged && !container.incomplete)?;
    let message = format!("nothing can be published at {address}");
    let refuse = |label: String| Diagnostic::new(message.clone(), port.span.clone(), label);
    let (family, key, has) = match address {
        IpAddr::V4(_) => ("IPv4", "ipv4", uplink.uplink.has_ipv4()),
        IpAddr::V6(_) => ("IPv6", "ipv6", uplink.uplink.has_ipv6()),
    };
    if !has {
        return Some(
            refuse(format!("the uplink has no {family}"))
                .help(format!("add `{key}` to [uplink], or leave out the address")),
        );
    }
    let of_family =
        container.attachments.iter().filter_map(|at| networks.get(at.network.value.as_str())).any(
            |network| {
                let enabled =
                    if address.is_ipv4() { network.network.enable_ipv4 } else { network.network.enable_ipv6 };
                network.damaged || (enabled && publishes(network))
            },
        );
    if !of_family {
        let name = &container.settings.name;
        return Some(
            refuse(format!("container `{name}` has no {family} on a bridge network with a way out"))
                .also(container.name_span.clone(), "the container")
                .help(format!(
                    "write `enable_{key} = true` on its network, or publish at an address of the other family"
                )),
        );
    }
    let by_dhcp = address.is_ipv4() && uplink.interfaces.iter().all(|at| at.value.addr().is_ipv6());
    if address.is_unspecified() || by_dhcp || uplink.uplink.addresses().any(|own| own == address) {
        return None;
    }
    let own = listed(uplink.uplink.addresses());
    let label = if address.is_loopback() {
        "the host's loopback does not lead to the switch".to_owned()
    } else {
        "not an address of the uplink".to_owned()
    };
    Some(refuse(label).help(format!(
        "leave out the address, choose one of {own}, or add it to `addresses` in [uplink.nat]"
    )))
}

fn of_spec(container: usize, port: &At<PortSpec>) -> Vec<Wish> {
    let At { value: spec, span } = port;
    let (first, last) = spec.container_ports;
    let wish = |host, container_ports| Wish {
        container,
        host_ip: spec.host_ip,
        host,
        container_ports,
        protocol: spec.protocol,
        span: span.clone(),
    };
    match spec.host_ports {
        Some(host) if first == last && host.0 != host.1 => vec![wish(HostPorts::OneOf(host), (first, last))],
        Some(host) => vec![wish(HostPorts::Fixed(host), (first, last))],
        None => (first..=last).map(|port| wish(HostPorts::Any, (port, port))).collect(),
    }
}

/// `publish_all`: what is exposed and not published by name.
fn of_exposed(index: usize, container: &PlannedContainer) -> Vec<Wish> {
    if container.publish.all.is_none() {
        return Vec::new();
    }
    let named = |protocol, port: u16| {
        container.publish.ports.iter().any(|At { value: spec, .. }| {
            spec.protocol == protocol && (spec.container_ports.0..=spec.container_ports.1).contains(&port)
        })
    };
    let mut seen = BTreeSet::new();
    let mut wishes = Vec::new();
    for At { value: exposed, span } in &container.publish.expose {
        for port in exposed.ports.0..=exposed.ports.1 {
            if !named(exposed.protocol, port) && seen.insert((exposed.protocol, port)) {
                wishes.push(Wish {
                    container: index,
                    host_ip: None,
                    host: HostPorts::Any,
                    container_ports: (port, port),
                    protocol: exposed.protocol,
                    span: span.clone(),
                });
            }
        }
    }
    wishes
}

fn grant(
    wish: &Wish,
    name: &ContainerName,
    claims: &mut Claims,
    surroundings: &Surroundings<'_>,
) -> Result<PublishedPort, Diagnostic> {
    let (protocol, host_ip) = (wish.protocol, wish.host_ip);
    let host_ports = match wish.host {
        HostPorts::Fixed(ports) => Some(ports),
        HostPorts::OneOf((first, last)) => {
            (first..=last).map(|port| (port, port)).find(|ports| claims.are_free(host_ip, protocol, *ports))
        }
        HostPorts::Any => any_free(wish, name, claims, surroundings).map(|port| (port, port)),
    };
    let Some(host_ports) = host_ports else { return Err(none_free(wish, name, surroundings)) };
    let claim = Claim { ports: host_ports, owner: name.clone(), span: wish.span.clone() };
    match claims.take(host_ip, protocol, claim) {
        Ok(()) => Ok(PublishedPort { host_ip, host_ports, container_ports: wish.container_ports, protocol }),
        Err(other) => Err(conflict(wish, name, host_ports, other)),
    }
}

/// A port that nobody has at any address, and the host does not keep for somebody.
fn any_free(
    wish: &Wish,
    name: &ContainerName,
    claims: &mut Claims,
    surroundings: &Surroundings<'_>,
) -> Option<u16> {
    let (first, last) = surroundings.ephemeral_ports;
    let count = u64::from(last.saturating_sub(first)) + 1;
    let (port, protocol) = (wish.container_ports.0.to_string(), wish.protocol.to_string());
    let hash = stable_hash(0, &[name.as_str(), &port, &protocol]);
    let start = u16::try_from(u64::from(first) + hash % count).ok()?;
    claims.any_free(wish.protocol, (first, last), start, surroundings.port_is_reserved)
}

fn none_free(wish: &Wish, name: &ContainerName, surroundings: &Surroundings<'_>) -> Diagnostic {
    let (first, last) = match wish.host {
        HostPorts::Fixed(range) | HostPorts::OneOf(range) => range,
        HostPorts::Any => surroundings.ephemeral_ports,
    };
    let protocol = wish.protocol;
    let message =
        format!("no host port is free for port {}/{protocol} of container `{name}`", wish.container_ports.0);
    Diagnostic::new(message, wish.span.clone(), format!("all of {first}-{last} are published already"))
        .help("name a host port of your own, like \"8080:80\", or publish fewer")
}

fn conflict(wish: &Wish, name: &ContainerName, host_ports: (u16, u16), other: &Claim) -> Diagnostic {
    let common = (host_ports.0.max(other.ports.0), host_ports.1.min(other.ports.1));
    let (protocol, owner) = (wish.protocol, &other.owner);
    let message = if common.0 == common.1 {
        format!("host port {}/{protocol} is published by container `{owner}` already", common.0)
    } else {
        format!(
            "host ports {}-{}/{protocol} are published by container `{owner}` already",
            common.0, common.1
        )
    };
    let label =
        if owner == name { "again here".to_owned() } else { format!("container `{name}` publishes it too") };
    Diagnostic::new(message, wish.span.clone(), label).also(other.span.clone(), "first here").help(
        "choose another host port, or publish each at an address of its own, like \"192.0.2.10:8080:80\"",
    )
}
