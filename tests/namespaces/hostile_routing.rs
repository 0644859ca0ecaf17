//! What hostile containers and hostile outsiders send to be routed: each packet is dropped or answered within bounds, and
//! named in the counters, while a connection that was there before goes on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream};

use vswitch_wire::{MacAddr, TcpHeader, build, protocol};

use super::support::eventually;
use super::support::frames::{inject, inject_at};
use super::support::sockets::echo_over;
use super::support::switch::Switch;
use super::support::talk::{call, converse, listen};
use super::support::world::{INTERFACE_UPLINK, LAN, SERVER, SWITCH, UPLINK, World, any, change, ip};

scenarios! {
    as_root: [
        a_flood_of_beginnings_from_inside,
        a_flood_of_beginnings_from_outside,
        a_scan_for_neighbours,
        martians_from_inside,
        martians_from_outside,
        overlapping_fragments,
    ],
}

const NETWORKS: &str = r#"
    [networks.front]
    ipam = [{ subnet = "10.10.0.0/24" }, { subnet = "fd00:10::/64" }]
    [networks.back]
    ipam = [{ subnet = "10.20.0.0/24" }]
    [containers.alice]
    networks = ["front"]
    [containers.web]
    networks = ["front"]
    ports = ["8080:80"]
    [containers.mallory.networks.front]
    source_guard = false
    limits = { connections = 1000 }
"#;

/// So that a flood fills the table, and the quarter of it that may be half-open.
const SMALL_TABLE: &str = "[uplink.nat]\nmax_connections = 4096\n";

/// A switch in its world, and a connection of Alice's to a server outside that must outlive the attack.
struct Scene {
    world: World,
    switch: Switch,
    near: TcpStream,
    far: TcpStream,
    gateway: MacAddr,
}

impl Scene {
    fn set() -> Self {
        let world = World::create();
        let switch = world.switch(&format!("{INTERFACE_UPLINK}{SMALL_TABLE}{NETWORKS}"));
        let listener = listen(&world.far, SocketAddr::new(ip(SERVER[0]), 0));
        let (near, far, _) = call(&switch.netns("alice"), &listener, listener.local_addr().unwrap());
        let network = switch.json(&["network", "inspect", "front"]);
        let gateway = network["configuration"]["gateway_mac"].as_str().unwrap().parse().unwrap();
        Self { world, switch, near, far, gateway }
    }

    /// A container's addresses.
    fn party(&self, name: &str) -> (MacAddr, Ipv4Addr, Ipv6Addr) {
        (MacAddr(self.switch.mac(name)), self.switch.ipv4(name), self.switch.ipv6(name))
    }

    fn sends<'a>(&self, name: &str, frames: impl IntoIterator<Item = &'a Vec<u8>>) {
        inject(&self.switch, name, frames.into_iter().map(|frame| (1, &frame[..])));
    }

    fn stranger_sends<'a>(&self, frames: impl IntoIterator<Item = &'a Vec<u8>>) {
        inject_at(&self.world.router, LAN, frames.into_iter().map(|frame| (1, &frame[..])));
    }

    /// The MAC addresses of the switch's and the router's end of the uplink.
    fn uplink(&self) -> (MacAddr, MacAddr) {
        let mac = |netns, name| MacAddr(change(netns, |netlink| netlink.link(name)).mac.unwrap());
        (mac(&self.world.home, UPLINK), mac(&self.world.router, LAN))
    }

    /// Waits until so many frames at least were dropped for a reason.
    #[track_caller]
    fn dropped(&self, from: Option<&str>, reason: &str, at_least: usize) {
        let drops = || match from {
            Some(container) => self.switch.drops(container, reason),
            None => self.switch.uplink_drops(reason),
        };
        eventually(&format!("{at_least} are dropped as {reason}"), || {
            (drops() >= u64::try_from(at_least).unwrap()).then_some(())
        });
    }

    /// Nobody else has noticed.
    fn end(self) {
        echo_over(self.near, self.far, 1 << 20);
        let listener = listen(&self.world.far, SocketAddr::new(ip(SERVER[0]), 0));
        converse(&self.switch.netns("alice"), &listener, listener.local_addr().unwrap(), 1 << 16);
        let web = listen(&self.switch.netns("web"), any(SWITCH[0], 80));
        converse(&self.world.far, &web, SocketAddr::new(ip(SWITCH[0]), 8080), 1 << 16);
        self.switch.stop();
    }
}

/// More than the attachment may have: half-open connections make room for its next ones, and a limit stays a limit.
fn a_flood_of_beginnings_from_inside() {
    let scene = Scene::set();
    let (mac, own, _) = scene.party("mallory");
    let nobody = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 99), 9);
    let frames: Vec<_> = (1..=5000)
        .flat_map(|port| {
            let from = SocketAddrV4::new(own, port);
            [
                build::tcp4(scene.gateway, mac, from, nobody, TcpHeader::SYN, 1, 0, &[]),
                build::udp4(scene.gateway, mac, from, nobody, b"hello"),
            ]
        })
        .collect();
    // Again and again, as queues before the switch may lose some.
    eventually("the limit is met", || {
        scene.sends("mallory", &frames);
        (scene.switch.drops("mallory", "connection-limit") >= 4000).then_some(())
    });
    scene.end();
}

