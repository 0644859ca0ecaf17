//! `[containers.NAME]`.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::Serialize;
use vswitch_wire::MacAddr;

use super::{ExposedPorts, PublishedPort, as_text};
use crate::names::{ContainerName, InterfaceName, NetworkName};

/// `[containers.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    /// Its name.
    pub name: ContainerName,
    /// The network namespace. Meaningless (and `New`) unless `network_mode` is `Networks`, or `None`, which may name one.
    pub netns: Netns,
    /// Program and arguments to run inside; never empty.
    pub command: Option<Vec<String>>,
    /// Where its network comes from.
    pub network_mode: NetworkMode,
    /// Host name inside; the container's name unless given. Not applied under `NetworkMode::Container` and `Host`.
    pub hostname: String,
    /// Further lines of its `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// Its name servers; empty: the host's.
    pub dns: Vec<IpAddr>,
    /// Its search domains.
    pub dns_search: Vec<String>,
    /// Its resolver options, as in `resolv.conf`.
    pub dns_options: Vec<String>,
    /// Labels, for the user.
    pub labels: BTreeMap<String, String>,
    /// Environment variables of its command.
    pub environment: BTreeMap<String, String>,
    /// What of it is reachable from outside; empty unless `network_mode` is `Networks`.
    pub ports: Vec<PublishedPort>,
    /// What its programs listen at, as far as `publish_all` is to know it.
    pub expose: Vec<ExposedPorts>,
    /// Its ports on networks, in the order listed.
    pub attachments: Vec<Attachment>,
}

/// Where a container's network comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Its attachments.
    Networks,
    /// Another container, whose network namespace it shares; the chain of such references ends.
    Container(ContainerName),
    /// Nowhere: loopback only.
    None,
    /// The host.
    Host,
}

/// A container's network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Netns {
    /// Made, owned and removed by the switch.
    New,
    /// Somebody else's.
    #[serde(untagged)]
    Existing(NetnsRef),
}

/// How an existing network namespace is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetnsRef {
    /// An entry of `/run/netns`, as `ip netns` makes them.
    Name(String),
    /// The path of a namespace file.
    Path(PathBuf),
    /// The network namespace of a process.
    Pid(u32),
}

impl fmt::Display for NetnsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Pid(pid) => write!(f, "{{ pid = {pid} }}"),
        }
    }
}

/// One line of a container's `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Where it leads.
    pub address: HostAddr,
}

/// Where an extra host name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostAddr {
    /// The host, by way of the container's gateway: `host-gateway`.
    #[serde(rename = "host-gateway")]
    Gateway,
    /// This address.
    #[serde(untagged)]
    Ip(IpAddr),
}

/// One container on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// The network.
    pub network: NetworkName,
    /// The interface's name inside the container.
    pub interface_name: InterfaceName,
    /// Its MAC address; unicast, unique on the network. With ipvlan the program puts the parent's in its place when
    /// the container starts, as it is not known before.
    #[serde(serialize_with = "as_text")]
    pub mac_address: MacAddr,
    /// Its IPv4 address with the prefix length of its subnet; present if the network has IPv4.
    pub ipv4_address: Option<Ipv4Net>,
    /// Its IPv6 address with the prefix length of its subnet; present if the network has IPv6.
    pub ipv6_address: Option<Ipv6Net>,
    /// The IPv4 default route, if this attachment holds it; at most one of a container does.
    pub gateway4: Option<Ipv4Addr>,
    /// The IPv6 default route, if this attachment holds it; at most one of a container does.
    pub gateway6: Option<Ipv6Addr>,
    /// It holds the IPv4 default route and that leads to the interface itself, without a gateway, so `gateway4` is
    /// absent: ipvlan in mode l3.
    pub default_on_device4: bool,
    /// As `default_on_device4`, for IPv6.
    pub default_on_device6: bool,
    /// The higher, the rather it holds the default routes.
    pub gw_priority: i32,
    /// Further names of the container on this network.
    pub aliases: Vec<String>,
    /// The container may send only from its own MAC and IP addresses.
    pub source_guard: bool,
    /// The kind of port.
    #[serde(rename = "port")]
    pub port_driver: PortDriver,
    /// What it may use of the switch at most.
    pub limits: Limits,
}

/// What one attachment may use of the switch at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Tracked connections that it opened, 1..=16_777_216; 65_536 unless given.
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 65_536 }
    }
}

/// The kind of port that carries an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortDriver {
    /// A tap with every offload the kernel grants.
    #[default]
    Tap,
    /// A tap without offloads.
    TapPlain,
    /// A veth pair, its other end in the switch: for engines that insist on it.
    Veth,
}
