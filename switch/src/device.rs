//! What moves frames in and out of the switch.

use std::io::IoSlice;

use crate::frame::{Frame, Pool};
use crate::offload::Offloads;

/// The most frames one batch holds.
pub const BATCH_FRAMES: usize = 64;

/// A batch takes no more frames once it holds this many bytes: super-frames go in small batches, so that what
/// was read is still in the cache when it is written; small frames go in large ones.
pub const BATCH_BYTES: usize = 256 * 1024;

/// Whether a device has more to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// It was read until empty; it will be reported ready when something arrives.
    Drained,
    /// The batch is full; there may be more.
    More,
}

/// Why a device cannot receive.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device is gone for good: its namespace was deleted, or the interface was.
    #[error("the device is gone: {0}")]
    Gone(std::io::Error),
}

/// Why a frame did not leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransmitError {
    /// The interface is down, or the device gone.
    Down,
    /// No room now.
    Full,
    /// The kernel refused this frame.
    Refused,
}

/// A port's device: a tap queue, an AF_PACKET socket, a tunnel endpoint, or in tests an in-memory pair.
///
/// One worker owns it; nothing here is called from two threads.
pub trait Device {
    /// Receives frames from `pool` onto `batch` until the device is empty or the batch is full
    /// ([`BATCH_FRAMES`], [`BATCH_BYTES`]). Each frame's `offload` is what the device said of it, unchecked.
    ///
    /// # Errors
    /// When the device will never work again; the port goes down.
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError>;

    /// Sends `head` and the `tails` behind it as one frame, with `head`'s offload header. `head` is mutable for
    /// its headroom only: its bytes are the same afterwards.
    ///
    /// # Errors
    /// The frame is lost; the reason decides how it is counted.
    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError>;

    /// What the device finishes for us.
    fn offloads(&self) -> Offloads;
}
