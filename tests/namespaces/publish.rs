//! Published ports: who calls them gets the container, and the container sees who called.

use std::net::{IpAddr, SocketAddr};

use super::support::eventually;
use super::support::sockets::receive;
use super::support::switch::Switch;
use super::support::talk::{converse, datagrams, listen};
use super::support::world::{INTERFACE_UPLINK, SERVER, SWITCH, World, any, ip};

scenarios! {
    as_root: [
        tcp_in,
        datagrams_in,
        a_range,
        at_one_address_only,
        what_is_not_published_is_closed,
        hairpins,
        hairpins_of_datagrams,
        the_attachment_with_the_default_route,
    ],
}

const MEGABYTE: usize = 1 << 20;

const NETWORKS: &str = r#"
    [networks.front]
    ipam = [{ subnet = "10.10.0.0/24" }, { subnet = "fd00:10::/64" }]
    [networks.back]
    ipam = [{ subnet = "10.20.0.0/24" }, { subnet = "fd00:20::/64" }]
    [containers.neighbour]
    networks = ["front"]
    [containers.stranger]
    networks = ["back"]
    [containers.web]
"#;

/// A switch whose container `web` is on `front` and publishes `ports`.
fn publishing(world: &World, ports: &str) -> Switch {
    world.switch(&format!("{INTERFACE_UPLINK}{NETWORKS}networks = [\"front\"]\nports = {ports}\n"))
}

