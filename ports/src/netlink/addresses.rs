//! The IP addresses of interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::links::numbered;
use super::{Netlink, Request};
use crate::error::Result;

/// An address as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The index of the interface that has it.
    pub index: u32,
    /// The address with the prefix length of its subnet.
    pub network: IpNet,
    /// An IPv6 address that cannot be used yet, as the kernel still looks for a duplicate.
    pub tentative: bool,
}

impl Netlink {
    /// Gives an interface an address; one it already has stays. The subnet's route comes with it once the interface is
    /// up. An IPv6 address is usable at once: addresses are ours to allot, so the kernel need not look for duplicates.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> Result<()> {
        self.change(vec![add_address(index, &numbered(index), address)])
    }

    /// The addresses of one interface.
    pub fn addresses_of(&mut self, index: u32) -> Result<Vec<IpNet>> {
        let all = self.list_addresses()?;
        Ok(all.into_iter().filter(|address| address.index == index).map(|address| address.network).collect())
    }

    /// All addresses of the namespace.
    pub fn list_addresses(&mut self) -> Result<Vec<Address>> {
        let found = self.query(Request {
            message: RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            flags: NLM_F_DUMP,
            operation: "list",
            object: "the addresses".to_owned(),
        })?;
        let addresses = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => Address::from_message(&address),
            _ => None,
        });
        Ok(addresses.collect())
    }
}

impl Address {
    /// `None` for what is no IP address.
    fn from_message(message: &AddressMessage) -> Option<Self> {
        // On a point-to-point link `Address` is the other end and `Local` ours; IPv6 mostly has `Address` alone.
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        })?;
        let network = IpNet::new(address, message.header.prefix_len).ok()?;
        let tentative = message.header.flags.contains(AddressHeaderFlags::Tentative);
        Some(Self { index: message.header.index, network, tentative })
    }
}

pub(super) fn add_address(index: u32, interface: &str, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    match address {
        IpNet::V4(network) => {
            message.header.family = AddressFamily::Inet;
            // RFC 3021: a subnet of two addresses has no broadcast address, and a single address has no subnet.
            if network.prefix_len() < 31 {
                message.attributes.push(AddressAttribute::Broadcast(network.broadcast()));
            }
        }
        IpNet::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    Request {
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        operation: "add an address to",
        object: format!("{interface} ({address})"),
    }
}

/// The family of an address, as netlink names it.
pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
