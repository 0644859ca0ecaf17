//! Options of ordinary sockets that the standard library does not have.

use std::io;
use std::net::TcpStream;

/// Sets the congestion control of a connection, such as `cubic` or `bbr`.
///
/// # Errors
/// When the kernel does not have it, or does not allow it to this user
/// (`net.ipv4.tcp_allowed_congestion_control`).
pub fn set_congestion_control(stream: &TcpStream, name: &str) -> io::Result<()> {
    rustix::net::sockopt::set_tcp_congestion(stream, name).map_err(Into::into)
}
