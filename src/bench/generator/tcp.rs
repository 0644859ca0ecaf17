//! Bulk TCP: each stream a sender and a receiver thread, counted where it arrives.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{CpuClock, PATIENCE, Stop, Tally, Window, is_timeout, join, spawn};
use crate::bench::error::BenchError;

/// Bytes offered per write: enough for two super-frames, small enough to stay in the second-level cache.
const WRITE_BYTES: usize = 128 * 1024;

/// Bytes accepted per read.
const READ_BYTES: usize = 256 * 1024;

/// What arrived in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TcpReading {
    /// Payload bytes the receivers read, all streams together; never zero.
    pub(crate) bytes: u64,
    /// The time in which they did.
    pub(crate) elapsed: Duration,
    /// CPU time the switch spent on it, where known.
    pub(crate) cpu: Option<Duration>,
}

impl TcpReading {
    /// Payload bits received per second.
    pub(crate) fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64()
    }

    /// CPU seconds of the switch per 10⁹ payload bytes.
    pub(crate) fn cpu_seconds_per_gigabyte(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() / (self.bytes as f64 / 1e9))
    }
}

/// Sends through every one of `senders` as fast as it will go and counts what `receivers`, their other ends, read.
///
/// # Errors
/// [`BenchError::BrokeOff`] when a stream ends or fails before the window does, [`BenchError::NothingArrived`],
/// [`BenchError::Thread`].
pub(crate) fn transfer(
    senders: Vec<TcpStream>,
    receivers: Vec<TcpStream>,
    window: Window,
    cpu: CpuClock<'_>,
) -> Result<TcpReading, BenchError> {
    let stop = Stop::default();
    let arrived: Vec<Tally> = receivers.iter().map(|_| Tally::default()).collect();
    let observed = thread::scope(|scope| {
        let stopping = stop.raised_on_drop();
        let mut threads = Vec::new();
        for sender in senders {
            threads.push(spawn(scope, || send(sender, &stop))?);
        }
        for (receiver, arrived) in receivers.into_iter().zip(&arrived) {
            threads.push(spawn(scope, || receive(receiver, arrived, &stop))?);
        }
        let observed = window.observe(|| arrived.iter().map(Tally::count).sum::<u64>(), cpu);
        drop(stopping);
        threads.into_iter().try_for_each(join)?;
        Ok(observed)
    })?;
    match observed.closing - observed.opening {
        0 => Err(BenchError::NothingArrived { cause: None }),
        bytes => Ok(TcpReading { bytes, elapsed: observed.elapsed, cpu: observed.cpu }),
    }
}

fn send(mut stream: TcpStream, stop: &Stop) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    // Not zeroes: untouched zeroed memory is one physical page, and copying from it is faster than copying real data.
    let block = vec![0xA5; WRITE_BYTES];
    while !stop.is_raised() {
        match stream.write(&block) {
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(error) => return stop.excuses(error),
        }
    }
    Ok(())
}

/// Leaves unread what is under way when the stop comes: closing then resets the stream, so that the sender's backlog
/// does not spill into the next measurement.
fn receive(mut stream: TcpStream, arrived: &Tally, stop: &Stop) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; READ_BYTES];
    while !stop.is_raised() {
        match stream.read(&mut buffer) {
            Ok(0) => return stop.excuses(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => arrived.add(bytes as u64),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return stop.excuses(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::generator::{accept, connect, listen};
    use std::net::{Ipv4Addr, Shutdown};

    const SHORT: Window = Window { warm_up: Duration::from_millis(20), measured: Duration::from_millis(80) };

    fn connections(streams: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let near = connect(listener.local_addr().unwrap(), streams, &|_| Ok(())).unwrap();
        (near, accept(&listener, streams, &|_| Ok(())).unwrap())
    }

    #[test]
    fn every_number_of_streams_arrives() {
        for streams in [1, 4] {
            let (senders, receivers) = connections(streams);
            let reading = transfer(senders, receivers, SHORT, &|| Some(Duration::ZERO)).unwrap();
            assert!(reading.bytes > 0);
            assert!(reading.elapsed >= SHORT.measured);
            assert_eq!(reading.cpu, Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_an_error() {
        let (senders, receivers) = connections(1);
        receivers[0].shutdown(Shutdown::Both).unwrap();
        let outcome = transfer(senders, receivers, SHORT, &|| None);
        assert!(matches!(outcome, Err(BenchError::BrokeOff { .. })), "{outcome:?}");
    }

    #[test]
    fn a_window_without_arrivals_is_an_error_and_every_thread_ends() {
        // Nobody reads what is sent, so the sender fills its buffers and blocks; nobody sends what is read.
        let (senders, _unread) = connections(1);
        let (_silent, receivers) = connections(1);
        let outcome = transfer(senders, receivers, SHORT, &|| None);
        assert!(matches!(outcome, Err(BenchError::NothingArrived { .. })), "{outcome:?}");
    }

    #[test]
    fn rates_and_costs_are_per_second_and_per_gigabyte() {
        let elapsed = Duration::from_secs(2);
        let reading = TcpReading { bytes: 4_000_000_000, elapsed, cpu: Some(Duration::from_secs(1)) };
        assert_eq!(reading.bits_per_second(), 16e9);
        assert_eq!(reading.cpu_seconds_per_gigabyte(), Some(0.25));
    }
}
