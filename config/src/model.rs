//! The resolved configuration: every default filled in, every address, MAC and interface name allotted.
//!
//! Values are made by [`crate::load`] and, for containers added at run time, by [`crate::Allotter`]; both uphold:
//! - every attachment names a network of the same [`Config`], and its addresses lie in subnets of that network;
//! - no two attachments of a network share an address or a MAC, none has a gateway's or an auxiliary address, and none
//!   has the gateway's MAC;
//! - interface names are unique within a container; subnets do not overlap, within or between networks;
//! - a container has attachments only under [`NetworkMode::Networks`];
//! - no two published ports of any containers share a host address, port and protocol, and who publishes one has an
//!   attachment to a bridge network that is not internal; nothing is published without an uplink;
//! - no two networks have the same parent and VLAN; a parent is present wherever a driver has one;
//! - a route to a network names another one of the same [`Config`], of driver bridge and not internal.

mod container;
mod network;
mod publish;
mod route;
mod uplink;

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};

pub use self::{
    container::{
        Attachment, Container, ExtraHost, HostAddr, Limits, Netns, NetnsRef, NetworkMode, PortDriver,
    },
    network::{
        IpvlanMode, MacvlanMode, Network, NetworkDriver, NetworkNat, Parent, RouterAdvertisements,
        StormControl, StormLimit, Subnet, UnknownUnicast, VlanId,
    },
    publish::{ExposedPorts, Protocol, PublishedPort},
    route::{RouteVia, StaticRoute},
    uplink::{
        InterfaceUplink, NatBehaviour, NatSettings, NatTimeouts, OneToOne, TapUplink, Uplink, UplinkIpv4,
    },
};
use crate::names::{ContainerName, NetworkName};

/// A whole configuration, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The switch itself.
    pub switch: SwitchSettings,
    /// How traffic leaves.
    pub uplink: Uplink,
    /// The networks, by name.
    pub networks: BTreeMap<NetworkName, Network>,
    /// The containers, by name.
    pub containers: BTreeMap<ContainerName, Container>,
}

/// `[switch]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SwitchSettings {
    /// Names the control socket; `default` unless given.
    pub name: String,
    /// Dataplane threads, 1..=64; 1 unless given.
    pub workers: usize,
}

/// MAC addresses print as users write them, and `wire` knows no serde.
fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
