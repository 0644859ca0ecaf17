//! Pings, and the errors that come back, by raw sockets.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, bind, ipproto, recvfrom, sendto, socket, sockopt,
};
use vswitch_ports::netns::NetNs;

use super::PATIENCE;

/// Types of messages, as [`Message::meaning`] has them: IPv4's (RFC 792) and IPv6's (RFC 4443).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    EchoReply,
    TimeExceeded,
    PortUnreachable,
    Other(u8, u8),
}

/// A message that arrived.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) from: IpAddr,
    pub(crate) meaning: Meaning,
    /// All of it, from its type on.
    pub(crate) bytes: Vec<u8>,
}

/// A raw socket for ICMP or ICMPv6 in one namespace. It hears all messages that arrive there.
#[derive(Debug)]
pub(crate) struct Icmp {
    socket: OwnedFd,
    ipv6: bool,
}

impl Icmp {
    /// For the messages of `own`'s family that are for `own`.
    pub(crate) fn open(netns: &NetNs, own: IpAddr) -> Self {
        let ipv6 = own.is_ipv6();
        let (family, protocol) =
            if ipv6 { (AddressFamily::INET6, ipproto::ICMPV6) } else { (AddressFamily::INET, ipproto::ICMP) };
        let socket = netns.within(|| socket(family, SocketType::RAW, Some(protocol))).unwrap().unwrap();
        netns.within(|| bind(&socket, &SocketAddr::new(own, 0))).unwrap().unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
        Self { socket, ipv6 }
    }

    /// Sends an echo request.
    pub(crate) fn ping(&self, to: IpAddr, id: u16, sequence: u16, payload: &[u8]) {
        let request = if self.ipv6 { 128 } else { 8 };
        let [id, sequence] = [id, sequence].map(u16::to_be_bytes);
        let mut message = [&[request, 0, 0, 0], &id[..], &sequence, payload].concat();
        if !self.ipv6 {
            // For IPv6 the kernel does it.
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum);
        }
        sendto(&self.socket, &message, SendFlags::empty(), &SocketAddr::new(to, 0)).unwrap();
    }

    /// The next message that is a reply or an error: requests and neighbour discovery are passed over.
    #[track_caller]
    pub(crate) fn next(&self) -> Message {
        loop {
            let mut buffer = [const { MaybeUninit::uninit() }; 65_536];
            let result = recvfrom(&self.socket, &mut buffer, RecvFlags::empty());
            if result.as_ref().is_err_and(|errno| *errno == Errno::INTR) {
                continue;
            }
            let ((bytes, _), _, from) = result.expect("an ICMP message arrives");
            let from = SocketAddr::try_from(from.unwrap()).unwrap().ip();
            // Only IPv4's come with the IP header.
            let header = if self.ipv6 { 0 } else { usize::from(bytes[0] & 15) * 4 };
            let bytes = bytes[header..].to_vec();
            let meaning = match (self.ipv6, bytes[0], bytes[1]) {
                (false, 8, _) | (true, 128 | 130..=137 | 143, _) => continue,
                (false, 0, 0) | (true, 129, 0) => Meaning::EchoReply,
                (false, 11, 0) | (true, 3, 0) => Meaning::TimeExceeded,
                (false, 3, 3) | (true, 1, 4) => Meaning::PortUnreachable,
                (_, kind, code) => Meaning::Other(kind, code),
            };
            return Message { from, meaning, bytes };
        }
    }
}

impl Message {
    /// Identifier and sequence number of an echo reply.
    pub(crate) fn echo(&self) -> (u16, u16) {
        let field = |at: usize| u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        (field(4), field(6))
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}
