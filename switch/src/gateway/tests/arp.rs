//! ARP: who is answered, for whom, and what is told of the sender.

use super::*;

fn request(from: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    build::arp(ArpPacket::REQUEST, from, sender, MacAddr::ZERO, target)
}

fn seen(address: Ipv4Addr, what: Sighting) -> Option<Sight> {
    Some(Sight { address: address.into(), mac: STRANGER, what })
}

const REPLIED: Outcome = Outcome::Reply(ReplyKind::Discovery);

#[test]
fn the_gateways_own_addresses_are_answered_for_and_the_asker_is_seen() {
    for target in [GATEWAY4, EXTERNAL4] {
        let (answer, reply) = ask(&request(STRANGER, STRANGER4, target));
        assert_eq!(answer, Answer { outcome: REPLIED, sight: seen(STRANGER4, Sighting::Request) });
        assert_eq!(reply, build::arp(ArpPacket::REPLY, GATEWAY, target, STRANGER, STRANGER4));
    }
    let mut direct = request(STRANGER, STRANGER4, GATEWAY4);
    direct[..6].copy_from_slice(&GATEWAY.0);
    assert_eq!(outcome(&direct), REPLIED, "a probe whether the gateway is still there");
    assert_eq!(ask_with(&gateway(), false, &direct).0.outcome, REPLIED, "without icc too");
}

#[test]
fn a_configured_host_is_answered_for_to_the_asker() {
    let (answer, reply) = ask(&request(STRANGER, STRANGER4, A4));
    let sight = seen(STRANGER4, Sighting::Unsolicited { overrides: true });
    assert_eq!(answer, Answer { outcome: REPLIED, sight });
    assert_eq!(reply, build::arp(ArpPacket::REPLY, A, A4, STRANGER, STRANGER4));

    let (answer, reply) = ask(&request(B, B4, A4));
    assert_eq!(answer, Answer { outcome: REPLIED, sight: None }, "B's address is known by configuration");
    assert_eq!(reply, build::arp(ArpPacket::REPLY, A, A4, B, B4));
}

#[test]
fn what_the_host_has_to_hear_itself_is_left_alone() {
    for (frame, why) in [
        (request(STRANGER, Ipv4Addr::UNSPECIFIED, A4), "a probe whether the address is taken"),
        (request(A, A4, A4), "an announcement"),
        (request(STRANGER, A4, A4), "somebody else's announcement"),
        (request(A, A4, STRANGER4), "nobody known is asked for"),
    ] {
        assert_eq!(outcome(&frame), Outcome::Pass, "{why}");
    }
    let own = request(A, STRANGER4, A4);
    assert_eq!(outcome(&own), Outcome::Pass, "the host itself asks");
    let isolated = ask_with(&gateway(), false, &request(B, B4, A4)).0;
    assert_eq!(isolated.outcome, Outcome::Pass, "members may not reach each other");
}

#[test]
fn the_gateways_address_is_defended() {
    // A probe from 0.0.0.0 (RFC 5227 §2.1.1) is told that the address is taken.
    let (answer, reply) = ask(&request(STRANGER, Ipv4Addr::UNSPECIFIED, GATEWAY4));
    assert_eq!(answer, Answer { outcome: REPLIED, sight: None });
    assert_eq!(reply, build::arp(ArpPacket::REPLY, GATEWAY, GATEWAY4, STRANGER, Ipv4Addr::UNSPECIFIED));
    // A claim is answered with ours and goes no further.
    let claim = build::arp(ArpPacket::REPLY, STRANGER, GATEWAY4, MacAddr::BROADCAST, A4);
    for frame in [request(STRANGER, GATEWAY4, GATEWAY4), request(STRANGER, GATEWAY4, A4), claim] {
        let (answer, reply) = ask(&frame);
        assert_eq!(answer, Answer { outcome: REPLIED, sight: None });
        assert_eq!(reply, request(GATEWAY, GATEWAY4, GATEWAY4));
    }
}

#[test]
fn replies_and_announcements_are_told_apart() {
    let reply = build::arp(ArpPacket::REPLY, STRANGER, STRANGER4, GATEWAY, GATEWAY4);
    let sight = seen(STRANGER4, Sighting::Solicited { overrides: true });
    assert_eq!(ask(&reply).0, Answer { outcome: Outcome::Consumed, sight });

    let gratuitous = build::arp(ArpPacket::REPLY, STRANGER, STRANGER4, MacAddr::BROADCAST, STRANGER4);
    let sight = seen(STRANGER4, Sighting::Unsolicited { overrides: true });
    assert_eq!(ask(&gratuitous).0, Answer { outcome: Outcome::Pass, sight });
    assert_eq!(ask(&request(STRANGER, STRANGER4, STRANGER4)).0, Answer { outcome: Outcome::Pass, sight });
}

#[test]
fn what_cannot_be_true_makes_no_sight() {
    for sender in [OUTSIDE4, A4, Ipv4Addr::new(10, 10, 0, 255), Ipv4Addr::new(10, 10, 0, 0)] {
        let (answer, _) = ask(&request(STRANGER, sender, GATEWAY4));
        assert_eq!(answer, Answer { outcome: REPLIED, sight: None }, "{sender}");
    }
    let mut frame = request(STRANGER, STRANGER4, GATEWAY4);
    frame[22..28].copy_from_slice(&[0xff; 6]);
    assert_eq!(outcome(&frame), Outcome::Drop(DropReason::SourceNotUnicast));
}

#[test]
fn the_gateway_answers_for_nobody_when_it_is_asked_alone() {
    let mut direct = request(STRANGER, STRANGER4, A4);
    direct[..6].copy_from_slice(&GATEWAY.0);
    assert_eq!(outcome(&direct), Outcome::Drop(DropReason::GatewayClosed));
}
