//! Links: the kernel's word for interfaces.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkLayerType, LinkMessage,
};

use super::{Netlink, Request, failure};
use crate::error::Result;

/// A link as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in the namespace, at least 1.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// What made it: `bridge`, `veth`, `tun`; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// The MAC address, where it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// The largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// The length of the transmit queue in packets.
    pub txqueuelen: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it can carry packets now (up, and the other end too).
    pub running: bool,
    /// Whether it carries Ethernet frames; loopback and tunnels of packets do not.
    pub ethernet: bool,
    /// Whether it resolves addresses, by ARP or neighbour discovery.
    pub arp: bool,
    /// The index of the bridge (or bond) it belongs to.
    pub master: Option<u32>,
    /// Its counters.
    pub statistics: LinkStatistics,
}

/// A link's counters since it was made, as seen by its namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received packets dropped for want of space.
    pub rx_dropped: u64,
    /// Packets to send dropped for want of space.
    pub tx_dropped: u64,
}

impl Netlink {
    /// The index of the link named `name`.
    pub fn link_index(&mut self, name: &str) -> Result<u32> {
        self.link(name).map(|link| link.index)
    }

    /// The link named `name`.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let found = self.query(Request {
            message: RouteNetlinkMessage::GetLink(message),
            flags: 0,
            operation: "find",
            object: interface(name),
        })?;
        let link = found.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Link::from_message(link)),
            _ => None,
        });
        link.ok_or_else(|| failure("find", &interface(name), std::io::ErrorKind::NotFound.into()))
    }

    /// All links of the namespace.
    pub fn list_links(&mut self) -> Result<Vec<Link>> {
        let found = self.query(Request {
            message: RouteNetlinkMessage::GetLink(LinkMessage::default()),
            flags: NLM_F_DUMP,
            operation: "list",
            object: "the interfaces".to_owned(),
        })?;
        let links = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Link::from_message(link)),
            _ => None,
        });
        Ok(links.collect())
    }

    /// Makes a bridge, down.
    pub fn create_bridge(&mut self, name: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.create_link(message, format!("the bridge {name}"))
    }

    /// Makes a pair of joined interfaces, both down: `name` here, `peer` here or in the namespace given.
    pub fn create_veth(&mut self, name: &str, peer: &str, peer_netns: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        if let Some(netns) = peer_netns {
            other.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ]));
        self.create_link(message, format!("the veth pair {name} and {peer}"))
    }

    /// Removes a link; of a veth pair, both.
    pub fn delete_link(&mut self, index: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.change(vec![Request {
            message: RouteNetlinkMessage::DelLink(message),
            flags: 0,
            operation: "delete",
            object: numbered(index),
        }])
    }

    /// Gives a link another name. Before Linux 6.2 it must be down.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        self.set(index, "rename", vec![LinkAttribute::IfName(name.to_owned())])
    }

    /// Sets a link up.
    pub fn set_up(&mut self, index: u32) -> Result<()> {
        self.change(vec![set_link(index, &numbered(index), "set up", Vec::new(), &[(LinkFlags::Up, true)])])
    }

    /// Sets a link down, which also drops its routes.
    pub fn set_down(&mut self, index: u32) -> Result<()> {
        self.change(vec![set_link(
            index,
            &numbered(index),
            "set down",
            Vec::new(),
            &[(LinkFlags::Up, false)],
        )])
    }

    /// Sets the largest packet, in bytes without the Ethernet header.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<()> {
        self.set(index, "set the MTU of", vec![LinkAttribute::Mtu(mtu)])
    }

    /// Sets the MAC address.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<()> {
        self.set(index, "set the MAC address of", vec![LinkAttribute::Address(mac.to_vec())])
    }

    /// Sets the length of the transmit queue, in packets.
    pub fn set_txqueuelen(&mut self, index: u32, packets: u32) -> Result<()> {
        self.set(index, "set the transmit queue length of", vec![LinkAttribute::TxQueueLen(packets)])
    }

    /// Puts a link into the bridge with index `master`, or takes it out.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> Result<()> {
        self.set(index, "set the bridge of", vec![LinkAttribute::Controller(master.unwrap_or(0))])
    }

    /// Moves a link to another network namespace, where it arrives down and without addresses.
    pub fn set_netns(&mut self, index: u32, netns: BorrowedFd<'_>) -> Result<()> {
        self.set(index, "move to another namespace", vec![LinkAttribute::NetNsFd(netns.as_raw_fd())])
    }

    fn create_link(&mut self, message: LinkMessage, object: String) -> Result<()> {
        self.change(vec![Request {
            message: RouteNetlinkMessage::NewLink(message),
            flags: NLM_F_CREATE | NLM_F_EXCL,
            operation: "make",
            object,
        }])
    }

    fn set(&mut self, index: u32, operation: &'static str, attributes: Vec<LinkAttribute>) -> Result<()> {
        self.change(vec![set_link(index, &numbered(index), operation, attributes, &[])])
    }
}

impl Link {
    fn from_message(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            kind: None,
            mac: None,
            mtu: 0,
            txqueuelen: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            running: message.header.flags.contains(LinkFlags::Running),
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            arp: !message.header.flags.contains(LinkFlags::Noarp),
            master: None,
            statistics: LinkStatistics::default(),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(address) => link.mac = address.try_into().ok(),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::TxQueueLen(packets) => link.txqueuelen = packets,
                LinkAttribute::Controller(index) => link.master = Some(index),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                LinkAttribute::Stats64(stats) => {
                    link.statistics = LinkStatistics {
                        rx_packets: stats.rx_packets,
                        tx_packets: stats.tx_packets,
                        rx_bytes: stats.rx_bytes,
                        tx_bytes: stats.tx_bytes,
                        rx_dropped: stats.rx_dropped,
                        tx_dropped: stats.tx_dropped,
                    };
                }
                _ => {}
            }
        }
        link
    }
}

/// A change to an existing link: its attributes, and flags such as whether it shall be up. The kernel applies
/// attributes before it sets the link up, so one message does both.
pub(super) fn set_link(
    index: u32,
    object: &str,
    operation: &'static str,
    attributes: Vec<LinkAttribute>,
    flags: &[(LinkFlags, bool)],
) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    for (flag, on) in flags {
        message.header.change_mask |= *flag;
        message.header.flags.set(*flag, *on);
    }
    message.attributes = attributes;
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, operation, object: object.to_owned() }
}

/// With this a link gives itself no IPv6 link-local address when it is set up.
pub(super) fn without_link_local_address() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

pub(super) fn interface(name: &str) -> String {
    format!("the interface {name}")
}

pub(super) fn numbered(index: u32) -> String {
    format!("the interface with index {index}")
}
