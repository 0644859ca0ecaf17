//! Writes the seeds in fuzz/corpus: `cargo run -p vswitch-fuzz --example seeds`.
//!
//! They are few and small: one of each kind of frame, one file of each kind of error, and scenarios that reach
//! each stage of the pipeline. The fuzzer finds the rest.

mod routed;

use std::fs;
use std::io::Result;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::path::Path;

use vswitch_fuzz::pipeline::mac;
use vswitch_fuzz::scenario::{Step, write};
use vswitch_switch::OffloadHeader;
use vswitch_switch::offload::{GSO_TCP4, GSO_UDP, NEEDS_CHECKSUM};
use vswitch_wire::checksum::pseudo_header_v4;
use vswitch_wire::{ArpPacket, EtherType, IcmpHeader, MacAddr, Tci, TcpHeader, build};

fn main() -> Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    keep(&corpus.join("parse"), &frames())?;
    keep(&corpus.join("configuration"), &texts())?;
    keep(&corpus.join("pipeline"), &scenarios())?;
    keep(&corpus.join("pipeline"), &routed::scenarios())
}

fn keep(folder: &Path, seeds: &[(&str, Vec<u8>)]) -> Result<()> {
    fs::create_dir_all(folder)?;
    seeds.iter().try_for_each(|(name, seed)| fs::write(folder.join(name), seed))
}

fn ip4(port: usize) -> Ipv4Addr {
    let [.., nth] = (port + 1).to_be_bytes();
    Ipv4Addr::new(10, 0, 0, nth)
}

fn ip6(port: usize) -> Ipv6Addr {
    let [.., nth] = (port + 1).to_be_bytes();
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, nth.into())
}

fn udp4(from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (SocketAddrV4::new(ip4(from), 5000), SocketAddrV4::new(ip4(to), 53));
    build::udp4(mac(to), mac(from), source, destination, payload)
}

fn udp6(from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    let source = SocketAddrV6::new(ip6(from), 5000, 0, 0);
    build::udp6(mac(to), mac(from), source, SocketAddrV6::new(ip6(to), 53, 0, 0), payload)
}

fn tcp4(from: usize, to: usize, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (SocketAddrV4::new(ip4(from), 5000), SocketAddrV4::new(ip4(to), 80));
    build::tcp4(mac(to), mac(from), source, destination, TcpHeader::ACK, sequence, 1, payload)
}

fn tcp6(from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    let source = SocketAddrV6::new(ip6(from), 5000, 0, 0);
    let destination = SocketAddrV6::new(ip6(to), 80, 0, 0);
    build::tcp6(mac(to), mac(from), source, destination, TcpHeader::SYN, 7, 0, payload)
}

fn arp(from: usize, to: usize) -> Vec<u8> {
    build::arp(ArpPacket::REQUEST, mac(from), ip4(from), MacAddr::ZERO, ip4(to))
}

/// The IPv4 frame as a kernel leaves it to be finished: with the pseudo-header's sum for a checksum, and
/// forbidding fragments.
fn unfinished(mut frame: Vec<u8>, checksum_offset: u16) -> Vec<u8> {
    frame[20] |= 0x40;
    if let Some(ip) = frame[14..].first_chunk::<20>() {
        let [source, destination] =
            [12, 16].map(|at| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
        let length = u32::from(u16::from_be_bytes([ip[2], ip[3]])) - 20;
        let sum = pseudo_header_v4(source, destination, ip[9], length).partial();
        let field = 34 + usize::from(checksum_offset);
        frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let echo = IcmpHeader::new(IcmpHeader::ECHO_REQUEST, 7, 1);
    // A fragment header, first of several, in front of UDP.
    let fragment = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &udp6(0, 1, b"x")[54..]].concat();
    // An empty hop-by-hop header, then nothing.
    let options = [59, 0, 1, 4, 0, 0, 0, 0];
    vec![
        ("arp", arp(0, 1)),
        ("udp4", udp4(0, 1, b"hello")),
        ("udp6", udp6(0, 1, b"hello")),
        ("tcp4", tcp4(0, 1, 1, b"hello")),
        ("tcp6", tcp6(0, 1, b"")),
        ("echo4", build::icmp4(mac(1), mac(0), ip4(0), ip4(1), echo, b"ping")),
        ("solicitation", build::neighbor_solicitation(mac(0), ip6(0), ip6(1))),
        ("tagged", build::tagged(&tcp4(0, 1, 1, b"hello"), EtherType::VLAN, Tci(5))),
        ("fragment6", build::ipv6(mac(1), mac(0), ip6(0), ip6(1), 44, &fragment)),
        ("hop-by-hop", build::ipv6(mac(1), mac(0), ip6(0), ip6(1), 0, &options)),
    ]
}

fn texts() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("smallest", text("[networks.a]\n[containers.x]\n[containers.y]\nnetworks = [\"a\"]\n")),
        (
            "long-form",
            text(
                "[switch]\nname = \"s\"\nworkers = 2\n[uplink]\nkind = \"none\"\n[networks.front]\n\
                 driver = \"bridge\"\nmtu = 1400\nenable_ipv6 = true\ninternal = true\n\
                 ipam = [{ subnet = \"10.1.0.0/24\", gateway = \"10.1.0.1\", ip_range = \"10.1.0.128/25\", \
                 aux_addresses = { nas = \"10.1.0.9\" } }, { subnet = \"fd00:10::/64\" }]\n\
                 [containers.db.networks.front]\nipv4_address = \"10.1.0.20\"\nipv6_address = \"fd00:10::20\"\n\
                 mac_address = \"02:42:0a:01:00:14\"\naliases = [\"database\"]\ninterface_name = \"eth1\"\n\
                 gw_priority = 10\nsource_guard = false\n[containers.side]\nnetwork_mode = \"container:db\"\n",
            ),
        ),
        (
            "overlap",
            text(
                "[networks.a]\nipam=[{subnet=\"10.0.0.0/8\"}]\n[networks.b]\nipam=[{subnet=\"10.1.0.0/16\"}]\n",
            ),
        ),
        (
            "unknown-key",
            text("[networks.a]\nmtuu = 9\n[containers.c]\nnetns = { pid = 1 }\nnetworks = [\"b\"]\n"),
        ),
        ("syntax", text("[networks.ä]\nmtu = \n\"x")),
        (
            "command",
            text(
                "[networks.a]\n[containers.c]\ncommand = [\"true\"]\nextra_hosts = [\"x:host-gateway\"]\nnetns = \"/n\"\n",
            ),
        ),
    ]
}

