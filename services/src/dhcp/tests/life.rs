//! From the first DISCOVER to the end.

use super::server::Mood;
use super::*;
use crate::Route;

const EVERYONE: (MacAddr, Ipv4Addr) = (MacAddr::BROADCAST, Ipv4Addr::BROADCAST);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[test]
fn a_lease_is_asked_for_probed_and_announced() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(10);
    let asked = world.asked();
    assert_eq!(world.kinds(), [Kind::Discover, Kind::Request]);
    for (_, message) in &asked {
        assert_eq!((message.to, message.from, message.own), (EVERYONE, NOBODY, NOBODY));
        assert_eq!(message.hostname.as_deref(), Some(&b"gateway"[..]));
        let wanted = message.wanted.as_ref().unwrap();
        assert!([1, 3, 6, 15, 26, 51, 121].iter().all(|option| wanted.contains(option)));
        assert_eq!(message.xid, asked[0].1.xid, "one transaction");
    }
    assert_eq!((asked[1].1.address, asked[1].1.server), (Some(ADDRESS), Some(SERVER)));

    // Three probes that claim nothing, then two announcements.
    let arp: Vec<_> = world.sent.iter().filter(|(_, frame)| arp_target(frame) == Some(ADDRESS)).collect();
    let senders: Vec<_> =
        arp.iter().map(|(_, frame)| Ipv4Addr::from(*frame[28..].first_chunk().unwrap())).collect();
    assert_eq!(senders, [NOBODY, NOBODY, NOBODY, ADDRESS, ADDRESS]);
    let bound = world.events[0].0;
    assert!(arp[2].0 < bound && bound <= arp[3].0, "nobody is told before the probes are out");

    let lease = Lease {
        address: "192.0.2.77/24".parse().unwrap(),
        router: Some(SERVER),
        routes: Vec::new(),
        dns: vec![[192, 0, 2, 53].into(), [9, 9, 9, 9].into()],
        domain: Some("example.org".to_owned()),
        mtu: Some(1400),
        server: SERVER,
        expires: Some(Time::from_secs(3600)),
    };
    assert_eq!(world.events, [(bound, DhcpEvent::Bound(lease))]);
    assert_eq!(world.client.next_poll(), Some(Time::from_secs(1800)), "T1 is half of it");
}

#[test]
fn silence_is_met_with_ever_longer_pauses() {
    let mut world = World::new(Server { mood: Mood::Silent, ..Server::granting(3600) });
    world.run_until(600);
    let moments: Vec<_> = world.sent.iter().map(|(at, _)| at.nanos() / 1_000_000).collect();
    let pauses: Vec<_> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, expected) in pauses.iter().zip([4, 8, 16, 32, 64, 64, 64, 64]) {
        assert!(pause.abs_diff(expected * 1000) <= 1000, "{pauses:?}");
    }
    assert!(pauses.iter().any(|pause| pause % 1000 != 0), "they are random: {pauses:?}");
    let (_, last) = world.asked().pop().unwrap();
    assert!(u64::from(last.secs) * 1000 <= moments.last().unwrap() - moments[0] && last.secs > 500);
    // A server that turns up is found.
    world.server.mood = Mood::Granting;
    world.run_until(700);
    assert_eq!(world.lease().address.addr(), ADDRESS);
}

#[test]
fn an_offer_that_is_not_kept_is_given_up_after_a_minute() {
    let mut world = World::new(Server { mood: Mood::Forgetful, ..Server::granting(3600) });
    world.run_until(100);
    let asked = world.asked();
    let kinds: Vec<_> = asked.iter().map(|(_, asked)| asked.kind).collect();
    assert_eq!(
        &kinds[..6],
        [Kind::Discover, Kind::Request, Kind::Request, Kind::Request, Kind::Request, Kind::Discover]
    );
    assert!((56..=66).contains(&asked[5].0), "{}", asked[5].0);
    assert_ne!(asked[5].1.xid, asked[0].1.xid);
}

