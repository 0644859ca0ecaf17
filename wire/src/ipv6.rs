//! The IPv6 header (RFC 8200).

use std::net::Ipv6Addr;

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, U32, Unaligned};

/// The fixed 40 bytes. There is no checksum to keep, so fields are set directly.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (4 bits, 6), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: U32<BigEndian>,
    /// Bytes behind this header, extension headers included.
    pub payload_length: U16<BigEndian>,
    /// See [`crate::protocol`].
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// Sender.
    pub source: [u8; 16],
    /// Recipient.
    pub destination: [u8; 16],
}

impl Ipv6Header {
    /// Bytes of the header, 40.
    pub const LENGTH: usize = size_of::<Self>();

    /// A header for a payload of this many bytes: hop limit 64, traffic class and flow label 0.
    ///
    /// The payload length saturates: the caller keeps the payload within 65535 bytes.
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload_length: usize) -> Self {
        Self {
            version_class_flow: U32::new(6 << 28),
            payload_length: U16::new(u16::try_from(payload_length).unwrap_or(u16::MAX)),
            next_header,
            hop_limit: 64,
            source: source.octets(),
            destination: destination.octets(),
        }
    }

    /// 6, unless malformed.
    #[inline]
    pub const fn version(&self) -> u8 {
        self.version_class_flow.to_bytes()[0] >> 4
    }

    /// Differentiated services code point (6 bits) and congestion notification (2 bits), as IPv4's second byte.
    #[inline]
    pub const fn dscp_ecn(&self) -> u8 {
        let [a, b, _, _] = self.version_class_flow.to_bytes();
        a << 4 | b >> 4
    }

    /// The 20 bits by which the sender marks a flow.
    #[inline]
    pub const fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0x000f_ffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_word_apart() {
        let mut header = Ipv6Header::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 6, 70_000);
        assert_eq!(
            (header.version(), header.dscp_ecn(), header.flow_label(), header.payload_length.get()),
            (6, 0, 0, u16::MAX)
        );
        header.version_class_flow.set(0x6ab_cdef0 | 0x6000_0000);
        assert_eq!((header.version(), header.dscp_ecn(), header.flow_label()), (6, 0xab, 0xcdef0));
    }
}
