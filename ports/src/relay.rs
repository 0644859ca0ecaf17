//! Two taps joined by the shortest loop there is: whatever is read from one is written to the other.
//!
//! Not a switch: it looks at nothing. It is what any switch on taps costs at least, and so the ceiling that
//! `vswitch bench` measures beside ours, in a process of its own as ours is.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::tap::TapQueue;

/// The longest frame with its offload header.
const BUFFER: usize = 66 * 1024;

/// Frames taken from one tap before the other gets its turn.
const TURN: usize = 64;

/// Copies between two taps until one of them is gone.
///
/// # Errors
/// When the taps cannot be waited for, or one cannot be read any more.
pub fn relay(left: &TapQueue, right: &TapQueue) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut ready = [PollFd::new(left, PollFlags::IN), PollFd::new(right, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let (from_left, from_right) = (ready[0].revents(), ready[1].revents());
        if !from_left.is_empty() {
            take_turn(left, right, &mut buffer)?;
        }
        if !from_right.is_empty() {
            take_turn(right, left, &mut buffer)?;
        }
    }
}

fn take_turn(from: &TapQueue, to: &TapQueue, buffer: &mut [u8]) -> io::Result<()> {
    for _ in 0..TURN {
        match rustix::io::read(from.as_fd(), &mut *buffer) {
            // What the other side does not take is lost, as on any wire.
            Ok(length) => drop(rustix::io::write(to.as_fd(), &buffer[..length])),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
