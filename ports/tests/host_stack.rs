//! The host's stack beside us on an interface: kept off, let in, or blind for certain addresses.
//!
//! Nobody waits for an answer that shall not come: another frame is sent that has an answer, and that is the first
//! to arrive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at its first surprise"
)]

mod privilege;
mod wires;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::Ordering;

use privilege::may_make_namespaces;
use vswitch_ports::host_stack::{AddressFilter, Door, Exclusion};
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;
use vswitch_ports::packet::{self, Options, PacketSocket, Side};
use wires::frames::{Mac, arp_request, echo_request, ethernet};
use wires::{Relay, bulk, drain, hear, mac_of, send, set_up_silent, settings, stay_on_this_cpu, wire};

const OUTSIDER: Mac = [2, 0, 0, 0, 0, 99];
const SENTINEL_TYPE: u16 = 0x88b5;

fn open(netns: &NetNs, interface: &str, side: Side) -> PacketSocket {
    let options = Options { side, vlan: None };
    netns.within(|| packet::open(interface, 1, options)).unwrap().unwrap().pop().unwrap()
}

/// How many echo requests a host's stack has received.
fn echo_requests(host: &NetNs) -> u64 {
    let counters = host.within(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let mut lines = counters.lines().filter(|line| line.starts_with("Icmp:")).map(str::split_whitespace);
    let (mut names, mut values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.position(|name| name == "InEchos").unwrap();
    values.nth(place).unwrap().parse().unwrap()
}

fn is_arp_reply(frame: &[u8]) -> bool {
    frame[12..22] == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]
}

fn is_echo_reply(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 0
}

fn sentinel() -> Vec<u8> {
    ethernet([0xff; 6], OUTSIDER, SENTINEL_TYPE, b"nothing came before me")
}

fn write(netns: &NetNs, path: &str, value: &str) {
    netns.within(|| std::fs::write(path, value).unwrap()).unwrap();
}

/// A host that forwards, with 192.168.7.1 on `lan` and an interface `eth1` without an address, whose other end is
/// `cable` in another namespace, with nobody there.
struct Host {
    host: NetNs,
    outside: NetNs,
    _lan: NetNs,
}

impl Host {
    fn new() -> Self {
        let (host, outside, lan) =
            (NetNs::create().unwrap(), NetNs::create().unwrap(), NetNs::create().unwrap());
        wire(&host, "lan", &lan, &["192.168.7.2/24"]);
        host.within(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.configure_interface(&settings("lan", &["192.168.7.1/24"])).unwrap();
        })
        .unwrap();
        outside
            .within(|| {
                use std::os::fd::AsFd;
                Netlink::open().unwrap().create_veth("cable", "eth1", Some(host.as_fd())).unwrap();
            })
            .unwrap();
        set_up_silent(&outside, "cable");
        write(&host, "/proc/sys/net/ipv4/ip_forward", "1");
        write(&host, "/proc/sys/net/ipv4/conf/all/rp_filter", "0");
        Self { host, outside, _lan: lan }
    }

    fn set_up(&self, interface: &str) {
        self.host
            .within(|| {
                let mut netlink = Netlink::open().unwrap();
                let index = netlink.link_index(interface).unwrap();
                netlink.set_up(index).unwrap();
            })
            .unwrap();
    }
}

#[test]
fn an_exclusive_interface_is_mute_and_deaf_for_the_host() {
    if !may_make_namespaces("an_exclusive_interface_is_mute_and_deaf_for_the_host") {
        return;
    }
    stay_on_this_cpu();
    let net = Host::new();
    write(&net.host, "/proc/sys/net/ipv6/conf/eth1/disable_ipv6", "1");
    net.set_up("eth1");
    let host_mac = mac_of(&net.host, "eth1");
    let mut cable = open(&net.outside, "cable", Side::Pair);
    let mut uplink = open(&net.host, "eth1", Side::Exclusive);
    let questions = [
        arp_request(OUTSIDER, Ipv4Addr::new(192, 168, 7, 9), Ipv4Addr::new(192, 168, 7, 1)),
        echo_request(host_mac, OUTSIDER, Ipv4Addr::new(192, 168, 7, 9), Ipv4Addr::new(192, 168, 7, 1)),
    ];

    // Left alone, the host answers for the address of another interface.
    send(&mut cable, &questions[0]);
    let answers = hear(&mut cable, |heard| !heard.is_empty());
    assert!(is_arp_reply(&answers[0]), "{answers:?}");
    hear(&mut uplink, |heard| !heard.is_empty());

    let exclusion = net.host.within(|| Exclusion::attach("eth1")).unwrap().unwrap();
    let before = echo_requests(&net.host);
    for question in &questions {
        send(&mut cable, question);
    }
    assert_eq!(hear(&mut uplink, |heard| heard.len() >= 2), questions, "we hear what the host does not");
    assert_eq!(echo_requests(&net.host), before, "it did not come in, apart from not being answered");
    // The host's own words: datagrams to a group, and what IPv6 says when it is switched on.
    net.host
        .within(|| {
            let mut netlink = Netlink::open().unwrap();
            let index = netlink.link_index("eth1").unwrap();
            netlink.add_route("239.0.0.0/8".parse().unwrap(), None, index).unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for _ in 0..3 {
                let _ = socket.send_to(b"anybody?", "239.1.1.1:9");
            }
        })
        .unwrap();
    write(&net.host, "/proc/sys/net/ipv6/conf/eth1/disable_ipv6", "0");
    send(&mut uplink, &sentinel());
    let heard = hear(&mut cable, |heard| heard.contains(&sentinel()));
    assert_eq!(heard, [sentinel()], "ours alone goes out");

    // The interface is the host's again.
    drop(exclusion);
    write(&net.host, "/proc/sys/net/ipv6/conf/eth1/disable_ipv6", "1");
    for question in &questions {
        send(&mut cable, question);
    }
    hear(&mut cable, |heard| heard.iter().any(|frame| is_arp_reply(frame)));
    hear(&mut uplink, |heard| heard.contains(&questions[1]));
    assert_eq!(echo_requests(&net.host), before + 1);
}

