//! Echoes, and the requests that get none.

use super::*;

const REPLIED: Outcome = Outcome::Reply(ReplyKind::Echo);

fn echo4(destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let header = IcmpHeader::new(IcmpHeader::ECHO_REQUEST, 7, 9);
    build::icmp4(GATEWAY, A, A4, destination, header, payload)
}

fn echo6(destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let header = IcmpHeader::new(IcmpHeader::ECHO_REQUEST_V6, 7, 9);
    build::icmp6(GATEWAY, A, A6, destination, header, payload)
}

#[test]
fn an_echo_carries_back_what_it_came_with() {
    for payload in [&[][..], b"odd", &[0xa5; 1400], &[0x5a; 65_000]] {
        let (answer, reply) = ask(&echo4(GATEWAY4, payload));
        assert_eq!(answer, REPLIED.only());
        let header = IcmpHeader::new(IcmpHeader::ECHO_REPLY, 7, 9);
        assert_eq!(reply, build::icmp4(A, GATEWAY, GATEWAY4, A4, header, payload));

        for address in [GATEWAY6, GATEWAY.link_local()] {
            let (answer, reply) = ask(&echo6(address, payload));
            assert_eq!(answer, REPLIED.only());
            let header = IcmpHeader::new(IcmpHeader::ECHO_REPLY_V6, 7, 9);
            let mut expected = build::icmp6(A, GATEWAY, address, A6, header, payload);
            expected[14 + 7] = 64;
            assert_eq!(reply, expected);
        }
    }
}

#[test]
fn the_class_is_kept_and_congestion_marks_are_not() {
    let mut frame = echo4(GATEWAY4, b"x");
    frame[15] = 0xb8 | 3;
    frame[18..20].copy_from_slice(&[0x12, 0x34]);
    frame[20] = 0;
    let sum = Sum::of(&frame[14..24]) + Sum::of(&frame[26..34]);
    frame[24..26].copy_from_slice(&sum.checksum().to_be_bytes());
    let (answer, reply) = ask(&frame);
    assert_eq!(answer.outcome, REPLIED);
    assert_eq!((reply[15], &reply[18..21]), (0xb8, &[0x12, 0x34, 0][..]), "and may be fragmented, as asked");

    let mut frame = echo6(GATEWAY6, b"x");
    frame[14..18].copy_from_slice(&[0x6b, 0xb1, 0x23, 0x45]);
    assert_eq!(ask(&frame).1[14..18], [0x6b, 0x80, 0, 0]);
}

#[test]
fn what_is_not_right_gets_no_echo() {
    let change = |mut frame: Vec<u8>, at: usize| {
        frame[at] ^= 1;
        outcome(&frame)
    };
    assert_eq!(change(echo4(GATEWAY4, b"x"), 14 + 11), Outcome::Drop(DropReason::BadHeaderChecksum));
    assert_eq!(change(echo4(GATEWAY4, b"x"), 42), Outcome::Drop(DropReason::BadIcmpChecksum));
    assert_eq!(change(echo6(GATEWAY6, b"x"), 62), Outcome::Drop(DropReason::BadIcmpChecksum));
    let header = IcmpHeader::new(IcmpHeader::ECHO_REQUEST, 7, 9);
    let from = |source| outcome(&build::icmp4(GATEWAY, A, source, GATEWAY4, header, b"x"));
    assert_eq!(from(GATEWAY4), Outcome::Drop(DropReason::LandAttack));
    assert_eq!(from(Ipv4Addr::BROADCAST), Outcome::Drop(DropReason::MartianSource));
    assert_eq!(from(Ipv4Addr::UNSPECIFIED), Outcome::Drop(DropReason::MartianSource));
    let coded = IcmpHeader::with_code(IcmpHeader::ECHO_REQUEST, 1, 0);
    let coded = build::icmp4(GATEWAY, A, A4, GATEWAY4, coded, b"x");
    assert_eq!(outcome(&coded), Outcome::Drop(DropReason::GatewayClosed));
}

#[test]
fn fragments_are_refused_and_everything_else_goes_on() {
    let mut fragment = echo4(GATEWAY4, &[0; 64]);
    fragment[20] = 0x20;
    assert_eq!(outcome(&fragment), Outcome::Drop(DropReason::GatewayClosed));
    assert_eq!(outcome(&echo4(OUTSIDE4, b"x")), Outcome::Pass, "to be routed");
    assert_eq!(outcome(&echo4(EXTERNAL4, b"x")), Outcome::Pass, "to be translated");
    let header = IcmpHeader::new(IcmpHeader::ECHO_REPLY, 7, 9);
    assert_eq!(outcome(&build::icmp4(GATEWAY, A, A4, GATEWAY4, header, b"x")), Outcome::Pass);
    let mut to_all = echo4(GATEWAY4, b"x");
    to_all[..6].copy_from_slice(&[0xff; 6]);
    assert_eq!(outcome(&to_all), Outcome::Pass);
}
