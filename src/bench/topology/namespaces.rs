//! Two namespaces to measure between, and their interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};
use vswitch_ports::Result;
use vswitch_ports::netlink::{InterfaceSettings, Netlink};
use vswitch_ports::netns::NetNs;

use crate::bench::measure::{Published, Side, Work};

/// The addresses of the two sides, from the block that RFC 2544 sets aside for benchmarks.
pub(super) const LEFT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(super) const RIGHT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// A gateway between them: its address on the left side's network, its address in the world, and the right side
/// there. RFC 2544's block is a /15, and these are in its other half.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
pub(super) const WORLD: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 2);

/// The port that gateways publish, on both sides of them.
const PUBLISHED_PORT: u16 = 5201;

/// What gateways publish.
pub(super) const PUBLISHED: Published = Published {
    outside: SocketAddr::new(IpAddr::V4(OUTSIDE), PUBLISHED_PORT),
    inside: SocketAddr::new(IpAddr::V4(LEFT), PUBLISHED_PORT),
};

/// The interface inside each side.
pub(crate) const INTERFACE: &str = "eth0";

/// Long enough that no queue is the limit.
const TXQUEUELEN: u32 = 5000;

/// One of the two namespaces.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) net: NetNs,
    address: IpAddr,
}

impl Namespace {
    /// A fresh namespace for the side with this address.
    pub(super) fn create(address: Ipv4Addr) -> Result<Self> {
        Ok(Self { net: NetNs::create()?, address: address.into() })
    }

    /// A namespace that exists.
    pub(super) fn of(net: NetNs, address: IpAddr) -> Self {
        Self { net, address }
    }

    /// Sets up [`INTERFACE`], which exists, with the side's address.
    pub(super) fn configure(&self, mtu: u16) -> Result<()> {
        self.configure_behind(None, mtu)
    }

    /// The same, with a gateway to everybody else.
    pub(super) fn configure_behind(&self, gateway: Option<Ipv4Addr>, mtu: u16) -> Result<()> {
        let IpAddr::V4(address) = self.address else { return Ok(()) };
        let settings = InterfaceSettings {
            name: INTERFACE.to_owned(),
            mac: None,
            mtu: mtu.into(),
            txqueuelen: Some(TXQUEUELEN),
            addresses: vec![IpNet::V4(Ipv4Net::new_assert(address, 24))],
            default_gateways: gateway.map(IpAddr::V4).into_iter().collect(),
            on_link: Vec::new(),
            ipv6: false,
            link_local: true,
            accept_ra: false,
            arp: true,
            loopback: true,
        };
        self.net.within(|| Netlink::open()?.configure_interface(&settings))?
    }
}

impl Side for Namespace {
    fn address(&self) -> IpAddr {
        self.address
    }

    fn within(&self, work: Work<'_>) -> io::Result<()> {
        self.net.within(work).map_err(io::Error::other)
    }
}
