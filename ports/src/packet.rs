//! Packet sockets: frames of an interface that is there already, such as a NIC or one end of a veth pair.
//!
//! # Theory of operation
//! An `AF_PACKET` socket sees what passes an interface and can send as the interface does. It is a tap in the
//! sense of a tapped wire: the frame goes on to the host's stack unless [`host_stack`](crate::host_stack) stops
//! it there. With `PACKET_VNET_HDR` every frame has an offload header both ways, as on a tap queue, and
//! super-frames stay whole.
//!
//! What a socket takes is decided by a filter in the kernel ([`Side`], VLAN), which is attached before the first
//! frame can arrive. Our own sockets on the same interface know each other's frames by the mark they send with
//! ([`WIRE_MARK`], [`HOST_MARK`]). VLAN tags, which the kernel takes off and keeps beside the frame, are put back
//! only on a [`Side::Pair`]; a socket for one VLAN hands its frames over untagged and tags what it sends.
//!
//! Frames wait in the socket's queue, bounded by [`QUEUE_BYTES`]; the kernel drops what does not fit, and a
//! frame longer than our buffers is dropped here. Frames are received several at a time, as many as
//! are expected to fill a batch: docs/af-packet.md has what was measured.
//!
//! An interface that goes down is reported by an error once and is no loss: the socket goes on when it comes up
//! again. Only one that was deleted or moved away is gone.

mod filter;
mod kernel;
mod receive;
mod tag;

use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use vswitch_switch::device::{BATCH_BYTES, BATCH_FRAMES};
use vswitch_switch::{Device, DeviceError, Frame, Offloads, Pool, Received, TransmitError};

use crate::error::{self, Error};
use crate::netlink::Netlink;
use crate::virtio;
use receive::{GROUP, Receiver};
use tag::{ADDRESSES, TAG, Tags};

/// The mark (`SO_MARK`) on every frame we send out of an interface.
pub const WIRE_MARK: u32 = 0x7653_5701;

/// The mark on every frame we send out of an interface for the host's own stack behind it.
pub const HOST_MARK: u32 = 0x7653_5702;

/// Asked for each direction's queue; the kernel doubles it for its own overhead.
const QUEUE_BYTES: i32 = 8 << 20;

/// The most queues one interface is read by (`PACKET_FANOUT` has 256).
pub const MAX_QUEUES: usize = 256;

const HEADER: usize = virtio::SHORT_HEADER;

/// Which frames of the interface, and how it is shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The switch has the interface for itself: everything that comes in, for any MAC address. The host's stack
    /// is kept off by [`host_stack`](crate::host_stack).
    Exclusive,
    /// The interface is the host's too: everything that comes in from the wire.
    Wire,
    /// The host as a station on the same interface: what it sends out, and what is sent here reaches its stack
    /// as if it had come in, once [`host_stack`](crate::host_stack) turns it round.
    Host,
    /// Our end of a veth pair: everything that comes in, VLAN tags and all.
    Pair,
}

/// How a socket is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Which frames.
    pub side: Side,
    /// The 802.1Q VLAN, 1 to 4094, whose frames are exchanged, untagged for the switch; `None` for frames
    /// without a tag. Without meaning for a [`Side::Pair`].
    pub vlan: Option<u16>,
}

/// One queue of an interface.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    interface: i32,
    side: Side,
    tags: Tags,
    offloads: Offloads,
    /// The mean length of the frames received last: as many are asked for as are expected to fill a batch.
    typical: usize,
    receiver: Receiver,
    /// Frames being received into; empty in between.
    group: Vec<Frame>,
}

/// Opens `queues` sockets on an interface in the namespace of the current thread. Each flow of the interface
/// stays on one of them.
///
/// # Errors
/// When there is no such interface, the VLAN is none, or this user may not open packet sockets.
pub fn open(interface: &str, queues: usize, options: Options) -> error::Result<Vec<PacketSocket>> {
    if options.vlan.is_some_and(|vlan| !(1..=4094).contains(&vlan)) {
        let cause = io::Error::other("no such VLAN");
        return Err(refused("use a VLAN outside of 1 to 4094 on", interface, cause));
    }
    let index = index_of(interface)?;
    let sockets: io::Result<Vec<_>> =
        (0..queues.clamp(1, MAX_QUEUES)).map(|_| PacketSocket::prepare(index, options)).collect();
    let mut sockets = sockets.map_err(|cause| refused("open", interface, cause))?;
    share(&mut sockets, options).map_err(|cause| refused("share the flows of", interface, cause))?;
    Ok(sockets)
}

