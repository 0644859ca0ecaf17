//! Segments and datagrams as a kernel with offloads hands them over, and as they look on a wire.

use std::net::{Ipv4Addr, Ipv6Addr};

use vswitch_switch::OffloadHeader;
use vswitch_switch::memory::MemoryFrame;
use vswitch_switch::offload::{GSO_TCP4, GSO_TCP6, GSO_UDP, NEEDS_CHECKSUM};
use vswitch_wire::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
use vswitch_wire::{
    EtherType, Ipv4Header, Ipv6Header, MacAddr, Tci, TcpHeader, UdpHeader, build, parse, protocol,
};
use zerocopy::{FromBytes, IntoBytes};

pub(crate) fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

/// What does not change within a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flow {
    pub(crate) tcp: bool,
    pub(crate) ipv6: bool,
    pub(crate) tagged: bool,
    pub(crate) source_port: u16,
}

/// One segment or datagram.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) flow: Flow,
    pub(crate) sequence: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// TCP options, a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) hops: u8,
    pub(crate) traffic_class: u8,
    pub(crate) identification: u16,
    pub(crate) may_be_fragmented: bool,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn new(flow: Flow, sequence: u32, payload: Vec<u8>) -> Self {
        Self {
            flow,
            sequence,
            flags: TcpHeader::ACK,
            window: 500,
            options: Vec::new(),
            hops: 64,
            traffic_class: 0,
            identification: 7,
            may_be_fragmented: false,
            payload,
        }
    }

    /// As it is on a wire: all checksums finished.
    pub(crate) fn complete(&self) -> Vec<u8> {
        let mut transport = self.transport();
        let sum = self.pseudo_header(transport.len()) + Sum::of(&transport);
        let at = self.checksum_offset();
        transport[at..at + 2].copy_from_slice(&sum.nonzero_checksum().to_be_bytes());
        self.framed(&transport)
    }

    /// As a kernel hands it over that leaves the checksum to the device.
    pub(crate) fn open(&self) -> MemoryFrame {
        let mut transport = self.transport();
        let partial = self.pseudo_header(transport.len()).partial();
        let at = self.checksum_offset();
        transport[at..at + 2].copy_from_slice(&partial.to_be_bytes());
        let offload = OffloadHeader {
            flags: NEEDS_CHECKSUM,
            checksum_start: self.layer4(),
            checksum_offset: u16::try_from(at).unwrap(),
            ..OffloadHeader::NONE
        };
        MemoryFrame { bytes: self.framed(&transport), offload }
    }

    /// As a kernel hands it over that leaves cutting it to the device.
    pub(crate) fn super_frame(&self, gso_size: u16) -> MemoryFrame {
        let gso_type = match (self.flow.tcp, self.flow.ipv6) {
            (true, false) => GSO_TCP4,
            (true, true) => GSO_TCP6,
            (false, _) => GSO_UDP,
        };
        let mut frame = self.open();
        frame.offload = OffloadHeader { gso_type, gso_size, ..frame.offload };
        frame
    }

    /// The messages a super-frame of this one stands for: the textbook's way, not the crate's.
    pub(crate) fn cut(&self, gso_size: u16) -> Vec<Self> {
        let size = usize::from(gso_size);
        let last = (self.payload.len() - 1) / size;
        let piece = |(nth, payload): (usize, &[u8])| {
            let mut flags = self.flags;
            if nth != 0 {
                flags &= !TcpHeader::CWR;
            }
            if nth != last {
                flags &= !(TcpHeader::FIN | TcpHeader::PSH);
            }
            Self {
                sequence: self.sequence.wrapping_add((nth * size) as u32),
                flags,
                identification: self.identification.wrapping_add(nth as u16),
                payload: payload.to_vec(),
                ..self.clone()
            }
        };
        self.payload.chunks(size).enumerate().map(piece).collect()
    }

    fn transport(&self) -> Vec<u8> {
        if !self.flow.tcp {
            let header = UdpHeader::new(self.flow.source_port, 80, self.payload.len());
            return [header.as_bytes(), &self.payload].concat();
        }
        let mut header = TcpHeader::new(self.flow.source_port, 80, self.flags, self.sequence, 99);
        header.window.set(self.window);
        header.data_offset = u8::try_from(5 + self.options.len() / 4).unwrap() << 4;
        [header.as_bytes(), &self.options, &self.payload].concat()
    }

    fn framed(&self, transport: &[u8]) -> Vec<u8> {
        let (to, from) = (mac(2), mac(1));
        let frame = if self.flow.ipv6 {
            let mut ip = Ipv6Header::new(SOURCE6, DESTINATION6, self.protocol(), transport.len());
            ip.hop_limit = self.hops;
            ip.version_class_flow.set(6 << 28 | u32::from(self.traffic_class) << 20);
            build::ethernet(to, from, EtherType::IPV6, &[ip.as_bytes(), transport].concat())
        } else {
            let mut ip = Ipv4Header::new(SOURCE4, DESTINATION4, self.protocol(), transport.len());
            ip.ttl = self.hops;
            ip.dscp_ecn = self.traffic_class;
            ip.identification.set(self.identification);
            if self.may_be_fragmented {
                ip.flags_fragment.set(0);
            }
            ip.checksum.set(0);
            ip.checksum.set(Sum::of(ip.as_bytes()).checksum());
            build::ethernet(to, from, EtherType::IPV4, &[ip.as_bytes(), transport].concat())
        };
        if self.flow.tagged { build::tagged(&frame, EtherType::VLAN, Tci(42)) } else { frame }
    }

    fn pseudo_header(&self, length: usize) -> Sum {
        let length = u32::try_from(length).unwrap();
        if self.flow.ipv6 {
            pseudo_header_v6(SOURCE6, DESTINATION6, self.protocol(), length)
        } else {
            pseudo_header_v4(SOURCE4, DESTINATION4, self.protocol(), length)
        }
    }

    fn protocol(&self) -> u8 {
        if self.flow.tcp { protocol::TCP } else { protocol::UDP }
    }

    fn checksum_offset(&self) -> usize {
        if self.flow.tcp { 16 } else { 6 }
    }

    fn layer4(&self) -> u16 {
        let tag = if self.flow.tagged { 4 } else { 0 };
        14 + tag + if self.flow.ipv6 { 40 } else { 20 }
    }
}

const SOURCE4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const DESTINATION4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SOURCE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const DESTINATION6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// The frame without what joining makes meaningless: the identification of IPv4 packets that forbid
/// fragmentation (RFC 6864), and the header checksum that covers it, which must be right.
pub(crate) fn without_identification(mut frame: Vec<u8>) -> Vec<u8> {
    let parsed = parse(&frame).expect("a well-formed frame");
    if parsed.headers.is_ipv4() {
        let packet = &mut frame[usize::from(parsed.layer3_offset)..];
        assert!(vswitch_wire::ipv4_header_checksum_ok(packet), "IPv4 header checksum");
        let (ip, _) = Ipv4Header::mut_from_prefix(packet).unwrap();
        if ip.flags_fragment.get() & Ipv4Header::DONT_FRAGMENT != 0 {
            ip.identification.set(0);
            ip.checksum.set(0);
        }
    }
    frame
}
