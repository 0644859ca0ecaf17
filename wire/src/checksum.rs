//! The Internet checksum: whole (RFC 1071), incremental (RFC 1624), and left to be finished (virtio).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Add;

/// A one's complement sum of 16-bit big-endian words, folded to 16 bits and not yet complemented.
///
/// Sums of the pieces of a message add up to the sum of the message when every piece but the last has an
/// even number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum(u16);

impl Sum {
    /// Sums bytes; an odd one out counts as if a zero followed.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        // One's complement addition is the same in either byte order and may be done on wider words
        // (RFC 1071 §2 B and C), so native words of 32 bits are added in lanes of 64, which cannot overflow
        // below 2^32 words and which the compiler turns into vector instructions.
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut lanes = [0_u64; 8];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let (words, rest) = rest.as_chunks::<4>();
        let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        total += u64::from(u32::from_ne_bytes(last));
        Self(u16::from_be(fold(lanes.iter().fold(total, |sum, lane| sum + lane))))
    }

    /// A sum kept in a checksum field of a frame whose checksum is still to be finished.
    #[inline]
    pub const fn from_partial(field: u16) -> Self {
        Self(field)
    }

    /// The sum as it is, which is what a checksum field holds that is still to be finished.
    #[inline]
    pub const fn partial(self) -> u16 {
        self.0
    }

    /// The complement, which is what a checksum field holds. A valid message, its checksum included, yields 0.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.0
    }

    /// The complement, with 0xffff in place of 0, which in UDP would mean that there is none (RFC 768).
    /// Both are zero in one's complement, so that this is right for every protocol.
    #[inline]
    pub const fn nonzero_checksum(self) -> u16 {
        if self.0 == u16::MAX { u16::MAX } else { !self.0 }
    }
}

impl Add for Sum {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        // Cannot overflow: a sum that carried is at most 0xfffe.
        Self(sum + u16::from(carry))
    }
}

/// Adds the four 16-bit words of a sum, and the carries of that.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "each step leaves a number that the next one's mask covers"
)]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// The sum over the pseudo-header of IPv4 (RFC 9293 §3.1); `length` is that of the segment or datagram.
pub fn pseudo_header_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u32) -> Sum {
    Sum::of(&source.octets()) + Sum::of(&destination.octets()) + protocol_and_length(protocol, length)
}

/// The sum over the pseudo-header of IPv6 (RFC 8200 §8.1); `length` is that of the upper-layer packet.
pub fn pseudo_header_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> Sum {
    Sum::of(&source.octets()) + Sum::of(&destination.octets()) + protocol_and_length(protocol, length)
}

fn protocol_and_length(protocol: u8, length: u32) -> Sum {
    Sum(u16::from(protocol)) + Sum(fold(u64::from(length)))
}

/// What a message's sum gains when bytes at an even offset that summed to `old` now sum to `new`.
#[inline]
pub fn change(old: Sum, new: Sum) -> Sum {
    Sum(!old.0) + new
}

/// The checksum after the message's sum changed: RFC 1624 §3, equation 3.
///
/// A UDP checksum of 0 means that there is none and must be left alone, and where the result is 0 for UDP,
/// 0xffff belongs in its place.
#[inline]
pub fn update(checksum: u16, change: Sum) -> u16 {
    (Sum(!checksum) + change).checksum()
}

/// The checksum after 16 bits of the message changed from `old` to `new`; see [`update`].
#[inline]
pub fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    update(checksum, change(Sum(old), Sum(new)))
}

/// As [`update_u16`], for 32 bits at an even offset: an IPv4 address, a sequence number.
#[inline]
pub fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    update_u16(checksum, fold(u64::from(old)), fold(u64::from(new)))
}

/// As [`update_u16`], for 128 bits at an even offset: an IPv6 address.
#[inline]
pub fn update_u128(checksum: u16, old: u128, new: u128) -> u16 {
    update_u16(checksum, Sum::of(&old.to_be_bytes()).0, Sum::of(&new.to_be_bytes()).0)
}

/// Finishes a checksum that was left to the device: virtio's `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
///
/// The field, `offset` bytes behind `start`, holds the sum over the pseudo-header ([`Sum::partial`]); the
/// checksum covers the frame from `start` to its end. 0xffff is written in place of 0, as Linux does.
///
/// # Errors
/// When the field is not within the frame. The frame is unchanged then.
pub fn complete_partial(frame: &mut [u8], start: u16, offset: u16) -> Result<(), FieldOutsideFrame> {
    let message = frame.get_mut(usize::from(start)..).ok_or(FieldOutsideFrame)?;
    // The partial sum in the field is summed with everything else, which adds the pseudo-header.
    let checksum = Sum::of(message).nonzero_checksum();
    let field = message.get_mut(usize::from(offset)..).and_then(<[u8]>::first_chunk_mut);
    *field.ok_or(FieldOutsideFrame)? = checksum.to_be_bytes();
    Ok(())
}