#[test]
fn an_interface_that_the_host_uses_is_not_taken() {
    if !may_make_namespaces("an_interface_that_the_host_uses_is_not_taken") {
        return;
    }
    let net = Host::new();
    let refused = net.host.within(|| Exclusion::attach("lan")).unwrap().unwrap_err().to_string();
    assert!(refused.contains("192.168.7.1/24") && refused.contains("ip addr flush"), "{refused}");
    let refused = net.host.within(|| Exclusion::attach("eth9")).unwrap().unwrap_err().to_string();
    assert!(refused.contains("eth9") && refused.contains("No such device"), "{refused}");
    net.host
        .within(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.create_bridge("br0").unwrap();
            let (bridge, port) = (netlink.link_index("br0").unwrap(), netlink.link_index("eth1").unwrap());
            netlink.set_master(port, Some(bridge)).unwrap();
        })
        .unwrap();
    let refused = net.host.within(|| Exclusion::attach("eth1")).unwrap().unwrap_err().to_string();
    assert!(refused.contains("bridge"), "{refused}");
}

#[test]
fn host_and_station_talk_through_the_hosts_own_interface() {
    if !may_make_namespaces("host_and_station_talk_through_the_hosts_own_interface") {
        return;
    }
    let net = Host::new();
    net.host
        .within(|| {
            let own = settings("eth1", &["10.0.0.1/24", "fd00::1/64"]);
            Netlink::open().unwrap().configure_interface(&own).unwrap();
        })
        .unwrap();
    let (switch, station) = (NetNs::create().unwrap(), NetNs::create().unwrap());
    wire(&switch, "port", &station, &["10.0.0.2/24", "fd00::2/64"]);
    set_up_silent(&switch, "port");
    let _door = net.host.within(|| Door::attach("eth1")).unwrap().unwrap();
    let mut parent = open(&net.host, "eth1", Side::Wire);
    let relay = Relay::start(open(&switch, "port", Side::Pair), open(&net.host, "eth1", Side::Host));
    for (host, station_address) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        relay.carried.longest.store(0, Ordering::Relaxed);
        bulk(&net.host, &station, station_address.parse().unwrap(), 4 << 20);
        assert!(relay.carried.longest.load(Ordering::Relaxed) > 9000);
        relay.carried.longest.store(0, Ordering::Relaxed);
        bulk(&station, &net.host, host.parse().unwrap(), 4 << 20);
        assert!(relay.carried.longest.load(Ordering::Relaxed) > 9000);
    }
    assert_eq!(relay.carried.lost.load(Ordering::Relaxed), 0);
    assert_eq!(drain(&mut parent), Vec::<Vec<u8>>::new(), "what turned round did not come from the wire");
    drop(relay);

    // A host that answers with the mark it was asked with answers us and not itself.
    let mut host_side = open(&net.host, "eth1", Side::Host);
    write(&net.host, "/proc/sys/net/ipv4/fwmark_reflect", "1");
    let (asker, host) = (Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(10, 0, 0, 1));
    send(&mut host_side, &arp_request(OUTSIDER, asker, host));
    send(&mut host_side, &echo_request(mac_of(&net.host, "eth1"), OUTSIDER, asker, host));
    hear(&mut host_side, |heard| heard.iter().any(|frame| is_echo_reply(frame)));

    // What we send to the wire is not taken for the host's.
    send(&mut parent, &sentinel());
    let heard = drain(&mut host_side);
    assert!(!heard.contains(&sentinel()), "{heard:?}");
}

