//! Namespaces joined by veth pairs, and devices carried between by the shortest loop.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod frames;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vswitch_ports::netlink::{InterfaceSettings, Netlink};
use vswitch_ports::netns::NetNs;
use vswitch_switch::{Device, Frame, Pool, Received};

/// Settings of an interface with these addresses.
pub(crate) fn settings(name: &str, addresses: &[&str]) -> InterfaceSettings {
    InterfaceSettings {
        name: name.to_owned(),
        mac: None,
        mtu: 1500,
        txqueuelen: None,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        default_gateways: Vec::new(),
        on_link: Vec::new(),
        ipv6: true,
        link_local: true,
        accept_ra: false,
        arp: true,
        loopback: true,
    }
}

/// A veth pair: `name` in this namespace, left down, and `eth0` in the other, with these addresses.
pub(crate) fn wire(here: &NetNs, name: &str, there: &NetNs, addresses: &[&str]) {
    here.within(|| Netlink::open().unwrap().create_veth(name, "eth0", Some(there.as_fd())).unwrap()).unwrap();
    there
        .within(|| Netlink::open().unwrap().configure_interface(&settings("eth0", addresses)).unwrap())
        .unwrap();
}

/// Sets an interface up without giving it an address of either family.
pub(crate) fn set_up_silent(here: &NetNs, name: &str) {
    here.within(|| {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.link_index(name).unwrap();
        netlink.set_up(index).unwrap();
    })
    .unwrap();
}

/// What a relay has carried.
#[derive(Default)]
pub(crate) struct Carried {
    pub(crate) frames: AtomicUsize,
    /// The longest frame.
    pub(crate) longest: AtomicUsize,
    /// Frames that did not leave.
    pub(crate) lost: AtomicUsize,
    end: AtomicBool,
}

/// Carries frames between two devices on a thread of its own, until dropped.
pub(crate) struct Relay {
    pub(crate) carried: Arc<Carried>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn start<L, R>(mut left: L, mut right: R) -> Self
    where
        L: Device + AsRawFd + Send + 'static,
        R: Device + AsRawFd + Send + 'static,
    {
        let carried = Arc::new(Carried::default());
        let counts = Arc::clone(&carried);
        let thread = std::thread::spawn(move || {
            let (mut pool, mut batch) = (Pool::new(256), Vec::new());
            while !counts.end.load(Ordering::Relaxed) {
                wait(&[left.as_raw_fd(), right.as_raw_fd()]);
                carry(&mut left, &mut right, &mut pool, &mut batch, &counts);
                carry(&mut right, &mut left, &mut pool, &mut batch, &counts);
            }
        });
        Self { carried, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.carried.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Waits until one of them has something, or a moment.
pub(crate) fn wait(descriptors: &[i32]) {
    let mut ready: Vec<_> = descriptors
        .iter()
        // SAFETY: the callers' devices live longer than this call.
        .map(|fd| PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(*fd) }, PollFlags::IN))
        .collect();
    let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let _ = poll(&mut ready, Some(&moment));
}

fn carry(
    from: &mut impl Device,
    to: &mut impl Device,
    pool: &mut Pool,
    batch: &mut Vec<Frame>,
    counts: &Carried,
) {
    loop {
        let received = from.receive(pool, batch).unwrap();
        for mut frame in batch.drain(..) {
            counts.frames.fetch_add(1, Ordering::Relaxed);
            counts.longest.fetch_max(frame.len(), Ordering::Relaxed);
            if to.transmit(&mut frame, &[]).is_err() {
                counts.lost.fetch_add(1, Ordering::Relaxed);
            }
            pool.put(frame);
        }
        if received == Received::Drained {
            return;
        }
    }
}

/// Sends this many bytes over TCP from one namespace to an address in another, and checks that they arrive.
pub(crate) fn bulk(from: &NetNs, to: &NetNs, address: IpAddr, bytes: usize) {
    let listener = to.within(|| TcpListener::bind(SocketAddr::new(address, 0))).unwrap().unwrap();
    let target = listener.local_addr().unwrap();
    let mut sender =
        from.within(|| TcpStream::connect_timeout(&target, Duration::from_secs(5))).unwrap().unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    let writer = std::thread::spawn(move || {
        let block: Vec<u8> = (0..=255).cycle().take(1 << 18).collect();
        let mut left = bytes;
        while left > 0 {
            let part = left.min(block.len());
            sender.write_all(&block[..part]).unwrap();
            left -= part;
        }
    });
    let mut block = vec![0; 1 << 18];
    let mut arrived = 0;
    loop {
        let count = receiver.read(&mut block).unwrap();
        if count == 0 {
            break;
        }
        for (offset, byte) in block[..count].iter().enumerate().step_by(997) {
            assert_eq!(usize::from(*byte), (arrived + offset) & 255, "byte {}", arrived + offset);
        }
        arrived += count;
    }
    assert_eq!(arrived, bytes);
    writer.join().unwrap();
}

/// Keeps this thread, and those it makes, on the CPU it is on. Frames sent from one CPU over a veth pair arrive and are
/// answered in order, each completely before the thread goes on or the next one's turn comes; so what comes first
/// tells whether anything came before it.
pub(crate) fn stay_on_this_cpu() {
    use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one).unwrap();
}

/// The frames that arrive until they are enough, which must be soon.
pub(crate) fn hear(
    socket: &mut (impl Device + AsRawFd),
    enough: impl Fn(&[Vec<u8>]) -> bool,
) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    for _ in 0..250 {
        heard.extend(drain(socket));
        if enough(&heard) {
            return heard;
        }
        wait(&[socket.as_raw_fd()]);
    }
    panic!("not enough: {heard:?}");
}

/// Every frame that has arrived.
pub(crate) fn drain(socket: &mut impl Device) -> Vec<Vec<u8>> {
    let (mut pool, mut batch, mut frames) = (Pool::new(64), Vec::new(), Vec::new());
    loop {
        let received = socket.receive(&mut pool, &mut batch).unwrap();
        for frame in batch.drain(..) {
            frames.push(frame.bytes().to_vec());
            pool.put(frame);
        }
        if received == Received::Drained {
            return frames;
        }
    }
}

/// Sends these bytes as they are.
pub(crate) fn send(socket: &mut impl Device, bytes: &[u8]) {
    let mut frame = Pool::new(1).take().unwrap();
    frame.copy_from(bytes);
    socket.transmit(&mut frame, &[]).unwrap();
}

/// The MAC address of an interface.
pub(crate) fn mac_of(netns: &NetNs, name: &str) -> frames::Mac {
    netns.within(|| Netlink::open().unwrap().link(name).unwrap().mac.unwrap()).unwrap()
}
