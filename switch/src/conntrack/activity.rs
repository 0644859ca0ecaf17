//! Which connections exist and when they were last used, shared by workers without a lock.
//!
//! # Theory of operation
//! One word per connection: its version in the upper half, the second of its last packet in the lower. Only the
//! table's owner changes versions; workers exchange the word for one with a newer second, and only if the version
//! is still the one they know, so a worker never marks the connection that took the place of its own. Words are
//! allocated by chunks as the table grows and never freed; a reader finds a chunk or learns that there is none.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words per chunk.
const CHUNK: usize = 4096;

/// A connection as a flow cache remembers it, and whether the cached direction keeps it alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionRef {
    /// Twice the index, plus one when packets of this direction refresh it.
    place: u32,
    /// Not zero, so that no reference at all takes no more room. Version 0, after four billion, is as good as gone.
    version: NonZeroU32,
}

impl ConnectionRef {
    pub(crate) fn new(index: u32, version: u32, refreshes: bool) -> Self {
        Self {
            place: index << 1 | u32::from(refreshes),
            version: NonZeroU32::new(version).unwrap_or(NonZeroU32::MIN),
        }
    }

    /// Whether [`Activity::touch`] keeps the connection alive, and does not only ask whether it is.
    pub fn refreshes(self) -> bool {
        self.place & 1 == 1
    }

    fn index(self) -> u32 {
        self.place >> 1
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Activity {
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Activity {
    /// The most connections there can be: what fits into half a [`ConnectionRef`] less one bit.
    pub const MAX_CAPACITY: usize = 1 << 30;

    /// Room for `capacity` connections, rounded up, [`MAX_CAPACITY`](Self::MAX_CAPACITY) at most. Costs nothing
    /// much until they come.
    pub fn new(capacity: usize) -> Self {
        let chunks = capacity.clamp(1, Self::MAX_CAPACITY).div_ceil(CHUNK);
        Self { chunks: (0..chunks).map(|_| OnceLock::new()).collect() }
    }

    /// How many connections there is room for.
    pub fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Notes a packet of a connection at this second, if the reference [refreshes](ConnectionRef::refreshes).
    /// False: the connection is gone, and so is every answer made from it.
    #[inline]
    pub fn touch(&self, connection: ConnectionRef, seconds: u32) -> bool {
        let Some(word) = self.word(connection.index()) else { return false };
        let seen = word.load(Relaxed);
        if version(seen) != connection.version.get() {
            return false;
        }
        if second(seen) == seconds || !connection.refreshes() {
            return true;
        }
        match word.compare_exchange(seen, pack(connection.version.get(), seconds), Relaxed, Relaxed) {
            Ok(_) => true,
            // Another worker was quicker, or the connection ended.
            Err(now) => version(now) == connection.version.get(),
        }
    }

    /// Begins the life of a connection in this place.
    pub(crate) fn begin(&self, index: u32, seconds: u32) {
        let Some(chunk) = self.chunks.get(index as usize / CHUNK) else { return };
        let words = chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU64::new(pack(1, 0))).collect());
        let word = &words[index as usize % CHUNK];
        word.store(pack(version(word.load(Relaxed)), seconds), Relaxed);
    }

    /// Notes a packet, whoever asks.
    pub(crate) fn refresh(&self, index: u32, seconds: u32) {
        if let Some(word) = self.word(index) {
            // May overwrite a worker's note of about the same second.
            word.store(pack(version(word.load(Relaxed)), seconds), Relaxed);
        }
    }

    /// Voids every reference to the connection; the second stays.
    pub(crate) fn renew(&self, index: u32) {
        if let Some(word) = self.word(index) {
            // Not a plain store: a worker's exchange in between must not bring the old version back.
            word.fetch_add(1 << 32, Relaxed);
        }
    }

    /// When it was last used.
    pub(crate) fn seen(&self, index: u32) -> u32 {
        self.word(index).map_or(0, |word| second(word.load(Relaxed)))
    }

    pub(crate) fn reference(&self, index: u32, refreshes: bool) -> ConnectionRef {
        let version = self.word(index).map_or(0, |word| version(word.load(Relaxed)));
        ConnectionRef::new(index, version, refreshes)
    }

    #[inline]
    fn word(&self, index: u32) -> Option<&AtomicU64> {
        self.chunks.get(index as usize / CHUNK)?.get()?.get(index as usize % CHUNK)
    }
}

#[inline]
fn pack(version: u32, seconds: u32) -> u64 {
    u64::from(version) << 32 | u64::from(seconds)
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the upper half")]
fn version(word: u64) -> u32 {
    (word >> 32) as u32
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the lower half")]
fn second(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_ends_with_its_connection() {
        let activity = Activity::new(10_000);
        assert!(!activity.touch(ConnectionRef::new(5000, 0, true), 1), "there is nothing yet");
        activity.begin(5000, 1);
        let reference = activity.reference(5000, true);
        assert!(activity.touch(reference, 7));
        assert_eq!(activity.seen(5000), 7);
        activity.renew(5000);
        activity.begin(5000, 9);
        assert!(!activity.touch(reference, 10), "another connection took the place");
        assert_eq!(activity.seen(5000), 9);
    }

    #[test]
    fn some_references_only_ask() {
        let activity = Activity::new(1);
        activity.begin(0, 1);
        assert!(activity.touch(activity.reference(0, false), 7));
        assert_eq!(activity.seen(0), 1);
    }
}
