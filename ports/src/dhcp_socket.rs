//! The socket of a DHCP client on an interface that has no address yet.
//!
//! Whole Ethernet frames both ways, untagged. The kernel lets through what is for a client (UDP over IPv4 to
//! port 68, RFC 2131 §4.1) and, while the client finds out whether an address is free, ARP about that address;
//! so the socket wakes nobody for the interface's other traffic. The rest of the frame is for the client to
//! check. Frames are sent with the mark by which [`host_stack`](crate::host_stack) lets ours out.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use vswitch_switch::OffloadHeader;

use crate::error;
use crate::packet;
use crate::virtio::{self, SHORT_HEADER};

/// The port DHCP clients listen on.
const CLIENT_PORT: u16 = 68;

/// Room for this many waiting bytes is plenty for offers.
const QUEUE_BYTES: i32 = 128 * 1024;

/// What was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Bytes in the buffer.
    pub length: usize,
    /// What is left to be done. The UDP checksum is, where the server is on this machine.
    pub offload: OffloadHeader,
}

/// See the [module](self).
#[derive(Debug)]
pub struct DhcpSocket {
    fd: OwnedFd,
}

impl DhcpSocket {
    /// Opens a socket on `interface` of the calling thread's namespace.
    ///
    /// # Errors
    /// When there is no such interface, or this user may not open packet sockets.
    pub fn open(interface: &str) -> error::Result<Self> {
        let fd = packet::open_client(interface, CLIENT_PORT, QUEUE_BYTES)?;
        Ok(Self { fd })
    }

    /// Receives ARP that names `address` from now on, beside what is for the client; `None`: no ARP.
    ///
    /// # Errors
    /// The kernel's reason; it goes on as before.
    pub fn hear_arp(&self, address: Option<Ipv4Addr>) -> io::Result<()> {
        packet::set_client_arp(&self.fd, CLIENT_PORT, address)
    }

    /// Receives one frame into `buffer`; what does not fit is cut off.
    ///
    /// # Errors
    /// `WouldBlock` when none is waiting; else the kernel's reason. `NetworkDown` is reported once and is no end.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrival> {
        let mut header = [0; SHORT_HEADER];
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
        let count = rustix::io::retry_on_intr(|| rustix::io::readv(&self.fd, &mut parts))?;
        Ok(Arrival { length: count.saturating_sub(SHORT_HEADER), offload: virtio::decode_short(&header) })
    }

    /// Sends one frame, complete with its Ethernet header and checksums.
    ///
    /// # Errors
    /// The kernel's reason, `WouldBlock` among them.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let header = virtio::encode_short(&OffloadHeader::NONE);
        let parts = [IoSlice::new(&header), IoSlice::new(frame)];
        Ok(rustix::io::retry_on_intr(|| rustix::io::writev(&self.fd, &parts)).map(drop)?)
    }
}

impl AsFd for DhcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for DhcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
