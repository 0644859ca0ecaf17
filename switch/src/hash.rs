//! The seeded hash of the flow cache, the FDB and the connection table.
//!
//! Keys come from hostile ports, so the seed is random per switch: nobody who cannot read it can aim frames
//! at one bucket. Folded multiplication (the idea of wyhash and foldhash) mixes sixteen bytes in one
//! multiplication, which for our fixed key sizes is a handful of cycles.

use std::hash::{BuildHasherDefault, Hasher};

/// The hasher of maps whose keys the configuration chooses: nobody else can put two of them into one bucket, so that
/// no secret is needed and a lookup costs a few nanoseconds. Never for keys that packets bring.
pub(crate) type Configured = BuildHasherDefault<Folded>;

/// See [`Configured`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = folded_multiply(self.0 ^ number ^ 0x2b7e_1516_28ae_d2a7, 0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    #[inline]
    #[allow(clippy::cast_sign_loss, reason = "any number will do")]
    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

/// A secret, drawn once when the switch starts.
#[derive(Clone, Copy, Debug)]
pub struct Seed(u64);

impl Seed {
    /// Wraps a random number.
    pub const fn new(random: u64) -> Self {
        Self(random)
    }

    /// Hashes the eight words of a flow key.
    #[inline]
    pub fn hash_words(self, words: &[u64; 8]) -> u64 {
        // Arbitrary odd constants (digits of pi): they only have to differ and have bits all over.
        const A: u64 = 0x243f_6a88_85a3_08d3;
        const B: u64 = 0x1319_8a2e_0370_7345;
        const C: u64 = 0xa409_3822_299f_31d1;
        const D: u64 = 0x082e_fa98_ec4e_6c89;
        let [w0, w1, w2, w3, w4, w5, w6, w7] = *words;
        // Four independent multiplications, so that they overlap in the pipeline.
        // Every factor is masked with the secret, as in `hash_key`.
        let turned = self.0.rotate_left(32);
        let a = folded_multiply(w0 ^ self.0, w1 ^ turned ^ A);
        let b = folded_multiply(w2 ^ self.0, w3 ^ turned ^ B);
        let c = folded_multiply(w4 ^ self.0, w5 ^ turned ^ C);
        let d = folded_multiply(w6 ^ self.0, w7 ^ turned ^ D);
        folded_multiply(a ^ c.rotate_left(17), b ^ d.rotate_left(29) ^ self.0)
    }

    /// Hashes the five words of a connection's key. Every factor is masked with the secret, since whoever could
    /// make one zero would make the product zero whatever the other is, and remote addresses come in 2^128.
    #[inline]
    pub fn hash_key(self, words: [u64; 5]) -> u64 {
        const A: u64 = 0x4528_21e6_38d0_1377;
        const B: u64 = 0xbe54_66cf_34e9_0c6c;
        const C: u64 = 0xc0ac_29b7_c97c_50dd;
        let [w0, w1, w2, w3, w4] = words;
        let masked = |word: u64, turn: u32, constant: u64| word ^ self.0.rotate_left(turn) ^ constant;
        let a = folded_multiply(masked(w0, 0, A), masked(w1, 23, B));
        let b = folded_multiply(masked(w2, 41, B), masked(w3, 11, C));
        folded_multiply(masked(a.rotate_left(17) ^ w4, 53, C), masked(b, 31, A))
    }

    /// Hashes one word, such as a MAC address.
    #[inline]
    pub fn hash_word(self, word: u64) -> u64 {
        folded_multiply(word ^ self.0, 0x9e37_79b9_7f4a_7c15 ^ self.0.rotate_left(32))
    }
}

/// The two halves of the 128-bit product, folded together so that high bits reach low ones.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "splitting a 128-bit product into its halves")]
fn folded_multiply(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;
    use std::net::IpAddr;

    /// A map takes the upper seven bits and the lower ones: neither may be the same for neighbouring addresses.
    #[test]
    fn configured_addresses_spread() {
        let state = Configured::default();
        let hashes: Vec<u64> = (0..=255).map(|last| state.hash_one(IpAddr::from([10, 0, 0, last]))).collect();
        let distinct =
            |part: fn(u64) -> u64| hashes.iter().map(|hash| part(*hash)).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|hash| hash), 256);
        assert!(distinct(|hash| hash & 0xff) > 128 && distinct(|hash| hash >> 57) > 80);
    }
}
