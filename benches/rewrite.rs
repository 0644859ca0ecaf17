//! What translating and routing write into a packet: per kind, both together as an established flow costs. And what
//! a fragment costs before that.

use std::hint::black_box;
use std::net::{Ipv6Addr, SocketAddrV6};

use criterion::{Criterion, criterion_group, criterion_main};
use vswitch_benches::{NOW, SEED, datagram, segment, station, super_frame};
use vswitch_switch::address::{Address, Endpoint};
use vswitch_switch::fragment::{FragmentLimits, Ingress};
use vswitch_switch::{FragmentTracker, Hop, NetworkId, OffloadHeader, PortId, Side, Translation};
use vswitch_wire::{TcpHeader, build, parse, protocol};

criterion_group!(benches, translating, fragments);
criterion_main!(benches);

fn translating(criterion: &mut Criterion) {
    let (from, to) = (station(1), station(2));
    let [source, destination]: [Ipv6Addr; 2] =
        ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap_or(Ipv6Addr::LOCALHOST));
    let [ends_source, ends_destination] =
        [(source, 5000), (destination, 80)].map(|(ip, port)| SocketAddrV6::new(ip, port, 0, 0));
    let sctp = [&[0, 9, 0, 7, 0, 0, 0, 1, 1, 2, 3, 4][..], &[7; 1440]].concat();
    let addresses = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    let great = super_frame(to, 60_000);
    let frames = [
        ("ipv4 tcp", segment(to, 1, 1448).bytes, OffloadHeader::NONE),
        ("ipv4 tcp, super-frame", great.bytes, great.offload),
        ("ipv4 udp", datagram(to, 1, 16).bytes, OffloadHeader::NONE),
        (
            "ipv6 tcp",
            build::tcp6(to, from, ends_source, ends_destination, TcpHeader::ACK, 1, 1, &[7; 1428]),
            OffloadHeader::NONE,
        ),
        (
            "ipv4 sctp",
            build::ipv4(to, from, addresses[0], addresses[1], protocol::SCTP, &sctp),
            OffloadHeader::NONE,
        ),
    ];
    let external =
        Endpoint { address: Address([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), port: 40_000 };
    let hop = Hop { destination: station(3), source: station(4) };
    let mut group = criterion.benchmark_group("rewrite");
    for (name, mut bytes, offload) in frames {
        let Ok(parsed) = parse(&bytes) else { unreachable!("a well-formed frame: {name}") };
        let translation = Translation::new(&parsed.headers, Side::Source, external);
        // Set again in each round: hops would run out, and SCTP does nothing for a port that is right already.
        let port = usize::from(parsed.layer4_offset);
        let hops = usize::from(parsed.layer3_offset) + if parsed.headers.is_ipv4() { 8 } else { 7 };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                bytes[hops] = 64;
                bytes[port] = 0;
                let (bytes, parsed) = (black_box(&mut bytes[..]), black_box(&parsed));
                let translated = black_box(&translation).apply(bytes, parsed, black_box(&offload));
                (translated, black_box(&hop).apply(bytes, parsed))
            });
        });
        if name == "ipv4 tcp" {
            group.bench_function("compiling one", |bencher| {
                bencher
                    .iter(|| Translation::new(black_box(&parsed.headers), Side::Source, black_box(external)));
            });
        }
    }
    group.finish();
}

fn fragments(criterion: &mut Criterion) {
    let ingress = Ingress { port: PortId::FIRST, network: NetworkId::FIRST };
    let addresses = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    let mut first =
        build::ipv4(station(2), station(1), addresses[0], addresses[1], protocol::UDP, &[5; 1480]);
    let mut last = first.clone();
    // More follow; and behind 1480 bytes.
    first[20..22].copy_from_slice(&[0x20, 0]);
    last[20..22].copy_from_slice(&[0, 185]);
    // The datagram's length.
    first[38..40].copy_from_slice(&2960_u16.to_be_bytes());
    let (Ok(parsed_first), Ok(parsed_last)) = (parse(&first), parse(&last)) else {
        unreachable!("well-formed fragments")
    };
    let mut leaving = Vec::new();
    let mut group = criterion.benchmark_group("fragments");
    let mut tracker = FragmentTracker::new(FragmentLimits::default(), SEED);
    group.bench_function("a packet of two, in order", |bencher| {
        bencher.iter(|| {
            let (mut one, mut other) = (parsed_first, parsed_last);
            let one = tracker.offer(ingress, black_box(&first), black_box(&mut one), NOW, &mut leaving);
            (one, tracker.offer(ingress, black_box(&last), black_box(&mut other), NOW, &mut leaving))
        });
    });
    assert!(tracker.is_empty() && leaving.is_empty());
    let mut identification = 0_u16;
    group.bench_function("first ones only, every place taken", |bencher| {
        bencher.iter(|| {
            identification = identification.wrapping_add(1);
            first[18..20].copy_from_slice(&identification.to_be_bytes());
            let mut parsed = parsed_first;
            tracker.offer(ingress, black_box(&first), black_box(&mut parsed), NOW, &mut leaving)
        });
    });
    group.bench_function("later ones only, every place taken", |bencher| {
        bencher.iter(|| {
            identification = identification.wrapping_add(1);
            last[18..20].copy_from_slice(&identification.to_be_bytes());
            let mut parsed = parsed_last;
            let fate = tracker.offer(ingress, black_box(&last), black_box(&mut parsed), NOW, &mut leaving);
            leaving.clear();
            fate
        });
    });
    group.finish();
}
