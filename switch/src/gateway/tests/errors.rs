//! ICMP errors: what they say, what they quote, and about what there are none.

use std::net::{SocketAddrV4, SocketAddrV6};

use super::icmp_error::{ErrorKind, write};
use super::*;

const KINDS: [ErrorKind; 8] = [
    ErrorKind::TtlExceeded,
    ErrorKind::NetUnreachable,
    ErrorKind::HostUnreachable,
    ErrorKind::ProtocolUnreachable,
    ErrorKind::PortUnreachable,
    ErrorKind::Prohibited,
    ErrorKind::TooBig { mtu: 1400 },
    ErrorKind::ParameterProblem { pointer: 9 },
];

fn udp4(source: Ipv4Addr, destination: Ipv4Addr, length: usize) -> Vec<u8> {
    build::udp4(GATEWAY, A, SocketAddrV4::new(source, 5), SocketAddrV4::new(destination, 6), &vec![7; length])
}

fn udp6(source: Ipv6Addr, destination: Ipv6Addr, length: usize) -> Vec<u8> {
    let (source, destination) = (SocketAddrV6::new(source, 5, 0, 0), SocketAddrV6::new(destination, 6, 0, 0));
    build::udp6(GATEWAY, A, source, destination, &vec![7; length])
}

fn error(kind: ErrorKind, frame: &[u8]) -> Option<Vec<u8>> {
    let mut reply = empty();
    let written = write(kind, &gateway(), frame, &parse(frame).expect("well-formed"), &mut reply);
    written.then(|| {
        verify(reply.bytes());
        reply.bytes().to_vec()
    })
}

#[test]
fn errors_say_what_the_rfcs_say() {
    let expected4: [[u8; 6]; 8] = [
        [11, 0, 0, 0, 0, 0],
        [3, 0, 0, 0, 0, 0],
        [3, 1, 0, 0, 0, 0],
        [3, 2, 0, 0, 0, 0],
        [3, 3, 0, 0, 0, 0],
        [3, 13, 0, 0, 0, 0],
        [3, 4, 0, 0, 5, 120],
        [12, 0, 9, 0, 0, 0],
    ];
    let expected6: [[u8; 6]; 8] = [
        [3, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [1, 3, 0, 0, 0, 0],
        [4, 1, 0, 0, 0, 6],
        [1, 4, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [2, 0, 0, 0, 5, 120],
        [4, 0, 0, 0, 0, 9],
    ];
    for ((kind, v4), v6) in KINDS.into_iter().zip(expected4).zip(expected6) {
        for (frame, begin, expected) in [(udp4(A4, OUTSIDE4, 64), 34, v4), (udp6(A6, OUTSIDE6, 64), 54, v6)] {
            let reply = error(kind, &frame).unwrap();
            let message = &reply[begin..];
            let found = [message[0], message[1], message[4], message[5], message[6], message[7]];
            assert_eq!(found, expected, "{kind:?}");
            assert_eq!(message[8..], frame[14..], "the packet as it is");
            let headers = parse(&reply).unwrap().headers;
            assert_eq!((headers.destination, headers.source), (A, GATEWAY));
            let sent = parse(&frame).unwrap().headers;
            assert_eq!(headers.destination_ip, sent.source_ip);
            let source = if sent.is_ipv4() { IpAddr::from(GATEWAY4) } else { GATEWAY6.into() };
            assert_eq!(headers.source_address(), Some(source));
        }
    }
}

#[test]
fn long_packets_are_quoted_as_far_as_every_host_takes_it() {
    let frame = udp4(A4, OUTSIDE4, 60_000);
    let reply = error(ErrorKind::TooBig { mtu: 1400 }, &frame).unwrap();
    assert_eq!(reply.len(), 14 + 576);
    assert_eq!(reply[42..], frame[14..14 + 548]);
    let frame = udp6(A6, OUTSIDE6, 60_000);
    let reply = error(ErrorKind::TooBig { mtu: 1400 }, &frame).unwrap();
    assert_eq!(reply.len(), 14 + 1280);
    assert_eq!(reply[62..], frame[14..14 + 1232]);

    let mut padded = udp4(A4, OUTSIDE4, 1);
    let length = padded.len();
    padded.resize(60, 0);
    assert_eq!(
        error(ErrorKind::NetUnreachable, &padded).unwrap().len(),
        length + 28,
        "padding is not the packet's"
    );
}

#[test]
fn there_are_no_errors_about_errors() {
    for kind in 0..=40 {
        let about = build::icmp4(GATEWAY, A, A4, OUTSIDE4, IcmpHeader::new(kind, 0, 0), &[0; 64]);
        let query = matches!(kind, 0 | 8 | 9 | 10 | 13..=18);
        assert_eq!(error(ErrorKind::TtlExceeded, &about).is_some(), query, "ICMP {kind}");
    }
    for kind in 0..=255 {
        let about = build::icmp6(GATEWAY, A, A6, OUTSIDE6, IcmpHeader::new(kind, 0, 0), &[0; 64]);
        let query = kind >= 128 && kind != 137;
        assert_eq!(error(ErrorKind::TtlExceeded, &about).is_some(), query, "ICMPv6 {kind}");
    }
}

#[test]
fn there_are_no_errors_about_what_was_for_many_or_from_nobody() {
    let told4 =
        |source, destination| error(ErrorKind::NetUnreachable, &udp4(source, destination, 8)).is_some();
    assert!(told4(A4, OUTSIDE4));
    let [broadcast, network] = [255, 0].map(|host| Ipv4Addr::new(10, 10, 0, host));
    for many in [Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1), broadcast, network] {
        assert!(!told4(A4, many) && !told4(many, OUTSIDE4), "{many}");
    }
    for nobody in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::new(250, 0, 0, 1), GATEWAY4] {
        assert!(!told4(nobody, OUTSIDE4), "{nobody}");
    }
    let group: Ipv6Addr = "ff05::2".parse().unwrap();
    let told6 = |kind, source, destination| error(kind, &udp6(source, destination, 8)).is_some();
    assert!(told6(ErrorKind::NetUnreachable, A6, OUTSIDE6));
    assert!(!told6(ErrorKind::NetUnreachable, A6, group));
    assert!(told6(ErrorKind::TooBig { mtu: 1280 }, A6, group), "path MTU discovery for multicast");
    assert!(!told6(ErrorKind::TooBig { mtu: 1280 }, group, A6));
    assert!(!told6(ErrorKind::NetUnreachable, Ipv6Addr::UNSPECIFIED, OUTSIDE6));

    let mut to_all = udp4(A4, OUTSIDE4, 8);
    to_all[..6].copy_from_slice(&[0xff; 6]);
    assert_eq!(error(ErrorKind::NetUnreachable, &to_all), None, "broadcast on the link");
}