fn frame(port: usize, bytes: Vec<u8>) -> Step {
    Step::Frame { port, offload: OffloadHeader::NONE, bytes }
}

fn scenario(settings: u8, steps: &[Step]) -> Vec<u8> {
    let mut input = vec![settings];
    steps.iter().for_each(|step| write(step, &mut input));
    input
}

fn scenarios() -> Vec<(&'static str, Vec<u8>)> {
    let partial = |port, bytes, checksum_offset| {
        let offload = OffloadHeader {
            flags: NEEDS_CHECKSUM,
            checksum_start: 34,
            checksum_offset,
            ..OffloadHeader::NONE
        };
        Step::Frame { port, offload, bytes: unfinished(bytes, checksum_offset) }
    };
    let super_frame = |port, bytes, gso_type, header_length, checksum_offset| {
        let offload = OffloadHeader {
            flags: NEEDS_CHECKSUM,
            gso_type,
            header_length,
            gso_size: 40,
            checksum_start: 34,
            checksum_offset,
        };
        Step::Frame { port, offload, bytes: unfinished(bytes, checksum_offset) }
    };
    let wait = Step::Wait { milliseconds: 1000 };

    let switched =
        [frame(0, udp4(0, 1, b"a")), frame(0, udp4(0, 1, b"b")), wait.clone(), frame(1, tcp6(1, 2, b""))];
    let forged =
        [frame(0, udp4(1, 2, b"a")), frame(0, arp(1, 2)), frame(1, arp(0, 2)), frame(2, udp6(1, 0, b"a"))];
    let tag = |frame: &[u8]| build::tagged(frame, EtherType::VLAN, Tci(5));
    let forged_tagged = [
        frame(0, tag(&udp4(1, 2, b"a"))),
        frame(0, tag(&build::ethernet(mac(1), mac(0), EtherType::IPV4, &udp4(1, 2, b"a")[14..]))),
        frame(2, tag(&build::ethernet(mac(0), mac(2), EtherType::IPV6, &udp6(1, 0, b"a")[14..]))),
    ];
    // Packets of 576 bytes fit, of 577 do not; the same for 1500.
    let edge: Vec<_> = [548, 549, 1472, 1473].map(|length| frame(0, udp4(0, 1, &vec![7; length]))).to_vec();
    // Differing in type of service, hops, and window: none may be joined with its neighbour.
    let unlike: Vec<_> = [(1, 15, 8), (1, 22, 9), (0, 15, 1), (1, 48, 16)]
        .into_iter()
        .flat_map(|(port, at, change)| {
            let mut first = unfinished(tcp4(port, 1 - port, 0, b"segments"), 16);
            let second = unfinished(tcp4(port, 1 - port, 8, b"segments"), 16);
            first[at] ^= change;
            [partial(port, first, 16), partial(port, second, 16)]
        })
        .collect();
    let joined: Vec<_> = (0..4)
        .map(|_| partial(0, udp4(0, 1, b"sixteen bytes ok"), 6))
        .chain((0..4).map(|nth| partial(1, tcp4(1, 0, nth * 8, b"segments"), 16)))
        .collect();
    let cut = [
        super_frame(1, tcp4(1, 2, 9, &[7; 200]), GSO_TCP4, 54, 16),
        super_frame(0, udp4(0, 2, &[8; 130]), GSO_UDP, 42, 6),
    ];
    let learned = [
        frame(3, udp4(0, 1, b"flooded")),
        frame(4, udp4(1, 0, b"answered")),
        frame(3, udp4(0, 1, b"forwarded")),
        wait.clone(),
        frame(5, udp4(0, 1, b"moved")),
        frame(4, udp4(1, 0, b"follows")),
        Step::Replug { port: 5 },
        Step::Wait { milliseconds: 90_000 },
        frame(4, udp4(1, 0, b"forgotten")),
    ];
    let troubled = [
        Step::Fail { port: 1, how: 2 },
        frame(0, udp4(0, 1, b"full")),
        frame(0, arp(0, 1)),
        wait,
        Step::Change { network: 0 },
        Step::Fail { port: 1, how: 0 },
        frame(0, udp4(0, 1, b"room")),
    ];
    vec![
        ("switched", scenario(0, &switched)),
        ("forged", scenario(0, &forged)),
        ("forged-tagged", scenario(0, &forged_tagged)),
        ("mtu-edge", scenario(0, &edge)),
        ("mtu-edge-small", scenario(8, &edge)),
        ("unlike", scenario(0, &unlike)),
        ("joined", scenario(0, &joined)),
        ("cut", scenario(0, &cut)),
        ("cut-small-mtu", scenario(8, &cut)),
        ("learned", scenario(0, &learned)),
        ("learned-by-two", scenario(16, &learned)),
        ("learned-little", scenario(4 | 1, &learned)),
        ("stormy", scenario(2, &learned)),
        ("troubled", scenario(0, &troubled)),
    ]
}
