//! The difference between what is configured and what there is, as steps in the order to be taken.

use std::collections::{BTreeMap, HashMap};

use vswitch_config::Config;
use vswitch_config::model::{Netns, NetnsRef, NetworkMode};
use vswitch_config::names::{ContainerName, NetworkName};
use vswitch_ports::netns::{NamespaceId, NetNs};
use vswitch_switch::NetworkId;

use super::container::{Live, State};
use super::lan::{self, Lan, LanKey};
use crate::host::netns_path;

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// First: interfaces of the host.
    pub(super) open_lans: Vec<LanKey>,
    /// Then: networks.
    pub(super) open_networks: Vec<NetworkName>,
    /// Then: containers with their namespaces and ports.
    pub(super) add_containers: Vec<ContainerName>,
}

/// What the configuration has and the switch has not.
pub(super) fn difference(
    desired: &Config,
    lans: &HashMap<LanKey, Lan>,
    networks: &BTreeMap<NetworkName, NetworkId>,
    containers: &BTreeMap<ContainerName, Live>,
) -> Plan {
    let missing = |name: &&NetworkName| !networks.contains_key(*name);
    let absent = |name: &&ContainerName| !containers.contains_key(*name);
    let mut wanted: Vec<_> = lan::of_uplink(&desired.uplink).into_iter().collect();
    for key in desired.networks.values().filter_map(lan::of) {
        // The uplink and a network may be on the same LAN.
        if !wanted.contains(&key) {
            wanted.push(key);
        }
    }
    Plan {
        open_lans: wanted.into_iter().filter(|key| !lans.contains_key(key)).collect(),
        open_networks: desired.networks.keys().filter(missing).cloned().collect(),
        add_containers: desired.containers.keys().filter(absent).cloned().collect(),
    }
}

/// Containers that are up in a namespace that is gone, or replaced by another.
pub(super) fn lost_namespaces(
    config: &Config,
    containers: &BTreeMap<ContainerName, Live>,
) -> Vec<ContainerName> {
    let lost = |name: &ContainerName, live: &Live| match (foreign_namespace(config, name), &live.namespaces) {
        (Some(reference), Some(namespaces)) => identity_of(reference) != Some(namespaces.net.identity()),
        _ => false,
    };
    containers.iter().filter(|(name, live)| lost(name, live)).map(|(name, _)| name.clone()).collect()
}

/// Containers that are down and whose namespace, somebody else's, exists.
pub(super) fn returned_namespaces(
    config: &Config,
    containers: &BTreeMap<ContainerName, Live>,
) -> Vec<ContainerName> {
    let back = |name: &ContainerName, live: &Live| {
        live.state != State::Up
            && foreign_namespace(config, name).is_some_and(|reference| identity_of(reference).is_some())
    };
    containers.iter().filter(|(name, live)| back(name, live)).map(|(name, _)| name.clone()).collect()
}

/// Whether any container lives in a namespace that is not the switch's own, so that it must be watched.
pub(super) fn watches_namespaces(config: &Config) -> bool {
    config.containers.keys().any(|name| foreign_namespace(config, name).is_some())
}

fn foreign_namespace<'a>(config: &'a Config, name: &ContainerName) -> Option<&'a NetnsRef> {
    let spec = config.containers.get(name)?;
    match (&spec.netns, &spec.network_mode) {
        (Netns::Existing(reference), NetworkMode::Networks | NetworkMode::None) => Some(reference),
        _ => None,
    }
}

fn identity_of(reference: &NetnsRef) -> Option<NamespaceId> {
    NetNs::identity_of_path(&netns_path(reference))
}
