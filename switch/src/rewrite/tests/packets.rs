//! Packets of every kind that is translated, made anew from the endpoints: what a translation must come to.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vswitch_wire::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
use vswitch_wire::{IcmpHeader, Ipv4Header, MacAddr, TcpHeader, UdpHeader, build, protocol};
use zerocopy::IntoBytes;

use crate::address::{Address, Endpoint};
use crate::offload::{NEEDS_CHECKSUM, OffloadHeader};

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// What IP carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    /// With a checksum of zero.
    UdpWithout,
    Echo,
    /// An ICMP message that has no identifier.
    OtherIcmp,
    Sctp,
    UdpLite,
    /// Something with no checksum over addresses.
    Unknown,
}

/// Whether its checksum is finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checksum {
    Finished,
    /// Left to the device.
    Partial,
    /// Finished, while another one deep in the payload is not: a tunnel's.
    PartialInside,
}

/// A packet in all that is translated or must not be.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) v6: bool,
    pub(crate) kind: Kind,
    pub(crate) checksum: Checksum,
    /// With IPv4 options or IPv6 extension headers.
    pub(crate) options: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) source: Endpoint,
    pub(crate) destination: Endpoint,
}

impl Packet {
    /// Anything; some fields as the family and the kind allow.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let kinds = prop::sample::select(vec![
            Kind::Tcp,
            Kind::Udp,
            Kind::UdpWithout,
            Kind::Echo,
            Kind::OtherIcmp,
            Kind::Sctp,
            Kind::UdpLite,
            Kind::Unknown,
        ]);
        let checksums =
            prop::sample::select(vec![Checksum::Finished, Checksum::Partial, Checksum::PartialInside]);
        let payload = prop::collection::vec(any::<u8>(), 12..200);
        let ends = (any::<([u8; 16], u16)>(), any::<([u8; 16], u16)>());
        (any::<bool>(), kinds, checksums, any::<bool>(), payload, ends).prop_map(
            |(v6, kind, checksum, options, mut payload, (source, destination))| {
                // Without a byte that is not zero a sum of zero has two forms.
                payload[11] |= 1;
                let mut packet = Self {
                    v6,
                    kind,
                    checksum,
                    options,
                    payload,
                    source: endpoint(v6, source),
                    destination: endpoint(v6, destination),
                };
                packet.make_possible();
                packet
            },
        )
    }

    /// Clears what the kind does not have.
    fn make_possible(&mut self) {
        match self.kind {
            Kind::Tcp | Kind::Udp => {}
            Kind::UdpWithout if self.checksum != Checksum::Partial => {}
            _ => self.checksum = Checksum::Finished,
        }
        if self.kind == Kind::Tcp && self.checksum == Checksum::PartialInside {
            self.checksum = Checksum::Partial;
        }
        if self.kind == Kind::Echo {
            self.destination.port = self.source.port;
        }
        if matches!(self.kind, Kind::OtherIcmp | Kind::UdpLite | Kind::Unknown) {
            self.source.port = 0;
            self.destination.port = 0;
        }
    }

    /// The packet with other ends, as far as its kind has ports.
    pub(crate) fn between(&self, source: Endpoint, destination: Endpoint) -> Self {
        let mut packet = Self { source, destination, ..self.clone() };
        packet.make_possible();
        packet
    }

    /// What `end` is once the other end became `to`: an echo has one identifier, which both ends show.
    pub(crate) fn opposite(&self, end: Endpoint, to: Endpoint) -> Endpoint {
        if self.kind == Kind::Echo { Endpoint { port: to.port, ..end } } else { end }
    }

    /// The frame, and the offload header it travels with.
    pub(crate) fn frame(&self) -> (Vec<u8>, OffloadHeader) {
        let (protocol, checksum_offset) = self.protocol();
        let mut message = self.message();
        let partial = self.pseudo_header(protocol, message.len());
        let (crc, sum) = match self.kind {
            Kind::Unknown | Kind::UdpWithout => (None, None),
            Kind::Sctp => (Some(crc32c(&message)), None),
            Kind::Echo | Kind::OtherIcmp if !self.v6 => (None, Some(Sum::of(&message).checksum())),
            Kind::Udp | Kind::UdpLite if self.checksum != Checksum::Partial => {
                (None, Some((partial + Sum::of(&message)).nonzero_checksum()))
            }
            _ if self.checksum == Checksum::Partial => (None, Some(partial.partial())),
            _ => (None, Some((partial + Sum::of(&message)).checksum())),
        };
        if let Some(sum) = sum {
            message[checksum_offset..checksum_offset + 2].copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(crc) = crc {
            message[8..12].copy_from_slice(&crc);
        }
        let frame = self.ip(protocol, &message);
        let start = frame.len() - message.len();
        let (start, checksum_offset) = match self.checksum {
            Checksum::Finished => return (frame, OffloadHeader::NONE),
            Checksum::Partial => (start, checksum_offset),
            Checksum::PartialInside => (start + 8, 4),
        };
        let offload = OffloadHeader {
            flags: NEEDS_CHECKSUM,
            checksum_start: u16::try_from(start).unwrap(),
            checksum_offset: u16::try_from(checksum_offset).unwrap(),
            ..OffloadHeader::NONE
        };
        (frame, offload)
    }

    /// Protocol number, and where the checksum is.
    fn protocol(&self) -> (u8, usize) {
        match self.kind {
            Kind::Tcp => (protocol::TCP, 16),
            Kind::Udp | Kind::UdpWithout => (protocol::UDP, 6),
            Kind::Echo | Kind::OtherIcmp => (if self.v6 { protocol::ICMPV6 } else { protocol::ICMP }, 2),
            Kind::Sctp => (protocol::SCTP, 8),
            Kind::UdpLite => (136, 6),
            Kind::Unknown => (253, 0),
        }
    }

    /// Transport header and payload, with a checksum of zero.
    fn message(&self) -> Vec<u8> {
        let (source, destination) = (self.source.port, self.destination.port);
        let header = match self.kind {
            Kind::Tcp => TcpHeader::new(source, destination, TcpHeader::ACK, 7, 8).as_bytes().to_vec(),
            Kind::Udp | Kind::UdpWithout => {
                UdpHeader::new(source, destination, self.payload.len()).as_bytes().to_vec()
            }
            Kind::Echo => {
                let kind = if self.v6 { IcmpHeader::ECHO_REQUEST_V6 } else { IcmpHeader::ECHO_REQUEST };
                IcmpHeader::new(kind, source, 9).as_bytes().to_vec()
            }
            // Timestamp, and a multicast listener report.
            Kind::OtherIcmp => IcmpHeader::new(if self.v6 { 131 } else { 13 }, 5, 9).as_bytes().to_vec(),
            Kind::Sctp => [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[1; 4], &[0; 4]].concat(),
            Kind::UdpLite => vec![1, 2, 3, 4, 0, 0, 0, 0],
            Kind::Unknown => vec![],
        };
        [&header[..], &self.payload].concat()
    }

    pub(crate) fn pseudo_header(&self, protocol: u8, length: usize) -> Sum {
        let length = u32::try_from(length).unwrap();
        if self.v6 {
            pseudo_header_v6(v6(self.source), v6(self.destination), protocol, length)
        } else {
            pseudo_header_v4(v4(self.source), v4(self.destination), protocol, length)
        }
    }

    fn ip(&self, protocol: u8, message: &[u8]) -> Vec<u8> {
        if self.v6 {
            // A hop-by-hop header of padding, and a routing header that has nowhere left to go.
            let extensions = [protocol::ROUTING, 0, 1, 4, 0, 0, 0, 0, protocol, 0, 4, 0, 0, 0, 0, 0];
            let (first, extensions) =
                if self.options { (protocol::HOP_BY_HOP, &extensions[..]) } else { (protocol, &[][..]) };
            let payload = [extensions, message].concat();
            return build::ipv6(B, A, v6(self.source), v6(self.destination), first, &payload);
        }
        // Router alert and no-operations.
        let options: &[u8] = if self.options { &[0x94, 4, 0, 0, 1, 1, 1, 1] } else { &[] };
        let length = options.len() + message.len();
        let mut header = Ipv4Header::new(v4(self.source), v4(self.destination), protocol, length);
        header.version_ihl += u8::try_from(options.len() / 4).unwrap();
        header.checksum.set(0);
        header.checksum.set((Sum::of(header.as_bytes()) + Sum::of(options)).checksum());
        let packet = [header.as_bytes(), options, message].concat();
        build::ethernet(B, A, vswitch_wire::EtherType::IPV4, &packet)
    }
}

/// An endpoint of the family, of sixteen bytes and a port.
pub(crate) fn endpoint(v6: bool, (address, port): ([u8; 16], u16)) -> Endpoint {
    let mut address = address;
    if !v6 {
        address[4..].fill(0);
    }
    Endpoint { address: Address(address), port }
}

fn v4(endpoint: Endpoint) -> Ipv4Addr {
    let [a, b, c, d, ..] = endpoint.address.0;
    Ipv4Addr::new(a, b, c, d)
}

fn v6(endpoint: Endpoint) -> Ipv6Addr {
    Ipv6Addr::from(endpoint.address.0)
}

/// RFC 9260 Appendix A, bit by bit, over a packet whose checksum is zero.
pub(crate) fn crc32c(packet: &[u8]) -> [u8; 4] {
    let mut register = u32::MAX;
    for byte in packet {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = register >> 1 ^ if register & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
    }
    (!register).to_le_bytes()
}
