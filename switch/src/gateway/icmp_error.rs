//! ICMP errors: why a packet goes no further, told to its sender.
//!
//! An error must not cause another, and must not reach anyone who did not send the packet it is about. So none is
//! written about what RFC 1122 §3.2.2, RFC 1812 §4.3.2.7 and RFC 4443 §2.4 (e) name.

use std::net::IpAddr;

use vswitch_wire::{Fragment, IcmpHeader, Ipv4Header, Ipv6Header, Parsed, protocol};
use zerocopy::IntoBytes;

use super::compose::{begin_v4, begin_v6, seal};
use super::{icmp_kind, is_answerable};
use crate::frame::Frame;
use crate::tables::Gateway;

/// The longest error: what every host takes in one piece (RFC 1812 §4.3.2.3; RFC 4443 §2.4 c).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;

/// Errors are internetwork control traffic, precedence 6 (RFC 1812 §4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 6 << 5;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The TTL or hop limit ended here.
    TtlExceeded,
    /// There is no route.
    NetUnreachable,
    /// The next hop, or the destination itself, does not answer.
    HostUnreachable,
    /// The destination has no such transport protocol.
    ProtocolUnreachable,
    /// The destination has nobody at this port.
    PortUnreachable,
    /// It is forbidden.
    Prohibited,
    /// It exceeds the MTU of its way on, in bytes, and may not be fragmented.
    TooBig {
        /// That MTU. Below 1280 it has no meaning for IPv6.
        mtu: u16,
    },
    /// A header field is wrong.
    ParameterProblem {
        /// Where, in bytes from the start of the packet.
        pointer: u16,
    },
}

/// Writes the error about a packet that came in on the gateway's network, back to where it came from. `false` when there
/// must be none; `reply`'s content has no meaning then.
///
/// Of a super-frame, the packet is quoted as it stands, with its length; where its checksum is still to be finished,
/// so it is in the quotation.
pub fn write(kind: ErrorKind, gateway: &Gateway, bytes: &[u8], parsed: &Parsed, reply: &mut Frame) -> bool {
    let headers = &parsed.headers;
    if !may_be_told(kind, gateway, parsed) {
        return false;
    }
    let (begin, end) = (usize::from(parsed.layer3_offset), parsed.layer3_end as usize);
    let packet = bytes.get(begin..end).unwrap_or_default();
    match (headers.source_address(), gateway.source_v4()) {
        (Some(IpAddr::V4(sender)), Some(source)) => {
            let mut header = Ipv4Header::new(source, sender, protocol::ICMP, 0);
            header.dscp_ecn = INTERNETWORK_CONTROL;
            begin_v4(reply, headers.source, gateway.mac, &header);
            reply.append(message_v4(kind).as_bytes());
            reply.append(quoted(packet, LONGEST_V4 - Ipv4Header::LENGTH));
        }
        (Some(IpAddr::V6(sender)), _) => {
            let header = Ipv6Header::new(gateway.source_v6(), sender, protocol::ICMPV6, 0);
            begin_v6(reply, headers.source, gateway.mac, &header);
            reply.append(message_v6(kind, packet, parsed).as_bytes());
            reply.append(quoted(packet, LONGEST_V6 - Ipv6Header::LENGTH));
        }
        _ => return false,
    }
    seal(reply);
    true
}

/// As much of the packet as fits behind the ICMP header.
fn quoted(packet: &[u8], room: usize) -> &[u8] {
    &packet[..packet.len().min(room - IcmpHeader::LENGTH)]
}

fn may_be_told(kind: ErrorKind, gateway: &Gateway, parsed: &Parsed) -> bool {
    let headers = &parsed.headers;
    let (Some(source), Some(destination)) = (headers.source_address(), headers.destination_address()) else {
        return false;
    };
    // RFC 4443 §2.4 e.3: path MTU discovery works for IPv6 multicast too, and for every fragment.
    let too_big_v6 = headers.is_ipv6() && matches!(kind, ErrorKind::TooBig { .. });
    let to_many = headers.destination.is_multicast() || is_group(gateway, destination);
    let from_one = is_answerable(source) && !is_group(gateway, source) && !gateway.owns(source);
    from_one
        && (!to_many || too_big_v6)
        && (headers.fragment != Fragment::LATER || too_big_v6)
        && !is_error(parsed)
}

