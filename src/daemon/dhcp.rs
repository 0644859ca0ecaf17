//! The uplink's DHCP client at work: its socket, its clock, and what it has to tell.
//!
//! # Theory of operation
//! The client itself is [`DhcpClient`], which knows no socket. A thread takes frames to it and from it and wakes it
//! when something is due. What the daemon has to know is one value, the lease that holds, so that is what it is told:
//! the latest, however often it changed meanwhile. Nothing queues up, and nothing a former client said can be taken
//! for a word of this one.
//!
//! The link cannot keep the thread busy: the kernel lets through DHCP and, while an address is looked for, ARP about
//! it ([`DhcpSocket`]); of those, [`BURST`] frames are taken and then there is a [`PAUSE`]. What comes faster is
//! dropped by the kernel, and the client asks again.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::watch;
use vswitch_ports::dhcp_socket::DhcpSocket;
use vswitch_services::{DhcpClient, DhcpEvent, Lease};
use vswitch_switch::Time;
use vswitch_wire::MacAddr;
use vswitch_wire::checksum::complete_partial;

use crate::host;

/// The longest frame that is read: the client asks servers for 1500 bytes at most.
const LONGEST: usize = 2048;

/// Frames taken without a pause.
const BURST: usize = 32;

/// The pause after them, where there are more.
const PAUSE: Duration = Duration::from_millis(10);

/// What wakes the thread: a frame, or the end.
const FRAME: Token = Token(0);
const END: Token = Token(1);

/// A DHCP client on an interface. Ends, without a word to the server, when dropped.
#[derive(Debug)]
pub(super) struct Dhcp {
    latest: watch::Receiver<Option<Lease>>,
    /// What the times of a lease count from.
    epoch: Instant,
    end: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Dhcp {
    /// Begins to ask for an address on `interface`, whose MAC address is `mac`. Servers are told `hostname`.
    ///
    /// # Errors
    /// When the interface cannot be listened on, or there is no thread to be had.
    pub(super) fn start(interface: &str, mac: MacAddr, hostname: String) -> Result<Self, StartError> {
        let socket = DhcpSocket::open(interface)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), FRAME, Interest::READABLE)?;
        let end = Waker::new(poll.registry(), END)?;
        let client = DhcpClient::new(mac, Some(hostname), host::random_seed());
        let (lease, latest) = watch::channel(None);
        let epoch = Instant::now();
        let driver = Driver { client, socket, poll, epoch, heard: None, lease };
        let thread = thread::Builder::new().name("dhcp".to_owned()).spawn(|| driver.run())?;
        Ok(Self { latest, epoch, end, thread: Some(thread) })
    }

    /// Waits until another lease holds, or none, or the same one for longer. May be dropped and called again.
    pub(super) async fn change(&mut self) {
        if self.latest.changed().await.is_err() {
            // The thread died, of a defect that it has printed; there is nothing more to come.
            pending::<()>().await;
        }
    }

    /// The lease that holds now.
    pub(super) fn lease(&mut self) -> Option<Lease> {
        self.latest.borrow_and_update().clone()
    }

    /// How much longer a lease holds; none: for ever.
    pub(super) fn time_left(&self, lease: &Lease) -> Option<Duration> {
        let now = since(self.epoch).nanos();
        lease.expires.map(|end| Duration::from_nanos(end.nanos().saturating_sub(now)))
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        // Were it not woken, it would have to be waited for until the lease is renewed.
        if self.end.wake().is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

/// Why a client did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Open(#[from] vswitch_ports::Error),
    #[error(transparent)]
    Wait(#[from] io::Error),
}

/// What the thread holds.
struct Driver {
    client: DhcpClient,
    socket: DhcpSocket,
    poll: Poll,
    epoch: Instant,
    /// The address that the socket hears ARP about.
    heard: Option<Ipv4Addr>,
    lease: watch::Sender<Option<Lease>>,
}

impl Driver {
    fn run(mut self) {
        let mut events = Events::with_capacity(2);
        let mut more = false;
        loop {
            self.attend();
            let patience = if more { Some(Duration::ZERO) } else { self.until_due() };
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!("DHCP: waiting for frames: {error}");
                self.lease.send_replace(None);
                return;
            }
            if events.iter().any(|event| event.token() == END) {
                return;
            }
            more = self.receive();
            if more {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Does what is due.
    fn attend(&mut self) {
        let probed = self.client.probed();
        // Before the probes go out, so that no answer is missed.
        if self.heard != probed {
            match self.socket.hear_arp(probed) {
                Ok(()) => self.heard = probed,
                Err(error) => tracing::warn!("DHCP: cannot look for {probed:?} on the link: {error}"),
            }
        }
        let send = |frame: &[u8]| {
            if let Err(error) = self.socket.send(frame) {
                // It is sent again, as if it had been lost on the way.
                tracing::debug!("DHCP: sending: {error}");
            }
        };
        while let Some(event) = self.client.poll(since(self.epoch), send) {
            self.lease.send_replace(match event {
                DhcpEvent::Bound(lease) => Some(lease),
                DhcpEvent::Lost => None,
            });
        }
    }

    /// Takes what is waiting to the client, within bounds. Whether there may be more.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; LONGEST];
        for _ in 0..BURST {
            let arrival = match self.socket.receive(&mut buffer) {
                Ok(arrival) => arrival,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!("DHCP: receiving: {error}");
                    continue;
                }
            };
            let (frame, offload) = (buffer.get_mut(..arrival.length).unwrap_or_default(), arrival.offload);
            // A server on this machine leaves the checksum to the device, which a veth has not.
            let whole = !offload.needs_checksum()
                || complete_partial(frame, offload.checksum_start, offload.checksum_offset).is_ok();
            if whole {
                self.client.receive(frame, since(self.epoch));
            }
        }
        true
    }

    /// How long nothing is due; none: for ever.
    fn until_due(&self) -> Option<Duration> {
        let due = self.client.next_poll()?;
        Some(Duration::from_nanos(due.nanos().saturating_sub(since(self.epoch).nanos())))
    }
}

fn since(epoch: Instant) -> Time {
    Time::from_nanos(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
