//! Addresses and flows as the layer 3 stages carry them: fixed size, either family, ready to be hashed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vswitch_wire::{Headers, protocol};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The version of IP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of packets with these headers; none without IP.
    #[inline]
    pub fn of(headers: &Headers) -> Option<Self> {
        match (headers.is_ipv4(), headers.is_ipv6()) {
            (true, _) => Some(Self::V4),
            (_, true) => Some(Self::V6),
            _ => None,
        }
    }
}

/// An address of either family as [`Headers`] carry it: IPv4 in the first four bytes, the rest zero. Which family it
/// is of stands beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// As the standard library writes it.
    #[inline]
    pub fn ip(self, family: Family) -> IpAddr {
        let [a, b, c, d, ..] = self.0;
        match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(self.0)),
        }
    }
}

impl From<IpAddr> for Address {
    #[inline]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Self(address.octets()),
        }
    }
}

impl From<Ipv4Addr> for Address {
    #[inline]
    fn from(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its family, the likelier of the two.
        let family = if self.0[4..].iter().all(|byte| *byte == 0) { Family::V4 } else { Family::V6 };
        fmt::Display::fmt(&self.ip(family), f)
    }
}

/// An address and a port (for ICMP queries the identifier; 0 for protocols without ports).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Endpoint {
    /// Where.
    pub address: Address,
    /// Which port or identifier.
    pub port: u16,
}

/// Who talks to whom, as one packet says it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// The sender.
    pub source: Endpoint,
    /// The recipient. For an ICMP query its port is the identifier too, so that reversing a tuple gives the reply's.
    pub destination: Endpoint,
    /// Of IP.
    pub family: Family,
    /// See [`vswitch_wire::protocol`].
    pub protocol: u8,
}

impl Tuple {
    /// The tuple of a packet that carries its transport header; none without IP.
    #[inline]
    pub fn of(headers: &Headers) -> Option<Self> {
        let family = Family::of(headers)?;
        // The parser puts type and code where other protocols have the destination port.
        let query = matches!(headers.protocol, protocol::ICMP | protocol::ICMPV6);
        let destination_port = if query { headers.source_port } else { headers.destination_port };
        Some(Self {
            source: Endpoint { address: Address(headers.source_ip), port: headers.source_port },
            destination: Endpoint { address: Address(headers.destination_ip), port: destination_port },
            family,
            protocol: headers.protocol,
        })
    }

    /// The tuple of the packets that answer.
    #[inline]
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_come_back() {
        for ip in [IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])] {
            let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
            assert_eq!(Address::from(ip).ip(family), ip);
        }
    }
}
