//! `ports` and `expose` of a container, in Compose's short and long forms.

use std::net::IpAddr;

use super::port_syntax::{PortError, PortSpec, exposed, protocol, short, spec};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{ExposedPorts, Protocol},
    reader::{At, Field, Keys, Section},
};

const LONG_KEYS: Keys = Keys {
    known: &["target", "published", "host_ip", "protocol"],
    planned: &[],
    foreign: &[
        ("mode", "there is one way to publish; leave it out"),
        ("name", "a port has no name; leave it out"),
        ("app_protocol", "what is spoken at the port is the container's own affair; leave it out"),
        ("container_port", "did you mean `target`?"),
        ("host_port", "did you mean `published`?"),
    ],
};

/// What a container publishes, read.
#[derive(Debug, Default)]
pub(crate) struct RawPublish {
    pub(crate) ports: Vec<At<PortSpec>>,
    pub(crate) expose: Vec<At<ExposedPorts>>,
    /// Where `publish_all = true` stands.
    pub(crate) all: Option<Span>,
    /// The keys that are there.
    pub(crate) keys: Vec<At<String>>,
}

pub(super) fn publish(section: &Section<'_>, report: &mut Diagnostics) -> RawPublish {
    let fields = ["ports", "expose", "publish_all"].into_iter().filter_map(|key| section.field(key));
    RawPublish {
        ports: section.read("ports", report, ports).unwrap_or_default(),
        expose: section.read("expose", report, expose).unwrap_or_default(),
        all: section.read("publish_all", report, |field, report| all(field, section, report)),
        keys: fields.map(|field| At::new(field.key.to_owned(), field.key_span.clone())).collect(),
    }
}

/// Where it stands, if it is true.
fn all(field: &Field<'_>, section: &Section<'_>, report: &mut Diagnostics) -> Option<Span> {
    let At { span, .. } = field.boolean(report).filter(|all| all.value)?;
    if section.field("expose").is_none() {
        let message = format!("{} publishes nothing", field.what());
        report.push(
            Diagnostic::new(message, span, "it publishes what is exposed, and nothing is")
                .help("add `expose = [\"80/tcp\"]`, or name the ports: `ports = [\"8080:80\"]`"),
        );
        return None;
    }
    Some(span)
}

fn ports(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<At<PortSpec>>> {
    let elements = field.elements(report)?;
    let read = |element: &Field<'_>| {
        if element.is_table() { long(element, report) } else { short_form(element, report) }
    };
    Some(elements.iter().filter_map(read).collect())
}

fn expose(field: &Field<'_>, report: &mut Diagnostics) -> Option<Vec<At<ExposedPorts>>> {
    let elements = field.elements(report)?;
    let read = |element: &Field<'_>| {
        let text = element.scalar(report)?;
        match exposed(&text) {
            Ok((ports, protocol)) => Some(At::new(ExposedPorts { ports, protocol }, element.span())),
            Err(error) => {
                let message = format!("{} is not a port", element.what());
                let diagnostic = Diagnostic::new(message, element.span(), error.to_string());
                report.push(diagnostic.help("write it like \"80\", \"53/udp\" or \"8000-8010/tcp\""));
                None
            }
        }
    };
    Some(elements.iter().filter_map(read).collect())
}

fn short_form(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<PortSpec>> {
    let text = field.scalar(report)?;
    match short(&text) {
        Ok(spec) => Some(At::new(spec, field.span())),
        Err(error) => {
            report.push(refusal(field, &error));
            None
        }
    }
}

fn refusal(field: &Field<'_>, error: &PortError) -> Diagnostic {
    let message = format!("{} cannot be published", field.what());
    let diagnostic = Diagnostic::new(message, field.span(), error.to_string());
    diagnostic.help(match error {
        PortError::Unbracketed => "write it like \"[2001:db8::10]:8080:80\"",
        PortError::UnknownProtocol(_) => "write /tcp, /udp or /sctp, or nothing for TCP",
        PortError::Lengths(..) => {
            "write two ranges of one length, or one port of the container for the first free port of the range"
        }
        _ => {
            "write it like \"8080:80\", \"127.0.0.1:5353:53/udp\", \"9000-9010:9000-9010\", or \"80\" for a free host port"
        }
    })
}

fn long(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<PortSpec>> {
    let section = field.section(report)?;
    section.check_keys(&LONG_KEYS, report);
    if section.field("target").is_none() {
        let message = format!("{} has no `target`", field.what());
        report.push(
            Diagnostic::new(message, field.span(), "which port of the container?").help("add `target = 80`"),
        );
    }
    let target = section.read("target", report, |field, report| {
        field.integer::<u16>(1..=65_535, report).map(|port| port.value)
    });
    let published = match section.field("published") {
        Some(field) => field.scalar(report)?,
        None => String::new(),
    };
    let host_ip = match section.field("host_ip") {
        Some(field) => Some(field.parsed::<IpAddr>("an IP address", "192.0.2.10", report)?.value),
        None => None,
    };
    let transport = match section.field("protocol") {
        Some(field) => transport(field, report)?,
        None => Protocol::Tcp,
    };
    let target = target?;
    match spec(host_ip, &published, (target, target), transport) {
        Ok(spec) => Some(At::new(spec, field.span())),
        Err(error) => {
            // Only `published` can be at fault: the rest has been read.
            report.push(refusal(section.field("published").unwrap_or(field), &error));
            None
        }
    }
}

fn transport(field: &Field<'_>, report: &mut Diagnostics) -> Option<Protocol> {
    let text = field.string(report)?;
    protocol(text.value).map_err(|error| report.push(refusal(field, &error))).ok()
}
