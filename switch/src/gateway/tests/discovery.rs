//! Neighbour and router discovery: who is answered, what is valid, and what is told of the sender.

use vswitch_wire::{LinkLayerOption, NeighborMessage, Parsed};
use zerocopy::IntoBytes;

use super::*;

const REPLIED: Outcome = Outcome::Reply(ReplyKind::Discovery);
const INVALID: Outcome = Outcome::Drop(DropReason::InvalidDiscovery);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ALL_ROUTERS_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 2]);

fn seen(what: Sighting) -> Option<Sight> {
    Some(Sight { address: STRANGER6.into(), mac: STRANGER, what })
}

/// An advertisement with these flags, from `mac` as `target` to `to`.
fn advertisement(to: (MacAddr, Ipv6Addr), mac: MacAddr, target: Ipv6Addr, flags: u16) -> Vec<u8> {
    let header = IcmpHeader::new(IcmpHeader::NEIGHBOR_ADVERTISEMENT, flags, 0);
    let option = LinkLayerOption::new(LinkLayerOption::TARGET, mac);
    build::icmp6(to.0, mac, target, to.1, header, &[&target.octets(), option.as_bytes()].concat())
}

fn router_solicitation(source: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let header = IcmpHeader::new(IcmpHeader::ROUTER_SOLICITATION, 0, 0);
    build::icmp6(ALL_ROUTERS_MAC, STRANGER, source, ALL_ROUTERS, header, options)
}

#[test]
fn the_gateways_own_addresses_are_answered_for_and_the_asker_is_seen() {
    for target in [GATEWAY6, GATEWAY.link_local(), EXTERNAL6] {
        let (answer, reply) = ask(&build::neighbor_solicitation(STRANGER, STRANGER6, target));
        assert_eq!(answer, Answer { outcome: REPLIED, sight: seen(Sighting::Request) });
        assert_eq!(reply, advertisement((STRANGER, STRANGER6), GATEWAY, target, 0xe000));
    }
    let mut direct = build::neighbor_solicitation(STRANGER, STRANGER6, GATEWAY6);
    direct[..6].copy_from_slice(&GATEWAY.0);
    assert_eq!(outcome(&direct), REPLIED);
}

#[test]
fn a_configured_host_is_answered_for_to_the_asker() {
    let (answer, reply) = ask(&build::neighbor_solicitation(STRANGER, STRANGER6, A6));
    assert_eq!(answer, Answer { outcome: REPLIED, sight: None });
    assert_eq!(reply, build::neighbor_advertisement(STRANGER, A, STRANGER6, A6));
}

#[test]
fn what_the_host_has_to_hear_itself_is_left_alone() {
    let probe = build::neighbor_solicitation(STRANGER, Ipv6Addr::UNSPECIFIED, A6);
    assert_eq!(outcome(&probe), Outcome::Pass, "whether the address is taken");
    let own = build::neighbor_solicitation(A, STRANGER6, A6);
    assert_eq!(outcome(&own), Outcome::Pass, "the host itself asks");
    let unknown = build::neighbor_solicitation(A, A6, STRANGER6);
    assert_eq!(outcome(&unknown), Outcome::Pass, "nobody known is asked for");
    let asked = build::neighbor_solicitation(STRANGER, STRANGER6, A6);
    assert_eq!(ask_with(&gateway(), false, &asked).0.outcome, Outcome::Pass, "no icc");
    let mut direct = asked;
    direct[..6].copy_from_slice(&GATEWAY.0);
    assert_eq!(outcome(&direct), Outcome::Drop(DropReason::GatewayClosed));
}

