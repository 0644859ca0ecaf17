//! The transport header, and what a fragment shows of it.

use zerocopy::FromBytes;

use super::{Fragment, Layer3, Malformed, Network, Transport};
use crate::{IcmpHeader, TcpHeader, UdpHeader, protocol};

/// Which fragment it is that starts at `units` of eight bytes and of which either that or the flag for more
/// is not zero.
pub(super) fn fragment(protocol: u8, units: u16, length: usize) -> Result<Fragment, Malformed> {
    if usize::from(units) * 8 + length > usize::from(u16::MAX) {
        return Err(Malformed::FragmentOverflow);
    }
    match units {
        0 => Ok(Fragment::FIRST),
        // It would overwrite the flags of the TCP header that the filter saw (RFC 1858 §3.2.2).
        1 if protocol == protocol::TCP => Err(Malformed::TinyFragment),
        _ => Ok(Fragment::LATER),
    }
}

/// Parses what IP carries, `offset` bytes into the frame, up to the end of the packet.
#[inline(always)]
pub(super) fn parse(payload: &[u8], offset: u16, network: &Network) -> Result<Transport, Malformed> {
    match (network.protocol, network.layer3) {
        (protocol::TCP, _) => tcp(payload, offset, network.fragment),
        (protocol::UDP, _) => udp(payload, offset, network.fragment),
        (protocol::ICMP, Layer3::IPV4) => {
            icmp(payload, offset, network.fragment, [IcmpHeader::ECHO_REQUEST, IcmpHeader::ECHO_REPLY])
        }
        (protocol::ICMPV6, Layer3::IPV6) => {
            icmp(payload, offset, network.fragment, [IcmpHeader::ECHO_REQUEST_V6, IcmpHeader::ECHO_REPLY_V6])
        }
        (protocol::SCTP, _) => sctp(payload, offset, network.fragment),
        (protocol::NO_NEXT_HEADER, Layer3::IPV6) => Ok(Transport::default()),
        _ => Ok(Transport { layer4_offset: offset, ..Transport::default() }),
    }
}

#[inline(always)]
fn tcp(segment: &[u8], offset: u16, fragment: Fragment) -> Result<Transport, Malformed> {
    let Ok((header, _)) = TcpHeader::ref_from_prefix(segment) else {
        return Err(cut_short(fragment, Malformed::TcpTruncated));
    };
    let length = header.header_length();
    if usize::from(length) < TcpHeader::LENGTH {
        return Err(Malformed::TcpDataOffset);
    }
    if usize::from(length) > segment.len() {
        return Err(cut_short(fragment, Malformed::TcpDataOffset));
    }
    Ok(Transport {
        source_port: header.source_port.get(),
        destination_port: header.destination_port.get(),
        layer4_offset: offset,
        payload_offset: offset + length,
        tcp_flags: header.flags,
    })
}

#[inline(always)]
fn udp(datagram: &[u8], offset: u16, fragment: Fragment) -> Result<Transport, Malformed> {
    let Ok((header, _)) = UdpHeader::ref_from_prefix(datagram) else {
        return Err(cut_short(fragment, Malformed::UdpTruncated));
    };
    let length = usize::from(header.length.get());
    // A first fragment's length is that of the datagram once whole.
    let too_long = length > datagram.len() && fragment == Fragment::WHOLE;
    if length < UdpHeader::LENGTH || too_long {
        return Err(Malformed::UdpLength);
    }
    Ok(Transport {
        source_port: header.source_port.get(),
        destination_port: header.destination_port.get(),
        layer4_offset: offset,
        payload_offset: offset + 8,
        tcp_flags: 0,
    })
}

fn icmp(message: &[u8], offset: u16, fragment: Fragment, echoes: [u8; 2]) -> Result<Transport, Malformed> {
    let Ok((header, _)) = IcmpHeader::ref_from_prefix(message) else {
        return Err(cut_short(fragment, Malformed::IcmpTruncated));
    };
    Ok(Transport {
        source_port: if echoes.contains(&header.kind) { header.identifier.get() } else { 0 },
        destination_port: u16::from_be_bytes([header.kind, header.code]),
        layer4_offset: offset,
        payload_offset: offset + 8,
        tcp_flags: 0,
    })
}

/// The common header of SCTP (RFC 9260 §3.1).
fn sctp(packet: &[u8], offset: u16, fragment: Fragment) -> Result<Transport, Malformed> {
    let Some([a, b, c, d, ..]) = packet.first_chunk::<12>() else {
        return Err(cut_short(fragment, Malformed::SctpTruncated));
    };
    Ok(Transport {
        source_port: u16::from_be_bytes([*a, *b]),
        destination_port: u16::from_be_bytes([*c, *d]),
        layer4_offset: offset,
        payload_offset: offset + 12,
        tcp_flags: 0,
    })
}

/// A header that a fragment cuts off is an attempt to hide it; otherwise the sender is at fault.
#[cold]
fn cut_short(fragment: Fragment, otherwise: Malformed) -> Malformed {
    if fragment == Fragment::FIRST { Malformed::TinyFragment } else { otherwise }
}
