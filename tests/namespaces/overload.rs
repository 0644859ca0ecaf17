//! One container that takes more than its share, or goes away: the others keep their traffic.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::support::eventually;
use super::support::frames::{BROADCAST, IPV4, ethernet, inject, udp_packet};
use super::support::sockets::{echo, udp, until_received};
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_sockets: [
        a_mac_flood_is_bounded,
        a_broadcast_flood_is_limited,
        a_container_that_sends_and_never_reads,
        a_connection_nobody_reads,
        an_interface_that_is_set_down_and_up,
        an_interface_that_is_deleted,
    ],
}

const MEGABYTE: usize = 1 << 20;

const THREE: &str = r#"
    [networks.lan]
    mac_limit_per_port = 100
    storm_control = { broadcast = 50 }
    [containers]
    mallory.networks.lan.source_guard = false
    alice.networks = ["lan"]
    bob.networks = ["lan"]
"#;

fn a_mac_flood_is_bounded(user: User) {
    let switch = Switch::start(user, THREE);
    let (alice, payload) = (switch.mac("alice"), [0; 46]);
    let frames: Vec<_> = (0..10_000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            ethernet(alice, [2, 0xff, 0, 0, high, low], 0x88b5, &payload)
        })
        .collect();
    let counted =
        || switch.json(&["show", "counters"])["networks"][0]["counters"]["not_learned"].as_u64().unwrap();
    // The kernel drops what does not fit in the tap's queue.
    eventually("the flood is noticed", || {
        inject(&switch, "mallory", frames.iter().map(|frame| (1, &frame[..])));
        (counted() >= 9_900).then_some(())
    });
    let fdb = switch.json(&["show", "fdb"]);
    let learned = fdb.as_array().unwrap().iter().filter(|entry| entry["kind"] == "learned").count();
    assert!((1..=100).contains(&learned), "{learned} addresses were learned");
    echo(&switch, ("alice", "bob"), switch.ipv4("bob"), 4 * MEGABYTE);
    switch.stop();
}

fn a_broadcast_flood_is_limited(user: User) {
    let switch = Switch::start(user, THREE);
    let mallory = switch.ipv4("mallory");
    let packet = udp_packet((mallory, 9), (Ipv4Addr::BROADCAST, 9), b"to all");
    let frame = ethernet(BROADCAST, switch.mac("mallory"), IPV4, &packet);
    while_another(
        || inject(&switch, "mallory", [(1000, &frame[..])]),
        || {
            echo(&switch, ("alice", "bob"), switch.ipv4("bob"), 4 * MEGABYTE);
        },
    );
    let dropped = switch.drops("mallory", "storm-broadcast");
    assert!(dropped > 0, "1000 frames at once are more than 50 in a second");
    let sent = switch.port("mallory")["received_frames"].as_u64().unwrap();
    let delivered = switch.port("bob")["sent_frames"].as_u64().unwrap();
    assert!(dropped < sent, "some pass: {dropped} of {sent}, {delivered} reached Bob");
    switch.stop();
}

/// Bob reads none of what Mallory sends him.
fn a_container_that_sends_and_never_reads(user: User) {
    let switch = Switch::start(user, THREE);
    let deaf = udp(&switch, "bob", switch.ipv4("bob"));
    let mallory = udp(&switch, "mallory", switch.ipv4("mallory"));
    until_received(&mallory, &deaf);
    let address = deaf.local_addr().unwrap();
    let flood = || {
        for _ in 0..1000 {
            // A full queue is Mallory's own business.
            let _ = mallory.send_to(&[0; 1000], address);
        }
    };
    while_another(flood, || echo(&switch, ("alice", "bob"), switch.ipv4("bob"), 4 * MEGABYTE));
    while_another(flood, || echo(&switch, ("bob", "alice"), switch.ipv4("alice"), 4 * MEGABYTE));
    switch.stop();
}

/// Bob never reads from Mallory's connection, so that its window closes.
fn a_connection_nobody_reads(user: User) {
    let switch = Switch::start(user, THREE);
    let bob = switch.ipv4("bob");
    let listener = switch.within("bob", || TcpListener::bind((bob, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let mallory = switch.within("mallory", || TcpStream::connect(address)).unwrap();
    let (_unread, _) = listener.accept().unwrap();
    mallory.set_nonblocking(true).unwrap();
    let mut full_in_a_row = 0;
    eventually("the window closes", || {
        let written = std::io::Write::write(&mut &mallory, &[0; 65_536]);
        full_in_a_row = if written.is_err() { full_in_a_row + 1 } else { 0 };
        (full_in_a_row == 20).then_some(())
    });
    echo(&switch, ("alice", "bob"), bob, 4 * MEGABYTE);
    switch.stop();
}

fn an_interface_that_is_set_down_and_up(user: User) {
    let switch = Switch::start(user, THREE);
    let (alice, bob) = (udp(&switch, "alice", switch.ipv4("alice")), udp(&switch, "bob", switch.ipv4("bob")));
    until_received(&alice, &bob);
    let index = switch.rewire("bob", |netlink| netlink.link_index("eth0"));
    switch.rewire("bob", |netlink| netlink.set_down(index));
    eventually("the drops are counted", || {
        let _ = alice.send_to(b"nobody there", bob.local_addr().unwrap());
        let port = switch.port("bob");
        (port["dropped"].as_u64().unwrap() > 0 || port["up"] == false).then_some(())
    });
    echo(&switch, ("alice", "mallory"), switch.ipv4("mallory"), MEGABYTE);
    switch.rewire("bob", |netlink| netlink.set_up(index));
    until_received(&alice, &bob);
    echo(&switch, ("alice", "bob"), switch.ipv4("bob"), MEGABYTE);
    switch.stop();
}

fn an_interface_that_is_deleted(user: User) {
    let switch = Switch::start(user, THREE);
    switch.rewire("bob", |netlink| {
        let index = netlink.link_index("eth0")?;
        netlink.delete_link(index)
    });
    let port = eventually("the port is down", || Some(switch.port("bob")).filter(|port| port["up"] == false));
    assert!(port["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{port}");
    let table = switch.says(&["show", "ports"]);
    assert!(table.lines().any(|line| line.contains("bob") && line.contains("down: ")), "{table}");
    let status = switch.vswitch(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(1), "not every port is up");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["ports_up"], &status["ports"]), (&2.into(), &3.into()));
    echo(&switch, ("alice", "mallory"), switch.ipv4("mallory"), MEGABYTE);
    switch.stop();
}

/// Does `work` once while `noise` is made over and over on another thread, which has begun by then.
fn while_another(noise: impl Fn() + Sync, work: impl FnOnce()) {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                noise();
                begun.store(true, Ordering::Relaxed);
            }
        });
        eventually("the noise has begun", || begun.load(Ordering::Relaxed).then_some(()));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}
