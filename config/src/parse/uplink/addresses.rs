//! The addresses of an uplink: its own, the other end's of a tap, and its routers'.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    allot::{first_usable, own_addresses},
    diagnostic::{Diagnostic, Diagnostics, Span},
    reader::{At, Field},
};

/// The lowest address of the subnet that a host may have and the host does not.
pub(super) fn far_end(host: &At<IpNet>, report: &mut Diagnostics) -> Option<At<IpNet>> {
    let net = host.value.trunc();
    let first = first_usable(&net);
    let own = if first == host.value.addr() { next(first) } else { Some(first) };
    let own = own.filter(|own| net.contains(own) && own_addresses(&net).all(|taken| taken != *own));
    let Some(own) = own.and_then(|own| IpNet::new(own, net.prefix_len()).ok()) else {
        let message = format!("{net} has no room for both ends of the tap");
        let diagnostic = Diagnostic::new(message, host.span.clone(), "the host takes the only address");
        let len = net.max_prefix_len() - 2;
        report.push(
            diagnostic.help(format!("write a shorter prefix length, like \"{}/{len}\"", host.value.addr())),
        );
        return None;
    };
    Some(At::new(own, host.span.clone()))
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(address) => u128::from(address).checked_add(1).map(|next| Ipv6Addr::from(next).into()),
    }
}

pub(super) fn ipv4_of(net: IpNet) -> Option<Ipv4Net> {
    if let IpNet::V4(net) = net { Some(net) } else { None }
}

pub(super) fn ipv6_of(net: IpNet) -> Option<Ipv6Net> {
    if let IpNet::V6(net) = net { Some(net) } else { None }
}

pub(super) fn own_ipv4(field: &Field<'_>, example: &str, report: &mut Diagnostics) -> Option<At<Ipv4Net>> {
    let at = own_address(field, example, IpAddr::is_ipv4, report)?;
    ipv4_of(at.value).map(|net| At::new(net, at.span))
}

pub(super) fn own_ipv6(field: &Field<'_>, example: &str, report: &mut Diagnostics) -> Option<At<Ipv6Net>> {
    let at = own_address(field, example, IpAddr::is_ipv6, report)?;
    ipv6_of(at.value).map(|net| At::new(net, at.span))
}

/// An address a host may have, with the prefix length of its subnet.
fn own_address(
    field: &Field<'_>,
    example: &str,
    is_family: fn(&IpAddr) -> bool,
    report: &mut Diagnostics,
) -> Option<At<IpNet>> {
    let text = field.string(report)?;
    let mut refuse = |label: String, help: String| {
        let message = format!("{} cannot be the address of an uplink", field.what());
        report.push(Diagnostic::new(message, text.span.clone(), label).help(help));
        None
    };
    let like = format!("write it like {example}");
    let Ok(net) = text.value.parse::<IpNet>() else {
        return match text.value.parse::<IpAddr>() {
            Ok(address) => {
                let len = if address.is_ipv4() { 24 } else { 64 };
                let help = format!("write it with the one of its subnet, like \"{address}/{len}\"");
                refuse("the prefix length is missing".to_owned(), help)
            }
            Err(_) => refuse("expected ADDRESS/PREFIX-LENGTH".to_owned(), like),
        };
    };
    let address = net.addr();
    if !is_family(&address) {
        let right = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        return refuse("of the other family".to_owned(), format!("write it as `{right}`"));
    }
    if let Some(kind) = not_global(address) {
        return refuse(kind.to_owned(), like);
    }
    if net.prefix_len() == 0 {
        return refuse("this is every address there is".to_owned(), like);
    }
    if own_addresses(&net.trunc()).any(|own| own == address) {
        let label = format!("not the address of a host in {}", net.trunc());
        return refuse(
            label,
            format!("the first is \"{}/{}\"", first_usable(&net.trunc()), net.prefix_len()),
        );
    }
    Some(At::new(net, text.span))
}

/// What `address` is for, if not for a host to have on an uplink (RFC 6890 §2.2).
pub(in crate::parse) fn not_global(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let reserved =
        matches!(address, IpAddr::V4(address) if address.octets()[0] >= 240 || address.octets()[0] == 0);
    match () {
        () if address.is_loopback() => Some("a loopback address"),
        () if address.is_multicast() => Some("a multicast address"),
        () if address.is_unspecified() || reserved => Some("a reserved address"),
        () if link_local => Some("a link-local address, which every interface has of its own"),
        () => None,
    }
}

/// One address, or a list with one of each family at most.
pub(super) fn gateways(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<At<IpAddr>>> {
    let elements = if field.as_str().is_some() { vec![field.clone()] } else { field.elements(report)? };
    let mut gateways: Vec<At<IpAddr>> = Vec::new();
    for element in &elements {
        let Some(gateway) = element.parsed::<IpAddr>("an IP address", "192.0.2.1", report) else { continue };
        let same_family = |other: &&At<IpAddr>| other.value.is_ipv4() == gateway.value.is_ipv4();
        if let Some(first) = gateways.iter().find(same_family) {
            let family = if gateway.value.is_ipv4() { "IPv4" } else { "IPv6" };
            report.push(
                Diagnostic::new(
                    format!("the uplink has two {family} gateways"),
                    gateway.span.clone(),
                    "a second one",
                )
                .also(first.span.clone(), "the first")
                .help("keep one of each family"),
            );
            continue;
        }
        gateways.push(gateway);
    }
    Some(gateways)
}

pub(super) fn by_family(gateways: &[At<IpAddr>]) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let gateway4 =
        gateways.iter().find_map(|at| if let IpAddr::V4(address) = at.value { Some(address) } else { None });
    let gateway6 =
        gateways.iter().find_map(|at| if let IpAddr::V6(address) = at.value { Some(address) } else { None });
    (gateway4, gateway6)
}

/// Why the switch cannot send to this gateway, if so.
pub(super) fn unusable_gateway(
    gateway: &At<IpAddr>,
    own4: Option<&At<IpNet>>,
    own6: Option<&At<IpNet>>,
    dhcp: Option<&Span>,
) -> Option<Diagnostic> {
    let (address, span) = (gateway.value, gateway.span.clone());
    let message = format!("the uplink cannot reach gateway {address}");
    if let (IpAddr::V4(_), Some(dhcp)) = (address, dhcp) {
        return Some(
            Diagnostic::new("the uplink's IPv4 gateway is set twice", span, "set here")
                .also(dhcp.clone(), "and by the DHCP server")
                .help("remove it, or write the address in place of \"dhcp\""),
        );
    }
    // A router's link-local address is on every link (RFC 4861 §6.1.2 has routers advertise by it).
    if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) && own6.is_some() {
        return None;
    }
    let (family, key, own) = if address.is_ipv4() { ("IPv4", "ipv4", own4) } else { ("IPv6", "ipv6", own6) };
    let Some(own) = own else {
        return Some(
            Diagnostic::new(message, span, format!("the uplink has no {family} address"))
                .help(format!("add `{key}`, or remove the gateway")),
        );
    };
    let net = own.value.trunc();
    let label = if address == own.value.addr() {
        "the uplink has this address itself".to_owned()
    } else if !net.contains(&address) {
        format!("not in {net}")
    } else if own_addresses(&net).any(|taken| taken == address) {
        format!("not the address of a host in {net}")
    } else {
        return None;
    };
    Some(
        Diagnostic::new(message, span, label)
            .also(own.span.clone(), "the uplink's address")
            .help(format!("write the address of the router in {net}")),
    )
}