/// Opens a socket that receives UDP over IPv4 to one port, without a VLAN tag. It has short offload headers and our
/// mark.
pub(crate) fn open_client(interface: &str, port: u16, queue: i32) -> error::Result<OwnedFd> {
    let index = index_of(interface)?;
    let open = || {
        let fd = kernel::socket()?;
        kernel::set_filter(&fd, &mut filter::client(port, None))?;
        kernel::set_packet(&fd, kernel::PACKET_VNET_HDR, 1)?;
        kernel::set_buffers(&fd, queue)?;
        kernel::set_mark(&fd, WIRE_MARK)?;
        kernel::set_packet(&fd, kernel::PACKET_IGNORE_OUTGOING, 1)?;
        kernel::bind(&fd, index)?;
        Ok(fd)
    };
    open().map_err(|cause| refused("open", interface, cause))
}

/// Makes a socket of [`open_client`] receive ARP about `address` too, or only UDP again.
pub(crate) fn set_client_arp(fd: &OwnedFd, port: u16, address: Option<Ipv4Addr>) -> io::Result<()> {
    kernel::set_filter(fd, &mut filter::client(port, address))
}

fn refused(operation: &'static str, interface: &str, cause: io::Error) -> Error {
    let remedy = match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "packet sockets need root, or CAP_NET_RAW in the interface's namespace"
        }
        _ => "it must be an Ethernet interface that exists, and a VLAN one of 1 to 4094",
    };
    Error::Interface { operation, name: interface.to_owned(), cause, remedy }
}

/// The interface's number, if frames of it are Ethernet's.
fn index_of(interface: &str) -> error::Result<i32> {
    let link = Netlink::open()?.link(interface)?;
    if !link.ethernet {
        return Err(refused("open", interface, io::Error::other("it does not carry Ethernet frames")));
    }
    i32::try_from(link.index).map_err(|_| refused("open", interface, io::ErrorKind::InvalidData.into()))
}

/// Lets the flows in: from here on each arrives at exactly one of the sockets.
fn share(sockets: &mut [PacketSocket], options: Options) -> io::Result<()> {
    let ignore_outgoing = options.side != Side::Host;
    if let [first, others @ ..] = &sockets
        && !others.is_empty()
    {
        let group = kernel::found_group(&first.fd, ignore_outgoing)?;
        for other in others {
            kernel::join_group(&other.fd, group, ignore_outgoing)?;
        }
    }
    let mut program = filter::port(options.side, options.vlan);
    sockets.iter().try_for_each(|socket| kernel::set_filter(&socket.fd, &mut program))
}

impl PacketSocket {
    /// A bound socket that takes nothing yet.
    fn prepare(interface: i32, options: Options) -> io::Result<Self> {
        let Options { side, vlan } = options;
        let fd = kernel::socket()?;
        kernel::set_filter(&fd, &mut filter::nothing())?;
        kernel::set_packet(&fd, kernel::PACKET_VNET_HDR, 1)?;
        kernel::set_buffers(&fd, QUEUE_BYTES)?;
        kernel::set_mark(&fd, if side == Side::Host { HOST_MARK } else { WIRE_MARK })?;
        if side != Side::Host {
            kernel::set_packet(&fd, kernel::PACKET_IGNORE_OUTGOING, 1)?;
        }
        let tags = match (side, vlan) {
            (Side::Pair, _) => Tags::Kept,
            (_, None) => Tags::Absent,
            (_, Some(vlan)) => Tags::Of(vlan),
        };
        if tags != Tags::Absent {
            kernel::set_packet(&fd, kernel::PACKET_AUXDATA, 1)?;
        }
        kernel::bind(&fd, interface)?;
        if matches!(side, Side::Exclusive | Side::Wire) {
            kernel::join_promiscuous(&fd, interface)?;
        }
        Ok(Self {
            fd,
            interface,
            side,
            tags,
            offloads: offloads(),
            typical: 0,
            receiver: Receiver::new(),
            group: Vec::with_capacity(GROUP),
        })
    }

    /// What it is, as `show ports` names it.
    pub fn driver(&self) -> &'static str {
        if self.side == Side::Pair { "veth" } else { "packet" }
    }

    /// How many frames to ask for, given the room left in the batch.
    #[inline]
    fn wanted(&self, frames: usize, bytes: usize) -> usize {
        let fitting = (BATCH_BYTES - bytes) / self.typical.max(1);
        fitting.clamp(1, GROUP.min(BATCH_FRAMES - frames))
    }

    /// Takes as many frames from the pool as are wanted and there are.
    #[inline]
    fn gather_empty(&mut self, wanted: usize, pool: &mut Pool) {
        while self.group.len() < wanted
            && let Some(frame) = pool.take()
        {
            self.group.push(frame);
        }
    }

    /// Puts the frames just received on the batch, finished. Returns their bytes.
    #[inline]
    fn unpack(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> usize {
        let mut bytes = 0;
        for (place, mut frame) in self.group.drain(..).enumerate() {
            let envelope = self.receiver.envelope(place);
            match envelope.length {
                Some(length) => {
                    frame.filled(length.saturating_sub(HEADER));
                    if let Some(header) = frame.prefix() {
                        frame.offload = virtio::decode_short(header);
                    }
                    self.tags.settle(&mut frame, envelope.tag);
                    bytes += frame.len();
                    batch.push(frame);
                }
                None => pool.put(frame),
            }
        }
        bytes
    }

    /// Whether the interface is there no more. The kernel reports its end with the same error as its going
    /// down, and before the end is complete; joining waits for what changes interfaces.
    fn is_gone(&self) -> bool {
        match kernel::join_promiscuous(&self.fd, self.interface) {
            Ok(()) => {
                let _ = kernel::leave_promiscuous(&self.fd, self.interface);
                false
            }
            Err(cause) => cause.raw_os_error() == Some(libc::ENODEV),
        }
    }
}

