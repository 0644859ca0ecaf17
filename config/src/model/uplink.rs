//! `[uplink]`: how traffic leaves the switch, and how it is translated on the way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::Serialize;

use crate::names::InterfaceName;

/// How traffic leaves the switch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Uplink {
    /// It does not: the networks are islands.
    #[default]
    None,
    /// By an interface of the host that is given to the switch.
    Interface(InterfaceUplink),
    /// By a tap on the host, whose stack routes on.
    Tap(TapUplink),
}

impl Uplink {
    /// How addresses are translated, if anything leaves.
    #[must_use]
    pub fn nat(&self) -> Option<&NatSettings> {
        match self {
            Self::None => None,
            Self::Interface(interface) => Some(&interface.nat),
            Self::Tap(tap) => Some(&tap.nat),
        }
    }

    /// The addresses that connections get on their way out and that published ports are at: the switch's own, then
    /// those of [`NatSettings::addresses`]. One given by DHCP is not known here, so it is not among them.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let (own4, own6) = match self {
            Self::None => (None, None),
            Self::Interface(interface) => match interface.ipv4 {
                Some(UplinkIpv4::Static(net)) => (Some(net), interface.ipv6),
                Some(UplinkIpv4::Dhcp) | None => (None, interface.ipv6),
            },
            Self::Tap(tap) => (tap.own4, tap.own6),
        };
        let own4 = own4.map(|net| IpAddr::V4(net.addr())).into_iter();
        let own = own4.chain(own6.map(|net| IpAddr::V6(net.addr())));
        own.chain(self.nat().into_iter().flat_map(|nat| nat.addresses.iter().copied()))
    }

    /// Whether the switch has an IPv4 address of its own, or will have one by DHCP.
    #[must_use]
    pub fn has_ipv4(&self) -> bool {
        match self {
            Self::None => false,
            Self::Interface(interface) => interface.ipv4.is_some(),
            Self::Tap(tap) => tap.own4.is_some(),
        }
    }

    /// Whether the switch has an IPv6 address of its own.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        match self {
            Self::None => false,
            Self::Interface(interface) => interface.ipv6.is_some(),
            Self::Tap(tap) => tap.own6.is_some(),
        }
    }

    /// Every address that somebody else than a container has on the uplink's subnets, as far as it is known here.
    pub(crate) fn taken_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let others: [Option<IpAddr>; 2] = match self {
            Self::None => [None, None],
            Self::Interface(interface) => {
                [interface.gateway4.map(Into::into), interface.gateway6.map(Into::into)]
            }
            Self::Tap(tap) => [tap.ipv4.map(|net| net.addr().into()), tap.ipv6.map(|net| net.addr().into())],
        };
        let one_to_one = self.nat().into_iter().flat_map(|nat| &nat.one_to_one);
        self.addresses().chain(others.into_iter().flatten()).chain(one_to_one.map(|pair| pair.external))
    }
}

/// `kind = "interface"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceUplink {
    /// The host's interface: a network card, a VLAN or one end of a veth pair.
    pub interface: InterfaceName,
    /// The switch's own IPv4 address on it.
    pub ipv4: Option<UplinkIpv4>,
    /// The switch's own IPv6 address on it, with the prefix length of its subnet.
    pub ipv6: Option<Ipv6Net>,
    /// The next router for IPv4, inside the subnet of `ipv4`; under [`UplinkIpv4::Dhcp`] the server names it, so it is absent.
    pub gateway4: Option<Ipv4Addr>,
    /// The next router for IPv6, link-local or inside the subnet of `ipv6`.
    pub gateway6: Option<Ipv6Addr>,
    /// Largest packet (L3) in bytes, 576..=65521 (1280..=65521 with IPv6); absent: the interface's own.
    pub mtu: Option<u16>,
    /// How addresses are translated.
    pub nat: NatSettings,
}

/// Where an uplink's own IPv4 address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UplinkIpv4 {
    /// A DHCP server of the interface's LAN gives it.
    Dhcp,
    /// It is this one, with the prefix length of its subnet.
    #[serde(untagged)]
    Static(Ipv4Net),
}

