//! The TCP header (RFC 9293).

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, U32, Unaligned};

/// The fixed 20 bytes; options follow where [`TcpHeader::header_length`] says so.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TcpHeader {
    /// Sender's port.
    pub source_port: U16<BigEndian>,
    /// Recipient's port.
    pub destination_port: U16<BigEndian>,
    /// Of the first byte of the payload.
    pub sequence: U32<BigEndian>,
    /// The next byte expected, when [`TcpHeader::ACK`] is set.
    pub acknowledgement: U32<BigEndian>,
    /// Header length in words of four bytes (4 bits), then reserved bits.
    pub data_offset: u8,
    /// [`TcpHeader::SYN`] and so on.
    pub flags: u8,
    /// Bytes the sender has room for, before scaling.
    pub window: U16<BigEndian>,
    /// Over pseudo-header, header and payload.
    pub checksum: U16<BigEndian>,
    /// Where urgent bytes end, when [`TcpHeader::URG`] is set.
    pub urgent: U16<BigEndian>,
}

impl TcpHeader {
    /// Bytes of the header without options, 20.
    pub const LENGTH: usize = size_of::<Self>();
    /// Where the checksum is in the header, as virtio's `csum_offset` names it.
    pub const CHECKSUM_OFFSET: u16 = 16;
    /// The sender will send no more.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Aborts a connection.
    pub const RST: u8 = 0x04;
    /// To be given to the application at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// Congestion was experienced (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// The congestion window was reduced (RFC 3168).
    pub const CWR: u8 = 0x80;

    /// A header without options, with a window of 65535 and a checksum of zero, still to be set.
    pub const fn new(
        source_port: u16,
        destination_port: u16,
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
    ) -> Self {
        Self {
            source_port: U16::new(source_port),
            destination_port: U16::new(destination_port),
            sequence: U32::new(sequence),
            acknowledgement: U32::new(acknowledgement),
            data_offset: 5 << 4,
            flags,
            window: U16::new(u16::MAX),
            checksum: U16::ZERO,
            urgent: U16::ZERO,
        }
    }

    /// Bytes of the header with its options, as it says: 0 to 60, below 20 in a malformed one.
    #[inline]
    pub const fn header_length(&self) -> u16 {
        (self.data_offset >> 4) as u16 * 4
    }

    /// A segment's header, options and payload; none where the segment is shorter than they claim.
    #[inline]
    pub fn split(segment: &[u8]) -> Option<(&Self, &[u8], &[u8])> {
        let (header, rest) = Self::ref_from_prefix(segment).ok()?;
        let options = usize::from(header.header_length()).checked_sub(Self::LENGTH)?;
        let (options, payload) = rest.split_at_checked(options)?;
        Some((header, options, payload))
    }

    /// As [`TcpHeader::split`], to be changed.
    #[inline]
    pub fn split_mut(segment: &mut [u8]) -> Option<(&mut Self, &mut [u8], &mut [u8])> {
        let (header, rest) = Self::mut_from_prefix(segment).ok()?;
        let options = usize::from(header.header_length()).checked_sub(Self::LENGTH)?;
        let (options, payload) = rest.split_at_mut_checked(options)?;
        Some((header, options, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_header_options_and_payload() {
        let mut header = TcpHeader::new(1, 2, TcpHeader::ACK, 3, 4);
        header.data_offset = 6 << 4;
        let mut segment = [header.as_bytes(), &[1, 1, 1, 0], b"payload"].concat();
        let (found, options, payload) = TcpHeader::split(&segment).unwrap();
        assert_eq!((found.sequence.get(), options, payload), (3, &[1, 1, 1, 0][..], &b"payload"[..]));

        let (header, options, payload) = TcpHeader::split_mut(&mut segment).unwrap();
        assert_eq!((options.len(), payload.len()), (4, 7));
        header.sequence.set(0x0102_0304);
        assert_eq!(segment[4..8], [1, 2, 3, 4]);
    }

    #[test]
    fn splits_nothing_that_lies_about_its_length() {
        for (words, length) in [(4, 40), (6, 23), (5, 19), (15, 59), (0, 20)] {
            let mut header = TcpHeader::new(1, 2, 0, 3, 4);
            header.data_offset = words << 4;
            let mut segment = [header.as_bytes(), &[0; 40]].concat();
            segment.truncate(length);
            assert!(TcpHeader::split(&segment).is_none(), "{words} words in {length} bytes");
            assert!(TcpHeader::split_mut(&mut segment).is_none(), "{words} words in {length} bytes");
        }
    }
}
