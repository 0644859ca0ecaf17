//! The offload header as the kernel lays it out in front of a frame: `struct virtio_net_hdr_mrg_rxbuf`.
//!
//! Fields are in the host's byte order: a tap uses the legacy layout unless told otherwise
//! (`TUNSETVNETLE`), and so do AF_PACKET sockets.

use vswitch_switch::OffloadHeader;

/// Bytes of the header; the last two count merged buffers, which a tap neither sets nor reads.
pub const HEADER: usize = HEADER_BYTES as usize;

/// The same, as small as it is, for the kernel to be told.
pub(crate) const HEADER_BYTES: u8 = 12;

/// Bytes of the header without that count (`struct virtio_net_hdr`), which packet sockets have by default.
pub const SHORT_HEADER: usize = 10;

/// Reads the header a device put in front of a frame. Nothing is believed of it here.
#[inline]
pub fn decode(bytes: &[u8; HEADER]) -> OffloadHeader {
    let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, _, _] = *bytes;
    decode_short(&[flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1])
}

/// The same for the short header.
#[inline]
pub fn decode_short(bytes: &[u8; SHORT_HEADER]) -> OffloadHeader {
    let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
    OffloadHeader {
        flags,
        gso_type,
        header_length: u16::from_ne_bytes([h0, h1]),
        gso_size: u16::from_ne_bytes([g0, g1]),
        checksum_start: u16::from_ne_bytes([s0, s1]),
        checksum_offset: u16::from_ne_bytes([o0, o1]),
    }
}

/// Writes the header for a device.
#[inline]
pub fn encode(header: &OffloadHeader) -> [u8; HEADER] {
    let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = encode_short(header);
    [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, 0, 0]
}

/// The same for the short header.
#[inline]
pub fn encode_short(header: &OffloadHeader) -> [u8; SHORT_HEADER] {
    let [h0, h1] = header.header_length.to_ne_bytes();
    let [g0, g1] = header.gso_size.to_ne_bytes();
    let [s0, s1] = header.checksum_start.to_ne_bytes();
    let [o0, o1] = header.checksum_offset.to_ne_bytes();
    [header.flags, header.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let header = OffloadHeader {
            flags: 1,
            gso_type: 5,
            header_length: 42,
            gso_size: 1448,
            checksum_start: 34,
            checksum_offset: 6,
        };
        assert_eq!(decode(&encode(&header)), header);
        assert_eq!(decode_short(&encode_short(&header)), header);
        assert_eq!(encode(&OffloadHeader::NONE), [0; HEADER]);
    }
}