/// A checksum was to be written outside its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldOutsideFrame;

impl fmt::Display for FieldOutsideFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the checksum to be finished lies outside the frame")
    }
}

impl std::error::Error for FieldOutsideFrame {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smoltcp::wire::{IpProtocol, checksum as oracle};

    use super::*;

    /// RFC 1071 §1 word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn sums_the_example_of_rfc_1071() {
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!((sum.partial(), sum.checksum()), (0xddf2, 0x220d));
    }

    #[test]
    fn sums_a_super_frame_of_ones() {
        assert_eq!(Sum::of(&vec![0xff; 65_553]).partial(), naive(&vec![0xff; 65_553]));
        assert_eq!(Sum::of(&[]).partial(), 0);
    }

    #[test]
    fn updates_the_example_of_rfc_1624() {
        // §4: with equation 3 the result is 0x0000, where equation 2 of RFC 1141 gave 0xffff.
        assert_eq!(update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn never_writes_zero_and_never_outside() {
        // Pseudo-header 0x1234 and a word that makes the sum 0xffff.
        let mut frame = [0, 0, 0x12, 0x34, 0xed, 0xcb];
        assert_eq!(complete_partial(&mut frame, 2, 0), Ok(()));
        assert_eq!(frame, [0, 0, 0xff, 0xff, 0xed, 0xcb]);

        let before = frame;
        for (start, offset) in [(7, 0), (6, 0), (2, 3), (u16::MAX, u16::MAX)] {
            assert_eq!(complete_partial(&mut frame, start, offset), Err(FieldOutsideFrame));
            assert_eq!(frame, before);
        }
    }

    proptest! {
        #[test]
        fn sums_as_others_do(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Sum::of(&bytes).partial(), naive(&bytes));
            prop_assert_eq!(Sum::of(&bytes).partial(), oracle::data(&bytes));
        }

        #[test]
        fn pieces_add_up(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..150) {
            let (head, tail) = bytes.split_at((at * 2).min(bytes.len() & !1));
            prop_assert_eq!(Sum::of(head) + Sum::of(tail), Sum::of(&bytes));
        }

        #[test]
        fn pseudo_headers_as_smoltcp(a: [u8; 4], b: [u8; 4], c: [u8; 16], d: [u8; 16], protocol: u8, length: u16) {
            let known = IpProtocol::from(protocol);
            let (length, a, b) = (u32::from(length), Ipv4Addr::from(a), Ipv4Addr::from(b));
            let (c, d) = (Ipv6Addr::from(c), Ipv6Addr::from(d));
            let ours = pseudo_header_v4(a, b, protocol, length).partial();
            prop_assert_eq!(ours, oracle::pseudo_header_v4(&a, &b, known, length));
            let ours = pseudo_header_v6(c, d, protocol, length).partial();
            prop_assert_eq!(ours, oracle::pseudo_header_v6(&c, &d, known, length));
        }

        #[test]
        fn updates_as_a_full_sum(
            mut message in prop::collection::vec(any::<u8>(), 24..80), at in 0_usize..4, new: u128, width in 0..3,
        ) {
            // A byte that is never changed and not zero, without which a sum of zero has two forms.
            message[23] |= 1;
            let before = Sum::of(&message).checksum();
            let at = at * 2;
            let (old, new) = match width {
                0 => (message[at..at + 2].to_vec(), new.to_be_bytes()[..2].to_vec()),
                1 => (message[at..at + 4].to_vec(), new.to_be_bytes()[..4].to_vec()),
                _ => (message[at..at + 16].to_vec(), new.to_be_bytes().to_vec()),
            };
            message[at..at + new.len()].copy_from_slice(&new);
            let after = match width {
                0 => update_u16(
                    before,
                    u16::from_be_bytes(old.try_into().unwrap()),
                    u16::from_be_bytes(new.try_into().unwrap()),
                ),
                1 => update_u32(
                    before,
                    u32::from_be_bytes(old.try_into().unwrap()),
                    u32::from_be_bytes(new.try_into().unwrap()),
                ),
                _ => update_u128(
                    before,
                    u128::from_be_bytes(old.try_into().unwrap()),
                    u128::from_be_bytes(new.try_into().unwrap()),
                ),
            };
            prop_assert_eq!(after, Sum::of(&message).checksum());
        }

        #[test]
        fn completes_what_was_left(
            a: [u8; 4], b: [u8; 4], mut frame in prop::collection::vec(any::<u8>(), 42..200),
        ) {
            let length = u32::try_from(frame.len() - 34).unwrap();
            let pseudo_header = pseudo_header_v4(a.into(), b.into(), 17, length);
            frame[40..42].copy_from_slice(&pseudo_header.partial().to_be_bytes());
            prop_assert_eq!(complete_partial(&mut frame, 34, 6), Ok(()));
            prop_assert_eq!((pseudo_header + Sum::of(&frame[34..])).checksum(), 0);
            prop_assert_ne!(&frame[40..42], &[0, 0]);
        }
    }
}
