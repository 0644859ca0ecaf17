//! Writing what a client says: whole frames, by smoltcp's codec.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress,
};
use vswitch_wire::{MacAddr, build};

use super::lease::{
    CLASSLESS_ROUTES, DNS, DOMAIN, LEASE_TIME, MTU, REBINDING_TIME, RENEWAL_TIME, ROUTER, SUBNET_MASK,
};

/// What is asked for. Classless routes come before the router, as RFC 3442 demands.
const WANTED: [u8; 9] =
    [SUBNET_MASK, CLASSLESS_ROUTES, ROUTER, DNS, DOMAIN, MTU, LEASE_TIME, RENEWAL_TIME, REBINDING_TIME];

const HOST_NAME: u8 = 12;

/// Relays drop what is shorter (RFC 1542 §2.1).
const SHORTEST_MESSAGE: usize = 300;

/// The longest answer we take: a frame's worth, so that servers need not squeeze options.
const LONGEST_ANSWER: u16 = 1500;

/// What one message says. What is `None` is left out.
pub(super) struct Request<'a> {
    pub(super) kind: DhcpMessageType,
    pub(super) xid: u32,
    /// Since the client began to ask.
    pub(super) since: Duration,
    pub(super) mac: MacAddr,
    pub(super) hostname: Option<&'a str>,
    /// The address the client has, to which the answer may be sent.
    pub(super) own: Option<Ipv4Addr>,
    /// The address it would like, accepts or declines.
    pub(super) address: Option<Ipv4Addr>,
    /// The server it means.
    pub(super) server: Option<Ipv4Addr>,
}

impl Request<'_> {
    /// A frame to every server.
    pub(super) fn to_everyone(&self) -> Vec<u8> {
        self.frame(MacAddr::BROADCAST, Ipv4Addr::BROADCAST)
    }

    /// A frame to one server, by the station `mac`.
    pub(super) fn to(&self, mac: MacAddr, server: Ipv4Addr) -> Vec<u8> {
        self.frame(mac, server)
    }

    fn frame(&self, mac: MacAddr, destination: Ipv4Addr) -> Vec<u8> {
        let source = SocketAddrV4::new(self.own.unwrap_or(Ipv4Addr::UNSPECIFIED), DHCP_CLIENT_PORT);
        build::udp4(mac, self.mac, source, SocketAddrV4::new(destination, DHCP_SERVER_PORT), &self.message())
    }

    fn message(&self) -> Vec<u8> {
        let asks = self.kind != DhcpMessageType::Decline;
        // A declining client says nothing but who and what (RFC 2131 table 5).
        let hostname =
            self.hostname.filter(|_| asks).map(|name| DhcpOption { kind: HOST_NAME, data: name.as_bytes() });
        let message = DhcpRepr {
            message_type: self.kind,
            transaction_id: self.xid,
            secs: u16::try_from(self.since.as_secs()).unwrap_or(u16::MAX),
            client_hardware_address: EthernetAddress(self.mac.0),
            client_ip: self.own.unwrap_or(Ipv4Addr::UNSPECIFIED),
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            // We take frames to our MAC address before we have an IP address (RFC 2131 §4.1).
            broadcast: false,
            requested_ip: self.address,
            client_identifier: Some(EthernetAddress(self.mac.0)),
            server_identifier: self.server,
            parameter_request_list: asks.then_some(&WANTED),
            dns_servers: None,
            max_size: asks.then_some(LONGEST_ANSWER),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: hostname.as_slice(),
        };
        let mut bytes = vec![0; message.buffer_len().max(SHORTEST_MESSAGE)];
        match message.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])) {
            Ok(()) => bytes,
            // The codec refuses a buffer shorter than `buffer_len`, which this is not, and an option of more
            // than 255 bytes, which a host name of at most 253 is not.
            Err(_) => unreachable!("the message has the room it asked for"),
        }
    }
}
