//! Devices without a kernel, for tests, benches and fuzzing.
//!
//! [`MemoryDevice`] is a queue in and a record out: push frames, service the port, look at what was sent.
//! [`Replay`] measures: it hands out the same frames for ever and only counts what is sent, so that beyond one
//! copy per frame it costs nothing and allocates nothing.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::{BATCH_BYTES, BATCH_FRAMES, Device, DeviceError, Received, TransmitError};
use crate::frame::{Frame, Pool};
use crate::offload::{OffloadHeader, Offloads};

/// A frame outside the pool: what a device said, or was told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryFrame {
    /// From the destination MAC address on, gathered.
    pub bytes: Vec<u8>,
    /// The offload header it came or went with.
    pub offload: OffloadHeader,
}

impl From<Vec<u8>> for MemoryFrame {
    /// A frame that is complete as it is.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, offload: OffloadHeader::NONE }
    }
}

/// A device whose two ends are in this process. Clones are handles on the same device, so a test keeps one and
/// gives the other to the shard.
#[derive(Clone, Debug, Default)]
pub struct MemoryDevice {
    ends: Arc<Mutex<Ends>>,
}

#[derive(Debug, Default)]
struct Ends {
    inbound: VecDeque<MemoryFrame>,
    sent: Vec<MemoryFrame>,
    offloads: Offloads,
    down: bool,
    gone: bool,
    failure: Option<TransmitError>,
}

impl MemoryDevice {
    /// A device that is up, has nothing to receive and takes `offloads` over.
    pub fn new(offloads: Offloads) -> Self {
        let ends = Ends { offloads, ..Ends::default() };
        Self { ends: Arc::new(Mutex::new(ends)) }
    }

    /// Queues a frame to be received.
    pub fn push(&self, frame: impl Into<MemoryFrame>) {
        self.ends().inbound.push_back(frame.into());
    }

    /// How many frames are still to be received.
    pub fn waiting(&self) -> usize {
        self.ends().inbound.len()
    }

    /// Takes what was sent since the last call, in order.
    pub fn take_sent(&self) -> Vec<MemoryFrame> {
        std::mem::take(&mut self.ends().sent)
    }

    /// Takes the device down or up. A device that is down receives nothing and sends nothing.
    pub fn set_down(&self, down: bool) {
        self.ends().down = down;
    }

    /// Takes the device away for good: the next receive says so, and nothing is sent any more.
    pub fn remove(&self) {
        self.ends().gone = true;
    }

    /// Lets every transmission fail in this way, until told `None`.
    pub fn fail(&self, failure: Option<TransmitError>) {
        self.ends().failure = failure;
    }

    /// Changes what the device takes over.
    pub fn set_offloads(&self, offloads: Offloads) {
        self.ends().offloads = offloads;
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        // A test that panicked while holding the lock left whole frames behind all the same.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for MemoryDevice {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        let mut ends = self.ends();
        if ends.gone {
            return Err(DeviceError::Gone(Error::new(
                ErrorKind::NotFound,
                "the in-memory device was removed",
            )));
        }
        if ends.down {
            return Ok(Received::Drained);
        }
        let mut bytes = 0;
        while let Some(next) = ends.inbound.front() {
            if batch.len() >= BATCH_FRAMES || bytes >= BATCH_BYTES {
                return Ok(Received::More);
            }
            let Some(mut frame) = pool.take() else { return Ok(Received::More) };
            frame.copy_from(&next.bytes);
            frame.offload = next.offload;
            bytes += frame.len();
            batch.push(frame);
            ends.inbound.pop_front();
        }
        Ok(Received::Drained)
    }

    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        let mut ends = self.ends();
        if ends.down || ends.gone {
            return Err(TransmitError::Down);
        }
        if let Some(failure) = ends.failure {
            return Err(failure);
        }
        let mut bytes = head.bytes().to_vec();
        for tail in tails {
            bytes.extend_from_slice(tail);
        }
        ends.sent.push(MemoryFrame { bytes, offload: head.offload });
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        self.ends().offloads
    }
}

/// A device that hands out the same frames again and again, and counts what is sent to it. Without frames it
/// is a sink.
#[derive(Debug, Default)]
pub struct Replay {
    frames: Vec<MemoryFrame>,
    /// The frame handed out next.
    next: usize,
    batch: usize,
    offloads: Offloads,
    sent_frames: u64,
    sent_bytes: u64,
}

impl Replay {
    /// Hands out `frames` in turn, at most `batch` (and [`BATCH_FRAMES`]) per receive, and takes `offloads`
    /// over. One receive ends early at [`BATCH_BYTES`], as any device's does.
    pub fn new(frames: Vec<MemoryFrame>, batch: usize, offloads: Offloads) -> Self {
        Self { frames, batch: batch.min(BATCH_FRAMES), offloads, ..Self::default() }
    }

    /// Receives nothing and counts what is sent.
    pub fn sink(offloads: Offloads) -> Self {
        Self::new(Vec::new(), 0, offloads)
    }

