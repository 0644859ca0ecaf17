//! Allocations per frame over a million frames, which must be none. `switch/tests/allocations.rs` holds the
//! same for fewer frames in every test run.

#![allow(clippy::print_stdout, reason = "this is its output")]

use vswitch_benches::{BATCHES_OF_A_MILLION, Bench, STATIONS, datagram, station};
use vswitch_switch::device::BATCH_FRAMES;
use vswitch_switch::{OffloadHeader, Offloads};
use vswitch_wire::MacAddr;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let batches =
        if std::env::args().any(|argument| argument == "--bench") { BATCHES_OF_A_MILLION } else { 100 };
    let single = Offloads { checksum: true, ..Offloads::NONE };
    let to_one = || vec![datagram(station(0), 1, 16)];
    let mut refused = datagram(station(0), 1, 16);
    refused.offload = OffloadHeader { flags: 1, checksum_start: u16::MAX, ..OffloadHeader::NONE };

    let cases = [
        ("cached flow", Bench::new(to_one(), 2, single).know(1), false),
        (
            "miss",
            Bench::new((0..STATIONS - 1).map(|n| datagram(station(n), 1, 16)).collect(), 2, single)
                .know(STATIONS - 1),
            false,
        ),
        ("miss after a change of tables", Bench::new(to_one(), 2, single).know(1), true),
        ("flood", Bench::new(vec![datagram(MacAddr::BROADCAST, 1, 16)], 8, single), false),
        ("coalesced batch", Bench::new(to_one(), 2, Offloads::ALL).know(1), false),
        ("drop", Bench::new(vec![refused], 2, single).know(1), false),
        ("checksum in software", Bench::new(to_one(), 2, Offloads::NONE).know(1), false),
    ];
    for (name, mut bench, changes) in cases {
        // The first batch learns the sender.
        bench.batch();
        let mut allocated = 0;
        for _ in 0..batches {
            if changes {
                bench.change();
            }
            allocated += allocation_counter::measure(|| bench.batch()).count_total;
        }
        println!("{name:32} {allocated} allocations in {} frames", batches * BATCH_FRAMES);
        assert_eq!(allocated, 0, "{name}");
    }
}
