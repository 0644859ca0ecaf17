//! Tap queues with offloads: the ordinary port of a container.
//!
//! # Theory of operation
//! A tap is an Ethernet interface whose other end is a descriptor: what the container sends is read here, what
//! is written here the container receives. It is made in the namespace of the thread that opens it, so nothing
//! is ever moved, and goes away with its last descriptor, so nothing is ever left behind.
//!
//! With `IFF_VNET_HDR` every frame carries an offload header and, as far as the kernel grants, stays unfinished:
//! checksums to be computed, up to 64 KiB to be cut into segments. The offloads are probed one by one by asking
//! for one more each time; what the kernel refuses is left out. They belong to the device, not the queue.
//!
//! With several queues each worker owns one; the kernel keeps a flow on the queue that last answered it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use vswitch_switch::device::{BATCH_BYTES, BATCH_FRAMES};
use vswitch_switch::{Device, DeviceError, Frame, Offloads, Pool, Received, TransmitError};

use crate::error::{self, Error};
use crate::virtio;

/// Where taps are made.
pub const TUN_PATH: &str = "/dev/net/tun";

/// The most queues one tap has (`MAX_TAP_QUEUES` of Linux).
pub const MAX_QUEUES: usize = 256;

// What linux/if_tun.h calls these; the newest are missing from libc.
const TUN_F_CSUM: u32 = 0x01;
const TUN_F_TSO4: u32 = 0x02;
const TUN_F_TSO6: u32 = 0x04;
const TUN_F_TSO_ECN: u32 = 0x08;
const TUN_F_USO4: u32 = 0x20;
const TUN_F_USO6: u32 = 0x40;

/// The steps of probing. UDP segmentation is granted only for both address families at once.
const STEPS: [u32; 5] = [TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN, TUN_F_USO4 | TUN_F_USO6];

/// One queue of a tap.
#[derive(Debug)]
pub struct TapQueue {
    fd: OwnedFd,
    offloads: Offloads,
    /// Whether frames carry an offload header at all.
    headers: bool,
}

/// Makes the tap `name` with `queues` queues in the namespace of the current thread.
///
/// # Errors
/// When `/dev/net/tun` cannot be opened, or the name is taken or invalid.
pub fn create(name: &str, queues: usize) -> error::Result<Vec<TapQueue>> {
    let queues = queues.clamp(1, MAX_QUEUES);
    let mut made = Vec::with_capacity(queues);
    for _ in 0..queues {
        let fd = open_tun()?;
        let headers = has_offload_headers(&fd);
        attach_queue(&fd, name, headers, queues > 1)?;
        let offloads = if headers { probe_offloads(&fd) } else { Offloads::NONE };
        made.push(TapQueue { fd, offloads, headers });
    }
    Ok(made)
}

fn open_tun() -> error::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(TUN_PATH, flags, Mode::empty())
        .map_err(|errno| crate::userns::tun_forbidden(errno.into()))
}

/// Whether this kernel's taps know offload headers.
fn has_offload_headers(fd: &OwnedFd) -> bool {
    let mut features: libc::c_uint = 0;
    // SAFETY: TUNGETFEATURES writes one unsigned int through the pointer, which outlives the call.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETFEATURES, &raw mut features) };
    let wanted = libc::c_uint::try_from(libc::IFF_VNET_HDR).unwrap_or(0);
    answer == 0 && features & wanted != 0
}

fn attach_queue(fd: &OwnedFd, name: &str, headers: bool, many: bool) -> error::Result<()> {
    let failed = |cause: io::Error| Error::Tap { operation: "create", name: name.to_owned(), cause };
    // SAFETY: ifreq is plain old data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.bytes().any(|byte| byte == 0) {
        return Err(failed(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if headers {
        flags |= libc::IFF_VNET_HDR;
    }
    if many {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    // The kernel reads the field as 16 bits; IFF_VNET_HDR and the others fit.
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or(0);
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } != 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    if headers {
        let size = libc::c_int::from(virtio::HEADER_BYTES);
        // SAFETY: TUNSETVNETHDRSZ reads one int through the pointer, which outlives the call.
        if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const size) } != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// Asks for one offload more at a time and keeps what is granted.
fn probe_offloads(fd: &OwnedFd) -> Offloads {
    let mut granted = 0;
    for step in STEPS {
        let wanted = libc::c_ulong::from(granted | step);
        // SAFETY: TUNSETOFFLOAD takes its argument by value.
        if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, wanted) } == 0 {
            granted |= step;
        } else if step == TUN_F_CSUM {
            // Nothing is granted without checksums.
            break;
        }
    }
    Offloads {
        checksum: granted & TUN_F_CSUM != 0,
        tso4: granted & TUN_F_TSO4 != 0,
        tso6: granted & TUN_F_TSO6 != 0,
        ecn: granted & TUN_F_TSO_ECN != 0,
        uso4: granted & TUN_F_USO4 != 0,
        uso6: granted & TUN_F_USO6 != 0,
    }
}

impl TapQueue {
    fn prefix(&self) -> usize {
        if self.headers { virtio::HEADER } else { 0 }
    }
}

impl Device for TapQueue {
    #[inline]
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        let prefix = self.prefix();
        let mut bytes = 0;
        while batch.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let Some(mut frame) = pool.take() else { return Ok(Received::More) };
            match rustix::io::read(&self.fd, frame.receive_area(prefix)) {
                Ok(length) => {
                    frame.filled(length.saturating_sub(prefix));
                    if self.headers
                        && let Some(header) = frame.prefix()
                    {
                        frame.offload = virtio::decode(header);
                    }
                    bytes += frame.len();
                    batch.push(frame);
                }
                Err(errno) => {
                    pool.put(frame);
                    match errno {
                        Errno::AGAIN => return Ok(Received::Drained),
                        Errno::INTR => {}
                        // EBADFD: the interface was deleted; EIO: it is being unregistered.
                        _ => return Err(DeviceError::Gone(errno.into())),
                    }
                }
            }
        }
        Ok(Received::More)
    }

    #[inline]
    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        let header = if self.headers { virtio::encode(&head.offload) } else { [0; virtio::HEADER] };
        let written = match head.with_prefix(&header[..self.prefix()]) {
            None => return Err(TransmitError::Refused),
            Some(whole) if tails.is_empty() => write_whole(&self.fd, whole),
            Some(whole) => {
                let mut parts = [IoSlice::new(&[]); BATCH_FRAMES];
                let count = (tails.len() + 1).min(parts.len());
                parts[0] = IoSlice::new(whole);
                parts[1..count].copy_from_slice(&tails[..count - 1]);
                gather(&self.fd, &parts[..count])
            }
        };
        written.map_err(|errno| match errno {
            // EIO: the interface is down. EBADFD: it was deleted.
            Errno::IO | Errno::BADFD => TransmitError::Down,
            Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => TransmitError::Full,
            _ => TransmitError::Refused,
        })
    }

    #[inline]
    fn offloads(&self) -> Offloads {
        self.offloads
    }
}

#[inline]
fn write_whole(fd: &OwnedFd, frame: &[u8]) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::write(fd, frame)).map(drop)
}

#[inline]
fn gather(fd: &OwnedFd, parts: &[IoSlice<'_>]) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::writev(fd, parts)).map(drop)
}

impl AsFd for TapQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for TapQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
