//! Frames made by hand.

use std::net::Ipv4Addr;

pub(crate) type Mac = [u8; 6];

/// An Ethernet frame, padded to the shortest there may be.
pub(crate) fn ethernet(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &kind.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An ARP request by broadcast.
pub(crate) fn arp_request(from: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let body = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &from, &sender.octets(), &[0; 6], &target.octets()].concat();
    ethernet([0xff; 6], from, 0x0806, &body)
}

/// An ICMP echo request or another IPv4 packet.
pub(crate) fn echo_request(to: Mac, from: Mac, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0, 1, 0, 1, b'h', b'i'];
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let length = u8::try_from(20 + icmp.len()).unwrap();
    let mut header = vec![0x45, 0, 0, length, 0, 0, 0, 0, 64, 1, 0, 0];
    header.extend(source.octets());
    header.extend(destination.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    ethernet(to, from, 0x0800, &[header, icmp].concat())
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).unwrap()).to_be_bytes()
}
