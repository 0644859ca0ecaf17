//! `networks` of a container: the short form, an array of names, and the long form, a table for each.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use vswitch_wire::MacAddr;

use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{Limits, PortDriver},
    names::InterfaceName,
    reader::{At, Field, Keys},
};

const KEYS: Keys = Keys {
    known: &[
        "ipv4_address",
        "ipv6_address",
        "mac_address",
        "aliases",
        "interface_name",
        "gw_priority",
        "source_guard",
        "port",
        "limits",
    ],
    planned: &["link_local_ips", "priority", "routes"],
    foreign: &[
        ("ip", "did you mean `ipv4_address`?"),
        ("ip6", "did you mean `ipv6_address`?"),
        ("mac", "did you mean `mac_address`?"),
        (
            "driver_opts",
            "what Docker has as driver options are keys of the attachment here, such as `interface_name`",
        ),
        ("mtu", "the MTU is set per network: `[networks.NAME] mtu = …`"),
    ],
};

/// One container on one network, read.
#[derive(Debug)]
pub(crate) struct RawAttachment {
    pub(crate) network: At<String>,
    pub(crate) ipv4_address: Option<At<Ipv4Addr>>,
    pub(crate) ipv6_address: Option<At<Ipv6Addr>>,
    pub(crate) mac_address: Option<At<MacAddr>>,
    pub(crate) interface_name: Option<At<InterfaceName>>,
    pub(crate) gw_priority: i32,
    pub(crate) aliases: Vec<String>,
    pub(crate) source_guard: bool,
    pub(crate) port: Option<At<PortDriver>>,
    pub(crate) limits: Limits,
}

impl RawAttachment {
    /// An attachment that leaves everything open; `span` is where the network is named.
    pub(crate) fn to(network: &str, span: Span) -> Self {
        Self {
            network: At::new(network.to_owned(), span),
            ipv4_address: None,
            ipv6_address: None,
            mac_address: None,
            interface_name: None,
            gw_priority: 0,
            aliases: Vec::new(),
            source_guard: true,
            port: None,
            limits: Limits::default(),
        }
    }
}

