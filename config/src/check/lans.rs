//! What attachments to networks on a LAN cannot have.

use std::collections::BTreeMap;

use super::{
    containers::PlannedContainer,
    subnets::{PlannedNetwork, PlannedNetworks},
};
use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::MacvlanMode,
    names::ContainerName,
    parse::{LanMode, RawAttachment},
};

/// Checks the attachments of all containers to networks on a LAN.
pub(crate) fn lans(containers: &[PlannedContainer], networks: &PlannedNetworks, report: &mut Diagnostics) {
    let mut passthru: BTreeMap<&str, (&ContainerName, &Span)> = BTreeMap::new();
    for container in containers {
        let name = &container.settings.name;
        for attachment in &container.attachments {
            let Some(network) = networks.get(attachment.network.value.as_str()) else { continue };
            let Some(lan) = &network.lan else { continue };
            match lan.mode {
                LanMode::Ipvlan(_) => report_mac(attachment, network, report),
                LanMode::Macvlan(MacvlanMode::Passthru) => {
                    let span = &attachment.network.span;
                    if let Some(first) = passthru.get(network.network.name.as_str()) {
                        report.push(second_of_passthru(name, span, *first, network));
                    } else {
                        passthru.insert(network.network.name.as_str(), (name, span));
                    }
                }
                LanMode::Macvlan(_) => {}
            }
        }
    }
}

fn report_mac(attachment: &RawAttachment, network: &PlannedNetwork, report: &mut Diagnostics) {
    let Some(mac) = &attachment.mac_address else { return };
    let message = format!("members of network `{}` have no MAC address of their own", network.network.name);
    report.push(
        Diagnostic::new(message, mac.span.clone(), "with ipvlan it is the parent's")
            .also(network.name_span.clone(), "the network")
            .help("remove it, or use the driver \"macvlan\""),
    );
}

fn second_of_passthru(
    container: &ContainerName,
    span: &Span,
    (owner, first): (&ContainerName, &Span),
    network: &PlannedNetwork,
) -> Diagnostic {
    let name = &network.network.name;
    let message = format!("network `{name}` has room for one container");
    let diagnostic =
        Diagnostic::new(message, span.clone(), format!("container `{container}` would be the second"))
            .also(first.clone(), format!("container `{owner}` has it"));
    let mode = network.lan.as_ref().and_then(|lan| lan.mode_span.clone());
    let diagnostic = match mode {
        Some(mode) => diagnostic.also(mode, "passthru gives all of the parent to one"),
        None => diagnostic,
    };
    diagnostic.help("write `macvlan_mode = \"bridge\"` for more than one")
}
