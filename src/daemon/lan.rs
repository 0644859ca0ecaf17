//! The LANs the switch is on: the uplink's, and those whose parents macvlan and ipvlan networks share.
//!
//! Each LAN is one bridge domain with a port to the wire and, where the host stays on the interface too, a port to the
//! host's stack. A network with a parent is not a domain of its own: its containers are members of the LAN's. The
//! uplink's interface is the switch's alone, and the switch is a station on it: its own gateway.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use vswitch_config::model::{
    InterfaceUplink, IpvlanMode, MacvlanMode, Network, NetworkDriver, Parent as ConfiguredParent, TapUplink,
    Uplink, UplinkIpv4, VlanId,
};
use vswitch_config::names::InterfaceName;
use vswitch_ports::device::PortDevice;
use vswitch_ports::host_stack::{AddressFilter, Door, Exclusion};
use vswitch_ports::netlink::{InterfaceSettings, Link, Netlink};
use vswitch_ports::packet::{self, Options, Side};
use vswitch_ports::{Result, tap};
use vswitch_services::Route;
use vswitch_switch::parent::{Mode, Parent};
use vswitch_switch::{NetworkId, PortId};
use vswitch_wire::MacAddr;

use super::lease::Leased;

/// Frames the host may queue towards the switch on a tap of its own; as for containers.
const TXQUEUELEN: u32 = 5000;

/// The longest packet of a network, as the configuration bounds it.
const LARGEST_MTU: u16 = 65_521;

/// How a LAN is reached: an interface of the host and the VLAN on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LanKey {
    pub(super) interface: InterfaceName,
    pub(super) vlan: Option<VlanId>,
}

impl From<&ConfiguredParent> for LanKey {
    fn from(parent: &ConfiguredParent) -> Self {
        Self { interface: parent.interface.clone(), vlan: parent.vlan }
    }
}

/// A LAN the switch is on.
#[derive(Debug)]
pub(super) struct Lan {
    /// Its bridge domain.
    pub(super) network: NetworkId,
    pub(super) wire: PortId,
    /// The host's own stack on the same interface; none where the interface is the switch's alone.
    pub(super) host: Option<PortId>,
    pub(super) mac: MacAddr,
    pub(super) mtu: u16,
    pub(super) mode: Mode,
    /// What `show ports` says of the port to the wire.
    pub(super) wire_is: &'static str,
    /// What the kernel granted on its ports.
    pub(super) offloads: Vec<&'static str>,
    /// Keeps the host's stack where it belongs for as long as it is held.
    pub(super) stack: HostStack,
    /// Whether the interface is there and used.
    pub(super) up: bool,
    /// Why it is there and not used, as was reported.
    pub(super) trouble: Option<String>,
}

impl Lan {
    /// The LAN as the dataplane knows it; `addresses` are those of members that share the parent's MAC address.
    pub(super) fn parent(&self, addresses: HashMap<IpAddr, PortId>) -> Parent {
        Parent { wire: self.wire, host: self.host, mac: self.mac, mode: self.mode, addresses }
    }
}

/// The uplink, as far as it is up.
#[derive(Debug)]
pub(super) struct LiveUplink {
    pub(super) network: NetworkId,
    pub(super) port: PortId,
    pub(super) mac: MacAddr,
    pub(super) mtu: u16,
    /// The switch's own addresses on it; without the one a DHCP server is yet to give.
    pub(super) addresses: Vec<IpNet>,
    /// The next routers, at most one of each family.
    pub(super) routers: Vec<IpAddr>,
    /// Further routes, which a DHCP server gave.
    pub(super) routes: Vec<Route>,
    /// Where the address comes from, if from a DHCP server.
    pub(super) leased: Option<Leased>,
}

/// The devices of a LAN, opened but not yet in the switch.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) wire: Vec<PortDevice>,
    pub(super) host: Option<Vec<PortDevice>>,
    pub(super) mac: MacAddr,
    pub(super) mtu: u16,
    pub(super) stack: HostStack,
}

/// What stands between the interface and the host's own stack.
#[derive(Debug, Default)]
pub(super) struct HostStack {
    /// Keeps it off altogether.
    _exclusion: Option<Exclusion>,
    /// Lets our frames in.
    _door: Option<Door>,
    /// Keeps packets for containers that share the parent's MAC address from it.
    filter: Option<AddressFilter>,
}

impl HostStack {
    /// Says whose packets the host is not to see.
    pub(super) fn set_addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Result<()> {
        self.filter.as_mut().map_or(Ok(()), |filter| filter.set_addresses(addresses))
    }
}

/// How a network's members are joined on its LAN.
pub(super) fn mode(driver: &NetworkDriver) -> Mode {
    match driver {
        NetworkDriver::Macvlan { mode: MacvlanMode::Private, .. } => Mode::Private,
        NetworkDriver::Macvlan { mode: MacvlanMode::Vepa, .. } => Mode::Vepa,
        NetworkDriver::Macvlan { mode: MacvlanMode::Passthru, .. } => Mode::Passthru,
        NetworkDriver::Ipvlan { mode: IpvlanMode::L2, .. } => Mode::Shared,
        _ => Mode::Bridge,
    }
}

/// The LAN a network is a part of, if it is not a network of its own.
pub(super) fn of(network: &Network) -> Option<LanKey> {
    match &network.driver {
        // It is routed, not joined.
        NetworkDriver::Ipvlan { mode: IpvlanMode::L3, .. } => None,
        driver => driver.parent().map(LanKey::from),
    }
}

