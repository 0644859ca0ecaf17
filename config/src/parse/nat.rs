//! `[uplink.nat]`.

use std::{collections::BTreeMap, net::IpAddr};

use super::{port_syntax::port_range, uplink::not_global};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{NatBehaviour, NatSettings, NatTimeouts, OneToOne},
    reader::{At, Field, Keys, Section},
};

const KEYS: Keys = Keys {
    known: &["mapping", "filtering", "ports", "addresses", "one_to_one", "max_connections", "timeouts"],
    planned: &[],
    foreign: &[
        ("enabled", "whether a network is translated is its own key: `[networks.NAME] nat = \"none\"`"),
        ("port_range", "did you mean `ports`?"),
        ("pool", "did you mean `addresses`?"),
    ],
};

const TIMEOUT_KEYS: Keys = Keys {
    known: &["udp", "tcp_established", "tcp_transitory", "icmp", "other"],
    planned: &[],
    foreign: &[("tcp", "write `tcp_established` or `tcp_transitory`")],
};

/// `[uplink.nat]`, read.
#[derive(Debug, Default)]
pub(crate) struct RawNat {
    pub(crate) settings: NatSettings,
    /// Where each external address stands: those of `addresses`, then those of `one_to_one`.
    pub(crate) external: Vec<At<IpAddr>>,
    /// Where each internal address stands.
    pub(crate) internal: Vec<At<IpAddr>>,
}

pub(super) fn nat(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawNat> {
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let default = NatSettings::default();
    let behaviour = |field: &Field<'_>, report: &mut Diagnostics| {
        let words = [
            ("endpoint-independent", NatBehaviour::EndpointIndependent),
            ("address-dependent", NatBehaviour::AddressDependent),
            ("address-and-port-dependent", NatBehaviour::AddressAndPortDependent),
        ];
        field.word(&words, &[], report).map(|word| word.value)
    };
    let addresses = section.read("addresses", report, addresses).unwrap_or_default();
    let one_to_one = section.read("one_to_one", report, one_to_one).unwrap_or_default();
    let (external, internal): (Vec<_>, Vec<_>) = one_to_one.into_iter().unzip();
    let pairs = external.iter().zip(&internal);
    let settings = NatSettings {
        mapping: section.read("mapping", report, behaviour).unwrap_or(default.mapping),
        filtering: section.read("filtering", report, behaviour).unwrap_or(default.filtering),
        ports: section.read("ports", report, ports).unwrap_or(default.ports),
        addresses: addresses.iter().map(|at| at.value).collect(),
        one_to_one: pairs.map(|(e, i)| OneToOne { external: e.value, internal: i.value }).collect(),
        max_connections: section
            .read("max_connections", report, |field, report| field.integer(1024..=16_777_216, report))
            .map_or(default.max_connections, |at| at.value),
        timeouts: section.read("timeouts", report, timeouts).unwrap_or_default(),
    };
    let external: Vec<_> = addresses.into_iter().chain(external).collect();
    distinct(&external, "is listed twice as an external address", report);
    distinct(&internal, "is translated twice", report);
    Some(RawNat { settings, external, internal })
}

fn ports(field: &Field<'_>, report: &mut Diagnostics) -> Option<(u16, u16)> {
    let text = field.string(report)?;
    match port_range(text.value) {
        Ok(range) => Some(range),
        Err(error) => {
            let message = format!("{} is not a range of ports", field.what());
            report.push(
                Diagnostic::new(message, text.span, error.to_string()).help("write it like \"1024-65535\""),
            );
            None
        }
    }
}

fn addresses(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<At<IpAddr>>> {
    let elements = field.elements(report)?;
    Some(elements.iter().filter_map(|element| external(element, report)).collect())
}

fn external(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<IpAddr>> {
    let address = field.parsed::<IpAddr>("an IP address", "192.0.2.11", report)?;
    let Some(kind) = not_global(address.value) else { return Some(address) };
    let message = format!("{} cannot be an external address", address.value);
    report.push(
        Diagnostic::new(message, address.span, kind)
            .help("write an address that the outside sends to this switch"),
    );
    None
}

fn one_to_one(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<(At<IpAddr>, At<IpAddr>)>> {
    let elements = field.elements(report)?;
    Some(elements.iter().filter_map(|element| pair(element, report)).collect())
}

fn pair(field: &Field<'_>, report: &mut Diagnostics) -> Option<(At<IpAddr>, At<IpAddr>)> {
    const KEYS: Keys = Keys { known: &["external", "internal"], planned: &[], foreign: &[] };
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    for key in KEYS.known.iter().filter(|key| section.field(key).is_none()) {
        let message = format!("{} has no `{key}`", field.what());
        report.push(
            Diagnostic::new(message, field.span(), "half of a pair")
                .help("write { external = \"192.0.2.11\", internal = \"10.10.0.20\" }"),
        );
    }
    let external = section.read("external", report, external);
    let internal = section.read("internal", report, |field, report| {
        field.parsed::<IpAddr>("an IP address", "10.10.0.20", report)
    });
    let (external, internal) = (external?, internal?);
    if external.value.is_ipv4() != internal.value.is_ipv4() {
        let message = format!("{} cannot stand for {}", external.value, internal.value);
        report.push(
            Diagnostic::new(message, external.span, "of the other family")
                .also(internal.span, "the internal address")
                .help("write two addresses of one family; one to one changes nothing but the address"),
        );
        return None;
    }
    Some((external, internal))
}

fn timeouts(field: &Field<'_>, report: &mut Diagnostics) -> Option<NatTimeouts> {
    let section = field.section(report)?;
    section.check_keys(&TIMEOUT_KEYS, report);
    let default = NatTimeouts::default();
    const DAY: i64 = 86_400;
    Some(NatTimeouts {
        udp: seconds(&section, "udp", 120..=DAY, "RFC 4787 REQ-5", report).unwrap_or(default.udp),
        tcp_established: seconds(&section, "tcp_established", 7440..=10 * DAY, "RFC 5382 REQ-5", report)
            .unwrap_or(default.tcp_established),
        tcp_transitory: seconds(&section, "tcp_transitory", 240..=DAY, "RFC 5382 REQ-5", report)
            .unwrap_or(default.tcp_transitory),
        icmp: seconds(&section, "icmp", 60..=DAY, "RFC 5508 REQ-2", report).unwrap_or(default.icmp),
        other: seconds(&section, "other", 60..=DAY, "", report).unwrap_or(default.other),
    })
}

fn seconds(
    section: &Section<'_>,
    key: &str,
    range: std::ops::RangeInclusive<i64>,
    clause: &str,
    report: &mut Diagnostics,
) -> Option<u32> {
    let reason = format!("{clause} asks for at least {} seconds", range.start());
    let reason = (!clause.is_empty()).then_some(reason.as_str());
    section
        .read(key, report, |field, report| field.integer_because(range, reason, report))
        .map(|seconds| seconds.value)
}

/// Reports each address that stood there before.
fn distinct(addresses: &[At<IpAddr>], what: &str, report: &mut Diagnostics) {
    let mut seen: BTreeMap<IpAddr, &Span> = BTreeMap::new();
    for At { value, span } in addresses {
        if let Some(first) = seen.get(value) {
            report.push(
                Diagnostic::new(format!("{value} {what}"), span.clone(), "again here")
                    .also((*first).clone(), "first here")
                    .help("remove one of the two"),
            );
        } else {
            seen.insert(*value, span);
        }
    }
}
