//! The resolved configuration: every default filled in, every address, MAC and interface name allotted.
//!
//! Values are made by [`crate::load`] and, for containers added at run time, by [`crate::Allotter`]; both uphold:
//! - every attachment names a network of the same [`Config`], and its addresses lie in subnets of that network;
//! - no two attachments of a network share an address or a MAC, none has a gateway's or an auxiliary address;
//! - interface names are unique within a container; subnets do not overlap, within or between networks;
//! - a container has attachments only under [`NetworkMode::Networks`].

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Serialize, Serializer};
use vswitch_wire::MacAddr;

use crate::names::{ContainerName, InterfaceName, NetworkName};

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

/// `[uplink]`: how traffic leaves the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Uplink {
    /// It does not: the networks are islands.
    #[default]
    None,
}

/// `[networks.NAME]`: one bridge domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// How its members are joined.
    pub driver: NetworkDriver,
    /// No way out: members get no default route through it.
    pub internal: bool,
    /// Largest packet (L3) in bytes, 576..=65521 (1280..=65521 with IPv6).
    pub mtu: u16,
    /// Members get an IPv4 address.
    pub enable_ipv4: bool,
    /// Members get an IPv6 address.
    pub enable_ipv6: bool,
    /// Its subnets in the order given; at least one of each enabled family.
    pub ipam: Vec<Subnet>,
    /// Labels, for the user.
    pub labels: BTreeMap<String, String>,
    /// Seconds after which an unused learned FDB entry is forgotten, 10..=86400.
    pub mac_ageing: u32,
    /// Learned FDB entries at most, 1..=1_048_576.
    pub mac_limit: u32,
    /// Learned FDB entries at most behind one port, 1..=`mac_limit`.
    pub mac_limit_per_port: u32,
    /// BUM traffic a port may send.
    pub storm_control: StormControl,
    /// What becomes of a unicast frame whose destination is not in the FDB.
    pub unknown_unicast: UnknownUnicast,
}

/// How a network joins its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkDriver {
    /// A learning bridge inside this switch.
    #[default]
    Bridge,
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subnet {
    /// Address range; host bits are zero.
    pub subnet: IpNet,
    /// The gateway's address; inside `subnet`.
    pub gateway: IpAddr,
    /// Where dynamic addresses come from, if not from all of `subnet`; inside `subnet`.
    pub ip_range: Option<IpNet>,
    /// Addresses of `subnet` never handed out, by what they are for.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// Limits on BUM traffic, per port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StormControl {
    /// Broadcast frames.
    pub broadcast: StormLimit,
    /// Multicast frames.
    pub multicast: StormLimit,
    /// Unicast frames whose destination is not in the FDB.
    pub unknown_unicast: StormLimit,
}

/// How many frames per second one port may send of one kind of BUM traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StormLimit {
    /// So many; 0: none may pass.
    FramesPerSecond(u32),
    /// As many as come.
    Off,
}

/// What becomes of a unicast frame whose destination is not in the FDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownUnicast {
    /// It goes to every other port of the network, within storm control.
    #[default]
    Flood,
    /// It is dropped.
    Drop,
}

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
    /// Its MAC address; unicast, unique on the network.
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
    /// The higher, the rather it holds the default routes.
    pub gw_priority: i32,
    /// Further names of the container on this network.
    pub aliases: Vec<String>,
    /// The container may send only from its own MAC and IP addresses.
    pub source_guard: bool,
    /// The kind of port.
    #[serde(rename = "port")]
    pub port_driver: PortDriver,
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
}

impl Serialize for StormLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::FramesPerSecond(frames) => serializer.serialize_u32(*frames),
            Self::Off => serializer.serialize_str("off"),
        }
    }
}

/// MAC addresses print as users write them, and `wire` knows no serde.
fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
