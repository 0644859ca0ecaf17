//! What is taken from an answer, and what is not believed.

use super::super::lease::{Terms, granted};
use super::super::reply::Reply;
use super::server::framed;
use super::*;
use crate::Route;

const XID: u32 = 0x1234_5678;

fn read(frame: &[u8]) -> Option<Lease> {
    Some(granted(&Reply::read(frame, MAC, XID)?, Time::default())?.0)
}

fn lease(server: &Server) -> Option<Lease> {
    read(&server.frame(Kind::Ack, XID))
}

fn terms(server: &Server) -> Terms {
    let frame = server.frame(Kind::Ack, XID);
    granted(&Reply::read(&frame, MAC, XID).unwrap(), Time::from_secs(100)).unwrap().1.unwrap()
}

fn seconds(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

#[test]
fn renewal_times_are_the_servers_where_they_make_sense() {
    let at = |renew, rebind, expire| Terms {
        renew: Time::from_secs(renew),
        rebind: Time::from_secs(rebind),
        expire: Time::from_secs(expire),
    };
    let server = || Server::granting(800);
    assert_eq!(terms(&server()), at(500, 800, 900));
    assert_eq!(terms(&server().with(58, &seconds(200)).with(59, &seconds(300))), at(300, 400, 900));
    assert_eq!(terms(&server().with(58, &seconds(200))), at(300, 800, 900));
    // T2 after the end, T1 after T2, no time at all.
    assert_eq!(terms(&server().with(59, &seconds(801))), at(500, 800, 900));
    assert_eq!(terms(&server().with(58, &seconds(750))), at(500, 800, 900));
    assert_eq!(terms(&server().with(58, &seconds(0))), at(500, 800, 900));
    assert_eq!(terms(&server().with(59, &seconds(100))), at(200, 200, 900));
}

#[test]
fn an_offer_without_use_is_none() {
    assert!(lease(&Server::granting(10)).is_some());
    assert!(lease(&Server::granting(9)).is_none());
    assert!(lease(&Server::granting(3600).without(51)).is_none());
    assert!(lease(&Server::granting(3600).without(1)).is_none());
    assert!(lease(&Server::granting(3600).with(1, &[255, 0, 255, 0])).is_none());
    assert!(lease(&Server::granting(3600).with(1, &[0, 0, 0, 0])).is_none());
    for address in
        [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [192, 0, 2, 0], [192, 0, 2, 255]]
    {
        assert!(
            lease(&Server { address: address.into(), ..Server::granting(3600) }).is_none(),
            "{address:?}"
        );
    }
    assert!(lease(&Server { identifier: Ipv4Addr::BROADCAST, ..Server::granting(3600) }).is_none());
}

#[test]
fn a_cloud_gives_one_address_and_a_router_outside_it() {
    let routes = [32, 198, 51, 100, 1, 0, 0, 0, 0, 0, 198, 51, 100, 1];
    let lease = lease(&Server::granting(3600).with(1, &[255; 4]).with(121, &routes)).unwrap();
    assert_eq!(lease.address, "192.0.2.77/32".parse().unwrap());
    assert_eq!(lease.router, Some([198, 51, 100, 1].into()));
    assert_eq!(lease.routes, [Route { destination: "198.51.100.1/32".parse().unwrap(), gateway: None }]);
}

#[test]
fn classless_routes_that_are_wrong_are_left_alone() {
    for wrong in [&[33, 1, 2, 3, 4, 5, 192, 0, 2, 1][..], &[8, 10, 192, 0, 2], &[8], &[8, 10, 224, 0, 0, 1]] {
        let lease = lease(&Server::granting(3600).with(121, wrong)).unwrap();
        assert_eq!((lease.router, lease.routes.len()), (Some(SERVER), 0), "{wrong:?}");
    }
    // Without a default among them there is none: the router option does not count beside them.
    let lease = lease(&Server::granting(3600).with(121, &[12, 10, 31, 192, 0, 2, 9])).unwrap();
    assert_eq!(lease.router, None);
    assert_eq!(
        lease.routes[0].destination,
        "10.16.0.0/12".parse().unwrap(),
        "bits behind the prefix are cut"
    );
}

#[test]
fn what_a_server_may_make_us_keep_is_bounded() {
    let server = Server::granting(3600).with(121, &[8, 10, 192, 0, 2, 1].repeat(42)).with(6, &[9; 4 * 60]);
    let lease = lease(&server).unwrap();
    assert_eq!((lease.routes.len(), lease.dns.len()), (32, 8));
}

#[test]
fn senseless_extras_are_left_out() {
    let server = Server::granting(3600).with(26, &68_u16.to_be_bytes()).with(3, &[255; 4]).with(6, &[0; 4]);
    let read = lease(&server).unwrap();
    assert_eq!((read.mtu, read.router, read.dns.len()), (None, None, 0));
    assert_eq!(lease(&Server::granting(3600).with(3, &ADDRESS.octets())).unwrap().router, None);
    assert_eq!(lease(&Server::granting(3600).with(15, b"lan\0")).unwrap().domain.as_deref(), Some("lan"));
    for domain in [&b"a b"[..], b"x\nnameserver 6.6.6.6", b"-lan", b"\xff", b"\0", &[b'a'; 254]] {
        assert_eq!(lease(&Server::granting(3600).with(15, domain)).unwrap().domain, None, "{domain:?}");
    }
}

#[test]
fn options_may_be_split_and_lie_in_other_fields() {
    // The router is split over two options (RFC 3396), the mask lies in the field for a file, the lease time in
    // the one for a server name.
    let server =
        Server { options: vec![(3, vec![192, 0]), (52, vec![3]), (3, vec![2, 1])], ..Server::granting(1) };
    let mut message = server.message(Kind::Ack, XID);
    message[108..115].copy_from_slice(&[1, 4, 255, 255, 255, 0, 255]);
    message[44..53].copy_from_slice(&[0, 0, 51, 4, 0, 0, 14, 16, 255]);
    let lease = read(&framed(&message)).unwrap();
    assert_eq!((lease.router, lease.address.prefix_len()), (Some(SERVER), 24));
    assert_eq!(lease.expires, Some(Time::from_secs(3600)));
    // Without the option that says so, those fields hold no options.
    let plain = Server { options: vec![(52, vec![1])], ..server };
    let mut message = plain.message(Kind::Ack, XID);
    message[108..115].copy_from_slice(&[1, 4, 255, 255, 255, 0, 255]);
    message[44..53].copy_from_slice(&[0, 0, 51, 4, 0, 0, 14, 16, 255]);
    assert_eq!(read(&framed(&message)), None);
}

#[test]
fn answers_to_others_are_not_ours() {
    let good = Server::granting(3600).frame(Kind::Ack, XID);
    assert!(read(&good).is_some());
    assert!(Reply::read(&good, MAC, XID + 1).is_none(), "another transaction");
    let other = MacAddr([2, 0, 0, 0, 0, 0xd]);
    assert!(Reply::read(&good, other, XID).is_none(), "another station");
    let mut broadcast = good.clone();
    broadcast[..6].fill(0xff);
    assert!(read(&broadcast).is_some());
    assert!(Reply::read(&broadcast, other, XID).is_none(), "another client");
    let mut from_us = good.clone();
    from_us[6..12].copy_from_slice(&MAC.0);
    assert!(read(&from_us).is_none());
    let mut padded = good.clone();
    padded.extend([0; 40]);
    assert_eq!(read(&padded), read(&good), "padding is no part of it");
    // A request is no answer, whatever it says.
    let mut request = Server::granting(3600).message(Kind::Ack, XID);
    request[0] = 1;
    assert!(read(&framed(&request)).is_none());
    let mut elsewhere = Server::granting(3600).message(Kind::Ack, XID);
    elsewhere[236] = 0;
    assert!(read(&framed(&elsewhere)).is_none(), "BOOTP without the cookie");
}

#[test]
fn a_damaged_answer_is_none() {
    let good = Server::granting(3600).frame(Kind::Ack, XID);
    for at in 14..good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 0x20;
        assert_eq!(read(&damaged), None, "byte {at}");
        assert_eq!(read(&good[..at]), None, "cut at {at}");
    }
    // RFC 768: a checksum of zero is none.
    let mut unchecked = good.clone();
    unchecked[40..42].fill(0);
    assert_eq!(read(&unchecked), read(&good));
}
