//! Networks: are their subnets sound and apart, and which subnets do those get that name none?

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    advertisements::advertisements,
    overlap::{Declared, overlaps},
};
use crate::{
    allot::{DefaultSubnets, first_usable, gateway_mac, own_addresses},
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{IpvlanMode, Network, Subnet},
    names::NetworkName,
    parse::{LanMode, RawLan, RawNetwork, RawRoute, RawSubnet, RawUplink},
};

/// All networks by name.
pub(crate) type PlannedNetworks = BTreeMap<NetworkName, PlannedNetwork>;

/// A network with its subnets, and where the file says so.
#[derive(Debug)]
pub(crate) struct PlannedNetwork {
    pub(crate) network: Network,
    pub(crate) name_span: Span,
    /// The configured subnets.
    pub(crate) declared: Vec<RawSubnet>,
    /// The driver, unless it is the bridge's.
    pub(crate) lan: Option<RawLan>,
    pub(crate) routes: Vec<RawRoute>,
    /// A subnet could not be read or none was left, so nothing can be said of addresses.
    pub(crate) damaged: bool,
}

impl PlannedNetwork {
    /// Whether its members are neighbours of hosts outside, so that their addresses are those of a LAN.
    pub(crate) fn is_neighbour_of_a_lan(&self) -> bool {
        self.lan.as_ref().is_some_and(|lan| lan.mode != LanMode::Ipvlan(IpvlanMode::L3))
    }
}

/// The IPv6 minimum link MTU, RFC 8200 §5.
const MIN_IPV6_MTU: u16 = 1280;

/// Checks all networks and gives those without subnets one of each family.
pub(crate) fn networks(
    raw: Vec<RawNetwork>,
    uplink: &RawUplink,
    ula_seed: u64,
    report: &mut Diagnostics,
) -> PlannedNetworks {
    let declared: Vec<_> = raw.iter().flat_map(declared_subnets).collect();
    overlaps(&declared, report);
    let of_uplink = uplink.interfaces.iter().map(|at| at.value.trunc());
    let external = uplink.nat.external.iter().map(|at| IpNet::from(at.value));
    let of_networks = declared.iter().map(|declared| declared.net);
    let configured: Vec<IpNet> = of_networks.chain(of_uplink).chain(external).collect();
    let mut defaults = DefaultSubnets::new(&configured, ula_seed);
    for network in &raw {
        families(network, report);
        lan_subnets(network, uplink, report);
        let has_gateway = !is_l3(network.lan.as_ref());
        for subnet in &network.subnets {
            addresses(subnet, has_gateway, report);
        }
    }
    let plan = |raw: RawNetwork| (raw.settings.name.clone(), plan(raw, &mut defaults, report));
    raw.into_iter().map(plan).collect()
}

fn declared_subnets(network: &RawNetwork) -> impl Iterator<Item = Declared<'_>> {
    network.subnets.iter().map(|subnet| Declared {
        network: &network.settings.name,
        net: subnet.subnet.value,
        span: subnet.subnet.span.clone(),
    })
}

