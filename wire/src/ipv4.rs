//! The IPv4 header (RFC 791).

use std::net::Ipv4Addr;

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned};

use crate::checksum::{self, Sum};

/// The fixed 20 bytes; options follow where [`Ipv4Header::header_length`] says so.
///
/// The setters keep the header checksum true by RFC 1624. Whoever writes a field directly sees to it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (4) and header length in words of four bytes.
    pub version_ihl: u8,
    /// Differentiated services code point (6 bits) and congestion notification (2 bits).
    pub dscp_ecn: u8,
    /// Bytes of header and payload.
    pub total_length: U16<BigEndian>,
    /// The same in all fragments of a packet.
    pub identification: U16<BigEndian>,
    /// Reserved, don't fragment, more fragments; then 13 bits of offset in units of eight bytes.
    pub flags_fragment: U16<BigEndian>,
    /// Hops left.
    pub ttl: u8,
    /// See [`crate::protocol`].
    pub protocol: u8,
    /// Over the header, options included.
    pub checksum: U16<BigEndian>,
    /// Sender.
    pub source: [u8; 4],
    /// Recipient.
    pub destination: [u8; 4],
}

impl Ipv4Header {
    /// Bytes of the header without options, 20.
    pub const LENGTH: usize = size_of::<Self>();
    /// In `flags_fragment`: routers may not fragment the packet.
    pub const DONT_FRAGMENT: u16 = 0x4000;
    /// In `flags_fragment`: this is not the last fragment.
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    /// In `flags_fragment`: the bits of the offset.
    pub const FRAGMENT_OFFSET: u16 = 0x1fff;

    /// A header without options for a payload of this many bytes: TTL 64, don't fragment, checksum set.
    ///
    /// The total length saturates: the caller keeps the packet within 65535 bytes.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload_length: usize) -> Self {
        let total_length = u16::try_from(payload_length.saturating_add(Self::LENGTH)).unwrap_or(u16::MAX);
        let mut header = Self {
            version_ihl: 0x45,
            dscp_ecn: 0,
            total_length: U16::new(total_length),
            identification: U16::ZERO,
            flags_fragment: U16::new(Self::DONT_FRAGMENT),
            ttl: 64,
            protocol,
            checksum: U16::ZERO,
            source: source.octets(),
            destination: destination.octets(),
        };
        header.checksum.set(Sum::of(header.as_bytes()).checksum());
        header
    }

    /// Bytes of the header with its options, as it says: 0 to 60, below 20 in a malformed one.
    #[inline]
    pub const fn header_length(&self) -> u16 {
        (self.version_ihl & 0x0f) as u16 * 4
    }

    /// Sets the length of header and payload, and corrects the checksum.
    #[inline]
    pub fn set_total_length(&mut self, length: u16) {
        let old = self.total_length.get();
        self.checksum.set(checksum::update_u16(self.checksum.get(), old, length));
        self.total_length.set(length);
    }

    /// Sets the identification, and corrects the checksum.
    #[inline]
    pub fn set_identification(&mut self, identification: u16) {
        let old = self.identification.get();
        self.checksum.set(checksum::update_u16(self.checksum.get(), old, identification));
        self.identification.set(identification);
    }

    /// Sets the hops left, and corrects the checksum.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        let old = u16::from_be_bytes([self.ttl, self.protocol]);
        let new = u16::from_be_bytes([ttl, self.protocol]);
        self.checksum.set(checksum::update_u16(self.checksum.get(), old, new));
        self.ttl = ttl;
    }
}

/// Whether the packet starts with an IPv4 header, options included, that its checksum agrees with.
pub fn ipv4_header_checksum_ok(packet: &[u8]) -> bool {
    let Ok((header, _)) = Ipv4Header::ref_from_prefix(packet) else { return false };
    let length = usize::from(header.header_length());
    length >= Ipv4Header::LENGTH && packet.get(..length).is_some_and(|bytes| Sum::of(bytes).checksum() == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn checksum_is_the_textbooks() {
        // A header often shown as the worked example of the IPv4 checksum; its checksum is 0xb861.
        let header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert!(ipv4_header_checksum_ok(&header));
        let built = Ipv4Header::new([192, 168, 0, 1].into(), [192, 168, 0, 199].into(), 17, 0x73 - 20);
        assert_eq!(built.as_bytes(), header);
    }

    #[test]
    fn a_wrong_or_cut_header_is_not_ok() {
        let mut header = Ipv4Header::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 6, 100);
        assert!(ipv4_header_checksum_ok(header.as_bytes()));
        assert!(!ipv4_header_checksum_ok(&header.as_bytes()[..19]));
        header.ttl -= 1;
        assert!(!ipv4_header_checksum_ok(header.as_bytes()));
        header.version_ihl = 0x44;
        assert!(!ipv4_header_checksum_ok(header.as_bytes()));
        header.version_ihl = 0x46;
        assert!(!ipv4_header_checksum_ok(header.as_bytes()));
    }

    proptest! {
        #[test]
        fn setters_keep_the_checksum(
            source: [u8; 4], destination: [u8; 4], protocol: u8, length in 0_usize..65516,
            total_length: u16, identification: u16, ttl: u8,
        ) {
            let mut header = Ipv4Header::new(source.into(), destination.into(), protocol, length);
            header.set_total_length(total_length);
            header.set_identification(identification);
            header.set_ttl(ttl);
            prop_assert!(ipv4_header_checksum_ok(header.as_bytes()));
            prop_assert_eq!(header.total_length.get(), total_length);
            prop_assert_eq!((header.identification.get(), header.ttl), (identification, ttl));
        }
    }
}