    /// Device writes so far; a super-frame is one.
    pub fn sent_frames(&self) -> u64 {
        self.sent_frames
    }

    /// Bytes written so far, headers included.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }
}

impl Device for Replay {
    #[inline]
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        if self.frames.is_empty() {
            return Ok(Received::Drained);
        }
        let mut bytes = 0;
        while batch.len() < self.batch && bytes < BATCH_BYTES {
            let Some(mut frame) = pool.take() else { break };
            let source = &self.frames[self.next];
            frame.copy_from(&source.bytes);
            frame.offload = source.offload;
            bytes += frame.len();
            batch.push(frame);
            self.next = if self.next + 1 == self.frames.len() { 0 } else { self.next + 1 };
        }
        Ok(Received::More)
    }

    #[inline]
    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        let length = head.len() + tails.iter().map(|tail| tail.len()).sum::<usize>();
        self.sent_frames += 1;
        self.sent_bytes += length as u64;
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(device: &mut impl Device, pool: &mut Pool) -> (Vec<Vec<u8>>, Received) {
        let mut batch = Vec::new();
        let more = device.receive(pool, &mut batch).unwrap();
        let bytes = batch.iter().map(|frame| frame.bytes().to_vec()).collect();
        batch.into_iter().for_each(|frame| pool.put(frame));
        (bytes, more)
    }

    #[test]
    fn what_is_pushed_is_received_and_what_is_sent_is_recorded() {
        let handle = MemoryDevice::new(Offloads::ALL);
        let (mut device, mut pool) = (handle.clone(), Pool::new(2));
        handle.push(b"one".to_vec());
        handle.push(b"two".to_vec());
        handle.push(b"three".to_vec());
        assert_eq!(
            received(&mut device, &mut pool),
            (vec![b"one".to_vec(), b"two".to_vec()], Received::More)
        );
        assert_eq!(handle.waiting(), 1, "the pool was empty");
        assert_eq!(received(&mut device, &mut pool), (vec![b"three".to_vec()], Received::Drained));

        let mut head = pool.take().unwrap();
        head.copy_from(b"head");
        device.transmit(&mut head, &[IoSlice::new(b"-tail"), IoSlice::new(b"-end")]).unwrap();
        assert_eq!(handle.take_sent(), [MemoryFrame::from(b"head-tail-end".to_vec())]);
        assert_eq!(handle.take_sent(), []);
    }

    #[test]
    fn it_fails_as_told() {
        let handle = MemoryDevice::new(Offloads::NONE);
        let (mut device, mut pool) = (handle.clone(), Pool::new(2));
        let mut frame = pool.take().unwrap();
        handle.push(b"x".to_vec());
        handle.fail(Some(TransmitError::Full));
        assert_eq!(device.transmit(&mut frame, &[]), Err(TransmitError::Full));
        handle.fail(None);
        handle.set_down(true);
        assert_eq!(device.transmit(&mut frame, &[]), Err(TransmitError::Down));
        assert_eq!(received(&mut device, &mut pool), (vec![], Received::Drained));
        handle.set_down(false);
        assert_eq!(device.transmit(&mut frame, &[]), Ok(()));
        handle.remove();
        assert_eq!(device.transmit(&mut frame, &[]), Err(TransmitError::Down));
        assert!(device.receive(&mut pool, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_batch_ends_at_its_frames_and_at_its_bytes() {
        for (length, expected) in [(60, BATCH_FRAMES), (65_000, BATCH_BYTES.div_ceil(65_000))] {
            let frames = vec![MemoryFrame::from(vec![7; length]); 3];
            let mut pool = Pool::new(BATCH_FRAMES + 1);
            let mut replay = Replay::new(frames.clone(), usize::MAX, Offloads::NONE);
            assert_eq!(received(&mut replay, &mut pool).0.len(), expected);
            let mut device = MemoryDevice::default();
            frames.into_iter().cycle().take(BATCH_FRAMES + 1).for_each(|frame| device.push(frame));
            let (batch, more) = received(&mut device, &mut pool);
            assert_eq!((batch.len(), more), (expected, Received::More));
        }
    }

    #[test]
    fn a_replay_goes_round_and_counts() {
        let frames = [b"a".to_vec(), b"bb".to_vec(), b"ccc".to_vec()].map(MemoryFrame::from);
        let (mut replay, mut pool) = (Replay::new(frames.to_vec(), 2, Offloads::NONE), Pool::new(4));
        assert_eq!(received(&mut replay, &mut pool), (vec![b"a".to_vec(), b"bb".to_vec()], Received::More));
        assert_eq!(received(&mut replay, &mut pool).0, [b"ccc".to_vec(), b"a".to_vec()]);
        let mut frame = pool.take().unwrap();
        frame.copy_from(b"head");
        replay.transmit(&mut frame, &[IoSlice::new(b"tail")]).unwrap();
        assert_eq!((replay.sent_frames(), replay.sent_bytes()), (1, 8));
        assert_eq!(received(&mut Replay::sink(Offloads::ALL), &mut pool), (vec![], Received::Drained));
    }
}
