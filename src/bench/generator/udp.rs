//! Small datagrams from one sender, one system call each: what a packet costs when there is nothing to share it with.

use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use super::{CpuClock, PATIENCE, Stop, Tally, Window, is_timeout, spawn};
use crate::bench::error::BenchError;

/// Payload bytes of a datagram: a sequence number and [`MARK`].
pub(crate) const PAYLOAD_BYTES: usize = 16;

/// Tells our datagrams from strays.
const MARK: [u8; 8] = *b"vswbench";

/// What was sent and what arrived in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct UdpReading {
    /// Datagrams the sender's kernel took.
    pub(crate) sent: u64,
    /// Datagrams the receiver read; never zero.
    pub(crate) received: u64,
    /// Of those, how many came after a later one, or twice. A switch must keep a flow in order: zero.
    pub(crate) reordered: u64,
    /// The time in which they did.
    pub(crate) elapsed: Duration,
    /// CPU time the switch spent on it, where known.
    pub(crate) cpu: Option<Duration>,
}

impl UdpReading {
    /// Datagrams sent per second.
    pub(crate) fn sent_per_second(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64()
    }

    /// Datagrams received per second.
    pub(crate) fn received_per_second(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    /// The share of the datagrams sent that did not arrive, 0 to 1. Datagrams queued when the window opens arrive in
    /// it without being sent in it, which can outweigh a small loss: that counts as none.
    pub(crate) fn loss(&self) -> f64 {
        self.sent.saturating_sub(self.received) as f64 / self.sent.max(1) as f64
    }

    /// CPU seconds of the switch per 10⁶ datagrams received.
    pub(crate) fn cpu_seconds_per_million(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() / (self.received as f64 / 1e6))
    }
}

/// Sends from `sender`, connected to `receiver`, as fast as it will go, and counts what `receiver` reads.
///
/// # Errors
/// [`BenchError::NothingArrived`], with the sender's last refusal; [`BenchError::BrokeOff`] when the receiver fails;
/// [`BenchError::Thread`].
pub(crate) fn flood(
    sender: &UdpSocket,
    receiver: &UdpSocket,
    window: Window,
    cpu: CpuClock<'_>,
) -> Result<UdpReading, BenchError> {
    let stop = Stop::default();
    let sent = Tally::default();
    let arrivals = Arrivals::default();
    let (observed, refusal) = thread::scope(|scope| {
        let stopping = stop.raised_on_drop();
        let receiving = spawn(scope, || receive(receiver, &arrivals, &stop))?;
        let sending = spawn(scope, || send(sender, &sent, &stop))?;
        let counts = || (sent.count(), arrivals.received.count(), arrivals.reordered.count());
        let observed = window.observe(counts, cpu);
        drop(stopping);
        super::join(receiving)?;
        // A refused datagram is one that was not sent: it matters only when nothing arrives.
        let refusal = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).err();
        Ok((observed, refusal))
    })?;
    let (sent, received, reordered) = observed.closing;
    let (sent_before, received_before, reordered_before) = observed.opening;
    if received == received_before {
        return Err(BenchError::NothingArrived { cause: refusal });
    }
    Ok(UdpReading {
        sent: sent - sent_before,
        received: received - received_before,
        reordered: reordered - reordered_before,
        elapsed: observed.elapsed,
        cpu: observed.cpu,
    })
}

