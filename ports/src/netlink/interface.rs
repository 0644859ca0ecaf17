//! A container's interface, made ready in one batch.

use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::link::LinkAttribute;

use super::addresses::add_address;
use super::links::{interface, set_link, without_link_local_address};
use super::routes::add_default_route;
use super::{LOOPBACK_INDEX, Netlink};
use crate::error::Result;

/// What an interface that exists shall become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceSettings {
    /// Its name.
    pub name: String,
    /// The MAC address; `None` leaves it.
    pub mac: Option<[u8; 6]>,
    /// The largest packet, in bytes without the Ethernet header.
    pub mtu: u32,
    /// The length of the transmit queue in packets; `None` leaves it.
    pub txqueuelen: Option<u32>,
    /// Addresses, each with its subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// Routers for everything else: at most one of each family has an effect.
    pub default_gateways: Vec<IpAddr>,
    /// Whether the interface speaks IPv6 at all; without, it has not even a link-local address.
    pub ipv6: bool,
}

impl Netlink {
    /// Makes an interface ready and sets it up, and `lo` too. The calling thread must be in the socket's namespace.
    /// Addresses and routes that are there stay.
    pub fn configure_interface(&mut self, settings: &InterfaceSettings) -> Result<()> {
        let index = self.link_index(&settings.name)?;
        let object = interface(&settings.name);

        let mut attributes = vec![LinkAttribute::Mtu(settings.mtu)];
        attributes.extend(settings.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        attributes.extend(settings.txqueuelen.map(LinkAttribute::TxQueueLen));
        if !settings.ipv6 && !ipv6_disabled(&settings.name) {
            attributes.push(without_link_local_address());
        }

        let mut batch = vec![
            set_link(LOOPBACK_INDEX, &interface("lo"), "set up", Vec::new(), Some(true)),
            set_link(
                index,
                &object,
                "set MAC address, MTU, queue length and up state of",
                attributes,
                Some(true),
            ),
        ];
        batch.extend(settings.addresses.iter().map(|address| add_address(index, &object, *address)));
        batch.extend(
            settings.default_gateways.iter().map(|gateway| add_default_route(*gateway, index, &object)),
        );
        self.change(batch)
    }
}

/// Switches IPv6 off on an interface, before it is up and would send its first router solicitation. `false` where the
/// switch cannot be turned, as in a container whose `/proc/sys` is read-only. `/proc/sys/net` shows each thread its own
/// namespace.
fn ipv6_disabled(name: &str) -> bool {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        Ok(()) => true,
        // A kernel without IPv6 has no such file, and nothing to disable.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
