//! `routes` of a network.

use std::net::IpAddr;

use ipnet::IpNet;

use super::network::net;
use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    reader::{At, Field, Keys},
    suggest::nearest,
};

const KEYS: Keys = Keys {
    known: &["destination", "via"],
    planned: &[],
    foreign: &[
        ("gateway", "did you mean `via`?"),
        ("to", "did you mean `destination`?"),
        ("dst", "did you mean `destination`?"),
        ("metric", "only one route leads to a destination; several routers stand in `via` as a list"),
        ("type", "write `via = \"blackhole\"`, \"unreachable\" or \"prohibit\""),
    ],
};

const NOWHERE: [&str; 3] = ["blackhole", "unreachable", "prohibit"];

/// One element of `routes`.
#[derive(Debug)]
pub(crate) struct RawRoute {
    pub(crate) destination: At<IpNet>,
    pub(crate) via: RawVia,
}

/// `via`, what it names not yet looked up.
#[derive(Debug)]
pub(crate) enum RawVia {
    Gateways(Vec<At<IpAddr>>),
    Network(At<String>),
    Blackhole,
    Unreachable,
    Prohibit,
}

pub(super) fn routes(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<RawRoute>> {
    let elements = field.elements(report)?;
    Some(elements.iter().filter_map(|element| route(element, report)).collect())
}

fn route(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawRoute> {
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let mistyped =
        |key| section.fields().iter().any(|field| nearest(field.key, std::iter::once(key)).is_some());
    for (key, label) in [("destination", "for which addresses?"), ("via", "where to?")] {
        if section.field(key).is_none() && !mistyped(key) {
            let message = format!("{} has no `{key}`", field.what());
            report.push(
                Diagnostic::new(message, field.span(), label)
                    .help("write { destination = \"10.9.0.0/16\", via = \"10.10.0.5\" }"),
            );
        }
    }
    let destination = section.read("destination", report, destination);
    let via = section.read("via", report, via);
    Some(RawRoute { destination: destination?, via: via? })
}

/// A range of addresses, or `default` as people know it; without a family that is IPv4's.
fn destination(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<IpNet>> {
    if field.as_str() == Some("default") {
        let message = format!("{} does not say of which family", field.what());
        report.push(
            Diagnostic::new(message, field.span(), "IPv4 or IPv6?").help("write \"0.0.0.0/0\" or \"::/0\""),
        );
        return None;
    }
    net(field, report)
}

fn via(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawVia> {
    let Some(elements) = field.as_elements() else { return one(field, report) };
    if elements.is_empty() {
        let message = format!("{} is empty", field.what());
        report.push(
            Diagnostic::new(message, field.span(), "leads nowhere")
                .help("name a router, or write \"blackhole\", \"unreachable\" or \"prohibit\""),
        );
        return None;
    }
    let gateways: Vec<_> = elements
        .iter()
        .map(|element| element.parsed::<IpAddr>("the address of a router", "10.10.0.5", report))
        .collect();
    gateways.into_iter().collect::<Option<_>>().map(RawVia::Gateways)
}

fn one(field: &Field<'_>, report: &mut Diagnostics) -> Option<RawVia> {
    let text = field.string(report)?;
    if let Some(name) = text.value.strip_prefix("network:") {
        return Some(RawVia::Network(At::new(name.to_owned(), text.span)));
    }
    if let Ok(address) = text.value.parse() {
        return Some(RawVia::Gateways(vec![At::new(address, text.span)]));
    }
    match text.value {
        "blackhole" => Some(RawVia::Blackhole),
        "unreachable" => Some(RawVia::Unreachable),
        "prohibit" => Some(RawVia::Prohibit),
        _ => {
            let message = format!("{} cannot be `{}`", field.what(), text.value.escape_debug());
            let diagnostic = Diagnostic::new(message, text.span, "neither a router nor a network");
            report.push(match nearest(text.value, NOWHERE.into_iter()) {
                Some(word) => diagnostic.help(format!("did you mean \"{word}\"?")),
                None => diagnostic.help(
                    "write the address of a router, a list of them, \"network:NAME\", \"blackhole\", \"unreachable\" or \"prohibit\"",
                ),
            });
            None
        }
    }
}
