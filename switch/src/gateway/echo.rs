//! Echoes: what `ping` asks for.

use std::net::Ipv6Addr;

use vswitch_wire::checksum::{Sum, pseudo_header_v6};
use vswitch_wire::{IcmpHeader, Ipv4Header, Ipv6Header, Parsed, ipv4_header_checksum_ok, protocol};
use zerocopy::FromBytes;

use super::compose::{begin_v4, begin_v6, seal};
use super::limit::ReplyKind;
use super::{Outcome, icmp_kind, is_answerable, message};
use crate::drop_reason::DropReason;
use crate::frame::Frame;

/// The differentiated services code point; the rest of the byte is congestion notification.
const DSCP: u8 = 0xfc;

/// Answers an echo request from the address it was sent to, which the caller knows to be one of the gateway's, with
/// the payload it came with (RFC 1122 §3.2.2.6, RFC 4443 §4.2). Other packets pass.
pub fn answer(bytes: &[u8], parsed: &Parsed, reply: &mut Frame) -> Outcome {
    let headers = &parsed.headers;
    let request = match (headers.protocol, headers.is_ipv4()) {
        (protocol::ICMP, true) => IcmpHeader::ECHO_REQUEST,
        (protocol::ICMPV6, false) => IcmpHeader::ECHO_REQUEST_V6,
        _ => return Outcome::Pass,
    };
    if headers.is_fragment() {
        // Fragments are not put together for the gateway itself.
        return Outcome::Drop(DropReason::GatewayClosed);
    }
    if icmp_kind(parsed) != request {
        return Outcome::Pass;
    }
    match refusal(bytes, parsed) {
        Some(reason) => Outcome::Drop(reason),
        None => {
            write(bytes, parsed, reply);
            Outcome::Reply(ReplyKind::Echo)
        }
    }
}

fn refusal(bytes: &[u8], parsed: &Parsed) -> Option<DropReason> {
    let headers = &parsed.headers;
    let packet = bytes.get(usize::from(parsed.layer3_offset)..).unwrap_or_default();
    if headers.is_ipv4() && !ipv4_header_checksum_ok(packet) {
        return Some(DropReason::BadHeaderChecksum);
    }
    if !headers.source_address().is_some_and(is_answerable) {
        return Some(DropReason::MartianSource);
    }
    if headers.source_ip == headers.destination_ip {
        return Some(DropReason::LandAttack);
    }
    let message = message(bytes, parsed);
    let pseudo_header = if headers.is_ipv4() {
        Sum::default()
    } else {
        let (source, destination) =
            (Ipv6Addr::from(headers.source_ip), Ipv6Addr::from(headers.destination_ip));
        pseudo_header_v6(
            source,
            destination,
            protocol::ICMPV6,
            u32::try_from(message.len()).unwrap_or(u32::MAX),
        )
    };
    if (pseudo_header + Sum::of(message)).checksum() != 0 {
        return Some(DropReason::BadIcmpChecksum);
    }
    // RFC 792, RFC 4443 §4.1: the code is 0.
    (message.get(1) != Some(&0)).then_some(DropReason::GatewayClosed)
}

fn write(bytes: &[u8], parsed: &Parsed, reply: &mut Frame) {
    let headers = &parsed.headers;
    let packet = bytes.get(usize::from(parsed.layer3_offset)..).unwrap_or_default();
    let kind = if headers.is_ipv4() { IcmpHeader::ECHO_REPLY } else { IcmpHeader::ECHO_REPLY_V6 };
    if headers.is_ipv4()
        && let Ok((asked, _)) = Ipv4Header::ref_from_prefix(packet)
    {
        let mut header = Ipv4Header::new(asked.destination.into(), asked.source.into(), protocol::ICMP, 0);
        header.dscp_ecn = asked.dscp_ecn & DSCP;
        // Whether the answer may be fragmented follows the question, and with it what tells fragments apart.
        header.identification = asked.identification;
        header.flags_fragment = asked.flags_fragment;
        begin_v4(reply, headers.source, headers.destination, &header);
    } else if let Ok((asked, _)) = Ipv6Header::ref_from_prefix(packet) {
        let mut header = Ipv6Header::new(asked.destination.into(), asked.source.into(), protocol::ICMPV6, 0);
        let class = u32::from(asked.dscp_ecn() & DSCP);
        header.version_class_flow.set(6 << 28 | class << 20);
        begin_v6(reply, headers.source, headers.destination, &header);
    }
    reply.append(&[kind]);
    reply.append(message(bytes, parsed).get(1..).unwrap_or_default());
    seal(reply);
}
