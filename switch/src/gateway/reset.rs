//! TCP resets: nobody listens at this port of the gateway.

use std::net::IpAddr;

use vswitch_wire::{Ipv4Header, Ipv6Header, Parsed, TcpHeader, protocol};
use zerocopy::{FromBytes, IntoBytes};

use super::compose::{begin_v4, begin_v6, seal};
use super::is_answerable;
use crate::frame::Frame;

/// Writes the reset that a closed port answers a segment with (RFC 9293 §3.10.7.1), from the address it was sent to,
/// which the caller knows to be one of the gateway's. `false` when there is none to be sent: about another reset, to
/// many, or to nobody; `reply`'s content has no meaning then.
pub fn write(bytes: &[u8], parsed: &Parsed, reply: &mut Frame) -> bool {
    let headers = &parsed.headers;
    let answerable = headers.protocol == protocol::TCP
        && !headers.is_fragment()
        && parsed.tcp_flags & TcpHeader::RST == 0
        && !headers.destination.is_multicast();
    let segment = bytes.get(usize::from(parsed.layer4_offset)..).unwrap_or_default();
    let Ok((refused, _)) = TcpHeader::ref_from_prefix(segment) else { return false };
    let (Some(from), Some(to)) = (headers.destination_address(), headers.source_address()) else {
        return false;
    };
    if !answerable || !is_answerable(from) || !is_answerable(to) || from == to {
        return false;
    }
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = Ipv4Header::new(from, to, protocol::TCP, 0);
            begin_v4(reply, headers.source, headers.destination, &header);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = Ipv6Header::new(from, to, protocol::TCP, 0);
            begin_v6(reply, headers.source, headers.destination, &header);
        }
        _ => return false,
    }
    reply.append(reset(refused, parsed).as_bytes());
    seal(reply);
    true
}

fn reset(refused: &TcpHeader, parsed: &Parsed) -> TcpHeader {
    let (source, destination) = (refused.destination_port.get(), refused.source_port.get());
    let mut header = if refused.flags & TcpHeader::ACK != 0 {
        TcpHeader::new(source, destination, TcpHeader::RST, refused.acknowledgement.get(), 0)
    } else {
        // SYN and FIN count as a byte each.
        let controls =
            u32::from(refused.flags & TcpHeader::SYN != 0) + u32::from(refused.flags & TcpHeader::FIN != 0);
        let length = parsed.layer3_end.saturating_sub(u32::from(parsed.payload_offset)) + controls;
        let acknowledgement = refused.sequence.get().wrapping_add(length);
        TcpHeader::new(source, destination, TcpHeader::RST | TcpHeader::ACK, 0, acknowledgement)
    };
    header.window.set(0);
    header
}
