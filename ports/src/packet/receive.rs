//! Receiving several frames with one system call.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{cmsghdr, iovec, mmsghdr};
use rustix::io::Errno;
use vswitch_switch::Frame;

/// The most frames received with one system call.
pub(super) const GROUP: usize = 32;

/// A VLAN tag that the kernel took off and put beside the frame.
#[derive(Clone, Copy)]
pub(super) struct Tag {
    /// The EtherType that announces it.
    pub(super) protocol: u16,
    /// Priority and VLAN.
    pub(super) control: u16,
}

/// What came with one frame.
#[derive(Clone, Copy)]
pub(super) struct Envelope {
    /// Bytes received, the offload header's among them; `None` for a frame that is longer than its buffer.
    pub(super) length: Option<usize>,
    /// Only where the socket asked for it.
    pub(super) tag: Option<Tag>,
}

/// `struct tpacket_auxdata`.
#[repr(C)]
struct Auxiliary {
    status: u32,
    length: u32,
    captured: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

const TP_STATUS_VLAN_VALID: u32 = 1 << 4;

/// One control message, where the kernel writes it: a header and, aligned as the header is, its content.
#[repr(C)]
struct Control {
    header: cmsghdr,
    auxiliary: Auxiliary,
}

/// The arguments of `recvmmsg`, kept so that they need not be cleared for every call.
struct Arguments {
    messages: [mmsghdr; GROUP],
    parts: [iovec; GROUP],
    controls: [Control; GROUP],
}

/// Room for the arguments and answers of one call.
pub(super) struct Receiver(Box<Arguments>);

// SAFETY: the pointers inside are written anew by each call before the kernel reads them, and not used after it.
unsafe impl Send for Receiver {}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

impl Receiver {
    pub(super) fn new() -> Self {
        // SAFETY: arrays of plain old data for which all zeroes is a valid value.
        Self(Box::new(unsafe { zeroed() }))
    }

    /// Receives into the first of `frames` and returns how many. Each begins with `prefix` bytes of offload
    /// header. `tags`: whether the socket has `PACKET_AUXDATA`.
    pub(super) fn receive(
        &mut self,
        fd: &OwnedFd,
        frames: &mut [Frame],
        prefix: usize,
        tags: bool,
    ) -> Result<usize, Errno> {
        let Arguments { messages, parts, controls } = &mut *self.0;
        let mut wanted: libc::c_uint = 0;
        for (((frame, message), part), control) in
            frames.iter_mut().zip(messages.iter_mut()).zip(parts).zip(controls)
        {
            let area = frame.receive_area(prefix);
            *part = iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            if tags {
                message.msg_hdr.msg_control = (&raw mut *control).cast();
                message.msg_hdr.msg_controllen = size_of::<Control>();
            }
            wanted += 1;
        }
        // SAFETY: the first `wanted` messages point to buffers and control areas that were borrowed mutably just
        // now, nothing else uses them, and all outlive the call. No time limit is given.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                messages.as_mut_ptr(),
                wanted,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count)
            .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }

    /// What came with the frame in this place of the last call.
    pub(super) fn envelope(&self, place: usize) -> Envelope {
        let (message, control) = (&self.0.messages[place], &self.0.controls[place]);
        let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        let length = (!truncated).then_some(message.msg_len as usize);
        let auxiliary = &control.auxiliary;
        let has_tag = message.msg_hdr.msg_controllen >= size_of::<Control>()
            && auxiliary.status & TP_STATUS_VLAN_VALID != 0;
        let tag = has_tag.then_some(Tag { protocol: auxiliary.vlan_tpid, control: auxiliary.vlan_tci });
        Envelope { length, tag }
    }
}
