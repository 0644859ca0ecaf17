//! Two taps joined by the shortest loop there is: whatever is read from one is written to the other.
//!
//! Not a switch: it looks at nothing. It is what any switch on taps costs at least, and so the ceiling that
//! `vswitch bench` measures beside ours.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cpu::cpu_time_of_thread;
use crate::error::{Error, Result};
use crate::tap::TapQueue;

/// How often the loop looks whether it shall stop.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The longest frame with its offload header.
const BUFFER: usize = 66 * 1024;

/// Frames taken from one tap before the other gets its turn.
const TURN: usize = 64;

/// A running relay; ends with this value.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    tid: u32,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts to copy between two taps.
    pub fn start(left: TapQueue, right: TapQueue) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (tell, told) = mpsc::channel();
        let copying = move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
            copy(&left, &right, &stopped);
        };
        let spawned = std::thread::Builder::new().name("two-tap-loop".to_owned()).spawn(copying);
        let thread = spawned
            .map_err(|cause| Error::Spawn { what: "a thread that copies frames".to_owned(), cause })?;
        // The thread's first act is to tell.
        let tid = told.recv().unwrap_or_default();
        Ok(Self { stop, tid, thread: Some(thread) })
    }

    /// The CPU time the loop has used.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time_of_thread(self.tid)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn copy(left: &TapQueue, right: &TapQueue, stop: &AtomicBool) {
    let mut buffer = vec![0; BUFFER];
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(left, PollFlags::IN), PollFd::new(right, PollFlags::IN)];
        if poll(&mut ready, Some(&LOOK_UP)).is_err() {
            continue;
        }
        let (from_left, from_right) = (ready[0].revents(), ready[1].revents());
        if from_left.contains(PollFlags::IN) {
            take_turn(left, right, &mut buffer);
        }
        if from_right.contains(PollFlags::IN) {
            take_turn(right, left, &mut buffer);
        }
    }
}

fn take_turn(from: &TapQueue, to: &TapQueue, buffer: &mut [u8]) {
    for _ in 0..TURN {
        let Ok(length) = rustix::io::read(from.as_fd(), &mut *buffer) else { return };
        // What the other side does not take is lost, as on any wire.
        let _ = rustix::io::write(to.as_fd(), &buffer[..length]);
    }
}