#[test]
fn only_the_first_fragment_is_told_about() {
    let mut frame = udp4(A4, OUTSIDE4, 64);
    frame[20..22].copy_from_slice(&[0x20, 0]);
    assert!(error(ErrorKind::TtlExceeded, &frame).is_some());
    frame[20..22].copy_from_slice(&[0x20, 8]);
    assert_eq!(error(ErrorKind::TtlExceeded, &frame), None);

    let later =
        build::ipv6(GATEWAY, A, A6, OUTSIDE6, 44, &[&[17, 0, 0, 0x81, 0, 0, 0, 1][..], &[0; 64]].concat());
    assert_eq!(error(ErrorKind::TtlExceeded, &later), None);
    assert!(error(ErrorKind::TooBig { mtu: 1280 }, &later).is_some());
}

#[test]
fn an_unknown_protocol_is_pointed_at_behind_extension_headers() {
    let chain = [&[60, 0, 1, 4, 0, 0, 0, 0][..], &[99, 1, 1, 12], &[0; 12], &[0; 20]].concat();
    let frame = build::ipv6(GATEWAY, A, A6, OUTSIDE6, 0, &chain);
    let reply = error(ErrorKind::ProtocolUnreachable, &frame).unwrap();
    assert_eq!(reply[54..56], [4, 1]);
    let pointer = usize::from(reply[61]);
    assert_eq!((pointer, frame[14 + pointer]), (48, 99));
}

#[test]
fn a_gateway_without_an_address_of_the_family_says_nothing_or_speaks_from_the_link() {
    let bare = Gateway { addresses: Vec::new(), ..gateway() };
    let mut reply = empty();
    let frame = udp4(A4, OUTSIDE4, 8);
    assert!(!write(ErrorKind::NetUnreachable, &bare, &frame, &parse(&frame).unwrap(), &mut reply));
    let frame = udp6(A6, OUTSIDE6, 8);
    assert!(write(ErrorKind::NetUnreachable, &bare, &frame, &parse(&frame).unwrap(), &mut reply));
    let source = parse(reply.bytes()).unwrap().headers.source_address();
    assert_eq!(source, Some(GATEWAY.link_local().into()));
}