#[test]
fn the_gateways_address_is_defended() {
    // RFC 4862 §5.4.4 by RFC 4861 §7.2.4: who probes has no address, so all nodes are told.
    let (answer, reply) = ask(&build::neighbor_solicitation(STRANGER, Ipv6Addr::UNSPECIFIED, GATEWAY6));
    assert_eq!(answer, Answer { outcome: REPLIED, sight: None });
    let ours = advertisement((ALL_NODES_MAC, ALL_NODES), GATEWAY, GATEWAY6, 0xa000);
    assert_eq!(reply, ours);
    for claim in [
        advertisement((ALL_NODES_MAC, ALL_NODES), STRANGER, GATEWAY6, 0x2000),
        advertisement((GATEWAY, GATEWAY6), STRANGER, GATEWAY6, 0x6000),
        build::neighbor_solicitation(STRANGER, GATEWAY6, A6),
    ] {
        assert_eq!(ask(&claim), (Answer { outcome: REPLIED, sight: None }, ours.clone()));
    }
}

#[test]
fn advertisements_are_seen_for_what_they_are() {
    for (flags, overrides) in [(0x4000, false), (0x6000, true)] {
        let frame = advertisement((GATEWAY, GATEWAY6), STRANGER, STRANGER6, flags);
        let sight = seen(Sighting::Solicited { overrides });
        assert_eq!(ask(&frame).0, Answer { outcome: Outcome::Consumed, sight });
    }
    for (flags, overrides) in [(0, false), (0x2000, true)] {
        let frame = advertisement((ALL_NODES_MAC, ALL_NODES), STRANGER, STRANGER6, flags);
        let sight = seen(Sighting::Unsolicited { overrides });
        assert_eq!(ask(&frame).0, Answer { outcome: Outcome::Pass, sight });
    }
    let header = IcmpHeader::new(IcmpHeader::NEIGHBOR_ADVERTISEMENT, 0x4000, 0);
    let brief = build::icmp6(GATEWAY, STRANGER, STRANGER6, GATEWAY6, header, &STRANGER6.octets());
    assert_eq!(ask(&brief).0.sight, seen(Sighting::Solicited { overrides: false }));
    for elsewhere in [OUTSIDE6, A6] {
        let frame = advertisement((GATEWAY, GATEWAY6), STRANGER, elsewhere, 0x6000);
        assert_eq!(ask(&frame).0, Answer { outcome: Outcome::Consumed, sight: None }, "{elsewhere}");
    }
    let everybody_solicited = advertisement((ALL_NODES_MAC, ALL_NODES), STRANGER, STRANGER6, 0x6000);
    assert_eq!(ask(&everybody_solicited).0, Outcome::Pass.only(), "§7.1.2: not valid");
}

/// RFC 4861 §7.1.1, rule by rule.
#[test]
fn solicitations_that_are_not_valid_are_dropped() {
    let good = build::neighbor_solicitation(STRANGER, STRANGER6, GATEWAY6);
    assert_eq!(outcome(&good), REPLIED);
    let mut far = good.clone();
    far[14 + 7] = 254;
    assert_eq!(outcome(&far), INVALID, "hop limit");
    let mut wrong = good.clone();
    wrong[14 + 40 + 2] ^= 1;
    assert_eq!(outcome(&wrong), INVALID, "checksum");

    let header = |code| IcmpHeader::with_code(IcmpHeader::NEIGHBOR_SOLICITATION, code, 0);
    let solicit = |source, destination, code, target: Ipv6Addr, options: &[u8]| {
        let payload = [&target.octets()[..], options].concat();
        let to = compose::group_mac(destination);
        outcome(&build::icmp6(to, STRANGER, source, destination, header(code), &payload))
    };
    let group = compose::solicited_node(GATEWAY6);
    let option = LinkLayerOption::new(LinkLayerOption::SOURCE, STRANGER);
    let option = option.as_bytes();
    let nobody = Ipv6Addr::UNSPECIFIED;
    assert_eq!(solicit(STRANGER6, group, 0, GATEWAY6, option), REPLIED);
    assert_eq!(solicit(STRANGER6, group, 0, GATEWAY6, &[]), REPLIED);
    assert_eq!(solicit(nobody, group, 0, GATEWAY6, &[]), REPLIED);
    assert_eq!(solicit(STRANGER6, group, 1, GATEWAY6, option), INVALID, "code");
    assert_eq!(solicit(STRANGER6, group, 0, GATEWAY6, &[1, 0]), INVALID, "option without length");
    assert_eq!(solicit(STRANGER6, group, 0, GATEWAY6, &option[..7]), INVALID, "cut option");
    assert_eq!(solicit(nobody, group, 0, GATEWAY6, option), INVALID, "a probe that names itself");
    assert_eq!(solicit(nobody, ALL_NODES, 0, GATEWAY6, &[]), INVALID, "a probe to another group");
    assert_eq!(solicit(ALL_NODES, group, 0, GATEWAY6, option), INVALID, "a group asks");
    assert_eq!(
        solicit(STRANGER6, group, 0, STRANGER6, &[1, 0]),
        Outcome::Pass,
        "not for the gateway to judge"
    );

    let short = build::icmp6(GATEWAY, STRANGER, STRANGER6, GATEWAY6, header(0), &GATEWAY6.octets()[..15]);
    assert_eq!(outcome(&short), INVALID, "shorter than 24 bytes");
}

