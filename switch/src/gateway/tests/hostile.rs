//! Whatever a port sends, replies are whole, go back to it, and are no longer than they may be.

use std::net::{SocketAddrV4, SocketAddrV6};

use proptest::prelude::*;

use super::icmp_error::ErrorKind;
use super::*;

/// Frames that reach every part of the gateway.
fn frames() -> Vec<Vec<u8>> {
    let (echo4, echo6) = (IcmpHeader::new(8, 1, 2), IcmpHeader::new(128, 1, 2));
    let rs = IcmpHeader::new(IcmpHeader::ROUTER_SOLICITATION, 0, 0);
    let all_routers: Ipv6Addr = "ff02::2".parse().unwrap();
    let (a4, gateway4) = (SocketAddrV4::new(A4, 5000), SocketAddrV4::new(GATEWAY4, 22));
    let (a6, gateway6) = (SocketAddrV6::new(A6, 5000, 0, 0), SocketAddrV6::new(GATEWAY6, 22, 0, 0));
    vec![
        build::arp(ArpPacket::REQUEST, A, A4, MacAddr::ZERO, GATEWAY4),
        build::arp(ArpPacket::REQUEST, A, A4, MacAddr::ZERO, B4),
        build::arp(ArpPacket::REPLY, STRANGER, STRANGER4, GATEWAY, GATEWAY4),
        build::neighbor_solicitation(A, A6, GATEWAY6),
        build::neighbor_solicitation(A, A6, B6),
        build::neighbor_advertisement(GATEWAY, STRANGER, GATEWAY6, STRANGER6),
        build::icmp6(compose::group_mac(all_routers), A, A6, all_routers, rs, &[1, 1, 2, 0x42, 10, 10, 0, 2]),
        build::icmp4(GATEWAY, A, A4, GATEWAY4, echo4, b"ping"),
        build::icmp6(GATEWAY, A, A6, GATEWAY6, echo6, b"ping"),
        build::tcp4(GATEWAY, A, a4, gateway4, 2, 1, 0, b""),
        build::tcp6(GATEWAY, A, a6, gateway6, 2, 1, 0, b""),
    ]
}

proptest! {
    #[test]
    fn replies_are_whole_and_go_back(
        which in 0..frames().len(), changes in prop::collection::vec((0_usize..120, any::<u8>()), 0..4),
        cut in 0_usize..150, icc: bool,
    ) {
        let mut frame = frames().swap_remove(which);
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if cut >= 14 {
            frame.truncate(cut);
        }
        let Ok(parsed) = parse(&frame) else { return Ok(()) };
        let gateway = gateway();
        let mut reply = empty();
        if let Outcome::Reply(_) = answer(&gateway, icc, &frame, &parsed, &mut reply).outcome {
            verify(reply.bytes());
            let to = parse(reply.bytes()).unwrap().headers.destination;
            prop_assert!(to == parsed.headers.source || to.is_multicast(), "{to}");
            // An advertisement is the longest answer there is to so short a frame.
            prop_assert!(reply.len() <= frame.len().max(150), "{} for {}", reply.len(), frame.len());
        }
        if reset::write(&frame, &parsed, &mut reply) {
            verify(reply.bytes());
        }
        for kind in [ErrorKind::PortUnreachable, ErrorKind::ProtocolUnreachable, ErrorKind::TooBig { mtu: 1280 }] {
            if icmp_error::write(kind, &gateway, &frame, &parsed, &mut reply) {
                verify(reply.bytes());
                prop_assert_eq!(parse(reply.bytes()).unwrap().headers.destination, parsed.headers.source);
            }
        }
    }
}
