//! Routes of a namespace's main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::addresses::family;
use super::links::numbered;
use super::{Netlink, Request};
use crate::error::Result;

/// A route as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to; a prefix length of 0 is the default route.
    pub destination: IpNet,
    /// Through which router; `None` where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The index of the interface it leaves by.
    pub index: Option<u32>,
}

impl Netlink {
    /// Routes everything of `gateway`'s family to it, by the interface `index`, in place of a default route there is.
    /// The interface must be up. The gateway need not be in a subnet of the interface, only on its link.
    pub fn add_default_route(&mut self, gateway: IpAddr, index: u32) -> Result<()> {
        self.change(vec![add_default_route(gateway, index, &numbered(index))])
    }

    /// Routes `destination` by the interface `index`, through `gateway` or on the link, in place of an equal route.
    pub fn add_route(&mut self, destination: IpNet, gateway: Option<IpAddr>, index: u32) -> Result<()> {
        self.change(vec![add_route(destination, gateway, index, &numbered(index))])
    }

    /// All unicast routes of the main table, both families.
    pub fn list_routes(&mut self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let found = self.query(Request {
                message: RouteNetlinkMessage::GetRoute(message),
                flags: NLM_F_DUMP,
                operation: "list",
                object: "the routes".to_owned(),
            })?;
            routes.extend(found.into_iter().filter_map(|message| match message {
                RouteNetlinkMessage::NewRoute(route) => Route::from_message(&route),
                _ => None,
            }));
        }
        Ok(routes)
    }
}

impl Route {
    /// `None` for the kernel's own routes (local, broadcast, multicast) and for other tables.
    fn from_message(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
            return None;
        }
        let mut destination = match header.address_family {
            AddressFamily::Inet => IpNet::V4(Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).ok()?),
            AddressFamily::Inet6 => IpNet::V6(Ipv6Net::new(Ipv6Addr::UNSPECIFIED, 0).ok()?),
            _ => return None,
        };
        let (mut gateway, mut index) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => {
                    destination = IpNet::new(ip(address)?, header.destination_prefix_length).ok()?;
                }
                RouteAttribute::Gateway(address) => gateway = ip(address),
                RouteAttribute::Oif(number) => index = Some(*number),
                _ => {}
            }
        }
        Some(Self { destination, gateway, index })
    }
}

pub(super) fn add_default_route(gateway: IpAddr, index: u32, interface: &str) -> Request {
    let mut message = route_by(index, gateway);
    through(&mut message, gateway);
    request(message, format!("{interface} (default via {gateway})"))
}

pub(super) fn add_route(destination: IpNet, gateway: Option<IpAddr>, index: u32, interface: &str) -> Request {
    let network = destination.trunc();
    let mut message = route_by(index, network.addr());
    message.header.destination_prefix_length = network.prefix_len();
    message.attributes.push(RouteAttribute::Destination(network.addr().into()));
    match gateway {
        Some(gateway) => {
            through(&mut message, gateway);
            request(message, format!("{interface} ({network} via {gateway})"))
        }
        None => {
            message.header.scope = RouteScope::Link;
            request(message, format!("{interface} ({network})"))
        }
    }
}

/// A route of the main table by an interface, of the same family as `sample`, to everywhere.
fn route_by(index: u32, sample: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(sample);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

fn through(message: &mut RouteMessage, gateway: IpAddr) {
    message.header.flags = RouteFlags::Onlink;
    message.attributes.push(RouteAttribute::Gateway(gateway.into()));
}

fn request(message: RouteMessage, object: String) -> Request {
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        operation: "add a route by",
        object,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
