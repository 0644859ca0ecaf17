//! `driver` of a network, and the keys that only some drivers have.

use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{IpvlanMode, MacvlanMode, VlanId},
    names::InterfaceName,
    reader::{At, Field, Section, listed},
};

/// The keys that networks of each driver have besides those all have.
const BRIDGE_KEYS: [&str; 5] = ["internal", "icc", "nat", "routes", "router_advertisements"];
const MACVLAN_KEYS: [&str; 3] = ["macvlan_mode", "parent", "vlan"];
const IPVLAN_KEYS: [&str; 3] = ["ipvlan_mode", "parent", "vlan"];

/// A network on the LAN of an interface of the host; its parent not yet looked up.
#[derive(Debug)]
pub(crate) struct RawLan {
    pub(crate) mode: LanMode,
    /// Where `driver` stands.
    pub(crate) driver_span: Span,
    /// Where the mode stands, if it is given.
    pub(crate) mode_span: Option<Span>,
    pub(crate) parent: Option<At<InterfaceName>>,
    pub(crate) vlan: Option<At<VlanId>>,
    /// A key of these could not be read.
    pub(crate) damaged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LanMode {
    Macvlan(MacvlanMode),
    Ipvlan(IpvlanMode),
}

impl LanMode {
    /// The driver with its article.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "a macvlan network",
            Self::Ipvlan(_) => "an ipvlan network",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    Bridge,
    Macvlan,
    Ipvlan,
}

/// The LAN the network is on; `None` for a bridge, and for a driver that could not be read.
pub(super) fn lan(section: &Section<'_>, report: &mut Diagnostics) -> Option<RawLan> {
    let drivers = [("bridge", Driver::Bridge), ("macvlan", Driver::Macvlan), ("ipvlan", Driver::Ipvlan)];
    let driver = match section.field("driver") {
        Some(field) => Some(field.word(&drivers, &["overlay"], report)?),
        None => None,
    };
    let before = report.len();
    foreign_keys(section, driver.as_ref(), report);
    let At { value: driver, span: driver_span } = driver.filter(|driver| driver.value != Driver::Bridge)?;
    let macvlan_modes = [
        ("bridge", MacvlanMode::Bridge),
        ("private", MacvlanMode::Private),
        ("vepa", MacvlanMode::Vepa),
        ("passthru", MacvlanMode::Passthru),
    ];
    let ipvlan_modes = [("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3)];
    let (key, mode) = match driver {
        Driver::Ipvlan => {
            let mode = section
                .read("ipvlan_mode", report, |field, report| field.word(&ipvlan_modes, &["l3s"], report))
                .map(|mode| mode.value);
            ("ipvlan_mode", LanMode::Ipvlan(mode.unwrap_or_default()))
        }
        _ => {
            let mode = section
                .read("macvlan_mode", report, |field, report| field.word(&macvlan_modes, &[], report))
                .map(|mode| mode.value);
            ("macvlan_mode", LanMode::Macvlan(mode.unwrap_or_default()))
        }
    };
    let parent = section.read("parent", report, super::attachment::interface_name);
    let vlan = section.read("vlan", report, vlan);
    Some(RawLan {
        mode,
        driver_span,
        mode_span: section.field(key).map(Field::span),
        parent,
        vlan,
        damaged: report.len() > before,
    })
}

fn vlan(field: &Field<'_>, report: &mut Diagnostics) -> Option<At<VlanId>> {
    let number = field.integer::<u16>(1..=4094, report)?;
    VlanId::new(number.value).map(|vlan| At::new(vlan, number.span))
}

/// Reports keys that another driver has.
fn foreign_keys(section: &Section<'_>, driver: Option<&At<Driver>>, report: &mut Diagnostics) {
    let all = [
        (Driver::Bridge, "bridge", &BRIDGE_KEYS[..]),
        (Driver::Macvlan, "macvlan", &MACVLAN_KEYS),
        (Driver::Ipvlan, "ipvlan", &IPVLAN_KEYS),
    ];
    let own = driver.map_or(Driver::Bridge, |driver| driver.value);
    let Some((_, name, keys)) = all.iter().find(|(driver, ..)| *driver == own) else { return };
    for field in section.fields().iter().filter(|field| !keys.contains(&field.key)) {
        let owners = all.iter().filter(|(.., keys)| keys.contains(&field.key));
        let owners: Vec<_> = owners.map(|(_, name, _)| format!("`driver = \"{name}\"`")).collect();
        if owners.is_empty() {
            continue;
        }
        let owners = owners.join(" or ");
        let message = format!("a network with driver \"{name}\" has no `{}`", field.key);
        let label = format!("this belongs to {owners}");
        let diagnostic = Diagnostic::new(message, field.key_span.clone(), label);
        let diagnostic = match driver {
            Some(driver) => diagnostic.also(driver.span.clone(), "the driver"),
            None => diagnostic,
        };
        report.push(match (own, field.key) {
            (Driver::Bridge, _) => diagnostic.help(format!("add {owners}, or remove it")),
            (Driver::Macvlan, "icc") => {
                diagnostic.help("write `macvlan_mode = \"private\"` to keep the members apart")
            }
            (_, "nat") => diagnostic.help("remove it: on a LAN the members have addresses of its own"),
            (_, "internal") => {
                diagnostic.help("remove it, or use a bridge: a LAN leads wherever its routers do")
            }
            _ => diagnostic.help(format!("remove it; the keys of this driver are {}", listed(keys.iter()))),
        });
    }
}
