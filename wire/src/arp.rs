//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned};

use crate::{EtherType, MacAddr};

/// An ARP packet whose addresses are Ethernet's and IPv4's.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ArpPacket {
    /// 1, Ethernet.
    pub hardware_type: U16<BigEndian>,
    /// 0x0800, IPv4.
    pub protocol_type: U16<BigEndian>,
    /// 6.
    pub hardware_length: u8,
    /// 4.
    pub protocol_length: u8,
    /// [`ArpPacket::REQUEST`] or [`ArpPacket::REPLY`].
    pub operation: U16<BigEndian>,
    /// Who sends it, and is to be remembered with…
    pub sender_mac: MacAddr,
    /// …this IPv4 address; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: [u8; 4],
    /// The address asked for, zero in a request.
    pub target_mac: MacAddr,
    /// The IPv4 address asked for.
    pub target_ip: [u8; 4],
}

impl ArpPacket {
    /// Who has the target address?
    pub const REQUEST: u16 = 1;
    /// The sender has its address.
    pub const REPLY: u16 = 2;

    /// A packet with these fields, the rest as IPv4 over Ethernet demands.
    pub const fn new(
        operation: u16,
        (sender_mac, sender_ip): (MacAddr, Ipv4Addr),
        (target_mac, target_ip): (MacAddr, Ipv4Addr),
    ) -> Self {
        Self {
            hardware_type: U16::new(1),
            protocol_type: U16::new(EtherType::IPV4.0),
            hardware_length: 6,
            protocol_length: 4,
            operation: U16::new(operation),
            sender_mac,
            sender_ip: sender_ip.octets(),
            target_mac,
            target_ip: target_ip.octets(),
        }
    }

    /// Whether the fields before the operation say IPv4 over Ethernet; nothing else has this layout.
    #[inline]
    pub const fn is_ethernet_ipv4(&self) -> bool {
        let types = self.hardware_type.get() == 1 && self.protocol_type.get() == EtherType::IPV4.0;
        types && self.hardware_length == 6 && self.protocol_length == 4
    }
}
