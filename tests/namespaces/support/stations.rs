//! What stations of a LAN do, wherever they live: they connect, send datagrams to one and to many, and listen in.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use vswitch_ports::netns::NetNs;
use vswitch_ports::packet::{self, Options, PacketSocket, Side};
use vswitch_switch::{Device, Pool, Received};

use super::PATIENCE;
use super::sockets::{echo_over, receive};

/// A connection from one namespace to an address in another: the caller's end and the called one's.
#[track_caller]
pub(crate) fn connect(ends: (&NetNs, &NetNs), address: impl Into<IpAddr>) -> (TcpStream, TcpStream) {
    let address = SocketAddr::new(address.into(), 0);
    let listener = ends.1.within(|| TcpListener::bind(address)).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    accepted(ends.0, address, &listener)
}

/// A connection to an address that leads to a port of another namespace.
#[track_caller]
pub(crate) fn connect_on(
    (caller, called): (&NetNs, &NetNs),
    address: (Ipv4Addr, u16),
    port: u16,
) -> (TcpStream, TcpStream) {
    let listener = called.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap();
    accepted(caller, address.into(), &listener)
}

#[track_caller]
fn accepted(caller: &NetNs, address: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let near = caller.within(|| TcpStream::connect_timeout(&address, PATIENCE)).unwrap();
    let near = near.unwrap_or_else(|error| panic!("{address}: {error}"));
    let (far, _) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far)
}

/// Sends `length` bytes from one namespace to an address in another and back, and compares every byte.
#[track_caller]
pub(crate) fn echo(ends: (&NetNs, &NetNs), address: impl Into<IpAddr>, length: usize) {
    let (near, far) = connect(ends, address);
    echo_over(near, far, length);
}

/// Why a namespace cannot connect to an address.
#[track_caller]
pub(crate) fn refusal(caller: &NetNs, address: impl Into<IpAddr>) -> std::io::Error {
    let address = SocketAddr::new(address.into(), 9);
    caller.within(|| TcpStream::connect_timeout(&address, PATIENCE)).unwrap().expect_err("it is not reached")
}

/// A UDP socket on a free port of an address.
#[track_caller]
pub(crate) fn udp(netns: &NetNs, address: impl Into<IpAddr>) -> UdpSocket {
    udp_on(netns, SocketAddr::new(address.into(), 0))
}