/// The kernel segments and sums in software whatever the interface does not; of UDP since 6.2.
fn offloads() -> Offloads {
    let release = rustix::system::uname();
    let mut numbers = release.release().to_bytes().split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0_u32, |number, digit| number.saturating_mul(10) + u32::from(digit - b'0'))
    });
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let uso = version >= (6, 2);
    Offloads { uso4: uso, uso6: uso, ..Offloads::ALL }
}

impl Device for PacketSocket {
    #[inline]
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        let mut bytes = 0;
        while batch.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let wanted = self.wanted(batch.len(), bytes);
            self.gather_empty(wanted, pool);
            let wanted = self.group.len();
            if wanted == 0 {
                return Ok(Received::More);
            }
            let tags = self.tags != Tags::Absent;
            let received = self.receiver.receive(&self.fd, &mut self.group, HEADER, tags);
            // What was not received into goes back, the first taken last.
            for frame in self.group.drain(received.unwrap_or(0)..).rev() {
                pool.put(frame);
            }
            match received {
                Ok(count) => {
                    let got = self.unpack(pool, batch);
                    self.typical = got / count.max(1);
                    bytes += got;
                    // An error behind the last frame is reported by the next call, or has woken us again.
                    if count < wanted {
                        return Ok(Received::Drained);
                    }
                }
                Err(Errno::AGAIN) => return Ok(Received::Drained),
                Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) if self.is_gone() => {
                    return Err(DeviceError::Gone(Errno::NODEV.into()));
                }
                // Each error is reported once. EINVAL: a frame with an offload that the header cannot express.
                Err(_) => {}
            }
        }
        Ok(Received::More)
    }

    #[inline]
    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        let sent = match self.tags {
            Tags::Kept => self.send_as_is(head, tails),
            // A tag inside would reach VLANs that this port is no member of.
            _ if tag::is_tagged(head.bytes()) => return Err(TransmitError::Refused),
            Tags::Absent => self.send_as_is(head, tails),
            Tags::Of(vlan) => self.send_tagged(vlan, head, tails),
        };
        sent.map_err(|errno| match errno {
            Errno::NETDOWN | Errno::NXIO | Errno::NODEV => TransmitError::Down,
            Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => TransmitError::Full,
            _ => TransmitError::Refused,
        })
    }

    #[inline]
    fn offloads(&self) -> Offloads {
        self.offloads
    }
}

impl PacketSocket {
    #[inline]
    fn send_as_is(&self, head: &mut Frame, tails: &[IoSlice<'_>]) -> rustix::io::Result<()> {
        let header = virtio::encode_short(&head.offload);
        let whole = head.with_prefix(&header).ok_or(Errno::INVAL)?;
        self.gather(&[IoSlice::new(whole)], tails)
    }

    #[inline]
    fn send_tagged(&self, vlan: u16, head: &Frame, tails: &[IoSlice<'_>]) -> rustix::io::Result<()> {
        let (addresses, rest) = head.bytes().split_first_chunk::<ADDRESSES>().ok_or(Errno::INVAL)?;
        let mut offload = head.offload;
        tag::shift(&mut offload);
        let mut front = [0; HEADER + ADDRESSES + TAG];
        front[..HEADER].copy_from_slice(&virtio::encode_short(&offload));
        front[HEADER..HEADER + ADDRESSES].copy_from_slice(addresses);
        front[HEADER + ADDRESSES..].copy_from_slice(&tag::encode(vlan));
        self.gather(&[IoSlice::new(&front), IoSlice::new(rest)], tails)
    }

    #[inline]
    fn gather(&self, head: &[IoSlice<'_>], tails: &[IoSlice<'_>]) -> rustix::io::Result<()> {
        const MOST: usize = BATCH_FRAMES + 1;
        let mut parts = [IoSlice::new(&[]); MOST];
        let parts = match (head, tails) {
            ([whole], []) => {
                return rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, whole)).map(drop);
            }
            _ => {
                let tails = &tails[..tails.len().min(MOST - head.len())];
                parts[..head.len()].copy_from_slice(head);
                parts[head.len()..head.len() + tails.len()].copy_from_slice(tails);
                &parts[..head.len() + tails.len()]
            }
        };
        rustix::io::retry_on_intr(|| rustix::io::writev(&self.fd, parts)).map(drop)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