/// Sends until told to stop; answers the last refusal as an error. A refusal (no buffer space, an ICMP error from
/// before the path was up) does not end the flood.
fn send(socket: &UdpSocket, sent: &Tally, stop: &Stop) -> io::Result<()> {
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut refusal = Ok(());
    let mut sequence: u64 = 0;
    while !stop.is_raised() {
        match socket.send(&datagram(sequence)) {
            Ok(_) => {
                sent.add(1);
                sequence += 1;
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => refusal = Err(error),
        }
    }
    refusal
}

/// What the receiver counts, and the receiver alone.
#[derive(Default)]
struct Arrivals {
    received: Tally,
    reordered: Tally,
}

fn receive(socket: &UdpSocket, arrivals: &Arrivals, stop: &Stop) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    // One byte more than is due, so that a longer datagram shows.
    let mut buffer = [0; PAYLOAD_BYTES + 1];
    let mut expected: u64 = 0;
    while !stop.is_raised() {
        match socket.recv(&mut buffer) {
            Ok(bytes) => {
                let Some(sequence) = sequence(&buffer[..bytes]) else { continue };
                arrivals.received.add(1);
                if sequence < expected {
                    arrivals.reordered.add(1);
                } else {
                    expected = sequence.saturating_add(1);
                }
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => return stop.excuses(error),
        }
    }
    Ok(())
}

fn datagram(sequence: u64) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&sequence.to_be_bytes());
    payload[8..].copy_from_slice(&MARK);
    payload
}

/// The sequence number of one of our datagrams; `None` for anything else.
fn sequence(payload: &[u8]) -> Option<u64> {
    let (sequence, mark) = payload.split_first_chunk::<8>()?;
    (mark == MARK).then(|| u64::from_be_bytes(*sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::generator::bind;
    use std::net::{IpAddr, Ipv4Addr};

    const SHORT: Window = Window { warm_up: Duration::from_millis(20), measured: Duration::from_millis(80) };

    fn sockets() -> (UdpSocket, UdpSocket) {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (sender, receiver) = (bind(localhost).unwrap(), bind(localhost).unwrap());
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    #[test]
    fn a_flood_over_loopback_arrives_in_order() {
        let (sender, receiver) = sockets();
        let reading = flood(&sender, &receiver, SHORT, &|| None).unwrap();
        assert!(reading.sent > 0 && reading.received > 0);
        assert_eq!(reading.reordered, 0);
        assert!((0.0..=1.0).contains(&reading.loss()));
    }

    #[test]
    fn a_flood_nobody_hears_is_an_error_with_the_refusal() {
        let (sender, receiver) = sockets();
        let (_, deaf) = sockets();
        drop(receiver);
        let outcome = flood(&sender, &deaf, SHORT, &|| None);
        assert!(matches!(outcome, Err(BenchError::NothingArrived { cause: Some(_) })), "{outcome:?}");
    }

    #[test]
    fn late_and_repeated_datagrams_are_counted_and_strays_are_not() {
        let (sender, receiver) = sockets();
        let (arrivals, stop) = (Arrivals::default(), Stop::default());
        for sequence in [0, 1, 3, 2, 3, 4] {
            sender.send(&datagram(sequence)).unwrap();
        }
        sender.send(b"stray").unwrap();
        sender.send(&[&datagram(5)[..], b"!"].concat()).unwrap();
        // The last of ours ends the wait below: the socket keeps its datagrams in order.
        sender.send(&datagram(6)).unwrap();
        thread::scope(|scope| {
            let stopping = stop.raised_on_drop();
            let receiving = scope.spawn(|| receive(&receiver, &arrivals, &stop));
            while arrivals.received.count() < 7 && !receiving.is_finished() {
                thread::yield_now();
            }
            drop(stopping);
            receiving.join().unwrap().unwrap();
        });
        assert_eq!((arrivals.received.count(), arrivals.reordered.count()), (7, 2));
    }

    #[test]
    fn rates_costs_and_loss() {
        let elapsed = Duration::from_secs(2);
        let cpu = Some(Duration::from_secs(3));
        let reading = UdpReading { sent: 4_000_000, received: 1_000_000, reordered: 0, elapsed, cpu };
        assert_eq!(reading.sent_per_second(), 2e6);
        assert_eq!(reading.received_per_second(), 5e5);
        assert_eq!(reading.loss(), 0.75);
        assert_eq!(reading.cpu_seconds_per_million(), Some(3.0));
        assert_eq!(UdpReading { received: 4_000_001, ..reading }.loss(), 0.0);
    }
}
