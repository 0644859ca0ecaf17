//! Ethernet addresses.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A 48-bit Ethernet address, in the order its octets are sent.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`, every station.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`, which no station has; ARP requests carry it as the unknown target.
    pub const ZERO: Self = Self([0; 6]);

    /// The address Docker would give a container with this IPv4 address: `02:42` and the four octets.
    ///
    /// Locally administered and unicast, and unique wherever the IPv4 address is.
    pub const fn from_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The six octets, first sent first.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether the group bit is set: multicast, broadcast included.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the address of every station.
    #[inline]
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether one station can have this address: neither a group nor all zeroes. Only such an address
    /// may be the source of a frame.
    #[inline]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Whether this is one of `01:80:c2:00:00:00` to `…:0f`, which IEEE 802.1Q §8.6.3 reserves for the
    /// link itself (spanning tree, pause, LACP, LLDP); a bridge never forwards them.
    #[inline]
    pub const fn is_link_local_multicast(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f])
    }

    /// The IPv6 link-local address formed from this address by modified EUI-64 (RFC 4291 appendix A).
    pub const fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        // The universal/local bit is inverted, so that hand-made identifiers read `::1`, not `0200::1`.
        Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = InvalidMac;

    /// Reads six groups of two hexadecimal digits, separated by `:` or by `-` throughout.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let separator = match (text.contains(':'), text.contains('-')) {
            (true, true) => return Err(InvalidMac::MixedSeparators),
            (false, true) => '-',
            _ => ':',
        };
        let groups = text.split(separator).count();
        if groups != 6 {
            return Err(InvalidMac::GroupCount(groups));
        }
        let mut octets = [0; 6];
        for (position, (octet, group)) in (1..).zip(octets.iter_mut().zip(text.split(separator))) {
            *octet = hex_octet(group).ok_or(InvalidMac::Group(position))?;
        }
        Ok(Self(octets))
    }
}

/// Two hexadecimal digits. `u8::from_str_radix` alone would also accept `+1` and `1`.
fn hex_octet(group: &str) -> Option<u8> {
    let two_digits = group.len() == 2 && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    if two_digits { u8::from_str_radix(group, 16).ok() } else { None }
}

/// Why a text is not a MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvalidMac {
    /// It has this many groups where six belong.
    GroupCount(usize),
    /// The group at this position, counted from 1, is not two hexadecimal digits.
    Group(u8),
    /// It separates some groups with `:` and some with `-`.
    MixedSeparators,
}

impl fmt::Display for InvalidMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroupCount(1) => write!(f, "a MAC address has six groups separated by ':', this has one"),
            Self::GroupCount(count) => write!(f, "a MAC address has six groups, this has {count}"),
            Self::Group(position) => {
                write!(f, "group {position} of the MAC address is not two hexadecimal digits")
            }
            Self::MixedSeparators => write!(f, "a MAC address uses either ':' or '-' throughout, not both"),
        }
    }
}

impl std::error::Error for InvalidMac {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mac(text: &str) -> MacAddr {
        text.parse().unwrap()
    }

    #[test]
    fn reads_both_separators_and_either_case() {
        let expected = MacAddr([0x02, 0x42, 0x0a, 0x0a, 0x00, 0x14]);
        assert_eq!(mac("02:42:0a:0a:00:14"), expected);
        assert_eq!(mac("02-42-0A-0a-00-14"), expected);
        assert_eq!(expected.to_string(), "02:42:0a:0a:00:14");
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, wrong) in [
            ("", InvalidMac::GroupCount(1)),
            ("02420a0a0014", InvalidMac::GroupCount(1)),
            ("02:42:0a:0a:00", InvalidMac::GroupCount(5)),
            ("02:42:0a:0a:00:14:15", InvalidMac::GroupCount(7)),
            ("02:42:0a:0a:00:1g", InvalidMac::Group(6)),
            ("02:42:0a:0a:0:14", InvalidMac::Group(5)),
            ("+2:42:0a:0a:00:14", InvalidMac::Group(1)),
            ("02:42:0a:0a:00:é", InvalidMac::Group(6)),
            ("02:42:0a-0a:00:14", InvalidMac::MixedSeparators),
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(wrong), "{text}");
        }
    }

    #[test]
    fn tells_kinds_apart() {
        assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast());
        assert!(!MacAddr::BROADCAST.is_unicast() && !MacAddr::ZERO.is_unicast());
        assert!(mac("33:33:00:00:00:01").is_multicast() && !mac("33:33:00:00:00:01").is_broadcast());
        assert!(mac("02:42:0a:0a:00:14").is_unicast());
        assert!(mac("01:80:c2:00:00:00").is_link_local_multicast());
        assert!(mac("01:80:c2:00:00:0f").is_link_local_multicast());
        assert!(!mac("01:80:c2:00:00:10").is_link_local_multicast());
        assert!(!mac("01:80:c2:00:01:00").is_link_local_multicast());
    }

    #[test]
    fn derives_addresses() {
        assert_eq!(MacAddr::from_ipv4(Ipv4Addr::new(10, 10, 0, 20)), mac("02:42:0a:0a:00:14"));
        // The example of RFC 4291 appendix A: 34-56-78-9A-BC-DE becomes 36-56-78-FF-FE-9A-BC-DE.
        let expected: Ipv6Addr = "fe80::3656:78ff:fe9a:bcde".parse().unwrap();
        assert_eq!(mac("34:56:78:9a:bc:de").link_local(), expected);
    }

    proptest! {
        #[test]
        fn displays_as_it_reads(octets: [u8; 6]) {
            prop_assert_eq!(mac(&MacAddr(octets).to_string()), MacAddr(octets));
        }
    }
}
