//! Whole batches through a shard, devices without cost at both ends: what the switch adds to the system calls.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vswitch_benches::{Bench, datagram, segment, station, super_frame};
use vswitch_switch::Offloads;
use vswitch_switch::device::BATCH_FRAMES;
use vswitch_switch::memory::MemoryFrame;

criterion_group!(benches, batches);
criterion_main!(benches);

const PARTIAL_ONLY: Offloads = Offloads { checksum: true, ..Offloads::NONE };

fn batches(criterion: &mut Criterion) {
    let to = station(0);
    let datagrams = || vec![datagram(to, 1, 16); BATCH_FRAMES];
    let segments = || (0..64).map(|nth| segment(to, nth * 1448, 1448)).collect::<Vec<_>>();
    let large = || vec![super_frame(to, 62_264)];
    let several = |flows: u16| (0..flows).map(|flow| datagram(to, flow, 16)).collect::<Vec<_>>();

    // Name, frames, frames a batch, offloads of the egress, device writes expected of a batch.
    let cases: [(&str, Vec<MemoryFrame>, usize, Offloads, u64); 9] = [
        ("64 datagrams of one flow, one by one", datagrams(), 64, PARTIAL_ONLY, 64),
        ("64 datagrams of one flow, coalesced", datagrams(), 64, Offloads::ALL, 1),
        ("64 datagrams of 8 flows, coalesced", several(8), 64, Offloads::ALL, 8),
        ("64 datagrams of 64 flows, coalesced in vain", several(64), 64, Offloads::ALL, 64),
        ("64 datagrams, checksums in software", datagrams(), 64, Offloads::NONE, 64),
        ("32 segments of one flow, one by one", segments(), 32, PARTIAL_ONLY, 32),
        ("32 segments of one flow, coalesced", segments(), 32, Offloads::ALL, 1),
        ("4 super-frames of 62 KB, passed through", large(), 4, Offloads::ALL, 4),
        ("4 super-frames of 62 KB, cut in software", large(), 4, Offloads::NONE, 4 * 43),
    ];
    let mut group = criterion.benchmark_group("batch");
    for (name, frames, batch, offloads, writes) in cases {
        let bytes: usize = frames.iter().cycle().take(batch).map(|frame| frame.bytes.len()).sum();
        let mut bench = Bench::with_batches(frames, batch, 2, offloads).know(1);
        bench.batch();
        assert_eq!(bench.sent(1), writes, "{name}");
        group.throughput(Throughput::ElementsAndBytes { elements: batch as u64, bytes: bytes as u64 });
        group.bench_function(name, |bencher| bencher.iter(|| bench.batch()));
    }
    group.finish();
}
