//! Traffic of our own, with ordinary blocking sockets, so that a measurement needs no tool installed.
//!
//! A socket belongs to the namespace it was made in, whatever thread uses it afterwards. So only the functions that
//! make sockets ([`listen`], [`connect`], [`bind`]) are called inside a side's namespace; the threads that move the
//! traffic run anywhere.
//!
//! Every measurement has the same course. Threads send and receive without pause and count what *arrives*; the
//! calling thread sleeps through the warm-up, reads the counts, sleeps through the measured time and reads them
//! again. Counts, clock and the switch's CPU time are read together at both edges of the [`Window`], so slow starts,
//! connection set-up and tear-down are outside it and no clock is read per packet.
//!
//! No thread outlives its measurement: the traffic threads look at a stop flag at least every [`PATIENCE`], and the
//! flag is raised when the measurement returns, by whatever path. A backend that forwards nothing is an error after
//! a bounded time, never a hang.

pub(crate) mod round_trip;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::error::BenchError;

/// How long a traffic thread may sit in one system call before it looks at the stop flag.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a connection may take: two lost SYNs, and then some.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets the options of a TCP socket that the standard library has no call for, such as its congestion control.
pub(crate) type Tune<'a> = &'a (dyn Fn(&TcpStream) -> io::Result<()> + Sync);

/// Reads the CPU time the switch has spent so far; `None` where that is not known.
pub(crate) type CpuClock<'a> = &'a dyn Fn() -> Option<Duration>;

/// When traffic counts: after `warm_up`, for `measured`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Traffic before this has passed is not counted: congestion control, learning and adaptive polling settle.
    pub(crate) warm_up: Duration,
    /// How long traffic is counted.
    pub(crate) measured: Duration,
}

impl Window {
    /// A window of `measured`, after the warm-up that BBR needs to leave its start-up phase on a local path.
    pub(crate) fn measuring(measured: Duration) -> Self {
        Self { warm_up: Duration::from_millis(500), measured }
    }

    /// Sleeps through the window and answers what `counts` read at its edges.
    fn observe<C>(&self, counts: impl Fn() -> C, cpu: CpuClock<'_>) -> Observed<C> {
        thread::sleep(self.warm_up);
        let cpu_at_opening = cpu();
        let (opening, opened) = (counts(), Instant::now());
        thread::sleep(self.measured);
        let (closing, elapsed) = (counts(), opened.elapsed());
        let spent = cpu().zip(cpu_at_opening).map(|(now, then)| now.saturating_sub(then));
        Observed { opening, closing, elapsed, cpu: spent }
    }
}

/// What was read at the edges of a window.
struct Observed<C> {
    opening: C,
    closing: C,
    elapsed: Duration,
    cpu: Option<Duration>,
}

/// A listening socket in the calling thread's namespace; on a free port where the port is 0.
///
/// # Errors
/// [`BenchError::Bind`].
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, BenchError> {
    TcpListener::bind(address).map_err(|cause| BenchError::Bind { address: address.ip(), cause })
}

/// A datagram socket on a free port of `address`, in the calling thread's namespace.
///
/// # Errors
/// [`BenchError::Bind`].
pub(crate) fn bind(address: IpAddr) -> Result<UdpSocket, BenchError> {
    UdpSocket::bind((address, 0)).map_err(|cause| BenchError::Bind { address, cause })
}

/// `streams` connections to `target`, from the calling thread's namespace.
///
/// # Errors
/// [`BenchError::Connect`] when one is not established in time, [`BenchError::Tune`].
pub(crate) fn connect(
    target: SocketAddr,
    streams: usize,
    tune: Tune<'_>,
) -> Result<Vec<TcpStream>, BenchError> {
    let connect_one = |_| {
        let stream = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT)
            .map_err(|cause| BenchError::Connect { target, cause })?;
        tune(&stream).map_err(|cause| BenchError::Tune { cause })?;
        Ok(stream)
    };
    (0..streams).map(connect_one).collect()
}

/// The other ends of `streams` connections that [`connect`] has established; callable anywhere.
///
/// # Errors
/// [`BenchError::Accept`] when one does not turn up in time, [`BenchError::Tune`].
pub(crate) fn accept(
    listener: &TcpListener,
    streams: usize,
    tune: Tune<'_>,
) -> Result<Vec<TcpStream>, BenchError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let accept_one = |_| {
        let stream = accept_before(listener, deadline).map_err(|cause| BenchError::Accept { cause })?;
        tune(&stream).map_err(|cause| BenchError::Tune { cause })?;
        Ok(stream)
    };
    (0..streams).map(accept_one).collect()
}

