//! The checksum of SCTP (RFC 9260 §6.8), CRC32c, corrected without the packet's other bytes.
//!
//! A CRC is linear: when some bits of a message flip, the checksum changes by the CRC of those bits alone, wherever
//! the rest of the message is and whatever it says. So correcting costs the same for every length, and a checksum
//! that was wrong stays wrong, which recomputing would hide.

/// Castagnoli's polynomial, as all numbers here with the coefficient of x^0 in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x^8 to the power of 2^n, modulo the polynomial.
const POWERS: [u32; 16] = {
    // x^8 itself.
    let mut powers = [1 << 23; 16];
    let mut nth = 1;
    while nth < powers.len() {
        powers[nth] = multiply(powers[nth - 1], powers[nth - 1]);
        nth += 1;
    }
    powers
};

/// The checksum, as the four bytes in the packet, after four bytes of the packet changed from `old` to `new`.
/// `from_there` is how many bytes the packet has from the first of those on.
pub fn update(checksum: [u8; 4], old: [u8; 4], new: [u8; 4], from_there: u16) -> [u8; 4] {
    // RFC 9260 Appendix A: the lowest byte of the register is sent first.
    let mut flipped = u32::from_le_bytes(old) ^ u32::from_le_bytes(new);
    for (nth, power) in POWERS.iter().enumerate() {
        if from_there >> nth & 1 != 0 {
            flipped = multiply(flipped, *power);
        }
    }
    (u32::from_le_bytes(checksum) ^ flipped).to_le_bytes()
}

/// The product of two polynomials over two elements, modulo [`POLYNOMIAL`].
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        product ^= b & (a >> bit & 1).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
    }
    product
}

/// The whole checksum, bit by bit: the field counts as zeroes (RFC 9260 §6.8). For tests.
#[cfg(test)]
fn whole(packet: &[u8]) -> [u8; 4] {
    let mut register = u32::MAX;
    for (at, byte) in packet.iter().enumerate() {
        register ^= if (8..12).contains(&at) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            register = register >> 1 ^ POLYNOMIAL & (register & 1).wrapping_neg();
        }
    }
    (!register).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_reference_is_crc32c() {
        // The check value of CRC-32/ISCSI is over nine digits; here a field of zeroes is within. RFC 3720 §B.4:
        // 32 bytes of zeroes give 0x8a9136aa.
        assert_eq!(whole(&[0; 32]), 0x8a91_36aa_u32.to_le_bytes());
    }

    proptest! {
        #[test]
        fn updates_as_a_whole_sum(
            mut packet in prop::collection::vec(any::<u8>(), 12..3000), new: [u8; 4], at in 0_usize..3000,
        ) {
            // Anywhere but in the checksum itself.
            let at = at % (packet.len() - 3);
            let at = if (5..12).contains(&at) { 0 } else { at };
            let before = whole(&packet);
            let old: [u8; 4] = packet[at..at + 4].try_into().unwrap();
            packet[at..at + 4].copy_from_slice(&new);
            let from_there = u16::try_from(packet.len() - at).unwrap();
            prop_assert_eq!(update(before, old, new, from_there), whole(&packet));
        }
    }
}
