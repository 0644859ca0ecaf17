//! Frames made by hand, and sent from inside a container as no honest station would.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use vswitch_ports::netns::NetNs;

use super::switch::Switch;

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;

/// Reads lines `COUNT HEX` and sends that frame that often from the interface named by its argument.
///
/// Packet sockets take a `sockaddr_ll`, which no safe interface of Rust makes; perl-base is on every Debian.
const SENDER: &str = r#"
    use strict;
    my ($interface) = @ARGV;
    socket(my $socket, 17, 3, 0) or die "socket: $!";                           # AF_PACKET, SOCK_RAW
    my $request = pack("a16 x24", $interface);
    ioctl($socket, 0x8933, $request) or die "$interface: $!";                   # SIOCGIFINDEX
    my $to = pack("S n i S C C a8", 17, 0, unpack("x16 i", $request), 0, 0, 6, "");
    while (my $line = <STDIN>) {
        my ($count, $hex) = split(" ", $line);
        my $frame = pack("H*", $hex);
        for (1 .. $count) {
            until (defined send($socket, $frame, 0, $to)) {
                die "send: $!" unless $! == 105;                                # ENOBUFS: the queue is full
                select(undef, undef, undef, 0.001);
            }
        }
    }
"#;

/// Sends each frame so many times from a container's `eth0`.
pub(crate) fn inject<'a>(
    switch: &Switch,
    container: &str,
    frames: impl IntoIterator<Item = (usize, &'a [u8])>,
) {
    inject_at(&switch.netns(container), "eth0", frames);
}

/// Sends each frame so many times from an interface.
pub(crate) fn inject_at<'a>(
    netns: &NetNs,
    interface: &str,
    frames: impl IntoIterator<Item = (usize, &'a [u8])>,
) {
    let mut lines = String::new();
    for (count, frame) in frames {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{count} {hex}\n"));
    }
    let sent = netns.within(|| {
        let mut perl = Command::new("perl");
        let mut perl = perl.args(["-e", SENDER, interface]).stdin(Stdio::piped()).spawn()?;
        // Closes its standard input, so that it ends.
        let written = perl.stdin.take().unwrap().write_all(lines.as_bytes());
        perl.wait().and_then(|status| written.map(|()| status))
    });
    assert!(sent.unwrap().unwrap().success(), "frames are sent");
}

/// An Ethernet frame.
pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &ether_type.to_be_bytes(), payload].concat()
}

/// An IPv4 packet with a UDP datagram, its header's checksum right and UDP's left out, as RFC 768 allows.
pub(crate) fn udp_packet(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&length(28 + payload.len()));
    header[12..16].copy_from_slice(&from.0.octets());
    header[16..20].copy_from_slice(&to.0.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    let udp = [from.1.to_be_bytes(), to.1.to_be_bytes(), length(8 + payload.len()), [0, 0]].concat();
    [&header[..], &udp, payload].concat()
}

/// An ARP reply: `sender` says that it has `address`.
pub(crate) fn arp_reply(sender: [u8; 6], address: Ipv4Addr, to: ([u8; 6], Ipv4Addr)) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 2], &sender[..], &address.octets(), &to.0, &to.1.octets()].concat()
}
