//! One frame through the parser, and beside it through etherparse.

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use vswitch_wire::{Fragment, Headers, Layer3, Parsed, parse, protocol};

/// Parses `frame` and holds what comes of it against the frame and against etherparse.
///
/// # Panics
/// When the parser said something that is not so.
pub fn check(frame: &[u8]) {
    let Ok(parsed) = parse(frame) else { return };
    check_places(frame, &parsed);
    assert_eq!(parse(frame), Ok(parsed), "the same frame, another answer");
    // etherparse reads a second tag, MACsec and other EtherTypes, which the parser leaves alone.
    let is_ip = parsed.headers.is_ip();
    if let Ok(theirs) = LaxSlicedPacket::from_ethernet(frame)
        && is_ip
        && theirs.stop_err.is_none()
    {
        check_agreement(frame, &parsed, &theirs);
    }
}

/// The offsets are in order and within the frame.
pub fn check_places(frame: &[u8], parsed: &Parsed) {
    let end = parsed.layer3_end as usize;
    let (layer3, layer4, payload) = (
        usize::from(parsed.layer3_offset),
        usize::from(parsed.layer4_offset),
        usize::from(parsed.payload_offset),
    );
    assert!(end <= frame.len() && layer3 <= end, "{parsed:?}");
    assert_eq!(layer3, if parsed.headers.tag().is_some() { 18 } else { 14 });
    if layer4 != 0 {
        assert!(layer3 < layer4 && layer4 <= end, "{parsed:?}");
    }
    if payload != 0 {
        assert!(layer4 != 0 && layer4 < payload && payload <= end, "{parsed:?}");
    }
    assert_eq!(frame[..6], parsed.headers.destination.octets());
    assert_eq!(frame[6..12], parsed.headers.source.octets());
}

fn check_agreement(frame: &[u8], parsed: &Parsed, theirs: &LaxSlicedPacket<'_>) {
    let headers = &parsed.headers;
    match theirs.net.as_ref() {
        Some(LaxNetSlice::Ipv4(ipv4)) => {
            assert_eq!(headers.layer3, Layer3::IPV4);
            assert_eq!(headers.source_address(), Some(ipv4.header().source_addr().into()));
            assert_eq!(headers.destination_address(), Some(ipv4.header().destination_addr().into()));
            assert_eq!(headers.flags & Headers::IPV4_OPTIONS != 0, !ipv4.header().options().is_empty());
        }
        Some(LaxNetSlice::Ipv6(ipv6)) => {
            assert_eq!(headers.layer3, Layer3::IPV6);
            assert_eq!(headers.source_address(), Some(ipv6.header().source_addr().into()));
            assert_eq!(headers.destination_address(), Some(ipv6.header().destination_addr().into()));
        }
        _ => assert!(!headers.is_ip(), "etherparse sees no IP"),
    }
    let Some(payload) = theirs.ip_payload() else { return };
    assert_eq!(headers.is_fragment(), payload.fragmented);
    // etherparse goes on into what the bytes of a later fragment seem to be, and into IPv4's authentication
    // header, where the parser stops.
    let authenticated = headers.is_ipv4() && headers.protocol == protocol::AUTHENTICATION;
    if headers.fragment == Fragment::LATER || authenticated {
        return;
    }
    assert_eq!(headers.protocol, payload.ip_number.0);
    let end = parsed.layer3_end as usize;
    if parsed.layer4_offset != 0 {
        assert_eq!(&frame[usize::from(parsed.layer4_offset)..end], payload.payload);
    }
    let behind = &frame[usize::from(parsed.payload_offset)..end];
    let ports = (headers.source_port, headers.destination_port);
    match theirs.transport.as_ref() {
        Some(TransportSlice::Tcp(tcp)) => {
            assert_eq!(ports, (tcp.source_port(), tcp.destination_port()));
            assert_eq!(behind, tcp.payload());
            assert_eq!(parsed.tcp_flags & 0x12 == 0x12, tcp.syn() && tcp.ack());
        }
        Some(TransportSlice::Udp(udp)) => {
            assert_eq!(ports, (udp.source_port(), udp.destination_port()));
            assert!(behind.starts_with(udp.payload()));
        }
        Some(TransportSlice::Icmpv4(icmp)) if headers.is_ipv4() => {
            assert_eq!(ports.1, u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]));
        }
        Some(TransportSlice::Icmpv6(icmp)) if headers.is_ipv6() => {
            assert_eq!(ports.1, u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]));
        }
        _ => {}
    }
}