#[test]
fn the_host_is_blind_for_an_ipv6_address() {
    if !may_make_namespaces("the_host_is_blind_for_an_ipv6_address") {
        return;
    }
    stay_on_this_cpu();
    let (host, outside) = (NetNs::create().unwrap(), NetNs::create().unwrap());
    wire(&outside, "cable", &host, &["fd00::1/64", "fd00::7/64"]);
    outside
        .within(|| {
            let own = settings("cable", &["fd00::9/64"]);
            Netlink::open().unwrap().configure_interface(&own).unwrap();
        })
        .unwrap();
    let listener = host.within(|| UdpSocket::bind("[::]:9000").unwrap()).unwrap();
    let caller = outside.within(|| UdpSocket::bind("[fd00::9]:0").unwrap()).unwrap();
    let mut heard = [0; 16];
    let say = |to: &str| {
        caller.send_to(to.as_bytes(), (to, 9000)).unwrap();
    };
    // The first exchange also makes neighbours known, which may take a moment.
    listener.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    for to in ["fd00::1", "fd00::7"] {
        say(to);
        assert_eq!(listener.recv(&mut heard).unwrap(), to.len());
    }
    let mut filter = host.within(|| AddressFilter::attach("eth0", None)).unwrap().unwrap();
    filter.set_addresses(["fd00::7".parse().unwrap()]).unwrap();
    say("fd00::7");
    say("fd00::1");
    listener.recv(&mut heard).unwrap();
    assert_eq!(heard[..7], *b"fd00::1", "the other was not heard");
}

#[test]
fn the_host_is_blind_for_containers_addresses() {
    if !may_make_namespaces("the_host_is_blind_for_containers_addresses") {
        return;
    }
    stay_on_this_cpu();
    let net = Host::new();
    write(&net.host, "/proc/sys/net/ipv6/conf/eth1/disable_ipv6", "1");
    net.host
        .within(|| Netlink::open().unwrap().configure_interface(&settings("eth1", &["10.0.0.1/24"])).unwrap())
        .unwrap();
    let host_mac = mac_of(&net.host, "eth1");
    let mut cable = open(&net.outside, "cable", Side::Pair);
    let outsider = Ipv4Addr::new(10, 0, 0, 9);
    let container = Ipv4Addr::new(192, 168, 7, 2);
    let host = Ipv4Addr::new(10, 0, 0, 1);
    // On the host's other side: it forwards, and answers ARP for what it forwards to if told so.
    write(&net.host, "/proc/sys/net/ipv4/conf/eth1/proxy_arp", "1");
    // With a reply delay of 0 it answers at once.
    write(&net.host, "/proc/sys/net/ipv4/neigh/eth1/proxy_delay", "0");
    let asked = arp_request(OUTSIDER, outsider, container);
    let to_host = echo_request(host_mac, OUTSIDER, outsider, host);
    // Makes the host know the outsider, so that it answers at once.
    send(&mut cable, &arp_request(OUTSIDER, outsider, host));
    let first = |cable: &mut PacketSocket| hear(cable, |heard| !heard.is_empty()).remove(0);
    assert!(is_arp_reply(&first(&mut cable)));
    send(&mut cable, &asked);
    assert!(is_arp_reply(&first(&mut cable)), "the host speaks for the address");

    let mut filter = net.host.within(|| AddressFilter::attach("eth1", None)).unwrap().unwrap();
    filter.set_addresses([container.into(), "fd00::7".parse().unwrap()]).unwrap();
    send(&mut cable, &asked);
    send(&mut cable, &to_host);
    assert!(is_echo_reply(&first(&mut cable)), "its own address alone is answered for");

    // An expiring packet is answered by whoever forwards it.
    let mut expiring = echo_request(host_mac, OUTSIDER, outsider, container);
    expiring[22] = 1;
    expiring[24..26].copy_from_slice(&[0, 0]);
    let sum =
        expiring[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    expiring[24..26].copy_from_slice(&sum.to_be_bytes());
    send(&mut cable, &expiring);
    send(&mut cable, &to_host);
    assert!(is_echo_reply(&first(&mut cable)));
    filter.set_addresses([]).unwrap();
    send(&mut cable, &expiring);
    assert_eq!(first(&mut cable)[34], 11, "time exceeded: the host forwards again");

    // A filter for a VLAN leaves what has no tag alone.
    drop(filter);
    let mut filter = net.host.within(|| AddressFilter::attach("eth1", Some(10))).unwrap().unwrap();
    filter.set_addresses([container.into()]).unwrap();
    send(&mut cable, &asked);
    assert!(is_arp_reply(&first(&mut cable)));
}
