//! The plain tap: no offload header, one queue, every frame complete.
//!
//! The fallback where offloads misbehave (`port = "tap-plain"`), and the baseline that shows what they are
//! worth. Opened by the `tun-tap` crate, which knows nothing of offloads.

use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};

use tun_tap::{Iface, Mode};
use vswitch_switch::device::{BATCH_BYTES, BATCH_FRAMES};
use vswitch_switch::{Device, DeviceError, Frame, Offloads, Pool, Received, TransmitError};

use crate::error::{self, Error};

/// A tap without offloads.
pub struct PlainTap {
    interface: Iface,
}

/// Makes the plain tap `name` in the namespace of the current thread.
///
/// # Errors
/// When `/dev/net/tun` cannot be opened, or the name is taken or invalid.
pub fn create(name: &str) -> error::Result<PlainTap> {
    let failed = |cause| Error::Tap { operation: "create", name: name.to_owned(), cause };
    let interface = Iface::without_packet_info(name, Mode::Tap).map_err(failed)?;
    interface.set_non_blocking().map_err(failed)?;
    Ok(PlainTap { interface })
}

impl Device for PlainTap {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        let mut bytes = 0;
        while batch.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let Some(mut frame) = pool.take() else { return Ok(Received::More) };
            match self.interface.recv(frame.receive_area(0)) {
                Ok(length) => {
                    frame.filled(length);
                    bytes += length;
                    batch.push(frame);
                }
                Err(error) => {
                    pool.put(frame);
                    match error.kind() {
                        ErrorKind::WouldBlock => return Ok(Received::Drained),
                        ErrorKind::Interrupted => {}
                        _ => return Err(DeviceError::Gone(error)),
                    }
                }
            }
        }
        Ok(Received::More)
    }

    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        // Without offloads nothing is ever coalesced for this device.
        debug_assert!(tails.is_empty());
        match self.interface.send(head.bytes()) {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::EIO | libc::EBADFD) => TransmitError::Down,
                Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => TransmitError::Full,
                _ => TransmitError::Refused,
            }),
        }
    }

    fn offloads(&self) -> Offloads {
        Offloads::NONE
    }
}

impl AsRawFd for PlainTap {
    fn as_raw_fd(&self) -> RawFd {
        self.interface.as_raw_fd()
    }
}

impl std::fmt::Debug for PlainTap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlainTap").field("name", &self.interface.name()).finish()
    }
}
