//! `[networks.NAME]`.

use std::net::IpAddr;

use ipnet::IpNet;
use vswitch_wire::MacAddr;

use super::{
    advertisements::{RawAdvertisements, advertisements},
    attachment::string_map,
    bad_name,
    driver::{RawLan, lan},
    route::{RawRoute, routes},
};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{Network, NetworkDriver, NetworkNat, StormControl, StormLimit, UnknownUnicast},
    names::NetworkName,
    reader::{At, Field, Keys, Section},
    suggest::nearest,
};

const KEYS: Keys = Keys {
    known: &[
        "driver",
        "internal",
        "icc",
        "mtu",
        "enable_ipv4",
        "enable_ipv6",
        "ipam",
        "labels",
        "mac_ageing",
        "mac_limit",
        "mac_limit_per_port",
        "storm_control",
        "unknown_unicast",
        "nat",
        "routes",
        "router_advertisements",
        "macvlan_mode",
        "ipvlan_mode",
        "parent",
        "vlan",
    ],
    planned: &["vni", "peers", "encrypted"],
    foreign: &[
        ("subnet", "subnets stand in `ipam`: ipam = [{ subnet = \"10.10.0.0/24\" }]"),
        (
            "gateway",
            "the gateway stands beside its subnet: ipam = [{ subnet = \"10.10.0.0/24\", gateway = \"10.10.0.1\" }]",
        ),
        ("driver_opts", "what Docker has as driver options are keys of the network here, such as `mtu`"),
        ("enable_icc", "did you mean `icc`?"),
        ("mode", "write `macvlan_mode` or `ipvlan_mode`"),
        ("masquerade", "write `nat = \"masquerade\"` or `nat = \"none\"`"),
        ("enable_ip_masquerade", "write `nat = \"masquerade\"` or `nat = \"none\"`"),
        ("external", "a network exists in one switch only; declare it here with `ipam` as you need it"),
        ("attachable", "every network can be attached to; leave it out"),
        ("name", "the name is the one in the header: `[networks.NAME]`"),
    ],
};

const SUBNET_KEYS: Keys = Keys {
    known: &["subnet", "gateway", "ip_range", "aux_addresses"],
    planned: &[],
    foreign: &[("driver", "there is one way addresses are allotted; leave it out")],
};

/// `[networks.NAME]`, read.
#[derive(Debug)]
pub(crate) struct RawNetwork {
    pub(crate) name_span: Span,
    /// All but `driver`, `ipam`, `gateway_mac`, `routes` and `router_advertisements`, and `enable_ipv6` as far as it is given.
    pub(crate) settings: Network,
    pub(crate) enable_ipv4: Option<At<bool>>,
    pub(crate) enable_ipv6: Option<At<bool>>,
    pub(crate) mtu_span: Option<Span>,
    /// The driver, unless it is the bridge's.
    pub(crate) lan: Option<RawLan>,
    pub(crate) routes: Vec<RawRoute>,
    pub(crate) router_advertisements: RawAdvertisements,
    pub(crate) subnets: Vec<RawSubnet>,
    /// A subnet could not be read, so nothing can be said of addresses.
    pub(crate) damaged: bool,
}

/// One element of `ipam`.
#[derive(Debug, Clone)]
pub(crate) struct RawSubnet {
    pub(crate) subnet: At<IpNet>,
    pub(crate) gateway: Option<At<IpAddr>>,
    pub(crate) ip_range: Option<At<IpNet>>,
    pub(crate) aux_addresses: Vec<(String, At<IpAddr>)>,
}

