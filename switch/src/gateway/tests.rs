mod arp;
mod discovery;
mod echo;
mod errors;
mod hostile;
mod resets;
mod unasked;

use std::collections::HashMap;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use vswitch_wire::checksum::Sum;
use vswitch_wire::{ArpPacket, EtherType, Tci, build, parse};

use super::*;
use crate::frame::Pool;
use crate::id::PortId;
use crate::tables::Advertisement;

const GATEWAY: MacAddr = MacAddr([2, 0x42, 10, 10, 0, 1]);
/// Configured hosts.
const A: MacAddr = MacAddr([2, 0x42, 10, 10, 0, 2]);
const B: MacAddr = MacAddr([2, 0x42, 10, 10, 0, 3]);
/// Somebody who is not configured.
const STRANGER: MacAddr = MacAddr([2, 0x42, 10, 10, 0, 50]);

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
const A4: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 2);
const B4: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 3);
const STRANGER4: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 50);
/// What NAT translates to.
const EXTERNAL4: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 200);
const OUTSIDE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 1);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 2);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 3);
const STRANGER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x50);
const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x200);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn gateway() -> Gateway {
    let host = |port, mac| Host { port: PortId::new(port).unwrap(), mac };
    let hosts: [(IpAddr, Host); 4] =
        [(A4.into(), host(0, A)), (B4.into(), host(1, B)), (A6.into(), host(0, A)), (B6.into(), host(1, B))];
    Gateway {
        mac: GATEWAY,
        addresses: vec!["10.10.0.1/24".parse().unwrap(), "fd00:10::1/64".parse().unwrap()],
        answers_for: vec![EXTERNAL4.into(), EXTERNAL6.into()],
        routes: crate::route::Fib::default(),
        hosts: HashMap::from(hosts),
        mtu: 1450,
        advertisement: Some(Advertisement {
            managed: false,
            other: true,
            autonomous: true,
            lifetime: 1800,
            interval: 600,
        }),
    }
}

fn empty() -> Frame {
    Pool::new(1).take().unwrap()
}

/// What the gateway makes of a frame; a reply is checked in full.
fn ask_with(gateway: &Gateway, icc: bool, frame: &[u8]) -> (Answer, Vec<u8>) {
    let mut reply = empty();
    let answer = answer(gateway, icc, frame, &parse(frame).expect("a well-formed frame"), &mut reply);
    if !matches!(answer.outcome, Outcome::Reply(_)) {
        return (answer, Vec::new());
    }
    verify(reply.bytes());
    (answer, reply.bytes().to_vec())
}

fn ask(frame: &[u8]) -> (Answer, Vec<u8>) {
    ask_with(&gateway(), true, frame)
}

fn outcome(frame: &[u8]) -> Outcome {
    ask(frame).0.outcome
}

/// Holds a frame against etherparse: lengths and every checksum.
fn verify(frame: &[u8]) {
    let ours = parse(frame).expect("we understand it");
    if ours.headers.layer3 == Layer3::ARP {
        assert_eq!(frame.len(), 42);
        return;
    }
    assert_eq!(ours.layer3_end as usize, frame.len());
    let packet = SlicedPacket::from_ethernet(frame).expect("others understand it");
    let (Some(net), Some(transport)) = (packet.net, packet.transport) else { panic!("not IP: {frame:x?}") };
    match (net, transport) {
        (NetSlice::Ipv4(net), transport) => {
            let header = net.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            match transport {
                TransportSlice::Icmpv4(message) => {
                    assert_eq!(Sum::of(message.slice()).checksum(), 0);
                }
                TransportSlice::Tcp(segment) => {
                    let expected = segment.calc_checksum_ipv4(header.source, header.destination).unwrap();
                    assert_eq!(segment.checksum(), expected);
                }
                other => panic!("{other:?}"),
            }
        }
        (NetSlice::Ipv6(net), transport) => {
            let header = net.header().to_header();
            match transport {
                TransportSlice::Icmpv6(message) => {
                    assert!(message.is_checksum_valid(header.source, header.destination));
                }
                TransportSlice::Tcp(segment) => {
                    let expected = segment.calc_checksum_ipv6(header.source, header.destination).unwrap();
                    assert_eq!(segment.checksum(), expected);
                }
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_for_others_pass_and_tagged_ones_for_the_gateway_do_not() {
    let arp = build::arp(ArpPacket::REQUEST, STRANGER, STRANGER4, MacAddr::ZERO, GATEWAY4);
    let tagged = build::tagged(&arp, EtherType::VLAN, Tci(5));
    assert_eq!(outcome(&tagged), Outcome::Pass, "to everybody");
    let mut to_us = arp;
    to_us[..6].copy_from_slice(&GATEWAY.0);
    let tagged = build::tagged(&to_us, EtherType::VLAN, Tci(0));
    assert_eq!(outcome(&tagged), Outcome::Drop(DropReason::TaggedToGateway));
    assert_eq!(
        outcome(&build::tagged(&tagged, EtherType::QINQ, Tci(0))),
        Outcome::Drop(DropReason::TaggedToGateway)
    );
    to_us[..6].copy_from_slice(&A.0);
    assert_eq!(outcome(&to_us), Outcome::Pass, "a question to A alone");
    let unknown = build::ethernet(GATEWAY, STRANGER, EtherType(0x88cc), &[0; 46]);
    assert_eq!(outcome(&unknown), Outcome::Drop(DropReason::GatewayProtocol));
    let unknown = build::ethernet(MacAddr::BROADCAST, STRANGER, EtherType(0x88cc), &[0; 46]);
    assert_eq!(outcome(&unknown), Outcome::Pass);
}

#[test]
fn nobody_is_answered_whose_address_cannot_be_one() {
    for (address, answerable) in [
        ("0.0.0.0", false),
        ("0.1.2.3", false),
        ("127.0.0.1", false),
        ("224.0.0.1", false),
        ("240.0.0.1", false),
        ("255.255.255.255", false),
        ("10.0.0.1", true),
        ("169.254.0.1", true),
        ("::", false),
        ("::1", false),
        ("ff02::1", false),
        ("fe80::1", true),
        ("2001:db8::1", true),
    ] {
        assert_eq!(is_answerable(address.parse().unwrap()), answerable, "{address}");
    }
}
