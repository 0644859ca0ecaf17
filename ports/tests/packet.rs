//! Packet sockets between namespaces, with ordinary sockets as stations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod privilege;
mod wires;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use privilege::may_make_namespaces;
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;
use vswitch_ports::packet::{self, Options, PacketSocket, Side};
use vswitch_switch::{Device, DeviceError, OffloadHeader, Pool, TransmitError};
use wires::{Relay, bulk, drain, set_up_silent, wait, wire};

const ALONE: Options = Options { side: Side::Exclusive, vlan: None };

/// Two stations with a namespace between them, in which an interface `left` and an interface `right` are up.
struct Between {
    left: NetNs,
    middle: NetNs,
    right: NetNs,
}

impl Between {
    fn new() -> Self {
        let between = Self {
            left: NetNs::create().unwrap(),
            middle: NetNs::create().unwrap(),
            right: NetNs::create().unwrap(),
        };
        wire(&between.middle, "left", &between.left, &["10.0.0.1/24", "fd00::1/64"]);
        wire(&between.middle, "right", &between.right, &["10.0.0.2/24", "fd00::2/64"]);
        set_up_silent(&between.middle, "left");
        set_up_silent(&between.middle, "right");
        between
    }

    fn open(&self, interface: &str, options: Options) -> PacketSocket {
        self.open_queues(interface, 1, options).pop().unwrap()
    }

    fn open_queues(&self, interface: &str, queues: usize, options: Options) -> Vec<PacketSocket> {
        self.middle.within(|| packet::open(interface, queues, options)).unwrap().unwrap()
    }
}

#[test]
fn bulk_travels_in_super_frames() {
    if !may_make_namespaces("bulk_travels_in_super_frames") {
        return;
    }
    let net = Between::new();
    let relay = Relay::start(net.open("left", ALONE), net.open("right", ALONE));
    for address in ["10.0.0.2", "fd00::2"] {
        relay.carried.longest.store(0, Ordering::Relaxed);
        bulk(&net.left, &net.right, address.parse().unwrap(), 40 << 20);
        assert!(relay.carried.longest.load(Ordering::Relaxed) > 9000, "super-frames stay whole");
    }
    assert_eq!(relay.carried.lost.load(Ordering::Relaxed), 0);
}

#[test]
fn a_socket_for_a_vlan_takes_the_tag_off_and_puts_it_on() {
    if !may_make_namespaces("a_socket_for_a_vlan_takes_the_tag_off_and_puts_it_on") {
        return;
    }
    // left - [untagged | VLAN 10 on the cable] = [VLAN 10 | untagged] - right
    let net = Between::new();
    let cable = NetNs::create().unwrap();
    wire(&net.middle, "near", &cable, &[]);
    net.middle.within(|| Netlink::open().unwrap().create_veth("a", "b", None).unwrap()).unwrap();
    set_up_silent(&net.middle, "a");
    set_up_silent(&net.middle, "b");
    let tagged = Options { side: Side::Wire, vlan: Some(10) };
    let mut other_vlan = net.open("b", Options { side: Side::Wire, vlan: Some(11) });
    let mut untagged = net.open("b", Options { side: Side::Wire, vlan: None });
    let mut everything = net.open("b", Options { side: Side::Pair, vlan: None });
    let first = Relay::start(net.open("left", ALONE), net.open("a", tagged));
    let second = Relay::start(net.open("b", tagged), net.open("right", ALONE));
    for address in ["10.0.0.2", "fd00::2"] {
        first.carried.longest.store(0, Ordering::Relaxed);
        bulk(&net.left, &net.right, address.parse().unwrap(), 4 << 20);
        assert!(first.carried.longest.load(Ordering::Relaxed) > 9000);
    }
    assert_eq!(
        (first.carried.lost.load(Ordering::Relaxed), second.carried.lost.load(Ordering::Relaxed)),
        (0, 0)
    );
    let mut pool = Pool::new(64);
    let mut batch = Vec::new();
    for other in [&mut other_vlan, &mut untagged] {
        other.receive(&mut pool, &mut batch).unwrap();
        assert!(batch.is_empty(), "{batch:?}");
    }
    everything.receive(&mut pool, &mut batch).unwrap();
    assert!(!batch.is_empty());
    for frame in &batch {
        assert_eq!(frame.bytes()[12..16], [0x81, 0, 0, 10], "the tag is where it was sent");
    }
    let transport =
        |frame: &&vswitch_switch::Frame| frame.bytes()[16..18] == [8, 0] && frame.bytes()[27] == 6;
    let segment = batch.iter().find(transport).expect("a TCP segment");
    assert_eq!(segment.offload.checksum_start, 14 + 4 + 20);
}

