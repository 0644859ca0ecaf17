//! From TOML to typed sections that keep their spans. Checks here need one value or one section only.

mod advertisements;
mod attachment;
mod container;
mod driver;
mod nat;
mod network;
mod port_syntax;
mod ports;
mod route;
mod switch;
mod uplink;

use std::collections::BTreeSet;

use toml::de::DeTable;

pub(crate) use self::{
    advertisements::RawAdvertisements,
    attachment::RawAttachment,
    container::{RawContainer, RawMode, RawNetworks},
    driver::{LanMode, RawLan},
    network::{RawNetwork, RawSubnet},
    port_syntax::PortSpec,
    ports::RawPublish,
    route::{RawRoute, RawVia},
    uplink::RawUplink,
};
use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    model::SwitchSettings,
    names::NameError,
    reader::{Field, Keys, Section},
};

const KEYS: Keys = Keys {
    known: &["switch", "uplink", "networks", "containers"],
    planned: &["cluster", "services", "policies", "ipam"],
    foreign: &[
        ("network", "networks are declared as `[networks.NAME]`"),
        ("container", "containers are declared as `[containers.NAME]`"),
    ],
};

/// A whole file, section by section, in the order of the text.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) switch: SwitchSettings,
    pub(crate) uplink: RawUplink,
    pub(crate) networks: Vec<RawNetwork>,
    pub(crate) containers: Vec<RawContainer>,
    /// Names of networks and containers that were refused themselves: who refers to them need not hear of it again.
    pub(crate) refused: BTreeSet<String>,
}

/// Reads the whole tree.
pub(crate) fn document<'a>(root: &'a DeTable<'a>, report: &mut Diagnostics) -> Document {
    let root = Section::new("", root);
    root.check_keys(&KEYS, report);
    let mut refused = BTreeSet::new();
    let networks = named(&root, "networks", &mut refused, report, network::network);
    let containers = named(&root, "containers", &mut refused, report, container::container);
    Document {
        switch: root.read("switch", report, switch::switch).unwrap_or_else(switch::defaults),
        uplink: root.field("uplink").map(|field| uplink::uplink(field, report)).unwrap_or_default(),
        networks,
        containers,
        refused,
    }
}

/// The sections `[KIND.NAME]`.
fn named<'a, T>(
    root: &Section<'a>,
    kind: &str,
    refused: &mut BTreeSet<String>,
    report: &mut Diagnostics,
    read: impl Fn(&Field<'a>, &mut Diagnostics) -> Option<T>,
) -> Vec<T> {
    let Some(sections) = root.read(kind, report, Field::section) else { return Vec::new() };
    let mut all = Vec::new();
    for field in sections.fields() {
        match read(field, report) {
            Some(section) => all.push(section),
            None => {
                refused.insert(field.key.to_owned());
            }
        }
    }
    all
}

/// Reports a name that is none.
fn bad_name(kind: &str, field: &Field<'_>, error: &NameError, report: &mut Diagnostics) {
    let message = format!("`{}` cannot be the name of a {kind}", field.key.escape_debug());
    report.push(
        Diagnostic::new(message, field.key_span.clone(), format!("it {error}")).help(
            "a name is up to 63 letters, digits, `_`, `.` and `-`, and starts with a letter or a digit",
        ),
    );
}