#[test]
fn a_router_solicitation_is_answered_to_the_host_alone() {
    let option = LinkLayerOption::new(LinkLayerOption::SOURCE, STRANGER);
    let source = STRANGER.link_local();
    let (answer, reply) = ask(&router_solicitation(source, option.as_bytes()));
    let sight = Some(Sight { address: source.into(), mac: STRANGER, what: Sighting::Request });
    assert_eq!(answer, Answer { outcome: REPLIED, sight });
    let parsed: Parsed = parse(&reply).unwrap();
    assert_eq!(
        (parsed.headers.destination, parsed.headers.destination_address()),
        (STRANGER, Some(source.into()))
    );
    assert_eq!(parsed.headers.destination_port >> 8, 134);

    let (answer, reply) = ask(&router_solicitation(Ipv6Addr::UNSPECIFIED, &[]));
    assert_eq!(answer, Answer { outcome: REPLIED, sight: None });
    assert_eq!(parse(&reply).unwrap().headers.destination_address(), Some(ALL_NODES.into()));
}

/// RFC 4861 §6.1.1, rule by rule.
#[test]
fn router_solicitations_that_are_not_valid_are_dropped() {
    let option = LinkLayerOption::new(LinkLayerOption::SOURCE, STRANGER);
    let good = router_solicitation(STRANGER6, option.as_bytes());
    let change = |at: usize| {
        let mut frame = good.clone();
        frame[at] ^= 1;
        outcome(&frame)
    };
    assert_eq!(change(14 + 7), INVALID, "hop limit");
    assert_eq!(change(14 + 40 + 3), INVALID, "checksum");
    assert_eq!(outcome(&router_solicitation(Ipv6Addr::UNSPECIFIED, option.as_bytes())), INVALID);
    assert_eq!(outcome(&router_solicitation(STRANGER6, &[1, 0, 0, 0, 0, 0, 0, 0])), INVALID);

    let silent = Gateway { advertisement: None, ..gateway() };
    assert_eq!(ask_with(&silent, true, &good).0.outcome, Outcome::Pass, "another router may answer");
}

#[test]
fn fragments_and_other_messages_are_left_alone() {
    // RFC 6980: an atomic fragment is whole, a first fragment is not.
    let message = &build::neighbor_solicitation(STRANGER, STRANGER6, GATEWAY6)[54..];
    let fragment = |flags: u8| {
        let packet = [&[58, 0, 0, flags, 0, 0, 0, 1][..], message].concat();
        let mut frame =
            build::ipv6(GATEWAY, STRANGER, STRANGER6, compose::solicited_node(GATEWAY6), 44, &packet);
        frame[14 + 7] = 255;
        outcome(&frame)
    };
    assert_eq!(fragment(0), REPLIED);
    assert_eq!(fragment(1), INVALID);
    let header = IcmpHeader::new(IcmpHeader::ROUTER_ADVERTISEMENT, 0, 0);
    let theirs = build::icmp6(ALL_NODES_MAC, STRANGER, STRANGER.link_local(), ALL_NODES, header, &[0; 8]);
    assert_eq!(outcome(&theirs), Outcome::Pass, "another router's");
    assert_eq!(NeighborMessage::LENGTH, 24);
}