/// From addresses that nobody has, to a published port.
fn a_flood_of_beginnings_from_outside() {
    const SENT: u32 = 20_000;
    let scene = Scene::set();
    let (switch, router) = scene.uplink();
    let frames: Vec<_> = (0..SENT)
        .map(|number| {
            let from = SocketAddrV4::new(Ipv4Addr::from(0xc612_0000 + number), 1234);
            let to = SocketAddrV4::new(SWITCH[0].parse().unwrap(), 8080);
            build::tcp4(switch, router, from, to, TcpHeader::SYN, 1, 0, &[])
        })
        .collect();
    // It answers, so that the connections stay half-open.
    let listener = listen(&scene.switch.netns("web"), any(SWITCH[0], 80));
    eventually("as many are taken in", || {
        scene.stranger_sends(&frames);
        let received = scene.switch.uplink_port()["received_frames"].as_u64().unwrap();
        (received >= SENT.into()).then_some(())
    });
    drop(listener);
    scene.end();
}

/// Of a /64: every address is another that does not answer.
fn a_scan_for_neighbours() {
    let scene = Scene::set();
    let (mac, _, own) = scene.party("web");
    let frames: Vec<_> = (0..3000)
        .map(|number| {
            let to = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0xdead, 0, 0, number);
            let (from, to) = (SocketAddrV6::new(own, 7, 0, 0), SocketAddrV6::new(to, 7, 0, 0));
            build::udp6(scene.gateway, mac, from, to, b"anybody?")
        })
        .collect();
    // One part made way for later ones, another found nothing free to be held in.
    eventually("the rest is dropped", || {
        scene.sends("web", &frames);
        let dropped = ["neighbor-limit", "neighbor-pending"].map(|reason| scene.switch.drops("web", reason));
        (dropped.iter().sum::<u64>() >= 1500).then_some(())
    });
    scene.end();
}

fn martians_from_inside() {
    let scene = Scene::set();
    let (mac, own, _) = scene.party("mallory");
    let packet = |from: &str, to: &str| {
        let endpoint = |text: &str| SocketAddrV4::new(text.parse().unwrap(), 7);
        build::udp4(scene.gateway, mac, endpoint(from), endpoint(to), b"from Mars")
    };
    let own = own.to_string();
    let attacks = [
        ("martian-source", vec![packet("127.0.0.1", SERVER[0]), packet("240.0.0.1", SERVER[0])]),
        ("martian-source", vec![packet("224.0.0.1", SERVER[0]), packet("255.255.255.255", SERVER[0])]),
        (
            "martian-destination",
            vec![packet(&own, "127.0.0.1"), packet(&own, "0.0.0.0"), packet(&own, "240.0.0.1")],
        ),
        ("land-attack", vec![packet(&own, &own)]),
        // Another network's, and nobody's.
        ("reverse-path", vec![packet("10.20.0.2", SERVER[0]), packet("198.18.0.1", SERVER[0])]),
        ("link-local-routed", vec![packet("169.254.0.1", SERVER[0])]),
        ("route-prohibited", vec![packet(&own, "10.20.0.2")]),
    ];
    for (reason, frames) in &attacks {
        let before = usize::try_from(scene.switch.drops("mallory", reason)).unwrap();
        scene.sends("mallory", frames);
        scene.dropped(Some("mallory"), reason, before + frames.len());
    }
    scene.end();
}

fn martians_from_outside() {
    let scene = Scene::set();
    let (switch, router) = scene.uplink();
    let packet = |from: &str, to: &str| {
        let endpoint = |text: &str| SocketAddrV4::new(text.parse().unwrap(), 8080);
        build::tcp4(switch, router, endpoint(from), endpoint(to), TcpHeader::SYN, 1, 0, &[])
    };
    let alice = scene.switch.ipv4("alice").to_string();
    let attacks = [
        ("martian-source", packet("127.0.0.1", SWITCH[0])),
        ("land-attack", packet(SWITCH[0], SWITCH[0])),
        // Who is inside does not come from outside.
        ("reverse-path", packet(&alice, SWITCH[0])),
        ("not-published", packet(SERVER[0], &alice)),
        ("not-published", packet(SERVER[0], "203.0.113.99")),
    ];
    for (reason, frame) in attacks {
        let before = usize::try_from(scene.switch.uplink_drops(reason)).unwrap();
        scene.stranger_sends(&[frame]);
        scene.dropped(None, reason, before + 1);
    }
    scene.end();
}

/// The second fragment lies on the first one's end (RFC 5722, RFC 3128).
fn overlapping_fragments() {
    let scene = Scene::set();
    let (mac, own, _) = scene.party("mallory");
    let mut frames = Vec::new();
    for identification in 0..100_u16 {
        let datagram = [&[0, 7, 0, 9, 0, 64, 0, 0][..], &[0; 56]].concat();
        for (offset, more, piece) in [(0, true, &datagram[..32]), (2, false, &datagram[16..])] {
            let mut frame = build::ipv4(scene.gateway, mac, own, server(), protocol::UDP, piece);
            as_fragment(&mut frame, identification, offset, more);
            frames.push(frame);
        }
    }
    scene.sends("mallory", &frames);
    scene.dropped(Some("mallory"), "fragment-overlap", 100);
    scene.end();
}

/// Makes an IPv4 packet a fragment, `offset` in units of eight bytes.
fn as_fragment(frame: &mut [u8], identification: u16, offset: u16, more: bool) {
    let header = &mut frame[14..34];
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[6..8].copy_from_slice(&(offset | u16::from(more) << 13).to_be_bytes());
    header[10..12].fill(0);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
}

fn server() -> Ipv4Addr {
    SERVER[0].parse().unwrap()
}