pub(super) fn network(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawNetwork> {
    let name =
        field.key.parse::<NetworkName>().map_err(|error| bad_name("network", field, &error, report)).ok();
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let lan = lan(&section, report);
    let boolean = |key, report: &mut Diagnostics| section.read(key, report, Field::boolean);
    let internal = boolean("internal", report).is_some_and(|internal| internal.value);
    let icc = boolean("icc", report).is_none_or(|icc| icc.value);
    let nat = section.read("nat", report, |field, report| nat(field, internal, report));
    let (enable_ipv4, enable_ipv6) = (boolean("enable_ipv4", report), boolean("enable_ipv6", report));
    let subnets = section.read("ipam", report, ipam);
    let damaged = section.field("ipam").is_some()
        && subnets.as_ref().is_none_or(|subnets| subnets.iter().any(Option::is_none));
    let subnets: Vec<_> = subnets.unwrap_or_default().into_iter().flatten().collect();
    let mac_limit = number(&section, "mac_limit", 1..=1_048_576, 65_536, report);
    Some(RawNetwork {
        name_span: field.key_span.clone(),
        settings: Network {
            name: name?,
            driver: NetworkDriver::Bridge,
            internal,
            mtu: number(&section, "mtu", 576..=65_521, 1500, report),
            enable_ipv4: enable_ipv4.as_ref().is_none_or(|enable| enable.value),
            // An IPv6 subnet says it as well.
            enable_ipv6: match &enable_ipv6 {
                Some(enable) => enable.value,
                None => subnets.iter().any(|subnet| subnet.subnet.value.addr().is_ipv6()),
            },
            ipam: Vec::new(),
            gateway_mac: MacAddr::ZERO,
            icc,
            nat: match nat {
                Some(nat) => nat,
                None if internal || lan.is_some() => NetworkNat::None,
                None => NetworkNat::Masquerade,
            },
            routes: Vec::new(),
            router_advertisements: None,
            labels: section.read("labels", report, string_map).unwrap_or_default(),
            mac_ageing: number(&section, "mac_ageing", 10..=86_400, 300, report),
            mac_limit,
            mac_limit_per_port: number(
                &section,
                "mac_limit_per_port",
                1..=i64::from(mac_limit),
                mac_limit.min(4096),
                report,
            ),
            storm_control: section
                .read("storm_control", report, storm_control)
                .unwrap_or(DEFAULT_STORM_CONTROL),
            unknown_unicast: section.read("unknown_unicast", report, unknown_unicast).unwrap_or_default(),
        },
        enable_ipv4,
        enable_ipv6,
        mtu_span: section.field("mtu").map(Field::span),
        lan,
        routes: section.read("routes", report, routes).unwrap_or_default(),
        router_advertisements: section
            .read("router_advertisements", report, |field, report| advertisements(field, internal, report))
            .unwrap_or_default(),
        subnets,
        damaged,
    })
}

/// An internal network has no way out, so there is nothing to say of what leaves.
fn nat(field: &Field<'_>, internal: bool, report: &mut Diagnostics) -> Option<NetworkNat> {
    let words = [("masquerade", NetworkNat::Masquerade), ("none", NetworkNat::None)];
    let nat = field.word(&words, &[], report)?;
    if internal && nat.value == NetworkNat::Masquerade {
        let message = format!("{} has nothing to translate", field.what());
        report.push(
            Diagnostic::new(message, nat.span, "nothing leaves an internal network")
                .help("remove it, or write `internal = false`"),
        );
    }
    Some(nat.value)
}

fn number<T: TryFrom<i64>>(
    section: &Section<'_>,
    key: &str,
    range: std::ops::RangeInclusive<i64>,
    default: T,
    report: &mut Diagnostics,
) -> T {
    section
        .read(key, report, |field, report| field.integer(range, report))
        .map_or(default, |number| number.value)
}

fn unknown_unicast(field: &Field<'_>, report: &mut Diagnostics) -> Option<UnknownUnicast> {
    let words = [("flood", UnknownUnicast::Flood), ("drop", UnknownUnicast::Drop)];
    field.word(&words, &[], report).map(|word| word.value)
}

const DEFAULT_STORM_CONTROL: StormControl = StormControl {
    broadcast: StormLimit::FramesPerSecond(10_000),
    multicast: StormLimit::FramesPerSecond(50_000),
    unknown_unicast: StormLimit::FramesPerSecond(10_000),
};

fn storm_control(field: &Field<'_>, report: &mut Diagnostics) -> Option<StormControl> {
    const KEYS: Keys =
        Keys { known: &["broadcast", "multicast", "unknown_unicast"], planned: &[], foreign: &[] };
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let mut limit = |key, default| section.read(key, report, storm_limit).unwrap_or(default);
    Some(StormControl {
        broadcast: limit("broadcast", DEFAULT_STORM_CONTROL.broadcast),
        multicast: limit("multicast", DEFAULT_STORM_CONTROL.multicast),
        unknown_unicast: limit("unknown_unicast", DEFAULT_STORM_CONTROL.unknown_unicast),
    })
}

fn storm_limit(field: &Field<'_>, report: &mut Diagnostics) -> Option<StormLimit> {
    if field.as_str().is_some() {
        return field.word(&[("off", StormLimit::Off)], &[], report).map(|word| word.value);
    }
    field.integer(0..=i64::from(u32::MAX), report).map(|frames| StormLimit::FramesPerSecond(frames.value))
}

/// The subnets; `None` in place of one that could not be read.
fn ipam(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<Option<RawSubnet>>> {
    if field.is_table() {
        let message = format!("{} must be an array", field.what());
        let help = "write ipam = [{ subnet = \"10.10.0.0/24\" }] or the header [[networks.NAME.ipam]]; what Compose has under `config` stands in the array itself";
        report.push(Diagnostic::new(message, field.span(), "expected an array, found a table").help(help));
        return None;
    }
    if let Some(text) = field.as_str() {
        let message = format!("{} must be an array", field.what());
        let help = format!("write ipam = [{{ subnet = \"{}\" }}]", text.escape_debug());
        report.push(Diagnostic::new(message, field.span(), "expected an array, found a string").help(help));
        return None;
    }
    let elements = field.elements(report)?;
    Some(elements.iter().map(|element| subnet(element, report)).collect())
}

fn subnet(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawSubnet> {
    let section = field.section(report)?;
    section.check_keys(&SUBNET_KEYS, report);
    let address =
        |field: &Field<'_>, report: &mut Diagnostics| field.parsed("an IP address", "10.10.0.1", report);
    let gateway = section.read("gateway", report, address);
    let ip_range = section.read("ip_range", report, net);
    let aux_addresses = section.read("aux_addresses", report, |field, report| {
        let names = field.section(report)?;
        let aux =
            names.fields().iter().filter_map(|field| Some((field.key.to_owned(), address(field, report)?)));
        Some(aux.collect())
    });
    let mistyped =
        section.fields().iter().any(|field| nearest(field.key, std::iter::once("subnet")).is_some());
    if !mistyped {
        let message = format!("{} has no `subnet`", field.what());
        let diagnostic = Diagnostic::new(message, field.span(), "which addresses?");
        report.push(
            diagnostic.help("add `subnet = \"10.10.0.0/24\"`, or leave out `ipam` for the next free subnet"),
        );
        return None;
    }
    let subnet = section.read("subnet", report, net)?;
    let (len, max) = (subnet.value.prefix_len(), subnet.value.max_prefix_len());
    if len == max || len == 0 {
        let label =
            if len == 0 { "this is every address there is" } else { "the gateway takes its only address" };
        let message = format!("subnet {} cannot be used", subnet.value);
        let help = format!("use a prefix length from 1 to {}", max - 1);
        report.push(Diagnostic::new(message, subnet.span, label).help(help));
        return None;
    }
    Some(RawSubnet { subnet, gateway, ip_range, aux_addresses: aux_addresses.unwrap_or_default() })
}

/// An address range; reported if host bits are set, and then read without them.
pub(super) fn net(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<IpNet>> {
    let text = field.string(report)?;
    let Ok(net) = text.value.parse::<IpNet>() else {
        let message = format!("{} is not an address range", field.what());
        let (label, help) = match text.value.parse::<IpAddr>() {
            Ok(address) => {
                let len = if address.is_ipv4() { 24 } else { 64 };
                let base =
                    IpNet::new(address, len).map(|net| net.trunc()).unwrap_or_else(|_| IpNet::from(address));
                ("the prefix length is missing", format!("write it with one, like \"{base}\""))
            }
            Err(_) => (
                "expected ADDRESS/PREFIX-LENGTH",
                "write it like \"10.10.0.0/24\" or \"fd00:10::/64\"".to_owned(),
            ),
        };
        report.push(Diagnostic::new(message, text.span, label).help(help));
        return None;
    };
    if net.trunc() != net {
        let message = format!("{} has host bits set", field.what());
        let label = format!("{} is an address inside the range, not its base", net.addr());
        let diagnostic = Diagnostic::new(message, text.span.clone(), label);
        report.push(diagnostic.help(format!("the range is \"{}\"", net.trunc())));
    }
    Some(At::new(net.trunc(), text.span))
}
