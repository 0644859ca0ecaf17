//! Reading what a server says: from the frame to the options.
//!
//! The fixed part is read by smoltcp's codec. Options are read here, because it knows neither those that a
//! server put into the fields for a file and a server name (RFC 2131 §4.1) nor one that is split over
//! several (RFC 3396).

use std::net::Ipv4Addr;

use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOpCode, DhcpPacket, EthernetAddress,
};
use vswitch_wire::checksum::{Sum, pseudo_header_v4};
use vswitch_wire::{
    EthernetHeader, Fragment, Ipv4Header, MacAddr, UdpHeader, ipv4_header_checksum_ok, parse, protocol,
};
use zerocopy::FromBytes;

/// What every DHCP message has before its options (RFC 2131 §3).
const MAGIC: u32 = 0x6382_5363;

/// Where the fields are that may hold options instead of what they are named for.
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
const OPTIONS: usize = 240;

const PAD: u8 = 0;
const END: u8 = 255;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;

/// A server's answer to one of our messages.
#[derive(Clone, Copy)]
pub(super) struct Reply<'a> {
    message: &'a [u8],
    /// OFFER, ACK or NAK.
    pub(super) kind: DhcpMessageType,
    /// Which server answers.
    pub(super) server: Ipv4Addr,
    /// From whom the frame came: the server, or the relay that is the way to it.
    pub(super) sender: MacAddr,
    /// The address the server has for us; zero in a NAK.
    pub(super) address: Ipv4Addr,
}

impl<'a> Reply<'a> {
    /// The answer in `frame`, if it is one, whole and undamaged, to the transaction `xid` of the client `mac`.
    pub(super) fn read(frame: &'a [u8], mac: MacAddr, xid: u32) -> Option<Self> {
        let (ethernet, _) = EthernetHeader::ref_from_prefix(frame).ok()?;
        let for_us = ethernet.destination == mac || ethernet.destination.is_broadcast();
        if !for_us || !ethernet.source.is_unicast() || ethernet.source == mac {
            return None;
        }
        let message = datagram(frame)?;
        let packet = DhcpPacket::new_checked(message).ok()?;
        let is_ours = packet.opcode() == DhcpOpCode::Reply
            && packet.hardware_len() == 6
            && packet.transaction_id() == xid
            && packet.client_hardware_address() == EthernetAddress(mac.0)
            && packet.magic_number() == MAGIC;
        if !is_ours {
            return None;
        }
        let options = Self {
            message,
            kind: DhcpMessageType::Unknown(0),
            server: Ipv4Addr::UNSPECIFIED,
            sender: ethernet.source,
            address: packet.your_ip(),
        };
        // The identifier is a MUST in all three kinds of answer (RFC 2131 table 3).
        let (kind, server) = (options.byte(MESSAGE_TYPE)?, options.address(SERVER_IDENTIFIER)?);
        is_host(server).then_some(Self { kind: kind.into(), server, ..options })
    }

    /// The option `code`, put together from its parts (RFC 3396 §7); none when it is absent or empty.
    pub(super) fn option(&self, code: u8) -> Option<Vec<u8>> {
        let overload = parts(&self.message[OPTIONS..], OVERLOAD).next().and_then(|part| part.first());
        let (in_file, in_server_name) =
            overload.map_or((false, false), |bits| (bits & 1 != 0, bits & 2 != 0));
        let file = if in_file { &self.message[FILE] } else { &[] };
        let server_name = if in_server_name { &self.message[SERVER_NAME] } else { &[] };
        // In this order: RFC 3396 §5.
        let areas = [&self.message[OPTIONS..], file, server_name];
        let whole = areas.into_iter().flat_map(|area| parts(area, code)).collect::<Vec<_>>().concat();
        (!whole.is_empty()).then_some(whole)
    }

    /// The first byte of an option.
    fn byte(&self, code: u8) -> Option<u8> {
        self.option(code)?.first().copied()
    }

    /// The first 16-bit number of an option.
    pub(super) fn number16(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(*self.option(code)?.first_chunk()?))
    }

    /// The first 32-bit number of an option.
    pub(super) fn number32(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(*self.option(code)?.first_chunk()?))
    }

    /// The first address of an option.
    pub(super) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.number32(code).map(Ipv4Addr::from_bits)
    }
}

/// Whether one host can have this address: not a group, not everybody, not this host itself.
pub(super) fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // 0/8 is "this network", 127/8 the loopback, 224/4 groups, 240/4 reserved, the broadcast address included.
    !matches!(first, 0 | 127 | 224..)
}

/// The payload of a datagram from a server's port to a client's. Frames with a VLAN tag are not ours.
fn datagram(frame: &[u8]) -> Option<&[u8]> {
    let parsed = parse(frame).ok()?;
    let headers = &parsed.headers;
    let from_server = headers.is_ipv4()
        && headers.protocol == protocol::UDP
        && headers.fragment == Fragment::WHOLE
        && headers.tag().is_none()
        && (headers.source_port, headers.destination_port) == (DHCP_SERVER_PORT, DHCP_CLIENT_PORT);
    if !from_server || !ipv4_header_checksum_ok(frame.get(usize::from(parsed.layer3_offset)..)?) {
        return None;
    }
    let rest = frame.get(usize::from(parsed.layer4_offset)..usize::try_from(parsed.layer3_end).ok()?)?;
    let (udp, _) = UdpHeader::ref_from_prefix(rest).ok()?;
    let datagram = rest.get(..usize::from(udp.length.get()))?;
    let (ip, _) = Ipv4Header::ref_from_prefix(frame.get(usize::from(parsed.layer3_offset)..)?).ok()?;
    let pseudo =
        pseudo_header_v4(ip.source.into(), ip.destination.into(), protocol::UDP, udp.length.get().into());
    let undamaged = udp.checksum.get() == 0 || (pseudo + Sum::of(datagram)).checksum() == 0;
    if undamaged { datagram.get(UdpHeader::LENGTH..) } else { None }
}

/// The contents of every option `code` in one area, which ends at its end option or where it stops making sense.
fn parts(area: &[u8], code: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = area;
    std::iter::from_fn(move || {
        loop {
            match rest {
                [PAD, behind @ ..] => rest = behind,
                [END, ..] | [] | [_] => return None,
                [found, length, behind @ ..] => {
                    let (content, behind) = behind.split_at_checked(usize::from(*length))?;
                    rest = behind;
                    if *found == code {
                        return Some(content);
                    }
                }
            }
        }
    })
}
