//! What containers send outside gets there under the switch's address, and the answers come back.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;

use super::support::eventually;
use super::support::icmp::{Icmp, Meaning};
use super::support::sockets::{noise, receive};
use super::support::talk::{converse, datagrams, listen};
use super::support::world::{INTERFACE_UPLINK, OTHER_SERVER, SERVER, SWITCH, World, any, ip};

scenarios! {
    as_root: [
        tcp_out,
        datagrams_out,
        pings_out,
        many_containers_behind_one_address,
        a_closed_port_is_reported,
        one_external_port_for_all_remote_ends,
        strangers_are_filtered,
        a_network_without_translation,
    ],
}

const MEGABYTE: usize = 1 << 20;

const NETWORK: &str = r#"
    [networks.front]
    ipam = [{ subnet = "10.10.0.0/24" }, { subnet = "fd00:10::/64" }]
    [containers]
    one.networks = ["front"]
    two.networks = ["front"]
"#;

fn text() -> String {
    format!("{INTERFACE_UPLINK}{NETWORK}")
}

fn tcp_out() {
    let world = World::create();
    let switch = world.switch(&text());
    let one = switch.netns("one");
    for (server, own) in SERVER.iter().zip(SWITCH) {
        let listener = listen(&world.far, SocketAddr::new(ip(server), 0));
        let caller = converse(&one, &listener, listener.local_addr().unwrap(), 10 * MEGABYTE);
        assert_eq!(caller.ip(), ip(own), "the switch's address stands for the container's");
    }
    switch.stop();
}

fn datagrams_out() {
    let world = World::create();
    let switch = world.switch(&text());
    let one = switch.netns("one");
    for (server, own) in SERVER.iter().zip(SWITCH) {
        let far = datagrams(&world.far, SocketAddr::new(ip(server), 0));
        let near = datagrams(&one, any(server, 0));
        for (seed, size) in [0, 1, 17, 512, 1400, 1452].into_iter().enumerate() {
            let sent = noise(size, u64::try_from(seed).unwrap());
            near.send_to(&sent, far.local_addr().unwrap()).unwrap();
            let (received, from) = receive(&far);
            assert!(received == sent, "{size} bytes to {server} were changed");
            assert_eq!(from, SocketAddr::new(ip(own), near.local_addr().unwrap().port()), "the port is kept");
            far.send_to(&received, from).unwrap();
            assert_eq!(receive(&near), (sent, far.local_addr().unwrap()));
        }
    }
    switch.stop();
}

/// Of two containers that use the same identifier at the same time.
fn pings_out() {
    let world = World::create();
    let switch = world.switch(&text());
    let sources = [
        ["one", "two"].map(|name| switch.ipv4(name).into()),
        ["one", "two"].map(|name| switch.ipv6(name).into()),
    ];
    for (server, sources) in SERVER.iter().zip(sources) {
        let sockets = [("one", sources[0]), ("two", sources[1])]
            .map(|(name, own)| Icmp::open(&switch.netns(name), own));
        for sequence in 1..=5 {
            for (payload, socket) in [b"first".as_slice(), b"other"].into_iter().zip(&sockets) {
                socket.ping(ip(server), 4711, sequence, payload);
            }
            for (payload, socket) in [b"first".as_slice(), b"other"].into_iter().zip(&sockets) {
                let reply = socket.next();
                assert_eq!((reply.meaning, reply.from), (Meaning::EchoReply, ip(server)));
                assert_eq!((reply.echo(), &reply.bytes[8..]), ((4711, sequence), payload));
            }
        }
    }
    switch.stop();
}

/// All from the same port.
fn many_containers_behind_one_address() {
    const CONTAINERS: usize = 30;
    let world = World::create();
    let containers: String =
        (0..CONTAINERS).map(|number| format!("c{number}.networks = [\"front\"]\n")).collect();
    let switch = world.switch(&format!("{}{containers}", text()));
    let far = datagrams(&world.far, SocketAddr::new(ip(SERVER[0]), 0));
    let sockets: Vec<_> = (0..CONTAINERS)
        .map(|number| {
            datagrams(&switch.netns(&format!("c{number}")), "0.0.0.0:5000".parse::<SocketAddr>().unwrap())
        })
        .collect();
    // While the switch looks for the router it holds a few packets only, so one goes ahead.
    datagrams(&switch.netns("one"), any(SERVER[0], 0)).send_to(b"I lead", far.local_addr().unwrap()).unwrap();
    receive(&far);
    for (number, socket) in sockets.iter().enumerate() {
        socket.send_to(number.to_string().as_bytes(), far.local_addr().unwrap()).unwrap();
    }
    let heard: Vec<_> = sockets.iter().map(|_| receive(&far)).collect();
    let ports: BTreeSet<u16> = heard.iter().map(|(_, from)| from.port()).collect();
    assert_eq!(ports.len(), CONTAINERS, "each has a port of its own: {ports:?}");
    assert!(heard.iter().all(|(_, from)| from.ip() == ip(SWITCH[0])), "{heard:?}");
    for (text, from) in &heard {
        far.send_to(text, from).unwrap();
    }
    for (number, socket) in sockets.iter().enumerate() {
        assert_eq!(receive(socket).0, number.to_string().as_bytes());
    }
    switch.stop();
}