/// `kind = "tap"`. The two ends of the tap are a subnet of their own; at least one family has addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TapUplink {
    /// The tap's name on the host.
    pub tap: InterfaceName,
    /// The host's IPv4 address, the next router of the switch, with the prefix length of the subnet.
    pub ipv4: Option<Ipv4Net>,
    /// The switch's own IPv4 address: the lowest other usable one of that subnet. Present if `ipv4` is.
    pub own4: Option<Ipv4Net>,
    /// The host's IPv6 address, as `ipv4`.
    pub ipv6: Option<Ipv6Net>,
    /// The switch's own IPv6 address, as `own4`. Present if `ipv6` is.
    pub own6: Option<Ipv6Net>,
    /// Largest packet (L3) in bytes, 576..=65521 (1280..=65521 with IPv6); 1500 unless given.
    pub mtu: u16,
    /// How addresses are translated.
    pub nat: NatSettings,
}

/// `[uplink.nat]`: how connections from networks with [`super::NetworkNat::Masquerade`] are translated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NatSettings {
    /// Which remote ends see the same external port (RFC 4787 §4.1).
    pub mapping: NatBehaviour,
    /// Which remote ends may send to an external port in use (RFC 4787 §5).
    pub filtering: NatBehaviour,
    /// External ports to translate to, first and last; 1..=65535, the first not above the last.
    pub ports: (u16, u16),
    /// External addresses besides the uplink's own; no duplicates, none the uplink's own.
    pub addresses: Vec<IpAddr>,
    /// Addresses translated one to one, ports untouched; each external and each internal address occurs once.
    pub one_to_one: Vec<OneToOne>,
    /// Connections tracked at a time, 1024..=16_777_216.
    pub max_connections: u32,
    /// How long unused connections are kept.
    pub timeouts: NatTimeouts,
}

/// On what of the remote end a translation depends (RFC 4787 §§4.1, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatBehaviour {
    /// On nothing.
    EndpointIndependent,
    /// On its address.
    AddressDependent,
    /// On its address and port.
    AddressAndPortDependent,
}

/// An internal address and the external one that stands for it; both of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OneToOne {
    /// As the outside sees it.
    pub external: IpAddr,
    /// Inside a subnet of a bridge network that is not internal.
    pub internal: IpAddr,
}

/// Seconds without a packet after which a connection is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NatTimeouts {
    /// UDP, 120..=86_400 (RFC 4787 REQ-5); 300 unless given.
    pub udp: u32,
    /// TCP, established, 7440..=864_000 (RFC 5382 REQ-5); 7440 unless given.
    pub tcp_established: u32,
    /// TCP, opening or closing, 240..=86_400 (RFC 5382 REQ-5); 240 unless given.
    pub tcp_transitory: u32,
    /// ICMP queries, 60..=86_400 (RFC 5508 REQ-2); 60 unless given.
    pub icmp: u32,
    /// Every other protocol, 60..=86_400; 600 unless given.
    pub other: u32,
}

impl NatSettings {
    /// The connections tracked at a time, unless given.
    pub const DEFAULT_MAX_CONNECTIONS: u32 = 262_144;
}

impl Default for NatSettings {
    fn default() -> Self {
        Self {
            // RFC 4787 REQ-1.
            mapping: NatBehaviour::EndpointIndependent,
            // RFC 4787 REQ-8: what to choose where strangers are not to be let in.
            filtering: NatBehaviour::AddressDependent,
            // RFC 6056 §3.2: as many as there are above the well-known ones.
            ports: (1024, 65_535),
            addresses: Vec::new(),
            one_to_one: Vec::new(),
            max_connections: Self::DEFAULT_MAX_CONNECTIONS,
            timeouts: NatTimeouts::default(),
        }
    }
}

impl Default for NatTimeouts {
    fn default() -> Self {
        Self { udp: 300, tcp_established: 7440, tcp_transitory: 240, icmp: 60, other: 600 }
    }
}
