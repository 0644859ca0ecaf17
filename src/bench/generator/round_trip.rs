//! One byte there and back over TCP, again and again: the delay a request meets on an idle path.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, Stop, Window, is_timeout, join, spawn};
use crate::bench::error::BenchError;
use crate::bench::statistics::percentile;

/// How long one answer may take before the path counts as dead: several retransmissions.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The round trips that began in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RoundTripReading {
    /// How many there were; never zero.
    pub(crate) count: usize,
    /// Half took no longer than this, in nanoseconds.
    pub(crate) p50: u32,
    /// 99 of 100 took no longer than this, in nanoseconds.
    pub(crate) p99: u32,
}

/// Sends a byte from `client` to `server` and back for as long as the window lasts, and times every one.
///
/// # Errors
/// [`BenchError::BrokeOff`] when the connection fails or an answer does not come, [`BenchError::NothingArrived`] when
/// no round trip began in the window, [`BenchError::Thread`], [`BenchError::Tune`].
pub(crate) fn ping_pong(
    client: TcpStream,
    server: TcpStream,
    window: Window,
) -> Result<RoundTripReading, BenchError> {
    for stream in [&client, &server] {
        // Each byte must leave at once, not wait for an acknowledgement (RFC 9293 §3.7.4, Nagle).
        stream.set_nodelay(true).map_err(|cause| BenchError::Tune { cause })?;
    }
    let stop = Stop::default();
    let mut latencies = thread::scope(|scope| {
        let stopping = stop.raised_on_drop();
        let echoing = spawn(scope, || echo(server, &stop))?;
        let pinged = ping(client, window).map_err(|cause| BenchError::BrokeOff { cause });
        drop(stopping);
        join(echoing)?;
        pinged
    })?;
    latencies.sort_unstable();
    let (Some(p50), Some(p99)) = (percentile(&latencies, 50), percentile(&latencies, 99)) else {
        return Err(BenchError::NothingArrived { cause: None });
    };
    Ok(RoundTripReading { count: latencies.len(), p50, p99 })
}

/// The time of every round trip that began in the window, in nanoseconds; one beyond 4.2 s counts as that.
fn ping(mut stream: TcpStream, window: Window) -> io::Result<Vec<u32>> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let opens = Instant::now() + window.warm_up;
    let closes = opens + window.measured;
    let mut latencies = Vec::with_capacity(1 << 18);
    let mut byte = [0];
    loop {
        let sent = Instant::now();
        if sent >= closes {
            return Ok(latencies);
        }
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte).map_err(no_answer)?;
        if sent >= opens {
            latencies.push(u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }
}

fn no_answer(error: io::Error) -> io::Error {
    if is_timeout(&error) {
        let text = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        return io::Error::new(io::ErrorKind::TimedOut, text);
    }
    error
}

/// Sends every byte back until told to stop or the other side closes, which is how a round of pings ends.
fn echo(mut stream: TcpStream, stop: &Stop) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0];
    while !stop.is_raised() {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {
                if let Err(error) = stream.write_all(&byte) {
                    return stop.excuses(error);
                }
            }
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

    fn connection() -> (TcpStream, TcpStream) {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let client = connect(listener.local_addr().unwrap(), 1, &|_| Ok(())).unwrap().remove(0);
        (client, accept(&listener, 1, &|_| Ok(())).unwrap().remove(0))
    }

    #[test]
    fn round_trips_over_loopback_are_timed() {
        let (client, server) = connection();
        let window = Window { warm_up: Duration::from_millis(10), measured: Duration::from_millis(50) };
        let reading = ping_pong(client, server, window).unwrap();
        assert!(reading.count > 0);
        assert!(reading.p50 > 0 && reading.p50 <= reading.p99);
        // They follow one another, and all but the last ended in the window: half of them at the median fit in it.
        let half = u32::try_from(reading.count / 2).unwrap();
        assert!(Duration::from_nanos(reading.p50.into()) * half <= window.measured, "{reading:?}");
    }

    #[test]
    fn a_window_of_no_time_has_no_round_trips() {
        let (client, server) = connection();
        let window = Window { warm_up: Duration::from_millis(5), measured: Duration::ZERO };
        assert!(matches!(ping_pong(client, server, window), Err(BenchError::NothingArrived { .. })));
    }

    #[test]
    fn a_connection_that_closes_is_an_error() {
        let (client, server) = connection();
        server.shutdown(Shutdown::Both).unwrap();
        let window = Window { warm_up: Duration::ZERO, measured: Duration::from_secs(1) };
        assert!(matches!(ping_pong(client, server, window), Err(BenchError::BrokeOff { .. })));
    }
}
