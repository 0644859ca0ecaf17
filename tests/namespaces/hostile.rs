//! Frames no honest container sends: each is dropped, and counted under the reason that it is.

use std::net::{Ipv4Addr, SocketAddr};

use super::support::eventually;
use super::support::frames::{ARP, BROADCAST, IPV4, arp_reply, ethernet, inject, udp_packet};
use super::support::sockets::{echo, receive, udp_on};
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_sockets: [
        spoofed_addresses_are_dropped,
        spoofed_addresses_pass_without_the_guard,
        arp_for_another_is_dropped,
        a_configured_mac_is_not_taken_away,
        malformed_frames_are_counted_by_defect,
        any_bytes_are_survived,
    ],
}

const GUARDED: &str = r#"
    [networks.lan]
    [containers]
    mallory.networks = ["lan"]
    alice.networks = ["lan"]
    bob.networks = ["lan"]
"#;

const UNGUARDED: &str = r#"
    [networks.lan]
    [containers]
    mallory.networks.lan.source_guard = false
    alice.networks = ["lan"]
    bob.networks = ["lan"]
"#;

/// A MAC address that nobody has.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

const PORT: u16 = 7000;

fn spoofed_addresses_are_dropped(user: User) {
    let switch = Switch::start(user, GUARDED);
    let alice = udp_on(&switch, "alice", SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    let scene = Scene::of(&switch);
    let frames = [
        (7, ethernet(scene.alice_mac, NOBODY, IPV4, &scene.to_alice(scene.mallory, b"spoofed MAC"))),
        (5, ethernet(scene.alice_mac, scene.mallory_mac, IPV4, &scene.to_alice(scene.bob, b"spoofed IP"))),
        (1, ethernet(scene.alice_mac, scene.mallory_mac, IPV4, &scene.to_alice(scene.mallory, b"honest"))),
    ];
    inject(&switch, "mallory", frames.iter().map(|(count, frame)| (*count, &frame[..])));
    assert_eq!(receive(&alice).0, b"honest", "the only one that may arrive");
    assert_eq!(switch.drops("mallory", "spoofed-mac"), 7);
    assert_eq!(switch.drops("mallory", "spoofed-ip"), 5);
    assert_eq!(switch.port("mallory")["dropped"], 12);
    echo(&switch, ("alice", "bob"), scene.bob, 1_000_000);
    switch.stop();
}

fn spoofed_addresses_pass_without_the_guard(user: User) {
    let switch = Switch::start(user, UNGUARDED);
    let alice = udp_on(&switch, "alice", SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    let scene = Scene::of(&switch);
    let stranger = Ipv4Addr::from(u32::from(scene.bob) + 100);
    let frame = ethernet(scene.alice_mac, NOBODY, IPV4, &scene.to_alice(stranger, b"from nobody"));
    inject(&switch, "mallory", [(1, &frame[..])]);
    assert_eq!(receive(&alice), (b"from nobody".to_vec(), SocketAddr::from((stranger, 9))));
    let fdb = switch.json(&["show", "fdb"]);
    let learned =
        fdb.as_array().unwrap().iter().find(|entry| entry["mac_address"] == "02:00:00:00:00:99").unwrap();
    assert_eq!((&learned["kind"], &learned["container"]), (&"learned".into(), &"mallory".into()));
    switch.stop();
}

fn arp_for_another_is_dropped(user: User) {
    let switch = Switch::start(user, GUARDED);
    let scene = Scene::of(&switch);
    echo(&switch, ("alice", "bob"), scene.bob, 1000);
    let reply = arp_reply(scene.mallory_mac, scene.bob, (scene.alice_mac, scene.alice));
    let to_alice = ethernet(scene.alice_mac, scene.mallory_mac, ARP, &reply);
    let gratuitous = ethernet(BROADCAST, scene.mallory_mac, ARP, &reply);
    inject(&switch, "mallory", [(3, &to_alice[..]), (4, &gratuitous[..])]);
    eventually("the drops are counted", || (switch.drops("mallory", "spoofed-arp") == 7).then_some(()));
    echo(&switch, ("alice", "bob"), scene.bob, 1_000_000);
    switch.stop();
}

/// Without the guard too: who has an address by configuration keeps it.
fn a_configured_mac_is_not_taken_away(user: User) {
    let switch = Switch::start(user, UNGUARDED);
    let scene = Scene::of(&switch);
    let frame = ethernet(BROADCAST, scene.bob_mac, IPV4, &scene.to_alice(scene.bob, b"I am Bob"));
    inject(&switch, "mallory", [(9, &frame[..])]);
    eventually("the drops are counted", || {
        (switch.drops("mallory", "static-mac-elsewhere") == 9).then_some(())
    });
    echo(&switch, ("alice", "bob"), scene.bob, 1_000_000);
    switch.stop();
}

fn malformed_frames_are_counted_by_defect(user: User) {
    let switch = Switch::start(user, GUARDED);
    let scene = Scene::of(&switch);
    let packet = scene.to_alice(scene.mallory, b"some bytes");
    let frame =
        |ether_type, payload: &[u8]| ethernet(scene.alice_mac, scene.mallory_mac, ether_type, payload);
    let changed = |place: usize, value: u8| {
        let mut packet = packet.clone();
        packet[place] = value;
        frame(IPV4, &packet)
    };
    let defects = [
        ("ipv4-truncated", frame(IPV4, &packet[..10])),
        ("ipv4-version", changed(0, 0x65)),
        ("ipv4-header-length", changed(0, 0x42)),
        ("ipv4-total-length", changed(2, 0x40)),
        ("udp-length", changed(24, 0x7f)),
        ("udp-truncated", {
            let mut short = packet[..24].to_vec();
            short[3] = 24;
            frame(IPV4, &short)
        }),
        ("arp-truncated", frame(ARP, &[0, 1, 8, 0, 6, 4])),
        ("arp-not-ethernet-ipv4", frame(ARP, &[9; 28])),
        ("ipv6-truncated", frame(0x86dd, &[0x60; 20])),
        ("ipv6-version", frame(0x86dd, &[0; 40])),
        ("vlan-truncated", frame(0x8100, &[0])),
    ];
    inject(&switch, "mallory", defects.iter().map(|(_, frame)| (2, &frame[..])));
    eventually("the drops are counted", || (switch.port("mallory")["dropped"] == 22).then_some(()));
    for (defect, _) in &defects {
        assert_eq!(switch.drops("mallory", defect), 2, "{defect}");
    }
    echo(&switch, ("mallory", "alice"), scene.alice, 1_000_000);
    switch.stop();
}

fn any_bytes_are_survived(user: User) {
    let switch = Switch::start(user, UNGUARDED);
    let scene = Scene::of(&switch);
    let noise = super::support::sockets::noise(1 << 20, 1);
    // Every length from the shortest the kernel sends, addressed to all, to one, and to anybody.
    let frames: Vec<Vec<u8>> = (14..900)
        .map(|length| {
            let mut frame = noise[length * 1000..][..length].to_vec();
            let to = [BROADCAST, scene.alice_mac, noise[..6].try_into().unwrap()][length % 3];
            frame[..6].copy_from_slice(&to);
            let ether_type = [IPV4, ARP, 0x86dd, 0x8100, 0x88cc][length % 5];
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            frame
        })
        .collect();
    inject(&switch, "mallory", frames.iter().map(|frame| (1, &frame[..])));
    let expected = u64::try_from(frames.len()).unwrap();
    eventually("all are received", || {
        (switch.port("mallory")["received_frames"].as_u64().unwrap() >= expected).then_some(())
    });
    echo(&switch, ("alice", "bob"), scene.bob, 1_000_000);
    echo(&switch, ("mallory", "bob"), scene.bob, 1_000_000);
    switch.stop();
}

/// The addresses of those who take part.
struct Scene {
    mallory: Ipv4Addr,
    alice: Ipv4Addr,
    bob: Ipv4Addr,
    mallory_mac: [u8; 6],
    alice_mac: [u8; 6],
    bob_mac: [u8; 6],
}

impl Scene {
    fn of(switch: &Switch) -> Self {
        Self {
            mallory: switch.ipv4("mallory"),
            alice: switch.ipv4("alice"),
            bob: switch.ipv4("bob"),
            mallory_mac: switch.mac("mallory"),
            alice_mac: switch.mac("alice"),
            bob_mac: switch.mac("bob"),
        }
    }

    /// A datagram to Alice's port, with a source address of one's choice.
    fn to_alice(&self, from: Ipv4Addr, text: &[u8]) -> Vec<u8> {
        udp_packet((from, 9), (self.alice, PORT), text)
    }
}