pub(super) fn attachments(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<RawAttachment>> {
    let attachments: Vec<_> = if let Some(elements) = field.as_elements() {
        let names = elements
            .iter()
            .map(|element| element.string(report).map(|name| RawAttachment::to(name.value, name.span)));
        names.collect::<Option<_>>()?
    } else if field.is_table() {
        field
            .section(report)?
            .fields()
            .iter()
            .map(|field| attachment(field, report))
            .collect::<Option<_>>()?
    } else {
        return field.elements(report).and(None);
    };
    if attachments.is_empty() {
        let diagnostic =
            Diagnostic::new(format!("{} is empty", field.what()), field.span(), "no network named");
        report.push(
            diagnostic.help("name a network, or write `network_mode = \"none\"` for a container without one"),
        );
        return None;
    }
    Some(attachments)
}

fn attachment(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawAttachment> {
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let ports = [("tap", PortDriver::Tap), ("tap-plain", PortDriver::TapPlain), ("veth", PortDriver::Veth)];
    let port = section.read("port", report, |field, report| field.word(&ports, &[], report));
    let priority = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let gw_priority = section.read("gw_priority", report, |field, report| field.integer(priority, report));
    Some(RawAttachment {
        ipv4_address: section.read("ipv4_address", report, |field, report| {
            other_family(field, "an IPv4 address", "ipv6_address", IpAddr::is_ipv6, report)?;
            field.parsed("an IPv4 address", "10.10.0.20", report)
        }),
        ipv6_address: section.read("ipv6_address", report, |field, report| {
            other_family(field, "an IPv6 address", "ipv4_address", IpAddr::is_ipv4, report)?;
            field.parsed("an IPv6 address", "fd00:10::20", report)
        }),
        mac_address: section.read("mac_address", report, mac_address),
        interface_name: section.read("interface_name", report, interface_name),
        gw_priority: gw_priority.map_or(0, |priority| priority.value),
        aliases: section.read("aliases", report, aliases).unwrap_or_default(),
        source_guard: section.read("source_guard", report, Field::boolean).is_none_or(|guard| guard.value),
        port,
        limits: section.read("limits", report, limits).unwrap_or_default(),
        ..RawAttachment::to(field.key, field.key_span.clone())
    })
}

fn limits(field: &Field<'_>, report: &mut Diagnostics) -> Option<Limits> {
    const KEYS: Keys = Keys { known: &["connections"], planned: &[], foreign: &[] };
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let connections =
        section.read("connections", report, |field, report| field.integer(1..=16_777_216, report));
    Some(connections.map_or_else(Limits::default, |at| Limits { connections: at.value }))
}

/// Reports an address under the key of the other family, and one with a prefix length; `None` if it was either.
fn other_family(
    field: &Field<'_>,
    kind: &str,
    right_key: &str,
    is_other: fn(&IpAddr) -> bool,
    report: &mut Diagnostics,
) -> Option<()> {
    let text = field.as_str().unwrap_or_default();
    let (label, help) = if text.parse().is_ok_and(|address| is_other(&address)) {
        ("of the other family", format!("write it as `{right_key}`"))
    } else if let Ok(net) = text.parse::<IpNet>() {
        ("has a prefix length", format!("write \"{}\"; the prefix length is that of the subnet", net.addr()))
    } else {
        return Some(());
    };
    let message = format!("{} is not {kind}", field.what());
    report.push(Diagnostic::new(message, field.span(), label).help(help));
    None
}

fn mac_address(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<MacAddr>> {
    let mac = field.parsed::<MacAddr>("a MAC address", "02:42:0a:0a:00:14", report)?;
    let [first, rest @ ..] = mac.value.octets();
    let label = if mac.value.is_multicast() {
        "a multicast address: the lowest bit of its first byte is set"
    } else if mac.value == MacAddr::ZERO {
        "the address of nobody"
    } else {
        return Some(mac);
    };
    let message = format!("{} cannot be the MAC address of a port", mac.value);
    // The nearest unicast address that is locally administered (IEEE 802 §8.4).
    let rest = rest.map(|byte| format!("{byte:02x}")).join(":");
    report.push(
        Diagnostic::new(message, mac.span, label)
            .help(format!("use a unicast one, like \"{:02x}:{rest}\"", first & !1 | 2)),
    );
    None
}

pub(super) fn interface_name(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<InterfaceName>> {
    let text = field.string(report)?;
    let error = match text.value.parse() {
        Ok(name) if text.value != "lo" => return Some(At::new(name, text.span)),
        Ok(_) => "is the loopback interface, which every container has".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("{} cannot be the name of an interface", field.what());
    let diagnostic = Diagnostic::new(message, text.span, format!("it {error}"));
    report.push(
        diagnostic.help("a name is 1 to 15 bytes without white space, `/`, `:` and `%`, like \"eth0\""),
    );
    None
}

fn aliases(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<String>> {
    let mut aliases = Vec::new();
    for alias in field.strings(report)? {
        if alias.value.is_empty() || alias.value.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let diagnostic = Diagnostic::new(
                format!("{} is not a host name", field.what()),
                alias.span,
                "not a host name",
            );
            report.push(diagnostic.help("write each alias as an element of its own, without white space"));
        } else {
            aliases.push(alias.value.to_owned());
        }
    }
    Some(aliases)
}

/// Compose's two forms of labels and environments: a table, or an array of `KEY=VALUE`.
pub(super) fn string_map(field: &Field<'_>, report: &mut Diagnostics) -> Option<BTreeMap<String, String>> {
    let Some(elements) = field.as_elements() else {
        let section = field.section(report)?;
        let pair = |field: &Field<'_>| {
            let value = field.scalar(report)?;
            checked_key(field, field.key, field.key_span.clone(), report)
                .then(|| (field.key.to_owned(), value))
        };
        return Some(section.fields().iter().filter_map(pair).collect());
    };
    let pair = |element: &Field<'_>| {
        let text = element.string(report)?;
        let Some((key, value)) = text.value.split_once('=') else {
            let message = format!("{} has no value", element.what());
            let help = format!(
                "write \"{0}=VALUE\"; nothing is taken from the environment of vswitch itself",
                text.value.escape_debug()
            );
            report.push(Diagnostic::new(message, text.span, "expected KEY=VALUE").help(help));
            return None;
        };
        checked_key(element, key, text.span, report).then(|| (key.to_owned(), value.to_owned()))
    };
    Some(elements.iter().filter_map(pair).collect())
}

fn checked_key(field: &Field<'_>, key: &str, span: Span, report: &mut Diagnostics) -> bool {
    let good = !key.is_empty() && !key.contains(['=', '\0']);
    if !good {
        let message = format!("{} has a name that cannot be used", field.what());
        report.push(Diagnostic::new(message, span, "a name is not empty and has no `=`"));
    }
    good
}
