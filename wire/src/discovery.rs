//! The messages and options of IPv6 neighbour discovery (RFC 4861 §4).

use std::net::Ipv6Addr;

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, U32, Unaligned};

use crate::{IcmpHeader, MacAddr};

/// A neighbour solicitation or advertisement; options follow.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct NeighborMessage {
    /// Its `identifier` holds an advertisement's flags: [`NeighborMessage::ROUTER`] and so on.
    pub icmp: IcmpHeader,
    /// The address asked for, or that is answered about.
    pub target: [u8; 16],
}

impl NeighborMessage {
    /// Bytes before the options, 24.
    pub const LENGTH: usize = size_of::<Self>();
    /// In an advertisement's flags: the sender is a router.
    pub const ROUTER: u16 = 0x8000;
    /// In an advertisement's flags: it answers a solicitation.
    pub const SOLICITED: u16 = 0x4000;
    /// In an advertisement's flags: it replaces what was known.
    pub const OVERRIDE: u16 = 0x2000;

    /// A message without a checksum; `flags` are 0 in a solicitation.
    pub const fn new(kind: u8, flags: u16, target: Ipv6Addr) -> Self {
        Self { icmp: IcmpHeader::new(kind, flags, 0), target: target.octets() }
    }
}

/// A router advertisement (RFC 4861 §4.2); options follow.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RouterAdvertisement {
    /// [`IcmpHeader::ROUTER_ADVERTISEMENT`].
    pub kind: u8,
    /// 0.
    pub code: u8,
    /// Over pseudo-header and message.
    pub checksum: U16<BigEndian>,
    /// The hop limit that hosts are to send with; 0: no word on it.
    pub hop_limit: u8,
    /// [`RouterAdvertisement::MANAGED`] and [`RouterAdvertisement::OTHER`].
    pub flags: u8,
    /// Seconds for which the sender is a default router; 0: it is none.
    pub lifetime: U16<BigEndian>,
    /// Milliseconds a neighbour counts as reachable; 0: no word on it.
    pub reachable_time: U32<BigEndian>,
    /// Milliseconds between solicitations; 0: no word on it.
    pub retransmit_timer: U32<BigEndian>,
}

impl RouterAdvertisement {
    /// In the flags: addresses are to be had by DHCPv6.
    pub const MANAGED: u8 = 0x80;
    /// In the flags: other configuration is to be had by DHCPv6.
    pub const OTHER: u8 = 0x40;

    /// An advertisement without a checksum that has hosts send with hop limit 64.
    pub const fn new(flags: u8, lifetime: u16) -> Self {
        Self {
            kind: IcmpHeader::ROUTER_ADVERTISEMENT,
            code: 0,
            checksum: U16::ZERO,
            hop_limit: 64,
            flags,
            lifetime: U16::new(lifetime),
            reachable_time: U32::ZERO,
            retransmit_timer: U32::ZERO,
        }
    }
}

/// The option that names a station's MAC address (RFC 4861 §4.6.1).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LinkLayerOption {
    /// [`LinkLayerOption::SOURCE`] or [`LinkLayerOption::TARGET`].
    pub kind: u8,
    /// 1: in units of eight bytes.
    pub length: u8,
    /// The address.
    pub mac: MacAddr,
}

impl LinkLayerOption {
    /// The sender's address.
    pub const SOURCE: u8 = 1;
    /// The target's address.
    pub const TARGET: u8 = 2;

    /// The option of this kind.
    pub const fn new(kind: u8, mac: MacAddr) -> Self {
        Self { kind, length: 1, mac }
    }

    /// The MAC address in the first option of `kind`, if there is one. Goes over all options.
    ///
    /// # Errors
    /// When an option has length 0 or ends behind the message, for which it is to be discarded (RFC 4861 §4.6).
    pub fn find(kind: u8, mut options: &[u8]) -> Result<Option<MacAddr>, InvalidOption> {
        let mut found = None;
        while !options.is_empty() {
            let [of, length, ..] = *options else { return Err(InvalidOption) };
            let length = usize::from(length) * 8;
            let Some((option, rest)) = options.split_at_checked(length).filter(|_| length > 0) else {
                return Err(InvalidOption);
            };
            if of == kind && found.is_none() {
                found = Self::ref_from_bytes(option).ok().map(|option| option.mac);
            }
            options = rest;
        }
        Ok(found)
    }
}