#[test]
fn a_lease_is_renewed_by_its_server_and_does_not_change_hands() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(2000);
    let (at, renewal) = world.asked().pop().unwrap();
    assert_eq!((at, renewal.kind), (1800, Kind::Request));
    assert_eq!((renewal.to, renewal.from, renewal.own), ((SERVER_MAC, SERVER), ADDRESS, ADDRESS));
    assert_eq!((renewal.address, renewal.server), (None, None), "RFC 2131 table 5: both MUST NOT be there");
    assert_eq!(world.lease().expires, Some(Time::from_secs(1800 + 3600)));
    world.run_until(100_000);
    // Every half hour, no probes, no announcements, no loss.
    assert_eq!(world.sent.iter().filter(|(_, frame)| arp_target(frame).is_some()).count(), 5);
    assert_eq!(world.events.len(), 1 + 100_000 / 1800);
    assert!(!world.events.iter().any(|(_, event)| *event == DhcpEvent::Lost));
}

#[test]
fn a_silent_server_is_asked_then_everyone_then_the_lease_is_lost() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(10);
    world.server.mood = Mood::Silent;
    world.run_until(3599);
    let asked = world.asked();
    let (renewing, rebinding): (Vec<_>, Vec<_>) = asked[2..].iter().partition(|(at, _)| *at < 3150);
    assert!(renewing.iter().all(|(_, asked)| asked.to == (SERVER_MAC, SERVER)));
    assert!(rebinding.iter().all(|(_, asked)| asked.to == EVERYONE && asked.own == ADDRESS));
    let moments: Vec<_> = renewing.iter().map(|(at, _)| *at).collect();
    // Half of what is left to T2, a minute at least.
    assert_eq!(moments, [1800, 2475, 2812, 2981, 3065, 3125]);
    let moments: Vec<_> = rebinding.iter().map(|(at, _)| *at).collect();
    assert_eq!(moments, [3150, 3375, 3487, 3547]);
    assert_eq!(world.events.len(), 1, "it is ours to its last second");

    world.run_until(3600);
    assert_eq!(world.events[1], (Time::from_secs(3600), DhcpEvent::Lost));
    let (_, discover) = world.asked().pop().unwrap();
    assert_eq!((discover.kind, discover.own, discover.address), (Kind::Discover, NOBODY, Some(ADDRESS)));
    world.server.mood = Mood::Granting;
    world.run_until(3700);
    assert_eq!(world.lease().address.addr(), ADDRESS);
}

#[test]
fn another_server_may_take_over_a_lease() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(10);
    world.server.mood = Mood::Silent;
    world.run_until(3200);
    let second = Ipv4Addr::new(192, 0, 2, 2);
    world.server = Server { identifier: second, ..Server::granting(7200) };
    world.run_until(3500);
    assert_eq!(world.lease().server, second);
    assert_eq!(world.lease().expires, Some(Time::from_secs(3375 + 7200)));
}

#[test]
fn a_refused_request_is_begun_again_later_each_time() {
    let mut world = World::new(Server { mood: Mood::Refusing, ..Server::granting(3600) });
    world.run_until(1000);
    let moments: Vec<_> =
        world.asked().iter().filter(|(_, asked)| asked.kind == Kind::Discover).map(|(at, _)| *at).collect();
    let pauses: Vec<_> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, expected) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 64, 64]) {
        assert!((expected..=expected + 1).contains(pause), "{pauses:?}");
    }
    assert!(world.events.is_empty());
}

#[test]
fn a_lease_that_is_refused_is_lost_at_once() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(10);
    world.server.mood = Mood::Refusing;
    world.run_until(1800);
    assert_eq!(world.events[1], (Time::from_secs(1800), DhcpEvent::Lost));
    world.server = Server { address: [192, 0, 2, 78].into(), ..Server::granting(3600) };
    world.run_until(1810);
    let (_, discover) = world.asked().into_iter().rfind(|(_, asked)| asked.kind == Kind::Discover).unwrap();
    assert_eq!(discover.address, None, "a refused address is not asked for again");
    assert_eq!(world.lease().address.addr(), Ipv4Addr::new(192, 0, 2, 78));
}

#[test]
fn only_its_own_server_takes_a_lease_away_early() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(10);
    world.server.mood = Mood::Silent;
    world.run_until(1801);
    let xid = world.asked().pop().unwrap().1.xid;
    let stranger = Server { identifier: [192, 0, 2, 66].into(), ..Server::granting(3600) };
    world.client.receive(&stranger.frame(Kind::Nak, xid), world.now);
    world.run_until(1802);
    assert_eq!(world.events.len(), 1);
    world.client.receive(&world.server.frame(Kind::Nak, xid), world.now);
    world.run_until(1803);
    assert_eq!(world.events[1].1, DhcpEvent::Lost);
}