/// Do the families the network says it has agree with its subnets and its MTU?
fn families(network: &RawNetwork, report: &mut Diagnostics) {
    let name = &network.settings.name;
    if !network.settings.enable_ipv4 && !network.settings.enable_ipv6 {
        // enable_ipv4 is true unless it is given.
        let span =
            network.enable_ipv4.as_ref().map_or(network.name_span.clone(), |enable| enable.span.clone());
        let message = format!("network `{name}` has neither IPv4 nor IPv6");
        report
            .push(Diagnostic::new(message, span, "and IPv6 is not enabled").help("add `enable_ipv6 = true`"));
    }
    for (family, enable, is_family) in [
        ("IPv4", &network.enable_ipv4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("IPv6", &network.enable_ipv6, IpAddr::is_ipv6),
    ] {
        let Some(disabled) = enable.as_ref().filter(|enable| !enable.value) else { continue };
        for subnet in network.subnets.iter().filter(|subnet| is_family(&subnet.subnet.value.addr())) {
            let message = format!("network `{name}` has an {family} subnet and no {family}");
            let key = family.to_lowercase();
            report.push(
                Diagnostic::new(message, subnet.subnet.span.clone(), format!("an {family} subnet"))
                    .also(disabled.span.clone(), format!("{family} is disabled here"))
                    .help(format!("remove the subnet, or write `enable_{key} = true`")),
            );
        }
    }
    if let Some(span) = network.mtu_span.clone().filter(|_| network.settings.enable_ipv6)
        && network.settings.mtu < MIN_IPV6_MTU
    {
        let message = format!("network `{name}` has IPv6 and an MTU below {MIN_IPV6_MTU}");
        let label = format!("IPv6 needs at least {MIN_IPV6_MTU} bytes");
        report.push(
            Diagnostic::new(message, span, label).help(format!("write `mtu = {MIN_IPV6_MTU}` or more")),
        );
    }
}

/// Do gateway, range and auxiliary addresses fit their subnet?
fn addresses(raw: &RawSubnet, has_gateway: bool, report: &mut Diagnostics) {
    let net = raw.subnet.value;
    if let Some(kind) = special_kind(&net) {
        let message = format!("subnet {net} cannot be used");
        report.push(
            Diagnostic::new(message, raw.subnet.span.clone(), format!("{kind} addresses"))
                .help("choose a subnet of unicast addresses, like \"10.10.0.0/24\""),
        );
    }
    if let Some(range) = raw.ip_range.as_ref().filter(|range| !net.contains(&range.value)) {
        let message = format!("ip_range {} is not inside its subnet", range.value);
        report.push(
            Diagnostic::new(message, range.span.clone(), format!("reaches outside {net}"))
                .also(raw.subnet.span.clone(), "the subnet")
                .help(format!("choose a range inside {net}, or leave out `ip_range` to use all of it")),
        );
    }
    let gateway = raw.gateway.as_ref();
    if let Some(gateway) = gateway
        && let Some(label) = not_a_host(gateway.value, &net)
    {
        let message = format!("gateway {} cannot be used", gateway.value);
        report.push(
            Diagnostic::new(message, gateway.span.clone(), label)
                .also(raw.subnet.span.clone(), "the subnet")
                .help(format!(
                    "write \"{}\", or leave out `gateway`: that is the default",
                    first_usable(&net)
                )),
        );
    }
    let mut seen: BTreeMap<IpAddr, (String, Span)> = BTreeMap::new();
    if has_gateway {
        let (label, span) = match gateway {
            Some(gateway) => ("the gateway".to_owned(), &gateway.span),
            None => {
                (format!("the gateway of this subnet is {} by default", first_usable(&net)), &raw.subnet.span)
            }
        };
        seen.insert(
            gateway.map_or_else(|| first_usable(&net), |gateway| gateway.value),
            (label, span.clone()),
        );
    }
    for (name, address) in &raw.aux_addresses {
        if !net.contains(&address.value) {
            let message = format!("auxiliary address {} is not inside its subnet", address.value);
            report.push(
                Diagnostic::new(message, address.span.clone(), format!("not in {net}"))
                    .also(raw.subnet.span.clone(), "the subnet")
                    .help("auxiliary addresses are kept free in the subnet beside them; one elsewhere needs no keeping"),
            );
        } else if let Some((label, span)) = seen.get(&address.value) {
            let message = format!("auxiliary address {} is taken twice", address.value);
            report.push(
                Diagnostic::new(
                    message,
                    address.span.clone(),
                    format!("`{}` has it too", name.escape_debug()),
                )
                .also(span.clone(), label.clone())
                .help("choose another address"),
            );
        } else {
            seen.insert(address.value, (format!("`{}` has it", name.escape_debug()), address.span.clone()));
        }
    }
}

/// Why no host of `net` can have `address`, if so.
pub(super) fn not_a_host(address: IpAddr, net: &IpNet) -> Option<String> {
    if !net.contains(&address) {
        return Some(format!("not in {net}"));
    }
    let own = own_addresses(net).any(|own| own == address);
    own.then(|| match address {
        IpAddr::V6(_) => format!("the subnet-router anycast address of {net}"),
        IpAddr::V4(_) if address == net.network() => format!("the network address of {net}"),
        IpAddr::V4(_) => format!("the broadcast address of {net}"),
    })
}

/// What `net` is for, if not for hosts (RFC 6890 §2.2).
pub(super) fn special_kind(net: &IpNet) -> Option<&'static str> {
    let within = |text: &str| text.parse::<IpNet>().is_ok_and(|special| special.contains(net));
    [
        ("0.0.0.0/8", "these are \"this network\""),
        ("127.0.0.0/8", "these are loopback"),
        ("224.0.0.0/4", "these are multicast"),
        ("240.0.0.0/4", "these are reserved"),
        ("::/127", "these are the unspecified and loopback"),
        ("fe80::/10", "these are link-local"),
        ("ff00::/8", "these are multicast"),
    ]
    .into_iter()
    .find_map(|(special, kind)| within(special).then_some(kind))
}

