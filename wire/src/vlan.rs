//! IEEE 802.1Q tags.

use std::fmt;

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned};

use crate::EtherType;

/// The number of a VLAN, 1 to 4094. 0 marks a priority tag and 4095 is reserved (IEEE 802.1Q table 9-2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VlanId(u16);

impl VlanId {
    /// The number, 1 to 4094.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = InvalidVlanId;

    fn try_from(number: u16) -> Result<Self, InvalidVlanId> {
        if matches!(number, 1..=4094) { Ok(Self(number)) } else { Err(InvalidVlanId(number)) }
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number, kept here, that no VLAN can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidVlanId(pub u16);

impl fmt::Display for InvalidVlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a VLAN: VLANs are numbered 1 to 4094", self.0)
    }
}

impl std::error::Error for InvalidVlanId {}

/// Tag control information: priority (3 bits), drop eligibility (1 bit), VLAN (12 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Tci(pub u16);

impl Tci {
    /// The tag of a VLAN. Only the low three bits of the priority are used.
    pub const fn new(vlan: VlanId, priority: u8, drop_eligible: bool) -> Self {
        Self((priority as u16 & 7) << 13 | (drop_eligible as u16) << 12 | vlan.0)
    }

    /// Priority code point, 0 to 7.
    pub const fn pcp(self) -> u8 {
        self.0.to_be_bytes()[0] >> 5
    }

    /// Drop eligible indicator.
    pub const fn dei(self) -> bool {
        self.0 & 0x1000 != 0
    }

    /// The VLAN; none in a priority tag (0) or with the reserved 4095.
    pub fn vid(self) -> Option<VlanId> {
        VlanId::try_from(self.0 & 0x0fff).ok()
    }
}

/// What follows the tag protocol identifier: control information, then the EtherType of the payload.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VlanTag {
    /// See [`Tci`].
    pub tci: U16<BigEndian>,
    /// Of what follows; another tag's identifier when tags are stacked.
    pub ethertype: U16<BigEndian>,
}

impl VlanTag {
    /// The four bytes behind a tag protocol identifier.
    pub const fn new(tci: Tci, ethertype: EtherType) -> Self {
        Self { tci: U16::new(tci.0), ethertype: U16::new(ethertype.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_are_1_to_4094() {
        let valid = (0..=u16::MAX).filter(|number| VlanId::try_from(*number).is_ok());
        assert!(valid.eq(1..=4094));
        assert_eq!(VlanId::try_from(4095), Err(InvalidVlanId(4095)));
    }

    #[test]
    fn tci_takes_apart_what_it_put_together() {
        let vlan = VlanId::try_from(0xabc).unwrap();
        let tci = Tci::new(vlan, 5, true);
        assert_eq!(tci, Tci(0xbabc));
        assert_eq!((tci.pcp(), tci.dei(), tci.vid()), (5, true, Some(vlan)));
        assert_eq!(Tci(0xe000).vid(), None);
        assert_eq!(Tci(0x0fff).vid(), None);
    }
}
