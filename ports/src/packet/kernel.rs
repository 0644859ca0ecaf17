//! The system calls of packet sockets.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sock_filter, socklen_t};

// What linux/if_packet.h calls these; some are missing from libc.
pub(super) const PACKET_VNET_HDR: c_int = 15;
pub(super) const PACKET_IGNORE_OUTGOING: c_int = 23;
pub(super) const PACKET_AUXDATA: c_int = 8;
const PACKET_ADD_MEMBERSHIP: c_int = 1;
const PACKET_DROP_MEMBERSHIP: c_int = 2;
const PACKET_FANOUT: c_int = 18;
const PACKET_FANOUT_HASH: c_int = 0;
const PACKET_FANOUT_FLAG_UNIQUEID: c_int = 0x2000;
const PACKET_FANOUT_FLAG_IGNORE_OUTGOING: c_int = 0x4000;
const PACKET_MR_PROMISC: u16 = 1;

/// `struct packet_mreq`.
#[repr(C)]
struct Membership {
    interface: c_int,
    kind: u16,
    address_length: u16,
    address: [u8; 8],
}

/// A raw packet socket that receives nothing yet. It belongs to the calling thread's namespace.
pub(super) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option whose value is plain old data.
fn set<T>(fd: &OwnedFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let length = socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads `length` bytes from `value`, which outlives the call; callers pass the plain old
    // data that the option wants.
    let answer = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const *value).cast::<c_void>(), length)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets a number of the packet level.
pub(super) fn set_packet(fd: &OwnedFd, option: c_int, value: c_int) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, option, &value)
}

/// Marks every frame that is sent.
pub(super) fn set_mark(fd: &OwnedFd, mark: u32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_MARK, &mark)
}

/// Sizes the queues of the socket, beyond the system's limit where that is allowed.
pub(super) fn set_buffers(fd: &OwnedFd, bytes: c_int) -> io::Result<()> {
    let pairs = [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)];
    for (force, ask) in pairs {
        if set(fd, libc::SOL_SOCKET, force, &bytes).is_err() {
            set(fd, libc::SOL_SOCKET, ask, &bytes)?;
        }
    }
    Ok(())
}

/// Takes only the frames that the program takes, from now on.
pub(super) fn set_filter(fd: &OwnedFd, program: &mut [sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies the instructions before the call returns.
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &libc::sock_fprog { len, filter: program.as_mut_ptr() })
}

fn promiscuous(interface: c_int) -> Membership {
    Membership { interface, kind: PACKET_MR_PROMISC, address_length: 0, address: [0; 8] }
}

/// Receives frames for any MAC address as long as the socket lives.
pub(super) fn join_promiscuous(fd: &OwnedFd, interface: c_int) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous(interface))
}

/// The opposite, once for each time.
pub(super) fn leave_promiscuous(fd: &OwnedFd, interface: c_int) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promiscuous(interface))
}

/// Receives what passes the interface, of every protocol.
pub(super) fn bind(fd: &OwnedFd, interface: c_int) -> io::Result<()> {
    // SAFETY: plain old data for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
    address.sll_ifindex = interface;
    let length = socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    // SAFETY: the kernel reads `length` bytes from the address, which outlives the call.
    let answer = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast::<libc::sockaddr>(), length) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The number of a group that several bound sockets share flows in.
#[derive(Clone, Copy)]
pub(super) struct Group(u16);

/// Makes a group of its own for a bound socket. A flow and its answers stay on one socket of the group.
pub(super) fn found_group(fd: &OwnedFd, ignore_outgoing: bool) -> io::Result<Group> {
    set_packet(fd, PACKET_FANOUT, group_flags(ignore_outgoing, PACKET_FANOUT_FLAG_UNIQUEID) << 16)?;
    let mut value: c_int = 0;
    let mut length = socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to the value; both outlive the call.
    let answer = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_FANOUT,
            (&raw mut value).cast::<c_void>(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // The group's number is in the lower half.
    Ok(Group(u16::try_from(value & 0xffff).unwrap_or(0)))
}

/// Adds a bound socket to a group.
pub(super) fn join_group(fd: &OwnedFd, group: Group, ignore_outgoing: bool) -> io::Result<()> {
    set_packet(fd, PACKET_FANOUT, c_int::from(group.0) | group_flags(ignore_outgoing, 0) << 16)
}

fn group_flags(ignore_outgoing: bool, more: c_int) -> c_int {
    let ignore = if ignore_outgoing { PACKET_FANOUT_FLAG_IGNORE_OUTGOING } else { 0 };
    PACKET_FANOUT_HASH | ignore | more
}
