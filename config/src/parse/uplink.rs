//! `[uplink]`: which interface, which addresses of its own, and the router behind it.

mod addresses;

use std::net::IpAddr;

use ipnet::IpNet;

pub(super) use self::addresses::not_global;
use self::addresses::{by_family, far_end, gateways, ipv4_of, ipv6_of, own_ipv4, own_ipv6, unusable_gateway};
use super::{
    attachment::interface_name,
    nat::{RawNat, nat},
};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{InterfaceUplink, TapUplink, Uplink, UplinkIpv4},
    reader::{At, Field, Keys, Section, listed, not_supported_yet},
};

const KEYS: Keys = Keys {
    known: &["kind", "interface", "tap", "ipv4", "ipv6", "gateway", "mtu", "nat"],
    planned: &[],
    foreign: &[
        ("address", "write it as `ipv4` or `ipv6`, with its prefix length"),
        ("ip", "write it as `ipv4` or `ipv6`, with its prefix length"),
        ("dhcp", "write `ipv4 = \"dhcp\"`"),
        ("gateway4", "did you mean `gateway`? It takes a list with one address of each family"),
        ("gateway6", "did you mean `gateway`? It takes a list with one address of each family"),
        ("name", "write `interface` or `tap`"),
        ("device", "write `interface` or `tap`"),
    ],
};

/// The keys of each kind, besides `kind`.
const INTERFACE_KEYS: [&str; 6] = ["interface", "ipv4", "ipv6", "gateway", "mtu", "nat"];
const TAP_KEYS: [&str; 5] = ["tap", "ipv4", "ipv6", "mtu", "nat"];

/// The IPv6 minimum link MTU, RFC 8200 §5.
const MIN_IPV6_MTU: u16 = 1280;

/// `[uplink]`, read.
#[derive(Debug, Default)]
pub(crate) struct RawUplink {
    pub(crate) uplink: Uplink,
    /// Where `kind` stands, if the section is there.
    pub(crate) kind_span: Option<Span>,
    /// The switch's own addresses, and the other end's of a tap, with their prefix lengths.
    pub(crate) interfaces: Vec<At<IpNet>>,
    /// The next routers.
    pub(crate) gateways: Vec<At<IpAddr>>,
    pub(crate) nat: RawNat,
    /// It could not be read, so nothing can be said of what needs it.
    pub(crate) damaged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Interface,
    Tap,
}

/// Reads the section; what could not be read is marked as damaged.
pub(super) fn uplink(field: &Field<'_>, report: &mut Diagnostics) -> RawUplink {
    let before = report.len();
    let read = section(field, report).unwrap_or_default();
    RawUplink { damaged: report.len() > before, ..read }
}

fn section(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawUplink> {
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let kind = kind(field, &section, report)?;
    foreign_keys(&section, &kind, report);
    let raw = match kind.value {
        Kind::None => RawUplink::default(),
        Kind::Interface => interface(field, &section, report)?,
        Kind::Tap => tap(field, &section, report)?,
    };
    Some(RawUplink { kind_span: Some(kind.span), ..raw })
}

fn kind(field: &Field<'_>, section: &Section<'_>, report: &mut Diagnostics) -> Option<At<Kind>> {
    let Some(kind) = section.field("kind") else {
        let diagnostic = Diagnostic::new("`uplink` has no `kind`", field.span(), "how does traffic leave?");
        let guess = ["interface", "tap"].into_iter().find(|kind| section.field(kind).is_some());
        report.push(match guess {
            Some(kind) => diagnostic.help(format!("add `kind = \"{kind}\"`")),
            None => diagnostic.help(
                "write `kind = \"interface\"` or `kind = \"tap\"`, or leave out `[uplink]` for networks without a way out",
            ),
        });
        return None;
    };
    if kind.as_str() == Some("sockets") {
        let what = kind.assigned("\"sockets\"");
        report.push(
            not_supported_yet(&what, kind.span()).help(
                "write \"interface\" or \"tap\", or leave out `[uplink]` for networks without a way out",
            ),
        );
        return None;
    }
    let kinds = [("none", Kind::None), ("interface", Kind::Interface), ("tap", Kind::Tap)];
    kind.word(&kinds, &[], report)
}

/// Reports keys that another kind has.
fn foreign_keys(section: &Section<'_>, kind: &At<Kind>, report: &mut Diagnostics) {
    let (name, own): (_, &[&str]) = match kind.value {
        Kind::None => ("none", &[]),
        Kind::Interface => ("interface", &INTERFACE_KEYS),
        Kind::Tap => ("tap", &TAP_KEYS),
    };
    let strange = |field: &&Field<'_>| {
        field.key != "kind" && KEYS.known.contains(&field.key) && !own.contains(&field.key)
    };
    for field in section.fields().iter().filter(strange) {
        let key = field.key;
        let owners = [("interface", &INTERFACE_KEYS[..]), ("tap", &TAP_KEYS)];
        let owners = owners.into_iter().filter(|(_, keys)| keys.contains(&key));
        let owners = owners.map(|(kind, _)| format!("`kind = \"{kind}\"`")).collect::<Vec<_>>().join(" and ");
        let message = format!("an uplink of kind \"{name}\" has no `{key}`");
        let diagnostic =
            Diagnostic::new(message, field.key_span.clone(), format!("this belongs to {owners}"))
                .also(kind.span.clone(), format!("the kind is \"{name}\""));
        report.push(match (kind.value, key) {
            (Kind::Tap, "gateway") => {
                diagnostic.help("remove it: the gateway is the host's end of the tap, its `ipv4` and `ipv6`")
            }
            (Kind::None, _) => diagnostic.help("remove it, or write the other kind"),
            _ => diagnostic.help(format!("remove it; the keys here are {}", listed(own.iter()))),
        });
    }
}

