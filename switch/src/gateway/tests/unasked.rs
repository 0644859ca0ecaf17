//! What the gateway says without being asked, and what it asks.

use vswitch_wire::checksum::pseudo_header_v6;

use super::*;

fn claimed(mac: MacAddr, address: IpAddr, router: bool) -> Vec<u8> {
    let mut frame = empty();
    announce::claim(mac, address, router, &mut frame);
    verify(frame.bytes());
    frame.bytes().to_vec()
}

fn question(gateway: &Gateway, target: IpAddr, unicast: Option<MacAddr>) -> Option<Vec<u8>> {
    let mut frame = empty();
    announce::ask(gateway, target, unicast, &mut frame).then(|| {
        verify(frame.bytes());
        frame.bytes().to_vec()
    })
}

#[test]
fn claims_reach_everybody() {
    let expected = build::arp(ArpPacket::REQUEST, A, A4, MacAddr::ZERO, A4);
    assert_eq!(claimed(A, A4.into(), false), expected);
    let all = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    let mut payload = A6.octets().to_vec();
    payload.extend([2, 1]);
    payload.extend(A.0);
    for (router, flags) in [(false, 0x2000), (true, 0xa000)] {
        let header = IcmpHeader::new(IcmpHeader::NEIGHBOR_ADVERTISEMENT, flags, 0);
        let expected = build::icmp6(all, A, A6, "ff02::1".parse().unwrap(), header, &payload);
        assert_eq!(claimed(A, A6.into(), router), expected);
    }
}

#[test]
fn questions_come_from_the_nearest_address() {
    let mut gateway = gateway();
    gateway.addresses.insert(0, "172.16.0.1/16".parse().unwrap());
    gateway.addresses.insert(0, "fd00:99::1/64".parse().unwrap());
    let ask = |target: IpAddr, unicast| question(&gateway, target, unicast).unwrap();

    let expected = build::arp(ArpPacket::REQUEST, GATEWAY, GATEWAY4, MacAddr::ZERO, STRANGER4);
    assert_eq!(ask(STRANGER4.into(), None), expected);
    assert_eq!(ask(STRANGER4.into(), Some(STRANGER))[..6], STRANGER.0);
    let far = build::arp(ArpPacket::REQUEST, GATEWAY, Ipv4Addr::new(172, 16, 0, 1), MacAddr::ZERO, OUTSIDE4);
    assert_eq!(ask(OUTSIDE4.into(), None), far, "on-link by a route, though in no subnet");

    assert_eq!(ask(STRANGER6.into(), None), build::neighbor_solicitation(GATEWAY, GATEWAY6, STRANGER6));
    let link_local = STRANGER.link_local();
    let expected = build::neighbor_solicitation(GATEWAY, GATEWAY.link_local(), link_local);
    assert_eq!(ask(link_local.into(), None), expected);
    let probe = ask(STRANGER6.into(), Some(STRANGER));
    let headers = parse(&probe).unwrap().headers;
    assert_eq!((headers.destination, headers.destination_address()), (STRANGER, Some(STRANGER6.into())));

    gateway.addresses.clear();
    assert_eq!(question(&gateway, STRANGER4.into(), None), None);
    assert!(question(&gateway, STRANGER6.into(), None).is_some());
}

#[test]
fn an_advertisement_says_what_is_configured() {
    let mut frame = empty();
    assert!(advertise::write(&gateway(), None, &mut frame));
    verify(frame.bytes());
    let bytes = frame.bytes();
    let headers = parse(bytes).unwrap().headers;
    assert_eq!(headers.destination, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(headers.source_address(), Some(GATEWAY.link_local().into()), "RFC 4861 §6.1.2");
    assert_eq!(bytes[14 + 7], 255);
    let message = &bytes[54..];
    // Type, code; hop limit, O flag, lifetime; timers unspecified.
    assert_eq!(message[..2], [134, 0]);
    assert_eq!(message[4..16], [64, 0x40, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(message[16..24], [1, 1, 2, 0x42, 10, 10, 0, 1]);
    assert_eq!(message[24..32], [5, 1, 0, 0, 0, 0, 5, 0xaa]);
    // On-link and autonomous, 30 and 7 days.
    assert_eq!(message[32..48], [3, 4, 64, 0xc0, 0, 0x27, 0x8d, 0, 0, 9, 0x3a, 0x80, 0, 0, 0, 0]);
    let prefix: Ipv6Addr = "fd00:10::".parse().unwrap();
    assert_eq!(message[48..], prefix.octets());
    let (source, destination) = (GATEWAY.link_local(), "ff02::1".parse().unwrap());
    let length = u32::try_from(message.len()).unwrap();
    assert_eq!((pseudo_header_v6(source, destination, 58, length) + Sum::of(message)).checksum(), 0);
}

#[test]
fn an_advertisement_keeps_within_the_least_mtu_and_what_hosts_can_use() {
    let mut gateway = gateway();
    gateway.addresses = vec!["fd00:1::1/56".parse().unwrap(); 100];
    let mut frame = empty();
    assert!(advertise::write(&gateway, None, &mut frame));
    verify(frame.bytes());
    assert!((1240..=14 + 1280).contains(&frame.len()), "{}", frame.len());
    assert_eq!(frame.bytes()[54 + 32 + 3], 0x80, "no addresses are made from a /56");

    gateway.advertisement = None;
    assert!(!advertise::write(&gateway, None, &mut frame));
}
