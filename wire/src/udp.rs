//! The UDP header (RFC 768).

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned};

/// The eight bytes before a datagram's payload.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    /// Sender's port, 0 when no answer is expected.
    pub source_port: U16<BigEndian>,
    /// Recipient's port.
    pub destination_port: U16<BigEndian>,
    /// Bytes of header and payload.
    pub length: U16<BigEndian>,
    /// Over pseudo-header, header and payload; 0 when there is none, which only IPv4 allows.
    pub checksum: U16<BigEndian>,
}

impl UdpHeader {
    /// Bytes of the header, 8.
    pub const LENGTH: usize = size_of::<Self>();
    /// Where the checksum is in the header, as virtio's `csum_offset` names it.
    pub const CHECKSUM_OFFSET: u16 = 6;

    /// A header for a payload of this many bytes, without a checksum.
    ///
    /// The length saturates: the caller keeps the datagram within 65535 bytes.
    pub fn new(source_port: u16, destination_port: u16, payload_length: usize) -> Self {
        let length = u16::try_from(payload_length.saturating_add(Self::LENGTH)).unwrap_or(u16::MAX);
        Self {
            source_port: U16::new(source_port),
            destination_port: U16::new(destination_port),
            length: U16::new(length),
            checksum: U16::ZERO,
        }
    }
}