fn tcp_in() {
    let world = World::create();
    let switch = publishing(&world, r#"["8080:80"]"#);
    for (client, own) in SERVER.iter().zip(SWITCH) {
        let listener = listen(&switch.netns("web"), any(own, 80));
        let caller = converse(&world.far, &listener, SocketAddr::new(ip(own), 8080), 4 * MEGABYTE);
        assert_eq!(caller.ip(), ip(client), "the client's own address arrives");
    }
    switch.stop();
}

fn datagrams_in() {
    let world = World::create();
    let switch = publishing(&world, r#"["5353:53/udp"]"#);
    for (client, own) in SERVER.iter().zip(SWITCH) {
        let server = datagrams(&switch.netns("web"), any(own, 53));
        let client = datagrams(&world.far, SocketAddr::new(ip(client), 0));
        asks(&client, SocketAddr::new(ip(own), 5353), &server);
    }
    switch.stop();
}

fn a_range() {
    let world = World::create();
    let switch = publishing(&world, r#"["9000-9003:7000-7003", "9000-9003:7000-7003/udp"]"#);
    let web = switch.netns("web");
    for (place, own) in [(0, SWITCH[0]), (1, SWITCH[1]), (3, SWITCH[0])] {
        let public = SocketAddr::new(ip(own), 9000 + place);
        converse(&world.far, &listen(&web, any(own, 7000 + place)), public, 1000);
        let server = datagrams(&web, any(own, 7000 + place));
        asks(&datagrams(&world.far, any(own, 0)), public, &server);
    }
    switch.stop();
}

/// The same port leads elsewhere at another of the switch's addresses.
fn at_one_address_only() {
    const SECOND: &str = "192.0.2.11";
    let world = World::create();
    let text = format!(
        r#"{INTERFACE_UPLINK}
        [uplink.nat]
        addresses = ["{SECOND}"]
        [networks.front]
        [containers]
        one = {{ networks = ["front"], ports = ["{}:80:80"] }}
        two = {{ networks = ["front"], ports = ["{SECOND}:80:80"] }}
        "#,
        SWITCH[0]
    );
    let switch = world.switch(&text);
    let listeners = ["one", "two"].map(|name| listen(&switch.netns(name), any(SECOND, 80)));
    // A listener that is not called would keep the test waiting, so each answers for itself.
    converse(&world.far, &listeners[0], SocketAddr::new(ip(SWITCH[0]), 80), 1000);
    converse(&world.far, &listeners[1], SocketAddr::new(ip(SECOND), 80), 1000);
    switch.stop();
}

fn what_is_not_published_is_closed() {
    let world = World::create();
    let switch = publishing(&world, r#"["8080:80"]"#);
    world.route_to_switch("10.10.0.0/24");
    world.route_to_switch("fd00:10::/64");
    let client = |address: IpAddr| datagrams(&world.far, any(&address.to_string(), 0));
    let ways = [
        // Another port of the switch, the right port over another protocol, and the container itself.
        SocketAddr::new(ip(SWITCH[0]), 81),
        SocketAddr::new(ip(SWITCH[0]), 8080),
        SocketAddr::new(ip(SWITCH[1]), 80),
        SocketAddr::new(switch.ipv4("web").into(), 80),
        SocketAddr::new(switch.ipv6("web").into(), 80),
    ];
    for (refused, to) in (1..).zip(ways) {
        client(to.ip()).send_to(b"anybody?", to).unwrap();
        let all = || switch.uplink_drops("not-published");
        eventually(&format!("{to} is refused"), || (all() == refused).then_some(()));
    }
    let web = switch.port("web");
    assert_eq!(web["dropped"], 0, "{web}");
    switch.stop();
}

/// From the container itself, from its network and from another one, by the switch's address and by the caller's
/// gateway.
fn hairpins() {
    let world = World::create();
    let switch = publishing(&world, r#"["8080:80"]"#);
    for (family, own) in SWITCH.into_iter().enumerate() {
        let listener = listen(&switch.netns("web"), any(own, 80));
        for caller in ["web", "neighbour", "stranger"] {
            for to in [own, gateway(caller, family)] {
                let peer = converse(&switch.netns(caller), &listener, SocketAddr::new(ip(to), 8080), 1000);
                // RFC 4787 REQ-9: the external address, or an answer would go past the switch.
                assert_eq!(peer.ip(), ip(own), "{caller} by {to}");
            }
        }
    }
    switch.stop();
}

fn hairpins_of_datagrams() {
    let world = World::create();
    let switch = publishing(&world, r#"["5353:53/udp"]"#);
    for (family, own) in SWITCH.into_iter().enumerate() {
        let server = datagrams(&switch.netns("web"), any(own, 53));
        for caller in ["web", "neighbour", "stranger"] {
            for to in [own, gateway(caller, family)] {
                let client = datagrams(&switch.netns(caller), any(own, 0));
                asks(&client, SocketAddr::new(ip(to), 5353), &server);
            }
        }
    }
    switch.stop();
}

/// Of a container on two networks: the one of the higher `gw_priority`, which also answers.
fn the_attachment_with_the_default_route() {
    for (front, back, subnet) in [(1, 0, "10.10.0"), (0, 1, "10.20.0"), (0, 0, "10.20.0")] {
        let world = World::create();
        let switch = world.switch(&format!(
            "{INTERFACE_UPLINK}{NETWORKS}ports = [\"8080:80\"]\n\
             networks.front.gw_priority = {front}\nnetworks.back.gw_priority = {back}\n"
        ));
        let listener = listen(&switch.netns("web"), any(SWITCH[0], 80));
        let public = SocketAddr::new(ip(SWITCH[0]), 8080);
        let (near, far, caller) = super::support::talk::call(&world.far, &listener, public);
        let called = far.local_addr().unwrap().to_string();
        assert!(called.starts_with(subnet), "{front} {back}: {called}");
        assert_eq!(caller.ip(), ip(SERVER[0]));
        drop((near, far));
        let listener = listen(&world.far, any(SERVER[0], 0));
        let to = SocketAddr::new(ip(SERVER[0]), listener.local_addr().unwrap().port());
        let (near, ..) = super::support::talk::call(&switch.netns("web"), &listener, to);
        assert!(near.local_addr().unwrap().to_string().starts_with(subnet), "{front} {back}");
        drop(near);
        switch.stop();
    }
}

/// Sends datagrams there and back, and fails if the answer comes from elsewhere or the server sees a changed port of
/// a client that is no container.
#[track_caller]
fn asks(client: &std::net::UdpSocket, public: SocketAddr, server: &std::net::UdpSocket) {
    for question in [b"question".to_vec(), vec![b'q'; 1200]] {
        client.send_to(&question, public).unwrap();
        let (heard, from) = receive(server);
        assert_eq!(heard, question);
        let own = client.local_addr().unwrap();
        if !own.ip().is_unspecified() {
            assert_eq!(from, own, "the client's own address arrives");
        }
        server.send_to(b"answer", from).unwrap();
        assert_eq!(receive(client), (b"answer".to_vec(), public));
    }
}

fn gateway(container: &str, family: usize) -> &'static str {
    match (container, family) {
        ("stranger", 0) => "10.20.0.1",
        ("stranger", _) => "fd00:20::1",
        (_, 0) => "10.10.0.1",
        (_, _) => "fd00:10::1",
    }
}
