//! Resets from closed ports.

use std::net::{SocketAddrV4, SocketAddrV6};

use vswitch_wire::TcpHeader;

use super::*;

fn segment(flags: u8, payload: &[u8]) -> [Vec<u8>; 2] {
    let (a4, gateway4) = (SocketAddrV4::new(A4, 5000), SocketAddrV4::new(GATEWAY4, 22));
    let (a6, gateway6) = (SocketAddrV6::new(A6, 5000, 0, 0), SocketAddrV6::new(GATEWAY6, 22, 0, 0));
    [
        build::tcp4(GATEWAY, A, a4, gateway4, flags, u32::MAX, 77, payload),
        build::tcp6(GATEWAY, A, a6, gateway6, flags, u32::MAX, 77, payload),
    ]
}

fn reset(frame: &[u8]) -> Option<Vec<u8>> {
    let mut reply = empty();
    reset::write(frame, &parse(frame).unwrap(), &mut reply).then(|| {
        verify(reply.bytes());
        reply.bytes().to_vec()
    })
}

/// RFC 9293 §3.10.7.1.
#[test]
fn a_reset_is_acceptable_to_who_sent_the_segment() {
    for (flags, payload, expected) in [
        (TcpHeader::SYN, &b""[..], (TcpHeader::RST | TcpHeader::ACK, 0, 0)),
        (TcpHeader::SYN, b"fast", (TcpHeader::RST | TcpHeader::ACK, 0, 4)),
        (TcpHeader::FIN, b"12", (TcpHeader::RST | TcpHeader::ACK, 0, 2)),
        (TcpHeader::ACK, b"12", (TcpHeader::RST, 77, 0)),
        (TcpHeader::SYN | TcpHeader::ACK, b"", (TcpHeader::RST, 77, 0)),
    ] {
        for frame in segment(flags, payload) {
            let reply = reset(&frame).unwrap();
            let parsed = parse(&reply).unwrap();
            let headers = &parsed.headers;
            assert_eq!((headers.destination, headers.source), (A, GATEWAY));
            assert_eq!((headers.source_port, headers.destination_port), (22, 5000));
            let (tcp, options, payload) = TcpHeader::split(&reply[parsed.layer4_offset.into()..]).unwrap();
            assert_eq!((tcp.flags, tcp.sequence.get(), tcp.acknowledgement.get()), expected);
            assert_eq!((tcp.window.get(), options.len(), payload.len()), (0, 0, 0));
        }
    }
}

#[test]
fn a_reset_is_not_reset() {
    for frame in segment(TcpHeader::RST | TcpHeader::ACK, b"") {
        assert_eq!(reset(&frame), None);
    }
    let [mut to_all, _] = segment(TcpHeader::SYN, b"");
    to_all[..6].copy_from_slice(&[0xff; 6]);
    assert_eq!(reset(&to_all), None);
    let from_nobody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 5);
    let frame =
        build::tcp4(GATEWAY, A, from_nobody, SocketAddrV4::new(GATEWAY4, 22), TcpHeader::SYN, 1, 0, b"");
    assert_eq!(reset(&frame), None);
    let datagram = build::udp4(
        GATEWAY,
        A,
        SocketAddrV4::new(A4, 5),
        SocketAddrV4::new(GATEWAY4, 22),
        b"0123456789abcdefghij",
    );
    assert_eq!(reset(&datagram), None);
}
