//! `[containers.NAME]`.

use std::{net::IpAddr, path::PathBuf};

use super::{
    attachment::{RawAttachment, attachments, string_map},
    bad_name,
    ports::{RawPublish, publish},
};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{Container, ExtraHost, HostAddr, Netns, NetnsRef, NetworkMode},
    names::ContainerName,
    reader::{At, Field, Keys, not_supported_yet},
};

const KEYS: Keys = Keys {
    known: &[
        "netns",
        "command",
        "networks",
        "network_mode",
        "hostname",
        "extra_hosts",
        "dns",
        "dns_search",
        "dns_options",
        "labels",
        "environment",
        "ports",
        "expose",
        "publish_all",
    ],
    planned: &["links", "limits", "routes"],
    foreign: &[
        ("network", "networks stand in an array: networks = [\"front\"]"),
        ("image", "vswitch runs no images, it gives processes a network; leave it out, or name a `netns`"),
        ("pid", "write `netns = { pid = … }`"),
        ("publish", "did you mean `ports`?"),
        ("port", "did you mean `ports`?"),
        ("ip", "addresses are set per attachment: [containers.NAME.networks.NETWORK] ipv4_address = …"),
        (
            "ipv4_address",
            "addresses are set per attachment: [containers.NAME.networks.NETWORK] ipv4_address = …",
        ),
        (
            "ipv6_address",
            "addresses are set per attachment: [containers.NAME.networks.NETWORK] ipv6_address = …",
        ),
        ("mac_address", "the MAC is set per attachment: [containers.NAME.networks.NETWORK] mac_address = …"),
        ("dns_opt", "did you mean `dns_options`?"),
        ("env", "did you mean `environment`?"),
        ("container_name", "the name is the one in the header: `[containers.NAME]`"),
    ],
};

/// The largest process id the kernel gives out, `PID_MAX_LIMIT`.
const MAX_PID: i64 = 1 << 22;

/// `[containers.NAME]`, read.
#[derive(Debug)]
pub(crate) struct RawContainer {
    pub(crate) name_span: Span,
    /// All but `attachments`, `ports` and `network_mode`.
    pub(crate) settings: Container,
    pub(crate) netns: Option<At<Netns>>,
    pub(crate) network_mode: Option<At<RawMode>>,
    pub(crate) networks: RawNetworks,
    pub(crate) publish: RawPublish,
    /// Keys that make no sense in another container's network namespace, because that has them already.
    pub(crate) namespace_keys: Vec<At<String>>,
}

/// `network_mode`, its reference not yet looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawMode {
    Container(String),
    None,
    Host,
}

/// `networks` of a container.
#[derive(Debug)]
pub(crate) enum RawNetworks {
    /// The key is absent.
    Absent,
    /// It, or the `network_mode` in its place, could not be read.
    Damaged,
    /// What it lists; the span is the key's.
    Listed(At<Vec<RawAttachment>>),
}