/// The error quotes a packet that the container never sent in that form: it must be translated back to count.
fn a_closed_port_is_reported() {
    let world = World::create();
    let switch = world.switch(&text());
    for server in SERVER {
        let socket = datagrams(&switch.netns("one"), any(server, 0));
        socket.connect(SocketAddr::new(ip(server), 9)).unwrap();
        socket.send(b"anybody?").unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{server}");
    }
    switch.stop();
}

/// RFC 4787 REQ-1.
fn one_external_port_for_all_remote_ends() {
    let world = World::create();
    let switch = world.switch(&text());
    for family in 0..2 {
        let addresses = [SERVER[family], SERVER[family], OTHER_SERVER[family]];
        let servers = addresses.map(|server| datagrams(&world.far, SocketAddr::new(ip(server), 0)));
        // Both containers have the same port, so that one of them gets another.
        let sockets = ["one", "two"].map(|name| {
            let any = any(SERVER[family], 6000);
            datagrams(&switch.netns(name), any)
        });
        let seen = sockets.map(|socket| {
            let seen = servers.each_ref().map(|server| {
                socket.send_to(b"who am I?", server.local_addr().unwrap()).unwrap();
                receive(server).1
            });
            assert!(seen.iter().all(|from| *from == seen[0]), "{seen:?}");
            seen[0]
        });
        assert_ne!(seen[0], seen[1], "two containers are told apart");
    }
    switch.stop();
}

/// RFC 4787 REQ-8: by default those may answer whose address was sent to, from any port.
fn strangers_are_filtered() {
    let world = World::create();
    let switch = world.switch(&text());
    let near = datagrams(&switch.netns("one"), any(SERVER[0], 0));
    let [called, neighbour] = [(); 2].map(|()| datagrams(&world.far, SocketAddr::new(ip(SERVER[0]), 0)));
    let stranger = datagrams(&world.far, SocketAddr::new(ip(OTHER_SERVER[0]), 0));
    near.send_to(b"hello", called.local_addr().unwrap()).unwrap();
    let (_, public) = receive(&called);
    stranger.send_to(b"from a stranger", public).unwrap();
    neighbour.send_to(b"from another port", public).unwrap();
    assert_eq!(receive(&near), (b"from another port".to_vec(), neighbour.local_addr().unwrap()));
    assert_eq!(switch.uplink_drops("filtered"), 1);
    // Once it was sent to, it is no stranger.
    near.send_to(b"hello", stranger.local_addr().unwrap()).unwrap();
    assert_eq!(receive(&stranger).1, public);
    stranger.send_to(b"from a friend", public).unwrap();
    assert_eq!(receive(&near).0, b"from a friend");
    switch.stop();
}

/// Its members are called at their own addresses, but by strangers only at ports they publish.
fn a_network_without_translation() {
    let world = World::create();
    let untranslated = text().replace("[networks.front]", "[networks.front]\nnat = \"none\"");
    let switch = world.switch(
        &untranslated
            .replace("one.networks = [\"front\"]", "one = { networks = [\"front\"], ports = [\"8080:80\"] }"),
    );
    for subnet in ["10.10.0.0/24", "fd00:10::/64"] {
        world.route_to_switch(subnet);
    }
    for (server, own) in SERVER.iter().zip([switch.ipv4("one").into(), switch.ipv6("one").into()]) {
        let listener = listen(&world.far, SocketAddr::new(ip(server), 0));
        let caller = converse(&switch.netns("one"), &listener, listener.local_addr().unwrap(), MEGABYTE);
        assert_eq!(caller.ip(), own);
        let listener = listen(&switch.netns("one"), SocketAddr::new(own, 80));
        let caller = converse(&world.far, &listener, listener.local_addr().unwrap(), MEGABYTE);
        assert_eq!(caller.ip(), ip(server));
        let closed = datagrams(&world.far, SocketAddr::new(ip(server), 0));
        let refused = switch.uplink_drops("not-published");
        closed.send_to(b"let me in", SocketAddr::new(own, 80)).unwrap();
        eventually("it is refused", || (switch.uplink_drops("not-published") > refused).then_some(()));
    }
    switch.stop();
}