#[test]
fn an_address_somebody_has_is_declined() {
    let mut world = World::new(Server::granting(3600));
    world.squatter = Some(MacAddr([2, 0, 0, 0, 0, 0x99]));
    world.run_until(8);
    let (_, decline) = world.asked().pop().unwrap();
    assert_eq!(decline.kind, Kind::Decline);
    assert_eq!((decline.to, decline.own), (EVERYONE, NOBODY));
    assert_eq!((decline.address, decline.server), (Some(ADDRESS), Some(SERVER)));
    assert_eq!((decline.hostname, decline.wanted), (None, None), "RFC 2131 table 5: MUST NOT");
    assert!(world.events.is_empty(), "nobody was told of it");

    // Not again within ten seconds, and then with another address.
    assert_eq!(world.kinds().len(), 3);
    world.squatter = None;
    world.server.address = [192, 0, 2, 78].into();
    world.run_until(30);
    let again = world.asked().into_iter().rfind(|(_, asked)| asked.kind == Kind::Discover).unwrap();
    assert!(again.0 >= 10 && again.1.address.is_none());
    assert_eq!(world.lease().address.addr(), Ipv4Addr::new(192, 0, 2, 78));
}

#[test]
fn somebody_who_is_about_to_take_the_address_counts_and_our_own_echo_does_not() {
    for (mac, conflict) in [(MacAddr([2, 0, 0, 0, 0, 0x99]), true), (MAC, false)] {
        let mut world = World::new(Server::granting(3600));
        world.run_until(0);
        world.client.receive(&super::super::arp::probe(mac, ADDRESS), world.now);
        world.run_until(5);
        assert_eq!(world.kinds().contains(&Kind::Decline), conflict);
    }
}

#[test]
fn a_grant_that_arrives_after_its_end_is_none() {
    let mut world = World::new(Server { mood: Mood::Forgetful, ..Server::granting(10) });
    // The third and the fourth REQUEST are sixteen seconds apart.
    world.run_until(24);
    let (asked_at, last) = world.asked().pop().unwrap();
    assert!(asked_at <= 14 && last.kind == Kind::Request, "{asked_at}");
    world.client.receive(&world.server.frame(Kind::Ack, last.xid), world.now);
    world.run_until(26);
    assert!(world.events.is_empty());
}

#[test]
fn a_lease_for_ever_is_left_alone() {
    let mut world = World::new(Server::granting(u32::MAX));
    world.run_until(1000);
    assert_eq!(world.lease().expires, None);
    assert_eq!(world.client.next_poll(), None);
}

#[test]
fn a_clock_that_stood_still_past_the_end_loses_the_lease() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(10);
    world.server.mood = Mood::Silent;
    world.now = Time::from_secs(1_000_000);
    world.poll();
    assert_eq!(world.events.last(), Some(&(world.now, DhcpEvent::Lost)));
    assert_eq!(world.kinds().len(), 2, "nothing is sent for a lease that is over");
}

#[test]
fn what_comes_with_a_lease_may_change_when_it_is_renewed() {
    let mut world = World::new(Server::granting(3600));
    world.run_until(10);
    let routes = [0, 192, 0, 2, 254, 8, 10, 192, 0, 2, 253];
    world.server = Server::granting(3600).with(121, &routes).without(26);
    world.run_until(1801);
    let lease = world.lease();
    let gateway = Some([192, 0, 2, 253].into());
    assert_eq!(lease.routes, [Route { destination: "10.0.0.0/8".parse().unwrap(), gateway }]);
    assert_eq!((lease.router, lease.mtu), (Some([192, 0, 2, 254].into()), None));
    assert_eq!(world.lease().expires, Some(Time::from_secs(1800).after(secs(3600))));
}

#[test]
fn clients_started_together_do_not_stay_in_step() {
    let first = |seed| {
        let mut client = DhcpClient::new(MAC, None, seed);
        let mut asked = None;
        client.poll(Time::default(), |frame| asked = Asked::read(frame));
        (asked.unwrap(), client.next_poll())
    };
    let ((one, one_due), (other, other_due)) = (first(1), first(2));
    assert_ne!(one.xid, other.xid);
    assert_ne!(one_due, other_due);
    assert_eq!(one.hostname, None);
}