fn interface(field: &Field<'_>, section: &Section<'_>, report: &mut Diagnostics) -> Option<RawUplink> {
    if section.field("interface").is_none() {
        let diagnostic = Diagnostic::new("the uplink names no interface", field.span(), "which interface?");
        report
            .push(diagnostic.help("add `interface = \"eth1\"`, the one that the switch may have to itself"));
    }
    let interface = section.read("interface", report, interface_name);
    let ipv4 = section.read("ipv4", report, |field, report| {
        if field.as_str() == Some("dhcp") {
            return Some(At::new(UplinkIpv4::Dhcp, field.span()));
        }
        own_ipv4(field, "\"192.0.2.10/24\" or \"dhcp\"", report)
            .map(|At { value, span }| At::new(UplinkIpv4::Static(value), span))
    });
    let ipv6 = section.read("ipv6", report, |field, report| own_ipv6(field, "\"2001:db8::10/64\"", report));
    let mtu = section.read("mtu", report, |field, report| mtu(field, ipv6.is_some(), report));
    let nat = section.read("nat", report, nat).unwrap_or_default();
    let own4 = match ipv4.as_ref().map(|ipv4| (ipv4.value, ipv4.span.clone())) {
        Some((UplinkIpv4::Static(net), span)) => Some(At::new(IpNet::V4(net), span)),
        _ => None,
    };
    let own6 = ipv6.as_ref().map(|at| At::new(IpNet::V6(at.value), at.span.clone()));
    let gateways = section.read("gateway", report, gateways).unwrap_or_default();
    // What an address that could not be read is a neighbour of, nobody can say.
    let unread = |gateway: &IpAddr| match gateway {
        IpAddr::V4(_) => ipv4.is_none() && section.field("ipv4").is_some(),
        IpAddr::V6(_) => ipv6.is_none() && section.field("ipv6").is_some(),
    };
    for gateway in gateways.iter().filter(|gateway| !unread(&gateway.value)) {
        let dhcp = ipv4.as_ref().filter(|ipv4| ipv4.value == UplinkIpv4::Dhcp).map(|ipv4| &ipv4.span);
        if let Some(diagnostic) = unusable_gateway(gateway, own4.as_ref(), own6.as_ref(), dhcp) {
            report.push(diagnostic);
        }
    }
    let (gateway4, gateway6) = by_family(&gateways);
    Some(RawUplink {
        uplink: Uplink::Interface(InterfaceUplink {
            interface: interface?.value,
            ipv4: ipv4.map(|ipv4| ipv4.value),
            ipv6: ipv6.map(|ipv6| ipv6.value),
            gateway4,
            gateway6,
            mtu,
            nat: nat.settings.clone(),
        }),
        interfaces: own4.into_iter().chain(own6).collect(),
        gateways,
        nat,
        ..RawUplink::default()
    })
}

fn tap(field: &Field<'_>, section: &Section<'_>, report: &mut Diagnostics) -> Option<RawUplink> {
    if section.field("tap").is_none() {
        let diagnostic = Diagnostic::new("the uplink does not name its tap", field.span(), "called what?");
        report.push(diagnostic.help("add `tap = \"vsw0\"`, the name it gets on the host"));
    }
    let tap = section.read("tap", report, interface_name);
    if section.field("ipv4").is_none() && section.field("ipv6").is_none() {
        let diagnostic = Diagnostic::new(
            "the tap of the uplink has no address",
            field.span(),
            "neither `ipv4` nor `ipv6`",
        );
        report.push(
            diagnostic.help(
                "add the host's address on it: `ipv4 = \"100.64.0.1/30\"`; the switch takes the next one",
            ),
        );
    }
    let ipv4 = section.read("ipv4", report, |field, report| own_ipv4(field, "\"100.64.0.1/30\"", report));
    let ipv6 = section.read("ipv6", report, |field, report| own_ipv6(field, "\"fd00:64::1/64\"", report));
    let ipv4 = ipv4.map(|at| At::new(IpNet::V4(at.value), at.span));
    let ipv6 = ipv6.map(|at| At::new(IpNet::V6(at.value), at.span));
    let own4 = ipv4.as_ref().and_then(|host| far_end(host, report));
    let own6 = ipv6.as_ref().and_then(|host| far_end(host, report));
    let given = section.read("mtu", report, |field, report| mtu(field, ipv6.is_some(), report));
    let nat = section.read("nat", report, nat).unwrap_or_default();
    let (host4, host6) = (ipv4.as_ref().map(|at| at.value), ipv6.as_ref().map(|at| at.value));
    Some(RawUplink {
        uplink: Uplink::Tap(TapUplink {
            tap: tap?.value,
            ipv4: host4.and_then(ipv4_of),
            own4: own4.as_ref().and_then(|own| ipv4_of(own.value)),
            ipv6: host6.and_then(ipv6_of),
            own6: own6.as_ref().and_then(|own| ipv6_of(own.value)),
            mtu: given.unwrap_or(1500),
            nat: nat.settings.clone(),
        }),
        interfaces: [own4, own6, ipv4, ipv6].into_iter().flatten().collect(),
        nat,
        ..RawUplink::default()
    })
}

fn mtu(field: &Field<'_>, ipv6: bool, report: &mut Diagnostics) -> Option<u16> {
    let reason = "IPv6 needs at least 1280 bytes (RFC 8200 §5)";
    let (least, reason) = if ipv6 { (MIN_IPV6_MTU, Some(reason)) } else { (576, None) };
    field.integer_because(i64::from(least)..=65_521, reason, report).map(|mtu| mtu.value)
}