/// The LAN of an uplink that is an interface.
pub(super) fn of_uplink(uplink: &Uplink) -> Option<LanKey> {
    match uplink {
        Uplink::Interface(uplink) => Some(LanKey { interface: uplink.interface.clone(), vlan: None }),
        Uplink::Tap(uplink) => Some(LanKey { interface: uplink.tap.clone(), vlan: None }),
        Uplink::None => None,
    }
}

/// Opens an interface that stays the host's too.
pub(super) fn open_shared(key: &LanKey, mode: Mode, workers: usize) -> Result<Opened> {
    let name = key.interface.as_str();
    let vlan = key.vlan.map(VlanId::number);
    let link = Netlink::open()?.link(name)?;
    if !link.up {
        tracing::warn!(
            "interface {name} is down, and so is its LAN until it is set up (`ip link set {name} up`)"
        );
    }
    let open = |side| -> Result<Vec<PortDevice>> {
        Ok(packet::open(name, workers, Options { side, vlan })?.into_iter().map(PortDevice::Packet).collect())
    };
    // On a VLAN the host has an interface of its own, if it is there at all.
    let shares = vlan.is_none();
    let stack = HostStack {
        _exclusion: None,
        _door: shares.then(|| Door::attach(name)).transpose()?,
        filter: (mode == Mode::Shared).then(|| AddressFilter::attach(name, vlan)).transpose()?,
    };
    Ok(Opened {
        wire: open(Side::Wire)?,
        host: if shares { Some(open(Side::Host)?) } else { None },
        mac: mac_of(&link)?,
        mtu: mtu_of(&link),
        stack,
    })
}

/// Opens the interface that is the switch's alone from now on.
pub(super) fn open_exclusive(uplink: &InterfaceUplink, workers: usize) -> Result<Opened> {
    let name = uplink.interface.as_str();
    let mut netlink = Netlink::open()?;
    let link = netlink.link(name)?;
    // First, so that the host's stack never sees a frame we might see too.
    let exclusion = Exclusion::attach(name)?;
    let sockets = packet::open(name, workers, Options { side: Side::Exclusive, vlan: None })?;
    // Nobody else does, now that it is ours.
    netlink.set_up(link.index)?;
    Ok(Opened {
        wire: sockets.into_iter().map(PortDevice::Packet).collect(),
        host: None,
        mac: mac_of(&link)?,
        mtu: uplink.mtu.unwrap_or(mtu_of(&link)),
        stack: HostStack { _exclusion: Some(exclusion), ..HostStack::default() },
    })
}

/// Makes the tap whose other end the host routes on.
pub(super) fn open_tap(uplink: &TapUplink, workers: usize) -> Result<Opened> {
    let name = uplink.tap.as_str();
    let queues = tap::create(name, workers)?;
    let mut netlink = Netlink::open()?;
    let addresses = uplink.ipv4.map(IpNet::V4).into_iter().chain(uplink.ipv6.map(IpNet::V6));
    netlink.configure_interface(&InterfaceSettings {
        name: name.to_owned(),
        mac: None,
        mtu: uplink.mtu.into(),
        txqueuelen: Some(TXQUEUELEN),
        addresses: addresses.collect(),
        default_gateways: Vec::new(),
        on_link: Vec::new(),
        ipv6: uplink.ipv6.is_some(),
        link_local: true,
        accept_ra: false,
        arp: true,
        loopback: false,
    })?;
    let wire = queues.into_iter().map(PortDevice::Tap).collect();
    // Our end's, which only the host ever sees: the kernel chose its own at random, and two are never alike.
    let mac = other_end(mac_of(&netlink.link(name)?)?);
    Ok(Opened { wire, host: None, mac, mtu: uplink.mtu, stack: HostStack::default() })
}

fn mac_of(link: &Link) -> Result<MacAddr> {
    link.mac.map(MacAddr).ok_or_else(|| vswitch_ports::Error::Interface {
        operation: "use",
        name: link.name.clone(),
        cause: std::io::Error::other("it has no MAC address"),
        remedy: "the switch joins Ethernet interfaces only",
    })
}

/// As much of an interface's MTU as fits into a frame of ours.
fn mtu_of(link: &Link) -> u16 {
    u16::try_from(link.mtu).unwrap_or(u16::MAX).min(LARGEST_MTU)
}

/// A MAC address for our end of a tap whose other end has this one: locally administered, and another.
fn other_end(MacAddr([a, b, c, d, e, f]): MacAddr) -> MacAddr {
    MacAddr([a & 0xfc | 2, b, c, d, e, f ^ 1])
}

/// The addresses and routers an uplink has from the start.
pub(super) fn configured(uplink: &Uplink) -> (Vec<IpNet>, Vec<IpAddr>) {
    match uplink {
        Uplink::Interface(uplink) => {
            let four = match uplink.ipv4 {
                Some(UplinkIpv4::Static(net)) => Some(IpNet::V4(net)),
                Some(UplinkIpv4::Dhcp) | None => None,
            };
            let routers = uplink.gateway4.map(IpAddr::V4).into_iter().chain(uplink.gateway6.map(IpAddr::V6));
            (four.into_iter().chain(uplink.ipv6.map(IpNet::V6)).collect(), routers.collect())
        }
        Uplink::Tap(uplink) => {
            let own = uplink.own4.map(IpNet::V4).into_iter().chain(uplink.own6.map(IpNet::V6));
            let host4 = uplink.ipv4.map(|net| IpAddr::V4(net.addr()));
            let host6 = uplink.ipv6.map(|net| IpAddr::V6(net.addr()));
            (own.collect(), host4.into_iter().chain(host6).collect())
        }
        Uplink::None => (Vec::new(), Vec::new()),
    }
}
