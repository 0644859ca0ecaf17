//! The last step: addresses, MACs and interface names for every attachment.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    allot::{Allotter, Exhausted, Request, interface_name, keep_one_default_route, list},
    check::{PlannedContainer, PlannedNetwork, PlannedNetworks},
    diagnostic::{Diagnostic, Diagnostics},
    model::{Attachment, Container, Uplink},
    names::{ContainerName, InterfaceName},
    parse::RawAttachment,
};

/// Allots what is not given. First every given address is set aside, then the others are filled in from the lowest
/// free one in the order of the text, so that a container further down never takes an address from one above.
pub(crate) fn containers(
    planned: Vec<PlannedContainer>,
    networks: &PlannedNetworks,
    uplink: &Uplink,
    report: &mut Diagnostics,
) -> BTreeMap<ContainerName, Container> {
    let sound = |attachment: &RawAttachment| {
        networks.get(attachment.network.value.as_str()).filter(|network| !network.damaged)
    };
    let mut allotter = Allotter::default();
    for network in networks.values().filter(|network| !network.damaged) {
        allotter.add_network(&network.network);
    }
    allotter.reserve_uplink(uplink);
    for attachment in planned.iter().flat_map(|container| &container.attachments) {
        if let Some(network) = sound(attachment) {
            let ipv4 = attachment.ipv4_address.as_ref().map(|at| at.value);
            let ipv6 = attachment.ipv6_address.as_ref().map(|at| at.value);
            let mac = attachment.mac_address.as_ref().map(|at| at.value);
            allotter.reserve(&network.network.name, ipv4, ipv6, mac);
        }
    }
    let mut full = BTreeSet::new();
    let mut resolved = BTreeMap::new();
    for PlannedContainer { mut settings, attachments, .. } in planned {
        let names = interface_names(&attachments);
        let attached = attachments.into_iter().zip(names).filter_map(|(attachment, interface)| {
            let network = sound(&attachment)?;
            let name = &settings.name;
            attach(&mut allotter, name, network, &attachment, interface)
                .map_err(|exhausted| {
                    // One container tells it all; the others would say the same.
                    if full.insert((network.network.name.clone(), exhausted.family)) {
                        report.push(no_address_left(name, network, &attachment, &exhausted));
                    }
                })
                .ok()
        });
        settings.attachments = attached.collect();
        keep_one_default_route(&mut settings.attachments);
        resolved.insert(settings.name.clone(), settings);
    }
    resolved
}

/// The names given, and for the others `eth0`, `eth1`, … in the order listed, leaving out those given.
fn interface_names(attachments: &[RawAttachment]) -> Vec<InterfaceName> {
    let given: BTreeSet<_> =
        attachments.iter().filter_map(|a| a.interface_name.as_ref().map(|at| &at.value)).collect();
    let mut free = (0..).map(interface_name).filter(|name| !given.contains(name));
    attachments
        .iter()
        .filter_map(|a| a.interface_name.as_ref().map(|at| at.value.clone()).or_else(|| free.next()))
        .collect()
}

fn attach(
    allotter: &mut Allotter,
    container: &ContainerName,
    network: &PlannedNetwork,
    raw: &RawAttachment,
    interface_name: InterfaceName,
) -> Result<Attachment, Exhausted> {
    let request = Request {
        interface_name,
        ipv4: raw.ipv4_address.as_ref().map(|at| at.value),
        ipv6: raw.ipv6_address.as_ref().map(|at| at.value),
        mac: raw.mac_address.as_ref().map(|at| at.value),
        gw_priority: raw.gw_priority,
        aliases: raw.aliases.clone(),
        source_guard: raw.source_guard,
        port_driver: raw.port.as_ref().map(|at| at.value).unwrap_or_default(),
        limits: raw.limits,
    };
    allotter.attach(container, &network.network.name, request)
}

fn no_address_left(
    container: &ContainerName,
    network: &PlannedNetwork,
    attachment: &RawAttachment,
    exhausted: &Exhausted,
) -> Diagnostic {
    let name = &network.network.name;
    let message =
        format!("network `{name}` has no {} address left for container `{container}`", exhausted.family);
    let label = format!("all of {} is taken", list(&exhausted.ranges));
    let diagnostic = Diagnostic::new(message, attachment.network.span.clone(), label);
    let limits = network.declared.iter().filter_map(|raw| {
        let limit = raw.ip_range.as_ref().unwrap_or(&raw.subnet);
        exhausted.ranges.contains(&limit.value).then(|| limit.span.clone())
    });
    let diagnostic =
        limits.fold(diagnostic, |diagnostic, span| diagnostic.also(span, "addresses come from here"));
    diagnostic.help("choose a shorter prefix length, or add a second subnet to `ipam`")
}
