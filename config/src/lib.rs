//! The configuration of vswitch: from the text of a TOML file to a resolved [`Config`], or to [`Diagnostics`] that
//! point at what is wrong.
//!
//! The way: text → TOML tree with spans → each section as typed values that keep their spans (`parse`) → checks across
//! sections (`check`) → addresses, MACs and interface names (`resolve`, `allot`). Every stage reports all it finds and
//! goes on with what is sound, so that one run shows every error. Nothing here reads a file, the environment or a clock;
//! the same text and [`Surroundings`] give the same result.

mod allot;
mod check;
mod diagnostic;
pub mod model;
pub mod names;
mod parse;
mod reader;
mod resolve;
mod suggest;

use toml::de::DeTable;

use crate::model::NetnsRef;
pub use crate::{
    allot::{AllotError, Allotter},
    diagnostic::{Diagnostic, Diagnostics, Located, Place, Related, Span},
    model::Config,
};

/// A configuration file, already read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name, as diagnostics show it.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

/// What only the shell can know.
pub struct Surroundings<'a> {
    /// Whether a network namespace can be joined; if not, why, in a few words that stand under its name.
    pub netns_exists: &'a dyn Fn(&NetnsRef) -> Result<(), String>,
    /// Chooses the IPv6 prefix of networks that name none: the same for one machine, another for another.
    pub ula_seed: u64,
    /// Where free host ports come from: first and last, the first not above the last, neither 0.
    pub ephemeral_ports: (u16, u16),
    /// Whether the host keeps a port of those for somebody else.
    pub port_is_reserved: &'a dyn Fn(u16) -> bool,
}

/// The range of free host ports where the host names none: Docker's fallback, the dynamic ports of RFC 6335 §6 but for
/// the first.
pub const DEFAULT_EPHEMERAL_PORTS: (u16, u16) = (49_153, 65_535);

/// Reads and checks a configuration and fills in everything it leaves open.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text. If the text is not TOML, only that.
pub fn load(source: &Source, surroundings: &Surroundings<'_>) -> Result<Config, Diagnostics> {
    let mut report = Diagnostics::default();
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        report.push(syntax_error(&error, &source.text));
    }
    if !report.is_empty() {
        // What the parser made of a broken text would only bring errors that are none.
        report.sort();
        return Err(report);
    }
    let mut document = parse::document(root.get_ref(), &mut report);
    let uplink = document.uplink;
    check::parents(&mut document.networks, &uplink, &mut report);
    let mut networks = check::networks(document.networks, &uplink, surroundings.ula_seed, &mut report);
    check::routes(&mut networks, &document.refused, &mut report);
    check::uplink(&uplink, &networks, &mut report);
    let mut planned =
        check::containers(document.containers, &networks, &document.refused, surroundings, &mut report);
    check::attachments(&planned, &networks, &uplink, document.switch.workers, &mut report);
    check::lans(&planned, &networks, &mut report);
    check::publish(&mut planned, &networks, &uplink, surroundings, &mut report);
    let uplink = uplink.uplink;
    let containers = resolve::containers(planned, &networks, &uplink, &mut report);
    if !report.is_empty() {
        report.sort();
        return Err(report);
    }
    Ok(Config {
        switch: document.switch,
        uplink,
        networks: networks.into_iter().map(|(name, network)| (name, network.network)).collect(),
        containers,
    })
}

fn syntax_error(error: &toml::de::Error, text: &str) -> Diagnostic {
    let span = error.span().unwrap_or(text.len()..text.len());
    let (message, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let found = text.get(span.clone()).unwrap_or_default().trim();
    let diagnostic =
        |label: &str| Diagnostic::new(format!("this is not TOML: {message}"), span.clone(), label);
    match (message, found.to_lowercase().as_str()) {
        ("duplicate key", _) => {
            diagnostic("set again here").help("it is set further up already; keep one of the two")
        }
        ("string values must be quoted", "") => {
            Diagnostic::new("this is not TOML: a value is missing", span, "expected a value")
                .help("write one, like 1, true, \"text\" or [\"text\"], or remove the key")
        }
        ("string values must be quoted", "yes" | "on" | "true") => {
            diagnostic("no such value").help("write `true`")
        }
        ("string values must be quoted", "no" | "off" | "false") => {
            diagnostic("no such value").help("write `false`")
        }
        ("string values must be quoted", _) => {
            diagnostic("without quotation marks").help(format!("write \"{}\"", found.escape_debug()))
        }
        _ if expected.is_empty() => diagnostic("here"),
        _ => diagnostic(&format!("expected {expected}")),
    }
}
