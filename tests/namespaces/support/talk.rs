//! Sockets between any two namespaces, where one end is not known by the address that the other calls.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use vswitch_ports::netns::NetNs;

use super::PATIENCE;
use super::sockets::echo_over;

/// A listener in a namespace.
#[track_caller]
pub(crate) fn listen(netns: &NetNs, address: impl Into<SocketAddr>) -> TcpListener {
    let address = address.into();
    netns.within(|| TcpListener::bind(address)).unwrap().unwrap()
}

/// A connection from a namespace.
pub(crate) fn connect(netns: &NetNs, to: SocketAddr) -> io::Result<TcpStream> {
    netns.within(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap()
}

/// A connection from a namespace to a listener known by the address `to`: both ends, and whom the listener took for
/// the caller.
#[track_caller]
pub(crate) fn call(
    netns: &NetNs,
    listener: &TcpListener,
    to: SocketAddr,
) -> (TcpStream, TcpStream, SocketAddr) {
    let near = connect(netns, to).unwrap_or_else(|error| panic!("{to}: {error}"));
    let (far, caller) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far, caller)
}

/// Sends `length` bytes there and back over such a connection; answers whom the listener took for the caller.
#[track_caller]
pub(crate) fn converse(netns: &NetNs, listener: &TcpListener, to: SocketAddr, length: usize) -> SocketAddr {
    let (near, far, caller) = call(netns, listener, to);
    echo_over(near, far, length);
    caller
}

/// A UDP socket in a namespace, which waits for a datagram no longer than a test may.
#[track_caller]
pub(crate) fn datagrams(netns: &NetNs, address: impl Into<SocketAddr>) -> UdpSocket {
    let address = address.into();
    let socket = netns.within(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The segment size a connection sends with (`TCP_MAXSEG`), which no safe interface of Rust tells.
pub(crate) fn segment_size(stream: &TcpStream) -> u32 {
    let mut perl = Command::new("perl");
    let perl = perl.args(["-e", "print unpack('I', getsockopt(STDIN, 6, 2))"]);
    let stdin = Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
    let output = perl.stdin(stdin).output().unwrap();
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}
