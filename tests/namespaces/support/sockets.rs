//! Ordinary sockets inside containers, and what is sent over them.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use super::switch::Switch;
use super::{PATIENCE, eventually};

/// Bytes with no short period, different for each seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    // xorshift64* (Vigna 2016).
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()[7]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A UDP socket on `address` in a container, on a free port, which waits for a datagram no longer than a test may.
#[track_caller]
pub(crate) fn udp(switch: &Switch, container: &str, address: impl Into<IpAddr>) -> UdpSocket {
    udp_on(switch, container, SocketAddr::new(address.into(), 0))
}

/// The same on a given port.
#[track_caller]
pub(crate) fn udp_on(switch: &Switch, container: &str, address: SocketAddr) -> UdpSocket {
    let socket = switch.within(container, || UdpSocket::bind(address)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_broadcast(true).unwrap();
    socket
}

/// Receives one datagram.
#[track_caller]
pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = loop {
        match socket.recv_from(&mut buffer) {
            // With a timeout the kernel does not begin again by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result.expect("a datagram arrives"),
        }
    };
    buffer.truncate(length);
    (buffer, from)
}

/// A TCP connection from one container to another's address: the caller's end and the called one's.
#[track_caller]
pub(crate) fn tcp(
    switch: &Switch,
    (caller, called): (&str, &str),
    address: impl Into<IpAddr>,
) -> (TcpStream, TcpStream) {
    let address = SocketAddr::new(address.into(), 0);
    let listener = switch.within(called, || TcpListener::bind(address)).unwrap();
    let address = listener.local_addr().unwrap();
    let near = switch.within(caller, || TcpStream::connect_timeout(&address, PATIENCE)).unwrap();
    let (far, _) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far)
}

/// Sends `length` bytes from one container to another, which sends them back, and compares every byte.
#[track_caller]
pub(crate) fn echo(
    switch: &Switch,
    (caller, called): (&str, &str),
    address: impl Into<IpAddr>,
    length: usize,
) {
    let (near, far) = tcp(switch, (caller, called), address);
    echo_over(near, far, length);
}

/// The same over a connection there is.
pub(crate) fn echo_over(mut near: TcpStream, mut far: TcpStream, length: usize) {
    let sent = noise(length, u64::from(near.local_addr().unwrap().port()));
    let mut returned = Vec::with_capacity(length);
    let mut writer = near.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            std::io::copy(&mut far.try_clone().unwrap(), &mut far).unwrap();
            far.shutdown(std::net::Shutdown::Write).unwrap();
        });
        scope.spawn(|| {
            writer.write_all(&sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        near.read_to_end(&mut returned).unwrap();
    });
    // Not `assert_eq`, which would print them.
    assert!(returned == sent, "{} bytes came back changed, of {length}", returned.len());
}

/// Sends a datagram over and over until one arrives: for what is known to be lost while something comes up.
pub(crate) fn until_received(from: &UdpSocket, to: &UdpSocket) {
    let address = to.local_addr().unwrap();
    to.set_nonblocking(true).unwrap();
    eventually("a datagram arrives", || {
        // While a neighbour is unreachable, sending fails too.
        let _ = from.send_to(b"are you there?", address);
        to.recv(&mut [0; 64]).ok()
    });
    // Those of before that were only late.
    while to.recv(&mut [0; 64]).is_ok() {}
    to.set_nonblocking(false).unwrap();
}
