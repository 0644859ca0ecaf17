//! A container's interface, made ready in one batch.

use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};

use super::addresses::add_address;
use super::links::{interface, set_link, without_link_local_address};
use super::routes::{add_default_route, add_route};
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
    /// Destinations reached by the interface without a router, such as `0.0.0.0/0` where the port takes packets
    /// for everybody.
    pub on_link: Vec<IpNet>,
    /// Whether the interface speaks IPv6 at all; without, it has not even a link-local address.
    pub ipv6: bool,
    /// Whether it makes a link-local address from its MAC address, if it speaks IPv6. Without, where several interfaces
    /// of one LAN have the same MAC address, they would take each other's for a duplicate.
    pub link_local: bool,
    /// Whether router advertisements may give it addresses and routes beside those above. Without, the kernel is
    /// told to ignore them, as far as `/proc/sys` may be written.
    pub accept_ra: bool,
    /// Whether it resolves addresses, by ARP and neighbour discovery; without (`NOARP`), every packet goes to its
    /// own MAC address, and the port must take it so.
    pub arp: bool,
    /// Whether `lo` is set up too: in a container's namespace, but not in the host's, where it is none of our
    /// business.
    pub loopback: bool,
}

impl Netlink {
    /// Makes an interface ready and sets it up. Nothing else of the namespace changes, save `lo` if asked for.
    /// The calling thread must be in the socket's namespace.
    /// Addresses and routes that are there stay.
    pub fn configure_interface(&mut self, settings: &InterfaceSettings) -> Result<()> {
        let index = self.link_index(&settings.name)?;
        let object = interface(&settings.name);

        let mut attributes = vec![LinkAttribute::Mtu(settings.mtu)];
        attributes.extend(settings.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        attributes.extend(settings.txqueuelen.map(LinkAttribute::TxQueueLen));
        let mute = !settings.ipv6 && !ipv6_disabled(&settings.name);
        if mute || !settings.link_local {
            attributes.push(without_link_local_address());
        }

        if !settings.accept_ra {
            ignore_advertisements(&settings.name);
        }

        let mut batch = Vec::new();
        if settings.loopback {
            batch.push(set_link(
                LOOPBACK_INDEX,
                &interface("lo"),
                "set up",
                Vec::new(),
                &[(LinkFlags::Up, true)],
            ));
        }
        batch.push(set_link(
            index,
            &object,
            "set MAC address, MTU, queue length and up state of",
            attributes,
            &[(LinkFlags::Noarp, !settings.arp), (LinkFlags::Up, true)],
        ));
        batch.extend(settings.addresses.iter().map(|address| add_address(index, &object, *address)));
        batch.extend(
            settings.default_gateways.iter().map(|gateway| add_default_route(*gateway, index, &object)),
        );
        batch.extend(settings.on_link.iter().map(|network| add_route(*network, None, index, &object)));
        self.change(batch)
    }
}

/// Has the kernel ignore router advertisements: one would add a second default route to the one that is configured.
fn ignore_advertisements(name: &str) {
    // Where it cannot be written, as in a container whose `/proc/sys` is read-only, what was configured still works.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra"), "0");
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
