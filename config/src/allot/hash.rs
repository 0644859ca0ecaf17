//! One hash that stays the same in every build: addresses and MACs derived from names must survive an upgrade.

/// FNV-1a over `parts`, each ended by a byte no text contains, mixed so that all bits depend on all input.
pub(crate) fn stable_hash(seed: u64, parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain(std::iter::once(0xff)));
    let hash =
        seed.to_le_bytes().into_iter().chain(bytes).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    // The finaliser of splitmix64: FNV's high bits hardly depend on the last bytes.
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_changes_and_keeps_parts_apart() {
        // From an independent implementation.
        assert_eq!(stable_hash(0, &[]), 0x813f_0174_a236_7c13);
        assert_eq!(stable_hash(7, &["net", "web"]), 0x90b1_455a_32f1_440e);
        assert_ne!(stable_hash(0, &["ab", "c"]), stable_hash(0, &["a", "bc"]));
        assert_ne!(stable_hash(0, &["a"]), stable_hash(1, &["a"]));
    }
}