/// The option that names a prefix of the link (RFC 4861 §4.6.2).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PrefixOption {
    /// 3.
    pub kind: u8,
    /// 4: in units of eight bytes.
    pub length: u8,
    /// How many leading bits of `prefix` count.
    pub prefix_length: u8,
    /// [`PrefixOption::ON_LINK`] and [`PrefixOption::AUTONOMOUS`].
    pub flags: u8,
    /// Seconds for which the prefix is on the link, and addresses made from it are valid.
    pub valid_lifetime: U32<BigEndian>,
    /// Seconds for which addresses made from it are preferred.
    pub preferred_lifetime: U32<BigEndian>,
    reserved: [u8; 4],
    /// The prefix; host bits are zero.
    pub prefix: [u8; 16],
}

impl PrefixOption {
    /// Its addresses live on this link.
    pub const ON_LINK: u8 = 0x80;
    /// Hosts may make addresses from it (RFC 4862).
    pub const AUTONOMOUS: u8 = 0x40;

    /// The option for a prefix with the lifetimes that routers have by default: 30 and 7 days (RFC 4861 §6.2.1).
    pub const fn new(prefix: Ipv6Addr, prefix_length: u8, flags: u8) -> Self {
        Self {
            kind: 3,
            length: 4,
            prefix_length,
            flags,
            valid_lifetime: U32::new(30 * 86_400),
            preferred_lifetime: U32::new(7 * 86_400),
            reserved: [0; 4],
            prefix: prefix.octets(),
        }
    }
}

/// The option that names the link's MTU (RFC 4861 §4.6.4).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MtuOption {
    /// 5.
    pub kind: u8,
    /// 1: in units of eight bytes.
    pub length: u8,
    reserved: [u8; 2],
    /// The longest packet, in bytes.
    pub mtu: U32<BigEndian>,
}

impl MtuOption {
    /// The option for this MTU.
    pub const fn new(mtu: u32) -> Self {
        Self { kind: 5, length: 1, reserved: [0; 2], mtu: U32::new(mtu) }
    }
}

/// An option claims to have no length, or more than there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidOption;

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn messages_and_options_are_as_long_as_the_rfc_says() {
        assert_eq!(NeighborMessage::LENGTH, 24);
        assert_eq!(size_of::<RouterAdvertisement>(), 16);
        assert_eq!(size_of::<LinkLayerOption>(), 8);
        assert_eq!(size_of::<PrefixOption>(), 32);
        assert_eq!(size_of::<MtuOption>(), 8);
    }

    #[test]
    fn an_option_is_found_behind_others_and_lies_are_refused() {
        let mtu = MtuOption::new(1500);
        let target = LinkLayerOption::new(LinkLayerOption::TARGET, MAC);
        let options = [mtu.as_bytes(), target.as_bytes()].concat();
        assert_eq!(LinkLayerOption::find(LinkLayerOption::TARGET, &options), Ok(Some(MAC)));
        assert_eq!(LinkLayerOption::find(LinkLayerOption::SOURCE, &options), Ok(None));
        assert_eq!(LinkLayerOption::find(LinkLayerOption::SOURCE, &[]), Ok(None));
        // Of another length it is not Ethernet's.
        assert_eq!(LinkLayerOption::find(1, &[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(None));
        for lie in
            [&[1][..], &[1, 0], &[1, 1, 2, 0, 0, 0, 0], &[1, 0, 2, 0, 0, 0, 0, 1], &[9, 2, 0, 0, 0, 0, 0, 0]]
        {
            assert_eq!(LinkLayerOption::find(1, lie), Err(InvalidOption), "{lie:?}");
            let behind = [target.as_bytes(), lie].concat();
            assert_eq!(LinkLayerOption::find(2, &behind), Err(InvalidOption), "{lie:?}");
        }
    }
}
