//! Networks on a LAN: on which interface and VLAN, and is no other network there?

use std::collections::BTreeMap;

use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{IpvlanMode, MacvlanMode, NetworkDriver, Parent, Uplink, VlanId},
    names::{InterfaceName, NetworkName},
    parse::{LanMode, RawLan, RawNetwork, RawUplink},
    reader::At,
};

/// Which network has an interface and VLAN, and where that is said.
type Owners = BTreeMap<(InterfaceName, Option<VlanId>), (NetworkName, Span)>;

/// Fills in the driver of the networks on a LAN. One whose parent is not known keeps the bridge's; it is reported.
pub(crate) fn parents(networks: &mut [RawNetwork], uplink: &RawUplink, report: &mut Diagnostics) {
    let mut owners = Owners::new();
    for network in networks {
        let Some(lan) = &network.lan else { continue };
        let name = &network.settings.name;
        if lan.mode == LanMode::Ipvlan(IpvlanMode::L3) {
            gateways_of_l3(network, lan, report);
        }
        let Some(parent) = parent(name, lan, uplink, report) else { continue };
        match lan.mode {
            LanMode::Ipvlan(IpvlanMode::L3) => l3_leaves_by_the_uplink(name, &parent, uplink, report),
            LanMode::Macvlan(MacvlanMode::Passthru) => passthru_is_alone(name, lan, &parent, uplink, report),
            LanMode::Macvlan(_) | LanMode::Ipvlan(IpvlanMode::L2) => {}
        }
        one_network_each(name, &parent, &mut owners, report);
        let parent = parent.value;
        network.settings.driver = match lan.mode {
            LanMode::Macvlan(mode) => NetworkDriver::Macvlan { mode, parent },
            LanMode::Ipvlan(mode) => NetworkDriver::Ipvlan { mode, parent },
        };
    }
}

/// Docker's names: `eth1.10` is VLAN 10 on eth1. Left out, it is the uplink's interface.
fn parent(
    name: &NetworkName,
    lan: &RawLan,
    uplink: &RawUplink,
    report: &mut Diagnostics,
) -> Option<At<Parent>> {
    let own = interface_of(uplink);
    let vlan = lan.vlan.as_ref().map(|vlan| vlan.value);
    let Some(given) = &lan.parent else {
        let span = lan.vlan.as_ref().map_or(&lan.driver_span, |vlan| &vlan.span).clone();
        if let Some(own) = own {
            return Some(At::new(Parent { interface: own.clone(), vlan }, span));
        }
        if !uplink.damaged && !lan.damaged {
            let message = format!("network `{name}` has no parent");
            let diagnostic = Diagnostic::new(message, span, "on which interface of the host?");
            report.push(diagnostic.help(
                "add `parent = \"eth1\"`, or an uplink of kind \"interface\", which is the parent by default",
            ));
        }
        return None;
    };
    let At { value: interface, span } = given;
    let split = interface.as_str().rsplit_once('.').and_then(|(base, number)| {
        let vlan = VlanId::new(number.parse().ok()?)?;
        Some((base.parse::<InterfaceName>().ok()?, vlan))
    });
    // The uplink's interface may itself be a VLAN's, of the kernel's making.
    let (interface, named) = match split.filter(|_| own != Some(interface)) {
        Some((base, vlan)) => (base, Some(vlan)),
        None => (interface.clone(), None),
    };
    if let (Some(named), Some(vlan)) = (named, &lan.vlan)
        && named != vlan.value
    {
        let message = format!("network `{name}` is on two VLANs");
        report.push(
            Diagnostic::new(message, vlan.span.clone(), format!("VLAN {}", vlan.value))
                .also(span.clone(), format!("VLAN {named}, by the name of the parent"))
                .help(format!("remove `vlan`, or write `parent = \"{interface}\"`")),
        );
        return None;
    }
    Some(At::new(Parent { interface, vlan: named.or(vlan) }, span.clone()))
}

