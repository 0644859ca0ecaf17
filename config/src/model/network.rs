//! `[networks.NAME]`.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use vswitch_wire::MacAddr;

use super::{StaticRoute, as_text};
use crate::names::{InterfaceName, NetworkName};

/// `[networks.NAME]`: one bridge domain, or a share of a LAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// How its members are joined.
    #[serde(flatten)]
    pub driver: NetworkDriver,
    /// No way out: members get no default route through it. Only with [`NetworkDriver::Bridge`].
    pub internal: bool,
    /// Members reach each other; false: only the gateway, and what is behind it. Never false but with
    /// [`NetworkDriver::Bridge`].
    pub icc: bool,
    /// Largest packet (L3) in bytes, 576..=65521 (1280..=65521 with IPv6).
    pub mtu: u16,
    /// Members get an IPv4 address.
    pub enable_ipv4: bool,
    /// Members get an IPv6 address.
    pub enable_ipv6: bool,
    /// Its subnets in the order given; at least one of each enabled family.
    pub ipam: Vec<Subnet>,
    /// The MAC address of the network's gateway, the same at every start. Of use only with [`NetworkDriver::Bridge`]
    /// and ipvlan in mode l3: elsewhere the gateway is a router of the LAN.
    #[serde(serialize_with = "as_text")]
    pub gateway_mac: MacAddr,
    /// Whether connections that leave by the uplink get its address.
    pub nat: NetworkNat,
    /// Where the gateway sends what is for none of its subnets; empty unless the driver is [`NetworkDriver::Bridge`].
    pub routes: Vec<StaticRoute>,
    /// What the gateway tells members of IPv6; absent without IPv6, and on LANs, whose own routers tell.
    pub router_advertisements: Option<RouterAdvertisements>,
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "driver", rename_all = "snake_case")]
pub enum NetworkDriver {
    /// A learning bridge inside this switch.
    #[default]
    Bridge,
    /// Each member is a host of its own on the parent's LAN.
    Macvlan {
        /// Who sees whose frames.
        #[serde(rename = "macvlan_mode")]
        mode: MacvlanMode,
        /// Whose LAN; no other network has it.
        parent: Parent,
    },
    /// The members share the parent's MAC address.
    Ipvlan {
        /// How they are reached.
        #[serde(rename = "ipvlan_mode")]
        mode: IpvlanMode,
        /// Whose LAN; no other network has it.
        parent: Parent,
    },
}

impl NetworkDriver {
    /// Whether the network is a bridge in this switch, with a gateway of the switch's own.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        *self == Self::Bridge
    }

    /// Whether it is ipvlan in mode l3, whose members have no gateway and no neighbours.
    #[must_use]
    pub fn is_ipvlan_l3(&self) -> bool {
        matches!(self, Self::Ipvlan { mode: IpvlanMode::L3, .. })
    }

    /// The interface of the host that the network shares, if it does.
    #[must_use]
    pub fn parent(&self) -> Option<&Parent> {
        match self {
            Self::Bridge => None,
            Self::Macvlan { parent, .. } | Self::Ipvlan { parent, .. } => Some(parent),
        }
    }
}

/// Who sees whose frames on a macvlan network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MacvlanMode {
    /// Members reach each other inside the switch.
    #[default]
    Bridge,
    /// Members never reach each other.
    Private,
    /// Members reach each other by a switch of the LAN that sends frames back (IEEE 802.1Qbg).
    Vepa,
    /// There is one member, which has the parent to itself.
    Passthru,
}

/// How the members of an ipvlan network are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IpvlanMode {
    /// As neighbours on the LAN.
    #[default]
    L2,
    /// By routing: no broadcast, no neighbours. The LAN's routers must have a route to the subnets.
    L3,
}

/// The interface of the host whose LAN a network shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parent {
    /// The interface.
    pub interface: InterfaceName,
    /// The VLAN on it; absent: frames without a tag.
    pub vlan: Option<VlanId>,
}

/// The number of a VLAN, 1 to 4094: 0 and 4095 are reserved (IEEE 802.1Q table 9-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VlanId(u16);

impl VlanId {
    /// The VLAN of this number, if it is one.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (1..=4094).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether connections that leave by the uplink are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkNat {
    /// They get an external address of the uplink.
    #[default]
    Masquerade,
    /// They keep their own, to which the outside must have a route. Always so if the network is internal, or its driver
    /// not [`NetworkDriver::Bridge`].
    None,
}

impl RouterAdvertisements {
    /// Those of a network unless given; an internal one has no default router.
    #[must_use]
    pub fn of_network(internal: bool) -> Self {
        let lifetime = if internal { 0 } else { 1800 };
        Self { managed: false, other: false, autonomous: false, lifetime, interval: 600 }
    }
}

/// Router advertisements (RFC 4861 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RouterAdvertisements {
    /// The M flag: addresses are to be had by DHCPv6.
    pub managed: bool,
    /// The O flag: other settings are to be had by DHCPv6.
    pub other: bool,
    /// The A flag of the prefixes: hosts may form addresses of their own (RFC 4862). The source guard drops what is
    /// sent from those.
    pub autonomous: bool,
    /// Seconds for which the gateway is a default router, 0 (never) or `interval`..=9000 (RFC 4861 §6.2.1).
    pub lifetime: u16,
    /// Seconds between two unsolicited ones at most, 4..=1800 (RFC 4861 §6.2.1).
    pub interval: u16,
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subnet {
    /// Address range; host bits are zero.
    pub subnet: IpNet,
    /// The gateway's address, inside `subnet`: the switch's own on a bridge network, else that of the LAN's router.
    /// Absent only with ipvlan in mode l3, where there is none.
    pub gateway: Option<IpAddr>,
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

impl Serialize for StormLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::FramesPerSecond(frames) => serializer.serialize_u32(*frames),
            Self::Off => serializer.serialize_str("off"),
        }
    }
}
