//! Frames: pooled buffers with headroom and offload metadata.
//!
//! A worker owns one [`Pool`]; a frame is taken to receive into and put back when its verdict is carried out.
//! Buffers are all of one size, large enough for a 64 KiB super-frame, so nothing is ever allocated while
//! frames move. The pool is last-in-first-out: the few buffers in use stay hot in the cache, and memory that a
//! burst never reached is never touched. When the pool is empty a device receives nothing until frames return;
//! they stay queued in the kernel, which drops there when it must.

use crate::offload::OffloadHeader;

/// Bytes kept free in front of every frame, for an offload header and outer headers to be prepended in place.
pub const HEADROOM: usize = 128;

/// The longest frame: an IPv6 super-frame of 65 535 payload bytes behind an Ethernet header with a VLAN tag.
pub const MAX_FRAME: usize = 65_535 + 40 + 18;

/// Successive buffers begin this many bytes further into their allocation (up to a page), so that the headers
/// of a batch do not all fall into the same cache sets: equal strides there doubled VPP's cost per packet.
const STAGGER: usize = 192;
const STAGGER_SPAN: usize = 4096;

/// One frame in its buffer.
#[derive(Debug)]
pub struct Frame {
    storage: Box<[u8]>,
    /// Where an empty frame begins; at least [`HEADROOM`].
    origin: usize,
    start: usize,
    end: usize,
    /// The offload header it was received with, validated once the frame is parsed.
    pub offload: OffloadHeader,
}

impl Frame {
    fn new(stagger: usize) -> Self {
        let origin = HEADROOM + stagger;
        let storage = vec![0; origin + MAX_FRAME].into_boxed_slice();
        Self { storage, origin, start: origin, end: origin, offload: OffloadHeader::NONE }
    }

    /// The frame's bytes, from the destination MAC address on.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The frame's bytes, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Its length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Empties the frame and lends the area to receive into: `prefix` bytes of headroom for what the device
    /// puts before a frame, then room for the longest frame. Follow with [`filled`](Self::filled).
    ///
    /// `prefix` is clipped to [`HEADROOM`].
    #[inline]
    pub fn receive_area(&mut self, prefix: usize) -> &mut [u8] {
        self.clear();
        &mut self.storage[self.origin - prefix.min(HEADROOM)..]
    }

    /// Says how many bytes after the prefix were received; clipped to what the buffer holds.
    #[inline]
    pub fn filled(&mut self, length: usize) {
        self.end = self.start.saturating_add(length).min(self.storage.len());
    }

    /// The `N` bytes in front of the frame, which [`receive_area`](Self::receive_area) lent as prefix.
    #[inline]
    pub fn prefix<const N: usize>(&self) -> Option<&[u8; N]> {
        self.storage.get(self.start.checked_sub(N)?..self.start)?.first_chunk()
    }

    /// The frame with `prefix` written in front of it, as one slice; the frame itself stays as it is.
    /// `None` when the headroom is too small.
    #[inline]
    pub fn with_prefix(&mut self, prefix: &[u8]) -> Option<&[u8]> {
        let begin = self.start.checked_sub(prefix.len())?;
        self.storage[begin..self.start].copy_from_slice(prefix);
        Some(&self.storage[begin..self.end])
    }

    /// Replaces the content by a copy of `bytes`, clipped to [`MAX_FRAME`].
    pub fn copy_from(&mut self, bytes: &[u8]) {
        self.clear();
        let length = bytes.len().min(MAX_FRAME);
        self.storage[self.start..self.start + length].copy_from_slice(&bytes[..length]);
        self.end = self.start + length;
    }

    /// Appends a copy of `bytes`, as far as there is room.
    pub fn append(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(self.storage.len() - self.end);
        self.storage[self.end..self.end + length].copy_from_slice(&bytes[..length]);
        self.end += length;
    }

    /// Empties the frame.
    pub fn clear(&mut self) {
        self.start = self.origin;
        self.end = self.origin;
        self.offload = OffloadHeader::NONE;
    }
}

/// A worker's frames that are not in use.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Frame>,
}

impl Pool {
    /// A pool of `size` frames. Their memory is zeroed lazily by the system, so an unused frame costs address
    /// space only.
    pub fn new(size: usize) -> Self {
        // Reversed, so that the first frames taken are the first made.
        let free = (0..size).rev().map(|nth| Frame::new(nth * STAGGER % STAGGER_SPAN)).collect();
        Self { free }
    }

    /// Takes the frame used last, or `None` when all are in use.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    /// Puts a frame back. Never allocates: the list once held every frame.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        self.free.push(frame);
    }

    /// How many frames are not in use.
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_received_and_written_in_the_headroom() {
        let mut pool = Pool::new(1);
        let mut frame = pool.take().unwrap();
        let area = frame.receive_area(10);
        area[..13].copy_from_slice(b"0123456789abc");
        frame.filled(3);
        assert_eq!(frame.bytes(), b"abc");
        assert_eq!(frame.prefix::<10>(), Some(b"0123456789"));
        assert_eq!(frame.with_prefix(b"xy"), Some(&b"xyabc"[..]));
        assert_eq!(frame.bytes(), b"abc");
        assert_eq!(frame.with_prefix(&[0; 8192]), None, "more than the headroom");
    }

    #[test]
    fn content_is_clipped_to_the_longest_frame() {
        let mut frame = Pool::new(1).take().unwrap();
        frame.copy_from(&vec![1; 2 * MAX_FRAME]);
        assert_eq!(frame.len(), MAX_FRAME);
        frame.append(b"more");
        assert_eq!(frame.len(), MAX_FRAME);
        frame.filled(usize::MAX);
        assert_eq!(frame.len(), MAX_FRAME);
    }

    #[test]
    fn the_pool_hands_out_what_came_back_last() {
        let mut pool = Pool::new(3);
        let first = pool.take().unwrap();
        let mut second = pool.take().unwrap();
        second.copy_from(b"hot");
        pool.put(first);
        pool.put(second);
        assert_eq!(pool.take().unwrap().bytes(), b"hot");
        assert_eq!(pool.free(), 2);
        pool.take();
        pool.take();
        assert!(pool.take().is_none(), "an empty pool says so");
    }
}