fn interface_of(uplink: &RawUplink) -> Option<&InterfaceName> {
    match &uplink.uplink {
        Uplink::Interface(interface) => Some(&interface.interface),
        Uplink::None | Uplink::Tap(_) => None,
    }
}

/// Mode l3 has no router on the network, so no address for one.
fn gateways_of_l3(network: &RawNetwork, lan: &RawLan, report: &mut Diagnostics) {
    let mode_span = lan.mode_span.as_ref().unwrap_or(&lan.driver_span);
    for gateway in network.subnets.iter().filter_map(|subnet| subnet.gateway.as_ref()) {
        let message = format!("network `{}` has no gateway", network.settings.name);
        report.push(
            Diagnostic::new(message, gateway.span.clone(), "nobody has this address")
                .also(mode_span.clone(), "in mode l3 the default route leads to the interface itself")
                .help("remove `gateway`"),
        );
    }
}

/// Its members are routed, and only the uplink is routed to.
fn l3_leaves_by_the_uplink(
    name: &NetworkName,
    parent: &At<Parent>,
    uplink: &RawUplink,
    report: &mut Diagnostics,
) {
    let is_uplink = parent.value.vlan.is_none() && interface_of(uplink) == Some(&parent.value.interface);
    if is_uplink || uplink.damaged {
        return;
    }
    let message = format!("network `{name}` cannot leave by {}", words(&parent.value));
    let diagnostic = Diagnostic::new(message, parent.span.clone(), "not the uplink's interface");
    let diagnostic = match &uplink.kind_span {
        Some(span) => diagnostic.also(span.clone(), "the uplink"),
        None => diagnostic,
    };
    report.push(diagnostic.help(match interface_of(uplink) {
        Some(own) => format!("ipvlan in mode l3 is routed by the uplink: write `parent = \"{own}\"` without `vlan`, or leave both out"),
        None => "ipvlan in mode l3 is routed by the uplink: add one of kind \"interface\"".to_owned(),
    }));
}

/// The one member has all of the parent, so the switch cannot have addresses there.
fn passthru_is_alone(
    name: &NetworkName,
    lan: &RawLan,
    parent: &At<Parent>,
    uplink: &RawUplink,
    report: &mut Diagnostics,
) {
    let shared = parent.value.vlan.is_none() && interface_of(uplink) == Some(&parent.value.interface);
    let has_addresses = uplink.uplink.has_ipv4() || uplink.uplink.has_ipv6();
    if !shared || !has_addresses {
        return;
    }
    let message = format!("network `{name}` cannot have {} to itself", words(&parent.value));
    let span = lan.mode_span.clone().unwrap_or_else(|| lan.driver_span.clone());
    let diagnostic = Diagnostic::new(message, span, "passthru gives all of the parent to one container");
    let diagnostic = uplink.interfaces.iter().fold(diagnostic, |diagnostic, at| {
        diagnostic.also(at.span.clone(), "the uplink has an address on it")
    });
    report.push(diagnostic.help("choose another parent, or `macvlan_mode = \"bridge\"`"));
}

fn one_network_each(name: &NetworkName, parent: &At<Parent>, owners: &mut Owners, report: &mut Diagnostics) {
    let key = (parent.value.interface.clone(), parent.value.vlan);
    let Some((owner, first)) = owners.get(&key) else {
        owners.insert(key, (name.clone(), parent.span.clone()));
        return;
    };
    let message = format!("networks `{owner}` and `{name}` have the same parent");
    report.push(
        Diagnostic::new(message, parent.span.clone(), format!("{} again", words(&parent.value)))
            .also(first.clone(), format!("network `{owner}` has it"))
            .help("give one of them another `parent` or `vlan`, or join them: a network can have several subnets"),
    );
}

fn words(parent: &Parent) -> String {
    match parent.vlan {
        Some(vlan) => format!("VLAN {vlan} of {}", parent.interface),
        None => parent.interface.to_string(),
    }
}