fn is_group(gateway: &Gateway, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_multicast() || address.is_broadcast() || gateway.is_subnet_broadcast(address)
        }
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// Whether the packet is, or for all that can be seen may be, an ICMP error or a redirect.
fn is_error(parsed: &Parsed) -> bool {
    let headers = &parsed.headers;
    let later = headers.fragment == Fragment::LATER;
    match headers.protocol {
        // Echo, router discovery, timestamp, information and address mask are queries and their answers.
        protocol::ICMP => later || !matches!(icmp_kind(parsed), 0 | 8..=10 | 13..=18),
        // RFC 4443 §2.1: errors have the high bit clear.
        protocol::ICMPV6 => later || matches!(icmp_kind(parsed), 0..128 | IcmpHeader::REDIRECT_V6),
        _ => false,
    }
}

fn message_v4(kind: ErrorKind) -> IcmpHeader {
    let (kind, code, rest) = match kind {
        ErrorKind::TtlExceeded => (IcmpHeader::TIME_EXCEEDED, 0, 0),
        ErrorKind::NetUnreachable => (IcmpHeader::DESTINATION_UNREACHABLE, 0, 0),
        ErrorKind::HostUnreachable => (IcmpHeader::DESTINATION_UNREACHABLE, 1, 0),
        ErrorKind::ProtocolUnreachable => (IcmpHeader::DESTINATION_UNREACHABLE, 2, 0),
        ErrorKind::PortUnreachable => (IcmpHeader::DESTINATION_UNREACHABLE, 3, 0),
        // The next hop's MTU is in the low half (RFC 1191 §4).
        ErrorKind::TooBig { mtu } => (IcmpHeader::DESTINATION_UNREACHABLE, 4, u32::from(mtu)),
        // RFC 1812 §5.2.7.1.
        ErrorKind::Prohibited => (IcmpHeader::DESTINATION_UNREACHABLE, 13, 0),
        ErrorKind::ParameterProblem { pointer } => {
            (IcmpHeader::PARAMETER_PROBLEM, 0, u32::from(pointer & 0xff) << 24)
        }
    };
    IcmpHeader::with_code(kind, code, rest)
}

fn message_v6(kind: ErrorKind, packet: &[u8], parsed: &Parsed) -> IcmpHeader {
    let (kind, code, rest) = match kind {
        ErrorKind::TtlExceeded => (IcmpHeader::TIME_EXCEEDED_V6, 0, 0),
        ErrorKind::NetUnreachable => (IcmpHeader::DESTINATION_UNREACHABLE_V6, 0, 0),
        ErrorKind::Prohibited => (IcmpHeader::DESTINATION_UNREACHABLE_V6, 1, 0),
        ErrorKind::HostUnreachable => (IcmpHeader::DESTINATION_UNREACHABLE_V6, 3, 0),
        ErrorKind::PortUnreachable => (IcmpHeader::DESTINATION_UNREACHABLE_V6, 4, 0),
        ErrorKind::TooBig { mtu } => (IcmpHeader::PACKET_TOO_BIG, 0, u32::from(mtu)),
        ErrorKind::ParameterProblem { pointer } => (IcmpHeader::PARAMETER_PROBLEM_V6, 0, u32::from(pointer)),
        // RFC 4443 §3.4: an unrecognised next header, at the field that names it.
        ErrorKind::ProtocolUnreachable => {
            (IcmpHeader::PARAMETER_PROBLEM_V6, 1, last_next_header(packet, parsed))
        }
    };
    IcmpHeader::with_code(kind, code, rest)
}

/// Where the packet names the protocol behind its extension headers. The parser has walked them, so they are there.
fn last_next_header(packet: &[u8], parsed: &Parsed) -> u32 {
    let layer4 = usize::from(parsed.layer4_offset.saturating_sub(parsed.layer3_offset));
    let (mut field, mut extension) = (6, Ipv6Header::LENGTH);
    while extension < layer4 {
        let kind = packet.get(field).copied().unwrap_or_default();
        let length = usize::from(packet.get(extension + 1).copied().unwrap_or_default());
        field = extension;
        extension += match kind {
            protocol::FRAGMENT => 8,
            protocol::AUTHENTICATION => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
    }
    u32::try_from(field).unwrap_or(0)
}