/// The standard library has no accept with a timeout, so this asks every millisecond.
fn accept_before(listener: &TcpListener, deadline: Instant) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if is_timeout(&error) && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a socket's timeout ran out, or a signal came: nothing wrong, try again.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Starts a traffic thread.
fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> io::Result<()> + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, io::Result<()>>, BenchError> {
    let builder = thread::Builder::new().name("bench-traffic".into());
    builder.spawn_scoped(scope, work).map_err(|cause| BenchError::Thread { cause })
}

/// Waits for a traffic thread and passes on why it ended early, if it did.
fn join(thread: ScopedJoinHandle<'_, io::Result<()>>) -> Result<(), BenchError> {
    let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    ended.map_err(|cause| BenchError::BrokeOff { cause })
}

/// Tells the traffic threads of one measurement to end.
#[derive(Default)]
struct Stop(AtomicBool);

impl Stop {
    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// An error met once the end was announced is the other side closing, and no news.
    fn excuses(&self, error: io::Error) -> io::Result<()> {
        if self.is_raised() { Ok(()) } else { Err(error) }
    }

    /// Raises the flag when the answer is dropped, so that an early return also ends the threads.
    fn raised_on_drop(&self) -> RaiseOnDrop<'_> {
        RaiseOnDrop(self)
    }
}

struct RaiseOnDrop<'a>(&'a Stop);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

/// A count with one writer. It has cache lines of its own (two, for the adjacent-line prefetcher): threads that
/// count must not slow each other.
#[derive(Default)]
#[repr(align(128))]
struct Tally(AtomicU64);

impl Tally {
    /// Adds `more`. A load and a store, not a locked addition: there is only one writer.
    fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::net::Ipv4Addr;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_refused_connection_is_an_error_that_names_the_target() {
        let listener = listen((LOCALHOST, 0).into()).unwrap();
        let target = listener.local_addr().unwrap();
        drop(listener);
        let error = connect(target, 1, &|_| Ok(())).unwrap_err();
        assert!(error.to_string().contains(&target.to_string()), "{error}");
    }

    #[test]
    fn an_address_that_is_not_ours_cannot_be_bound() {
        let documentation = IpAddr::from([192, 0, 2, 1]);
        assert!(
            matches!(listen((documentation, 0).into()), Err(BenchError::Bind { address, .. }) if address == documentation)
        );
        assert!(
            matches!(bind(documentation), Err(BenchError::Bind { address, .. }) if address == documentation)
        );
    }

    #[test]
    fn a_refused_socket_option_is_an_error() {
        let listener = listen((LOCALHOST, 0).into()).unwrap();
        let refuse = |_: &TcpStream| Err(io::Error::other("no such algorithm"));
        let outcome = connect(listener.local_addr().unwrap(), 1, &refuse);
        assert!(matches!(outcome, Err(BenchError::Tune { .. })));
    }

    #[test]
    fn both_ends_of_every_connection_are_tuned() {
        let tuned = AtomicU64::new(0);
        let tune = |_: &TcpStream| {
            tuned.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let listener = listen((LOCALHOST, 0).into()).unwrap();
        let near = connect(listener.local_addr().unwrap(), 3, &tune).unwrap();
        let far = accept(&listener, 3, &tune).unwrap();
        assert_eq!((near.len(), far.len()), (3, 3));
        assert_eq!(tuned.into_inner(), 6);
    }

    #[test]
    fn the_window_reads_counts_and_cpu_time_at_both_edges() {
        let readings = Cell::new(0u64);
        let next = || readings.replace(readings.get() + 1);
        let cpu = Cell::new(10);
        let clock = || Some(Duration::from_millis(cpu.replace(cpu.get() + 25)));
        let window = Window { warm_up: Duration::ZERO, measured: Duration::from_millis(5) };
        let observed = window.observe(next, &clock);
        assert_eq!((observed.opening, observed.closing), (0, 1));
        assert_eq!(observed.cpu, Some(Duration::from_millis(25)));
        assert!(observed.elapsed >= window.measured);
    }

    #[test]
    fn cpu_time_that_becomes_unknown_is_unknown() {
        let known = Cell::new(true);
        let clock = || known.replace(false).then_some(Duration::ZERO);
        let window = Window { warm_up: Duration::ZERO, measured: Duration::ZERO };
        assert_eq!(window.observe(|| (), &clock).cpu, None);
    }
}
