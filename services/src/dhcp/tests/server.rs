//! A DHCP server with a script: what it grants, and what it does wrong.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::wire::{
    DhcpMessageType as Kind, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame, IpProtocol,
    Ipv4Packet, UdpPacket,
};
use vswitch_wire::{MacAddr, build};

use super::{ADDRESS, MAC, SERVER, SERVER_MAC};

/// What it does with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Offers and grants.
    Granting,
    /// Says nothing.
    Silent,
    /// Offers, then refuses.
    Refusing,
    /// Offers, then says nothing.
    Forgetful,
}

pub(super) struct Server {
    pub(super) mood: Mood,
    pub(super) identifier: Ipv4Addr,
    pub(super) address: Ipv4Addr,
    /// Options beside message type and server identifier, as they are sent.
    pub(super) options: Vec<(u8, Vec<u8>)>,
}

impl Server {
    /// Grants [`ADDRESS`]/24 for this many seconds.
    pub(super) fn granting(lease: u32) -> Self {
        let options = vec![
            (51, lease.to_be_bytes().to_vec()),
            (1, vec![255, 255, 255, 0]),
            (3, SERVER.octets().to_vec()),
            (6, [[192, 0, 2, 53], [9, 9, 9, 9]].concat()),
            (15, b"example.org".to_vec()),
            (26, 1400_u16.to_be_bytes().to_vec()),
        ];
        Self { mood: Mood::Granting, identifier: SERVER, address: ADDRESS, options }
    }

    /// The same with this option instead of what it had for it.
    pub(super) fn with(mut self, code: u8, content: &[u8]) -> Self {
        self.options.retain(|(other, _)| *other != code);
        self.options.push((code, content.to_vec()));
        self
    }

    pub(super) fn without(mut self, code: u8) -> Self {
        self.options.retain(|(other, _)| *other != code);
        self
    }

    /// Its answer to what a client sent, if it has one.
    pub(super) fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let asked = Asked::read(frame)?;
        if asked.server.is_some_and(|server| server != self.identifier) {
            return None;
        }
        let kind = match (self.mood, asked.kind) {
            (Mood::Silent, _) | (_, Kind::Decline) | (Mood::Forgetful, Kind::Request) => return None,
            (_, Kind::Discover) => Kind::Offer,
            (Mood::Refusing, Kind::Request) => Kind::Nak,
            (_, Kind::Request) => Kind::Ack,
            (_, other) => panic!("a client does not send {other:?}"),
        };
        Some(self.frame(kind, asked.xid))
    }

    pub(super) fn frame(&self, kind: Kind, xid: u32) -> Vec<u8> {
        framed(&self.message(kind, xid))
    }

    /// The DHCP message alone.
    pub(super) fn message(&self, kind: Kind, xid: u32) -> Vec<u8> {
        let granted = kind != Kind::Nak;
        let options: Vec<DhcpOption<'_>> =
            self.options.iter().map(|(kind, data)| DhcpOption { kind: *kind, data }).collect();
        let nobody = Ipv4Addr::UNSPECIFIED;
        let message = DhcpRepr {
            message_type: kind,
            transaction_id: xid,
            secs: 0,
            client_hardware_address: EthernetAddress(MAC.0),
            client_ip: nobody,
            your_ip: if granted { self.address } else { nobody },
            server_ip: nobody,
            router: None,
            subnet_mask: None,
            relay_agent_ip: nobody,
            broadcast: false,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(self.identifier),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: if granted { &options } else { &[] },
        };
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).unwrap();
        bytes
    }
}

/// A server's message to the client, in a frame.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    build::udp4(MAC, SERVER_MAC, SocketAddrV4::new(SERVER, 67), SocketAddrV4::new(ADDRESS, 68), message)
}

/// What a client's message says, read by smoltcp alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) xid: u32,
    pub(super) to: (MacAddr, Ipv4Addr),
    pub(super) from: Ipv4Addr,
    pub(super) own: Ipv4Addr,
    pub(super) address: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) secs: u16,
    pub(super) hostname: Option<Vec<u8>>,
    pub(super) wanted: Option<Vec<u8>>,
}

impl Asked {
    /// None when the frame is no DHCP message.
    ///
    /// # Panics
    /// When it is one and wrong.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
        (ip.next_header() == IpProtocol::Udp).then_some(())?;
        assert!(ip.verify_checksum());
        let udp = UdpPacket::new_checked(ip.payload()).unwrap();
        assert!(udp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
        assert_eq!((udp.src_port(), udp.dst_port()), (68, 67));
        assert!(udp.payload().len() >= 300, "relays drop it");
        let packet = DhcpPacket::new_checked(udp.payload()).unwrap();
        let message = DhcpRepr::parse(&packet).unwrap();
        assert_eq!(message.client_hardware_address.0, MAC.0);
        assert_eq!(message.client_identifier, Some(EthernetAddress(MAC.0)));
        Some(Self {
            kind: message.message_type,
            xid: message.transaction_id,
            to: (MacAddr(ethernet.dst_addr().0), ip.dst_addr()),
            from: ip.src_addr(),
            own: message.client_ip,
            address: message.requested_ip,
            server: message.server_identifier,
            secs: message.secs,
            hostname: packet.options().find(|option| option.kind == 12).map(|option| option.data.to_vec()),
            wanted: message.parameter_request_list.map(<[u8]>::to_vec),
        })
    }
}