pub(super) fn container(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawContainer> {
    let name =
        field.key.parse::<ContainerName>().map_err(|error| bad_name("container", field, &error, report)).ok();
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let netns = section.read("netns", report, netns);
    let network_mode = section.read("network_mode", report, network_mode);
    let networks = match section.field("networks") {
        // A `network_mode` that could not be read says at least that it has no networks.
        None if network_mode.is_none() && section.field("network_mode").is_some() => RawNetworks::Damaged,
        None => RawNetworks::Absent,
        Some(field) => match attachments(field, report) {
            None => RawNetworks::Damaged,
            Some(listed) => RawNetworks::Listed(At::new(listed, field.key_span.clone())),
        },
    };
    let hostname = section.read("hostname", report, hostname);
    let strings = |field: &Field<'_>, report: &mut Diagnostics| one_or_many(field, report, string_of);
    let publish = publish(&section, report);
    let settings = Container {
        netns: netns.as_ref().map_or(Netns::New, |netns| netns.value.clone()),
        command: section.read("command", report, command),
        network_mode: NetworkMode::Networks,
        hostname: hostname.unwrap_or_else(|| field.key.to_owned()),
        extra_hosts: section.read("extra_hosts", report, extra_hosts).unwrap_or_default(),
        dns: section
            .read("dns", report, |field, report| one_or_many(field, report, address_of))
            .unwrap_or_default(),
        dns_search: section.read("dns_search", report, strings).unwrap_or_default(),
        dns_options: section.read("dns_options", report, strings).unwrap_or_default(),
        labels: section.read("labels", report, string_map).unwrap_or_default(),
        environment: section.read("environment", report, string_map).unwrap_or_default(),
        ports: Vec::new(),
        expose: publish.expose.iter().map(|at| at.value).collect(),
        attachments: Vec::new(),
        name: name?,
    };
    let namespace_keys = ["hostname", "extra_hosts", "dns", "dns_search", "dns_options"].into_iter();
    Some(RawContainer {
        name_span: field.key_span.clone(),
        settings,
        netns,
        network_mode,
        networks,
        publish,
        namespace_keys: namespace_keys
            .filter_map(|key| section.field(key))
            .map(|field| At::new(field.key.to_owned(), field.key_span.clone()))
            .collect(),
    })
}

fn netns(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<Netns>> {
    if field.is_table() {
        const KEYS: Keys = Keys {
            known: &["pid"],
            planned: &[],
            foreign: &[("path", "write the path itself: netns = \"/run/netns/web\"")],
        };
        let section = field.section(report)?;
        section.check_keys(&KEYS, report);
        if section.field("pid").is_none() {
            let message = format!("{} has no `pid`", field.what());
            report.push(
                Diagnostic::new(message, field.span(), "whose namespace?")
                    .help("write `netns = { pid = 4711 }`"),
            );
        }
        let pid = section.read("pid", report, |field, report| field.integer(1..=MAX_PID, report))?;
        return Some(At::new(Netns::Existing(NetnsRef::Pid(pid.value)), field.span()));
    }
    if field.as_str().is_none() {
        return field.mismatch("a string or a table", report);
    }
    let text = field.string(report)?;
    let netns = match text.value {
        "new" => Netns::New,
        path if path.starts_with('/') => Netns::Existing(NetnsRef::Path(PathBuf::from(path))),
        name if !name.is_empty() && !name.contains('/') && name != "." && name != ".." => {
            Netns::Existing(NetnsRef::Name(name.to_owned()))
        }
        _ => {
            let message = format!("{} is neither a name nor a path", field.what());
            let help = "write \"new\", a name in /run/netns, a path that starts with `/`, or { pid = 4711 }";
            report.push(Diagnostic::new(message, text.span, "names no namespace").help(help));
            return None;
        }
    };
    Some(At::new(netns, text.span))
}

fn command(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<String>> {
    if let Some(text) = field.as_str() {
        let plain =
            !text.trim().is_empty() && !text.contains(|c: char| "\"'\\$`|&;<>()*?[]#~=%!{}\n".contains(c));
        let words: Vec<_> = if plain { text.split_whitespace().collect() } else { vec!["sh", "-c", text] };
        let message = format!("{} must be an array of strings", field.what());
        let diagnostic = Diagnostic::new(message, field.span(), "expected an array, found a string");
        report.push(
            diagnostic
                .help(format!("no shell splits it, so write its words one by one: command = {words:?}")),
        );
        return None;
    }
    let elements = field.elements(report)?;
    let words: Vec<_> = elements.iter().filter_map(|element| element.string(report)).collect();
    if words.first().map_or(elements.is_empty(), |program| program.value.is_empty()) {
        let message = format!("{} names no program", field.what());
        let help =
            "write the program and its arguments, like [\"ping\", \"10.10.0.2\"], or leave out `command`";
        report.push(Diagnostic::new(message, field.span(), "nothing to run").help(help));
        return None;
    }
    Some(words.into_iter().map(|word| word.value.to_owned()).collect())
}

fn network_mode(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<RawMode>> {
    let text = field.string(report)?;
    if let Some(name) = text.value.strip_prefix("container:") {
        return Some(At::new(RawMode::Container(name.to_owned()), text.span));
    }
    if text.value.starts_with("service:") {
        let diagnostic = not_supported_yet(&field.assigned(&format!("\"{}\"", text.value)), text.span);
        report.push(diagnostic.help("write \"container:NAME\""));
        return None;
    }
    let mode = match text.value {
        "none" => RawMode::None,
        "host" => RawMode::Host,
        _ => {
            let message = format!("{} cannot be `{}`", field.what(), text.value.escape_debug());
            let diagnostic = Diagnostic::new(message, text.span, "no such value");
            report.push(diagnostic.help("write \"none\", \"host\" or \"container:NAME\"; for networks leave it out and write networks = [\"front\"]"));
            return None;
        }
    };
    Some(At::new(mode, text.span))
}

/// Letters, digits, `-`, `.` (RFC 1123 §2.1) and `_`, which container names may have; at most 64 bytes, the kernel's `__NEW_UTS_LEN`.
fn hostname(field: &Field<'_>, report: &mut Diagnostics) -> Option<String> {
    let text = field.string(report)?;
    let name = text.value;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let label = match name.chars().find(|c| !allowed(*c)) {
        Some(bad) => format!("contains {bad:?}"),
        None if name.is_empty() => "is empty".to_owned(),
        None if name.len() > 64 => format!("has {} bytes", name.len()),
        None if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            "starts with neither a letter nor a digit".to_owned()
        }
        None => return Some(name.to_owned()),
    };
    let diagnostic = Diagnostic::new(format!("{} is not a host name", field.what()), text.span, label);
    report.push(diagnostic.help(
        "a host name is up to 64 letters, digits, `-`, `.` and `_`, and starts with a letter or a digit",
    ));
    None
}

/// Compose's two forms: an array of `NAME:ADDRESS` or `NAME=ADDRESS`, or a table of names and addresses.
fn extra_hosts(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<ExtraHost>> {
    if field.is_table() {
        let section = field.section(report)?;
        let host = |field: &Field<'_>| {
            let address = field.string(report)?;
            extra_host(field, address.span.clone(), field.key, address.value, report)
        };
        return Some(section.fields().iter().filter_map(host).collect());
    }
    let elements = field.elements(report)?;
    let host = |element: &Field<'_>| {
        let text = element.string(report)?;
        // `=` first: an IPv6 address is full of colons.
        let Some((name, address)) = text.value.split_once('=').or_else(|| text.value.split_once(':')) else {
            let diagnostic = Diagnostic::new(
                format!("{} has no address", element.what()),
                text.span,
                "expected NAME:ADDRESS",
            );
            report.push(diagnostic.help("write \"NAME:ADDRESS\" or \"NAME:host-gateway\""));
            return None;
        };
        extra_host(element, text.span.clone(), name, address, report)
    };
    Some(elements.iter().filter_map(host).collect())
}

fn extra_host(
    field: &Field<'_>,
    span: Span,
    name: &str,
    address: &str,
    report: &mut Diagnostics,
) -> Option<ExtraHost> {
    let plain = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let label = if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
    {
        format!("`{}` is not a host name", name.escape_debug())
    } else if address == "host-gateway" {
        return Some(ExtraHost { name: name.to_owned(), address: HostAddr::Gateway });
    } else {
        match plain.parse::<IpAddr>() {
            Ok(address) => return Some(ExtraHost { name: name.to_owned(), address: HostAddr::Ip(address) }),
            Err(_) => format!("`{}` is not an IP address", address.escape_debug()),
        }
    };
    let diagnostic = Diagnostic::new(format!("{} is no line of a hosts file", field.what()), span, label);
    report.push(diagnostic.help("write \"NAME:ADDRESS\" or \"NAME:host-gateway\""));
    None
}

/// Compose takes a single string where a list of one is meant.
fn one_or_many<T>(
    field: &Field<'_>,
    report: &mut Diagnostics,
    read: impl Fn(&Field<'_>, &mut Diagnostics) -> Option<T>,
) -> Option<Vec<T>> {
    if field.as_str().is_some() {
        return read(field, report).map(|value| vec![value]);
    }
    Some(field.elements(report)?.iter().filter_map(|element| read(element, report)).collect())
}

fn address_of(field: &Field<'_>, report: &mut Diagnostics) -> Option<IpAddr> {
    field.parsed("an IP address", "9.9.9.9", report).map(|address| address.value)
}

/// A word of `resolv.conf`: a space or a line end would start another.
fn string_of(field: &Field<'_>, report: &mut Diagnostics) -> Option<String> {
    let text = field.string(report)?;
    if text.value.is_empty() || text.value.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("{} must be a single word", field.what());
        let diagnostic = Diagnostic::new(message, text.span, "not one word");
        report.push(diagnostic.help("write each word as an element of its own, like [\"a\", \"b\"]"));
        return None;
    }
    Some(text.value.to_owned())
}