#[test]
fn several_queues_share_the_flows() {
    if !may_make_namespaces("several_queues_share_the_flows") {
        return;
    }
    let net = Between::new();
    let mut queues = net.open_queues("left", 2, ALONE);
    let senders: Vec<_> =
        (0..64).map(|_| net.left.within(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap()).collect();
    net.left
        .within(|| {
            let mut netlink = Netlink::open().unwrap();
            let index = netlink.link_index("eth0").unwrap();
            let _ = netlink.add_default_route("10.0.0.9".parse().unwrap(), index);
        })
        .unwrap();
    // To a group address, so that nobody need be asked for a MAC address.
    for _ in 0..3 {
        for sender in &senders {
            sender.send_to(b"hello", "239.1.2.3:9").unwrap();
        }
    }
    let mut seen = std::collections::HashMap::new();
    let mut counts = [0; 2];
    let mut idle = 0;
    while counts.iter().sum::<usize>() < 3 * senders.len() && idle < 250 {
        wait(&[queues[0].as_raw_fd(), queues[1].as_raw_fd()]);
        idle += 1;
        for (queue, socket) in queues.iter_mut().enumerate() {
            for frame in drain(socket) {
                note(&frame, queue, &mut seen, &mut counts);
            }
        }
    }
    assert_eq!(counts[0] + counts[1], 3 * senders.len(), "each once: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

fn note(
    bytes: &[u8],
    queue: usize,
    seen: &mut std::collections::HashMap<[u8; 2], usize>,
    counts: &mut [usize; 2],
) {
    if bytes.ends_with(b"hello") {
        let port = [bytes[34], bytes[35]];
        assert_eq!(*seen.entry(port).or_insert(queue), queue, "a flow stays on its queue");
        counts[queue] += 1;
    }
}

#[test]
fn down_is_not_gone_and_deleted_is() {
    if !may_make_namespaces("down_is_not_gone_and_deleted_is") {
        return;
    }
    let net = Between::new();
    let mut socket = net.open("left", ALONE);
    let (mut pool, mut batch) = (Pool::new(64), Vec::new());
    let mut frame = pool.take().unwrap();
    frame.copy_from(&[0xff; 60]);
    let change = |change: fn(&mut Netlink, u32)| {
        net.middle
            .within(|| {
                let mut netlink = Netlink::open().unwrap();
                let index = netlink.link_index("left").unwrap();
                change(&mut netlink, index);
            })
            .unwrap();
    };
    socket.transmit(&mut frame, &[]).unwrap();
    change(|netlink, index| netlink.set_down(index).unwrap());
    socket.receive(&mut pool, &mut batch).unwrap();
    assert_eq!(socket.transmit(&mut frame, &[]), Err(TransmitError::Down));
    socket.receive(&mut pool, &mut batch).unwrap();

    change(|netlink, index| netlink.set_up(index).unwrap());
    for used in batch.drain(..) {
        pool.put(used);
    }
    net.left.within(|| UdpSocket::bind("10.0.0.1:0").unwrap().send_to(b"x", "10.0.0.255:9").is_ok()).unwrap();
    let other = net.left.within(|| UdpSocket::bind("10.0.0.1:0").unwrap()).unwrap();
    for _ in 0..100 {
        let _ = other.send_to(b"again", "10.0.0.7:9");
        wait(&[socket.as_raw_fd()]);
        socket.receive(&mut pool, &mut batch).unwrap();
        if !batch.is_empty() {
            break;
        }
    }
    assert!(!batch.is_empty(), "it goes on where it was");
    socket.transmit(&mut frame, &[]).unwrap();

    change(|netlink, index| netlink.delete_link(index).unwrap());
    batch.clear();
    let gone = socket.receive(&mut pool, &mut batch);
    assert!(matches!(gone, Err(DeviceError::Gone(_))), "{gone:?}");
    assert_eq!(socket.transmit(&mut frame, &[]), Err(TransmitError::Down));
}

#[test]
fn what_the_kernel_cannot_send_is_refused() {
    if !may_make_namespaces("what_the_kernel_cannot_send_is_refused") {
        return;
    }
    let net = Between::new();
    let mut socket = net.open("left", ALONE);
    let mut frame = Pool::new(1).take().unwrap();
    frame.copy_from(&[0xff; 1600]);
    assert_eq!(socket.transmit(&mut frame, &[]), Err(TransmitError::Refused), "longer than the MTU");
    frame.copy_from(&[0xff; 60]);
    frame.offload = OffloadHeader { gso_type: 77, gso_size: 10, ..OffloadHeader::NONE };
    assert_eq!(socket.transmit(&mut frame, &[]), Err(TransmitError::Refused), "no such segmentation");
    let mut tagged = [0xff; 60];
    tagged[12..16].copy_from_slice(&[0x81, 0, 0, 10]);
    frame.copy_from(&tagged);
    assert_eq!(socket.transmit(&mut frame, &[]), Err(TransmitError::Refused), "a way into another VLAN");
    let mut pair = net.open("left", Options { side: Side::Pair, vlan: None });
    assert_eq!(pair.transmit(&mut frame, &[]), Ok(()));
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    if !may_make_namespaces("an_interface_that_is_not_there_is_named") {
        return;
    }
    let refused = NetNs::create().unwrap().within(|| packet::open("eth7", 1, ALONE)).unwrap().unwrap_err();
    assert!(refused.to_string().starts_with("cannot find the interface eth7: No such device"), "{refused}");
    let vlan = Options { vlan: Some(4095), ..ALONE };
    let refused = NetNs::create().unwrap().within(|| packet::open("lo", 1, vlan)).unwrap().unwrap_err();
    assert!(refused.to_string().contains("1 to 4094"), "{refused}");
}
