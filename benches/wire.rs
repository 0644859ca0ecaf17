//! The parts of `wire`: parsing by kind of frame, checksums by length, and updating one in place.

use std::hint::black_box;
use std::net::{Ipv6Addr, SocketAddrV6};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vswitch_benches::{datagram, segment, station, super_frame};
use vswitch_wire::checksum::{Sum, update_u16, update_u32, update_u128};
use vswitch_wire::{ArpPacket, EtherType, MacAddr, Tci, TcpHeader, build, parse};

criterion_group!(benches, parsing, checksums);
criterion_main!(benches);

fn parsing(criterion: &mut Criterion) {
    let (from, to) = (station(1), station(2));
    let [ip4, other_ip4] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    let [ip6, other_ip6]: [Ipv6Addr; 2] =
        ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap_or(Ipv6Addr::LOCALHOST));
    let [source, destination] =
        [(ip6, 5000), (other_ip6, 80)].map(|(ip, port)| SocketAddrV6::new(ip, port, 0, 0));
    // An empty destination-options header in front of TCP's protocol number.
    let options = [&[59, 0, 1, 4, 0, 0, 0, 0][..], &[0; 64]].concat();
    let frames = [
        ("arp", build::arp(ArpPacket::REQUEST, from, ip4, MacAddr::ZERO, other_ip4)),
        ("ipv4 udp", datagram(to, 1, 16).bytes),
        ("ipv4 tcp", segment(to, 1, 1448).bytes),
        ("ipv4 tcp, tagged", build::tagged(&segment(to, 1, 1448).bytes, EtherType::VLAN, Tci(5))),
        ("ipv4 tcp, super-frame", super_frame(to, 60_000).bytes),
        ("ipv6 tcp", build::tcp6(to, from, source, destination, TcpHeader::ACK, 1, 1, &[7; 1428])),
        ("ipv6 with options", build::ipv6(to, from, ip6, other_ip6, 60, &options)),
        ("other", build::ethernet(to, from, EtherType(0x88cc), &[7; 46])),
    ];
    let mut group = criterion.benchmark_group("parse");
    for (name, frame) in &frames {
        assert!(parse(frame).is_ok(), "{name}");
        group.bench_function(*name, |bencher| bencher.iter(|| parse(black_box(frame))));
    }
    let cut = &frames[2].1[..40];
    group.bench_function("malformed", |bencher| bencher.iter(|| parse(black_box(cut))));
    group.finish();
}

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    for length in [20, 64, 1500, 65_535] {
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("{length} bytes"), |bencher| {
            bencher.iter(|| Sum::of(black_box(&bytes[..length])).checksum());
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("checksum update");
    group.bench_function("u16", |bencher| {
        bencher.iter(|| update_u16(black_box(7), black_box(8), black_box(9)));
    });
    group.bench_function("u32", |bencher| {
        bencher.iter(|| update_u32(black_box(7), black_box(8), black_box(9)));
    });
    group.bench_function("u128", |bencher| {
        bencher.iter(|| update_u128(black_box(7), black_box(8), black_box(9)));
    });
    group.finish();
}