/// A UDP socket on an address and port.
#[track_caller]
pub(crate) fn udp_on(netns: &NetNs, address: SocketAddr) -> UdpSocket {
    let socket = netns.within(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_broadcast(true).unwrap();
    socket
}

/// Datagrams from one socket reach another in order, and each of them once.
#[track_caller]
pub(crate) fn datagrams(from: &UdpSocket, to: &UdpSocket) {
    let (sender, receiver) = (from.local_addr().unwrap(), to.local_addr().unwrap());
    for number in 0..50_u8 {
        from.send_to(&[number], receiver).unwrap();
    }
    for number in 0..50_u8 {
        assert_eq!(receive(to), (vec![number], sender), "sent once and in order");
    }
}

/// Who listens to what is sent to all, by broadcast and by multicast.
pub(crate) struct Audience(Vec<Listener>);

struct Listener {
    name: &'static str,
    address: Ipv4Addr,
    /// Hears what is sent to all.
    ear: UdpSocket,
    mouth: UdpSocket,
}

/// The port they listen on, and a group for which nobody else listens.
const PORT: u16 = 7777;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

impl Audience {
    /// Listeners by name, each with its namespace and its address there, of a /24.
    pub(crate) fn gather(members: &[(&'static str, &NetNs, Ipv4Addr)]) -> Self {
        let listen = |(name, netns, address): &(&'static str, &NetNs, Ipv4Addr)| {
            let ear = udp_on(netns, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT));
            ear.join_multicast_v4(&GROUP, address).unwrap();
            Listener { name, address: *address, ear, mouth: udp(netns, *address) }
        };
        Self(members.iter().map(listen).collect())
    }

    /// Lets one speak to all, and asserts that each of `listeners` hears it once and nobody else does: the next that
    /// those hear is what `whisperer`, who can reach them, tells each of them alone.
    #[track_caller]
    pub(crate) fn hears(&self, speaker: &str, listeners: &[&str], whisperer: &str) {
        let speaker = self.member(speaker);
        let [a, b, c, _] = speaker.address.octets();
        for to in [Ipv4Addr::new(a, b, c, 255), GROUP] {
            speaker.mouth.send_to(b"to all", SocketAddr::new(to.into(), PORT)).unwrap();
        }
        // The kernel lets the speaker hear itself.
        let hears =
            |listener: &&Listener| listeners.contains(&listener.name) || listener.name == speaker.name;
        for listener in self.0.iter().filter(hears) {
            for _ in 0..2 {
                let heard = receive(&listener.ear);
                assert_eq!(heard, said(b"to all", speaker), "{} hears {}", listener.name, speaker.name);
            }
        }
        let whisperer = self.member(whisperer);
        for listener in &self.0 {
            let address = SocketAddr::new(listener.address.into(), PORT);
            whisperer.mouth.send_to(b"to you", address).unwrap();
            let heard = receive(&listener.ear);
            assert_eq!(heard, said(b"to you", whisperer), "{} does not hear {}", listener.name, speaker.name);
        }
    }

    fn member(&self, name: &str) -> &Listener {
        self.0.iter().find(|listener| listener.name == name).unwrap()
    }
}

fn said(words: &[u8], speaker: &Listener) -> (Vec<u8>, SocketAddr) {
    (words.to_vec(), speaker.mouth.local_addr().unwrap())
}

/// The MAC address at which the kernel of a namespace has found an IPv4 address.
#[track_caller]
pub(crate) fn found_at(netns: &NetNs, address: Ipv4Addr) -> [u8; 6] {
    let table = netns.within(|| fs::read_to_string("/proc/thread-self/net/arp").unwrap()).unwrap();
    let found = table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(&address.to_string())).then(|| words.nth(2).unwrap().to_owned())
    });
    let found = found.unwrap_or_else(|| panic!("{address} is not in {table}"));
    let bytes: Vec<u8> = found.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// A packet socket that listens in on an interface.
pub(crate) struct Sniffer(PacketSocket);

impl Sniffer {
    /// Begins to hear what comes in to `eth0`: frames of a VLAN, without their tags, or such as have none.
    pub(crate) fn start(netns: &NetNs, vlan: Option<u16>) -> Self {
        let opened = netns.within(|| packet::open("eth0", 1, Options { side: Side::Wire, vlan })).unwrap();
        Self(opened.unwrap().remove(0))
    }

    /// What came in since it was asked last.
    pub(crate) fn heard(&mut self) -> Vec<Vec<u8>> {
        let (mut pool, mut batch, mut frames) = (Pool::new(64), Vec::new(), Vec::new());
        loop {
            let received = self.0.receive(&mut pool, &mut batch).unwrap();
            for frame in batch.drain(..) {
                frames.push(frame.bytes().to_vec());
                pool.put(frame);
            }
            if received == Received::Drained {
                return frames;
            }
        }
    }
}

/// How many packets a namespace's stack has passed on from one host to another, of both families.
pub(crate) fn forwarded(netns: &NetNs) -> u64 {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let (four, six) = netns.within(|| (read("snmp"), read("snmp6"))).unwrap();
    let mut lines = four.lines().filter(|line| line.starts_with("Ip:"));
    let names = lines.next().unwrap().split_whitespace();
    let four = names.zip(lines.next().unwrap().split_whitespace()).find(|(name, _)| *name == "ForwDatagrams");
    let six = six.lines().find_map(|line| line.strip_prefix("Ip6OutForwDatagrams")).unwrap();
    four.unwrap().1.parse::<u64>().unwrap() + six.trim().parse::<u64>().unwrap()
}