fn plan(raw: RawNetwork, defaults: &mut DefaultSubnets, report: &mut Diagnostics) -> PlannedNetwork {
    let mut network = raw.settings;
    let mut damaged = raw.damaged;
    let has_gateway = !is_l3(raw.lan.as_ref());
    network.ipam = raw.subnets.iter().map(|subnet| resolve(subnet, has_gateway)).collect();
    let lacks =
        |is_family: fn(&IpNet) -> bool| !raw.subnets.iter().any(|subnet| is_family(&subnet.subnet.value));
    // What a LAN has cannot be chosen here, and that it is not named has been reported.
    damaged |= raw.lan.is_some()
        && (network.enable_ipv4 && lacks(|net| matches!(net, IpNet::V4(_)))
            || network.enable_ipv6 && lacks(|net| matches!(net, IpNet::V6(_))));
    if !damaged && network.enable_ipv4 && lacks(|net| matches!(net, IpNet::V4(_))) {
        match defaults.take_ipv4() {
            Some(net) => network.ipam.push(plain(IpNet::V4(net))),
            None => {
                damaged = true;
                report.push(pools_exhausted(
                    &network.name,
                    "IPv4",
                    "all 31 default subnets are taken",
                    &raw.name_span,
                ));
            }
        }
    }
    if !damaged && network.enable_ipv6 && lacks(|net| matches!(net, IpNet::V6(_))) {
        match defaults.take_ipv6(network.name.as_str()) {
            Some(net) => network.ipam.push(plain(IpNet::V6(net))),
            None => {
                damaged = true;
                report.push(pools_exhausted(
                    &network.name,
                    "IPv6",
                    "all 65536 default subnets are taken",
                    &raw.name_span,
                ));
            }
        }
    }
    network.gateway_mac = gateway_mac(&network);
    network.router_advertisements = match &raw.lan {
        None => advertisements(&network, &raw.router_advertisements, &raw.subnets, report),
        // There the routers of the LAN advertise.
        Some(_) => None,
    };
    PlannedNetwork {
        network,
        name_span: raw.name_span,
        declared: raw.subnets,
        lan: raw.lan,
        routes: raw.routes,
        damaged,
    }
}

fn pools_exhausted(network: &NetworkName, family: &str, label: &str, span: &Span) -> Diagnostic {
    let example = if family == "IPv4" { "10.10.0.0/24" } else { "fd00:10::/64" };
    Diagnostic::new(format!("no {family} subnet is left for network `{network}`"), span.clone(), label)
        .help(format!("give it one: ipam = [{{ subnet = \"{example}\" }}]"))
}

fn is_l3(lan: Option<&RawLan>) -> bool {
    lan.is_some_and(|lan| lan.mode == LanMode::Ipvlan(IpvlanMode::L3))
}

/// A LAN has its addresses already, so a network on it must say which.
fn lan_subnets(network: &RawNetwork, uplink: &RawUplink, report: &mut Diagnostics) {
    let Some(lan) = network.lan.as_ref().filter(|_| !network.damaged) else { return };
    let settings = &network.settings;
    for (family, enabled, is_family) in [
        ("IPv4", settings.enable_ipv4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("IPv6", settings.enable_ipv6, IpAddr::is_ipv6),
    ] {
        if !enabled || network.subnets.iter().any(|subnet| is_family(&subnet.subnet.value.addr())) {
            continue;
        }
        let message = format!("network `{}` names no {family} subnet", settings.name);
        let label = format!("{} has addresses of its parent's LAN", lan.mode.what());
        let own = uplink.interfaces.iter().map(|at| at.value.trunc()).find(|net| is_family(&net.addr()));
        let example = match own.filter(|_| !is_l3(Some(lan))) {
            Some(net) => net.to_string(),
            None if family == "IPv4" => "192.168.1.0/24".to_owned(),
            None => "2001:db8:1::/64".to_owned(),
        };
        let help = format!(
            "add it with a range that nobody else gives out: ipam = [{{ subnet = \"{example}\", ip_range = … }}]"
        );
        let or = if network.subnets.is_empty() {
            String::new()
        } else {
            format!(", or write `enable_{} = false`", family.to_lowercase())
        };
        report.push(
            Diagnostic::new(message, network.name_span.clone(), label)
                .also(lan.driver_span.clone(), "the driver")
                .help(help + &or),
        );
    }
}

fn resolve(raw: &RawSubnet, has_gateway: bool) -> Subnet {
    Subnet {
        subnet: raw.subnet.value,
        gateway: has_gateway.then(|| {
            raw.gateway.as_ref().map_or_else(|| first_usable(&raw.subnet.value), |gateway| gateway.value)
        }),
        // One outside has been reported; kept, it would look exhausted besides.
        ip_range: raw
            .ip_range
            .as_ref()
            .map(|range| range.value)
            .filter(|range| raw.subnet.value.contains(range)),
        aux_addresses: raw
            .aux_addresses
            .iter()
            .map(|(name, address)| (name.clone(), address.value))
            .collect(),
    }
}

fn plain(net: IpNet) -> Subnet {
    Subnet { subnet: net, gateway: Some(first_usable(&net)), ip_range: None, aux_addresses: BTreeMap::new() }
}
