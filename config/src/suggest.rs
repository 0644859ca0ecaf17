//! What a mistyped word was meant to be.

/// The one of `candidates` that `word` most likely was meant to be, if any is near enough. Of equals the first.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    // A distance costs the product of the lengths, and a large file may ask for many.
    let (longest_sought, most_compared) = (64, 256);
    let word = plain(word);
    if word.len() > longest_sought {
        return None;
    }
    candidates
        .take(most_compared)
        .map(|candidate| {
            let other = plain(candidate);
            let similar = strsim::jaro_winkler(&word, &other) >= 0.9;
            let near = word.chars().count().max(other.chars().count()) / 3;
            let part = word.len() >= 4 && other.contains(&word);
            (if part { 0 } else { strsim::damerau_levenshtein(&word, &other) }, near, similar, candidate)
        })
        .filter(|(distance, near, similar, _)| distance <= near || *similar)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_far_off() {
        let keys = ["subnet", "gateway", "ip_range", "aux_addresses"];
        assert_eq!(nearest("subnett", keys.into_iter()), Some("subnet"));
        assert_eq!(nearest("sunbet", keys.into_iter()), Some("subnet"));
        assert_eq!(nearest("IP-range", keys.into_iter()), Some("ip_range"));
        assert_eq!(nearest("aux_address", keys.into_iter()), Some("aux_addresses"));
        assert_eq!(nearest("unicast", ["multicast", "unknown_unicast"].into_iter()), Some("unknown_unicast"));
        assert_eq!(nearest("colour", keys.into_iter()), None);
        assert_eq!(nearest("x", ["a", "b"].into_iter()), None);
    }
}
