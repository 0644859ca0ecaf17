//! The contract of coalescing and segmentation: what arrives is what was sent, however it travelled.

use proptest::prelude::*;
use vswitch_switch::frame::Frame;
use vswitch_switch::memory::MemoryFrame;
use vswitch_switch::{Offloads, Pool, segment};
use vswitch_wire::{Headers, TcpHeader, parse};

use crate::bed::{Bed, SETTINGS, port};
use crate::traffic::{Flow, Message, mac, without_identification};

/// Two ports; everything for [`mac`]`(2)` leaves at the second, which takes `offloads` over.
fn bed(offloads: Offloads) -> Bed {
    let mut bed = Bed::empty();
    let network = bed.add_network(SETTINGS);
    bed.add_port(network, Offloads::ALL);
    let egress = bed.add_port(network, offloads);
    bed.change_network(network, |network| {
        network.static_macs.insert(mac(2), egress);
    });
    bed
}

/// Sends the frames through a shard, in as large batches as they fill, and answers what was written.
fn written(offloads: Offloads, frames: Vec<MemoryFrame>) -> Vec<MemoryFrame> {
    let mut bed = bed(offloads);
    bed.receive(port(0), frames);
    assert_eq!((bed.totals(port(0)).dropped(), bed.totals(port(1)).dropped()), (0, 0));
    bed.device(port(1)).take_sent()
}

/// What a receiver makes of a written frame: complete frames.
fn completed(written: &MemoryFrame, offloads: &Offloads) -> Vec<Vec<u8>> {
    let mut pool = Pool::new(2);
    let (mut frame, mut scratch) = (pool.take().unwrap(), pool.take().unwrap());
    frame.copy_from(&written.bytes);
    frame.offload = written.offload;
    let parsed = parse(frame.bytes()).expect("a well-formed frame was written");
    assert_eq!(written.offload.validate(&parsed, frame.len()), Ok(written.offload), "an untrue header");
    assert!(offloads.cover(&written.offload, &parsed), "{:?} is not for {offloads:?}", written.offload);
    let mut frames = Vec::new();
    segment::complete(&frame, &parsed, &mut scratch, |segment: &mut Frame| {
        frames.push(segment.bytes().to_vec());
    })
    .expect("what was written can be completed");
    frames
}

/// One thing a sender hands over, and the complete frames it stands for.
#[derive(Clone, Debug)]
struct Sent {
    frame: MemoryFrame,
    means: Vec<Vec<u8>>,
}

/// How one message differs from the one expected next in its flow.
#[derive(Clone, Debug)]
struct Step {
    flow: usize,
    length: usize,
    segments: usize,
    complete: bool,
    flags: u8,
    gap: u32,
    options: bool,
    odd: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![
        6 => Just(100usize), 2 => Just(1000), 2 => Just(1400), 1 => Just(0), 1 => 1usize..12, 1 => 90usize..110
    ];
    let segments = prop_oneof![6 => Just(1usize), 1 => 2usize..5, 1 => 20usize..40];
    let psh_ack = TcpHeader::PSH | TcpHeader::ACK;
    let flags = prop_oneof![
        12 => Just(TcpHeader::ACK),
        2 => Just(psh_ack),
        1 => Just(TcpHeader::FIN | psh_ack),
        1 => Just(TcpHeader::CWR | TcpHeader::ACK),
        1 => Just(TcpHeader::SYN),
        1 => any::<u8>(),
    ];
    let gap = prop_oneof![10 => Just(0u32), 1 => 1u32..300, 1 => Just(u32::MAX - 99)];
    let odd = prop_oneof![12 => Just(0u8), 1 => 1u8..7];
    let step =
        (0usize..5, length, segments, prop::bool::weighted(0.1), flags, gap, prop::bool::weighted(0.1), odd)
            .prop_map(|(flow, length, segments, complete, flags, gap, options, odd)| Step {
                flow,
                length,
                segments,
                complete,
                flags,
                gap,
                options,
                odd,
            });
    prop::collection::vec(step, 1..90)
}

fn flows() -> impl Strategy<Value = Vec<Flow>> {
    let flow = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), 0u16..3)
        .prop_map(|(tcp, ipv6, tagged, source_port)| Flow { tcp, ipv6, tagged, source_port });
    prop::collection::vec(flow, 5)
}

/// Plays the steps: sequence numbers go on where the flow's last message ended, save for the gap.
fn play(flows: &[Flow], steps: &[Step]) -> Vec<Sent> {
    // Close to where they wrap.
    let mut next: Vec<(Flow, u32)> = flows.iter().map(|flow| (*flow, u32::MAX - 5000)).collect();
    let mut sent = Vec::new();
    for (nth, step) in steps.iter().enumerate() {
        let flow = flows[step.flow];
        let place = next.iter().position(|(known, _)| *known == flow).unwrap();
        let sequence = next[place].1.wrapping_add(step.gap);
        let segments = if step.length < 8 { 1 } else { step.segments };
        // Every third super-frame ends in a shorter segment.
        let length = step.length * segments - if segments > 1 && nth % 3 == 0 { step.length / 2 } else { 0 };
        let payload = (0..length).map(|byte| (byte * 7 + nth * 31) as u8).collect();
        let mut message = Message::new(flow, sequence, payload);
        message.flags = step.flags;
        message.identification = (nth * 1000) as u16;
        if step.options {
            message.options = vec![1, 1, 8, 10, 0, 0, 0, nth as u8, 0, 0, 0, 1];
        }
        match step.odd {
            1 => message.window = 501,
            2 => message.hops = 63,
            3 => message.traffic_class = 3,
            4 => message.may_be_fragmented = true,
            _ => {}
        }
        next[place].1 = sequence.wrapping_add(length as u32);
        sent.push(if segments > 1 && length > step.length {
            let size = step.length as u16;
            let means = message.cut(size).iter().map(Message::complete).collect();
            Sent { frame: message.super_frame(size), means }
        } else if step.complete {
            Sent { frame: message.complete().into(), means: vec![message.complete()] }
        } else {
            Sent { frame: message.open(), means: vec![message.complete()] }
        });
    }
    sent
}

/// The frames of each flow, in order.
fn by_flow(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<(Headers, Vec<Vec<u8>>)> {
    let mut flows: Vec<(Headers, Vec<Vec<u8>>)> = Vec::new();
    for frame in frames {
        let headers = parse(&frame).expect("a well-formed frame").headers;
        let frame = without_identification(frame);
        match flows.iter_mut().find(|(known, _)| *known == headers) {
            Some((_, frames)) => frames.push(frame),
            None => flows.push((headers, vec![frame])),
        }
    }
    flows.sort_by_key(|(headers, _)| headers.words());
    flows
}

fn some_offloads() -> impl Strategy<Value = Offloads> {
    let any_of_them = any::<[bool; 6]>().prop_map(|[checksum, tso4, tso6, ecn, uso4, uso6]| Offloads {
        checksum,
        tso4,
        tso6,
        ecn,
        uso4,
        uso6,
    });
    prop_oneof![2 => Just(Offloads::ALL), 1 => Just(Offloads::NONE), 1 => any_of_them]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The key property: through any egress, every flow arrives as it was sent, byte for byte.
    #[test]
    fn what_arrives_is_what_was_sent(flows in flows(), steps in steps(), offloads in some_offloads()) {
        let sent = play(&flows, &steps);
        let written = written(offloads, sent.iter().map(|sent| sent.frame.clone()).collect());
        if offloads == Offloads::ALL {
            prop_assert!(written.len() <= sent.len(), "more writes than reads");
        }
        let arrived = written.iter().flat_map(|frame| completed(frame, &offloads));
        let expected = sent.into_iter().flat_map(|sent| sent.means);
        prop_assert_eq!(by_flow(arrived), by_flow(expected));
    }

    /// An egress without offloads gets the very same frames in the very same order.
    #[test]
    fn a_plain_egress_gets_plain_frames_in_order(flows in flows(), steps in steps()) {
        let sent = play(&flows, &steps);
        let written = written(Offloads::NONE, sent.iter().map(|sent| sent.frame.clone()).collect());
        let expected: Vec<_> = sent.into_iter().flat_map(|sent| sent.means).map(MemoryFrame::from).collect();
        prop_assert_eq!(written, expected);
    }
}

const TCP4: Flow = Flow { tcp: true, ipv6: false, tagged: false, source_port: 1 };
const UDP6: Flow = Flow { tcp: false, ipv6: true, tagged: false, source_port: 1 };

fn tcp(sequence: u32, length: usize) -> Message {
    Message::new(TCP4, sequence, vec![5; length])
}

fn udp(length: usize) -> Message {
    Message::new(UDP6, 0, vec![5; length])
}

/// How many of the messages, all open, each write joined.
fn joined(messages: &[Message]) -> Vec<usize> {
    let written = written(Offloads::ALL, messages.iter().map(Message::open).collect());
    written.iter().map(|frame| completed(frame, &Offloads::ALL).len()).collect()
}

#[test]
fn neighbours_of_one_flow_leave_in_one_write() {
    assert_eq!(joined(&[tcp(0, 100), tcp(100, 100), tcp(200, 100)]), [3]);
    assert_eq!(joined(&[tcp(0, 100), tcp(100, 40)]), [2], "the last may be shorter");
    assert_eq!(joined(&vec![udp(16); 64]), [64]);
    assert_eq!(joined(&vec![udp(16); 128]), [64, 64], "batch by batch");
    assert_eq!(joined(&[udp(16), udp(16), udp(15), udp(15)]), [3, 1]);
    // However many frames a batch holds, an IP packet holds 46 of these.
    let large = joined(&vec![udp(1400); 64]);
    assert_eq!(large.iter().sum::<usize>(), 64);
    assert!(large.iter().all(|count| *count <= 46), "{large:?}");
}

#[test]
fn what_a_receiver_could_tell_apart_is_not_joined() {
    let changed = |change: fn(&mut Message)| {
        let mut second = tcp(100, 100);
        change(&mut second);
        joined(&[tcp(0, 100), second])
    };
    assert_eq!(changed(|_| {}), [2]);
    assert_eq!(changed(|m| m.sequence = 101), [1, 1], "a gap");
    assert_eq!(changed(|m| m.sequence = 0), [1, 1], "a retransmission");
    assert_eq!(changed(|m| m.payload = vec![5; 101]), [1, 1], "longer than the first");
    assert_eq!(changed(|m| m.payload.clear()), [1, 1], "an acknowledgement");
    assert_eq!(changed(|m| m.flags |= TcpHeader::FIN), [1, 1]);
    assert_eq!(changed(|m| m.flags |= TcpHeader::ECE), [1, 1]);
    assert_eq!(changed(|m| m.flags |= TcpHeader::URG), [1, 1]);
    assert_eq!(changed(|m| m.flags |= TcpHeader::PSH), [2], "the last may be pushed");
    assert_eq!(changed(|m| m.window += 1), [1, 1]);
    assert_eq!(changed(|m| m.hops -= 1), [1, 1]);
    assert_eq!(changed(|m| m.traffic_class = 3), [1, 1], "congestion was experienced");
    assert_eq!(changed(|m| m.options = vec![1; 4]), [1, 1]);
    assert_eq!(changed(|m| m.may_be_fragmented = true), [1, 1]);
    assert_eq!(changed(|m| m.flow.source_port = 2), [1, 1]);
    assert_eq!(changed(|m| m.flow.tagged = true), [1, 1]);
    let fragmentable = [tcp(0, 100), tcp(100, 100)].map(|m| Message { may_be_fragmented: true, ..m });
    assert_eq!(joined(&fragmentable), [1, 1], "their identification has a meaning");
    let mut pushed = tcp(0, 100);
    pushed.flags |= TcpHeader::PSH;
    assert_eq!(joined(&[pushed, tcp(100, 100)]), [1, 1], "nothing follows a push");
    assert_eq!(joined(&[tcp(0, 40), tcp(40, 40), tcp(80, 30), tcp(110, 30)]), [3, 1], "nor a short segment");
    assert_eq!(joined(&[tcp(0, 7), tcp(7, 7)]), [1, 1], "too short for the kernel to cut");
}

#[test]
fn a_frame_that_is_not_joined_does_not_overtake() {
    // The acknowledgement of another flow releases what was held for its egress.
    let mut other = tcp(0, 0);
    other.flow.source_port = 2;
    let frames = [tcp(0, 100), other.clone(), tcp(100, 100)];
    let sent = written(Offloads::ALL, frames.iter().map(Message::open).collect());
    assert_eq!(sent, frames.iter().map(Message::open).collect::<Vec<_>>());
}

#[test]
fn super_frames_grow_by_what_is_cut_alike_only() {
    let joined = |frames: [MemoryFrame; 2]| -> Vec<usize> {
        let sent = written(Offloads::ALL, frames.to_vec());
        sent.iter().map(|frame| completed(frame, &Offloads::ALL).len()).collect()
    };
    let big = tcp(0, 300).super_frame(100);
    assert_eq!(joined([big.clone(), tcp(300, 300).super_frame(100)]), [6]);
    assert_eq!(joined([big.clone(), tcp(300, 100).open()]), [4]);
    assert_eq!(joined([big.clone(), tcp(300, 100).super_frame(50)]), [3, 2], "cut to 50, not to 100");
    assert_eq!(joined([tcp(0, 250).super_frame(100), tcp(250, 100).open()]), [3, 1], "ended short");
}

#[test]
fn a_wrong_header_checksum_is_not_made_right() {
    let frames: Vec<_> = [tcp(0, 100), tcp(100, 100)].iter().map(Message::open).collect();
    for spoiled in 0..2 {
        let mut frames = frames.clone();
        frames[spoiled].bytes[14 + 10] ^= 1;
        assert_eq!(written(Offloads::ALL, frames.clone()), frames);
    }
}

#[test]
fn a_frame_that_lies_about_its_length_is_left_alone() {
    let mut short = udp(16).open();
    // The datagram ends before the packet does.
    short.bytes[14 + 40 + 5] = 8 + 10;
    let sent = written(Offloads::ALL, vec![short.clone(), short.clone()]);
    assert_eq!(sent, [short.clone(), short]);
}

/// A tunnelled frame's open checksum lies within a datagram that looks complete from outside.
#[test]
fn tunnelled_frames_are_left_alone() {
    for inner in [tcp(0, 100).open(), udp(100).open()] {
        let mut outer = Message::new(UDP6, 0, [&[8, 0, 0, 0, 0, 0, 1, 0], &inner.bytes[..]].concat());
        outer.flow.ipv6 = false;
        let mut frame = MemoryFrame::from(outer.complete());
        frame.offload = inner.offload;
        frame.offload.checksum_start += 14 + 20 + 8 + 8;
        let sent = written(Offloads::ALL, vec![frame.clone(), frame.clone()]);
        assert_eq!(sent, [frame.clone(), frame]);
    }
}

#[test]
fn more_flows_than_groups_all_arrive() {
    let messages: Vec<_> = (0..60)
        .map(|nth| {
            let mut message = tcp(nth / 20 * 100, 100);
            message.flow.source_port = (nth % 20) as u16;
            message
        })
        .collect();
    let sent = written(Offloads::ALL, messages.iter().map(Message::open).collect());
    let arrived = sent.iter().flat_map(|frame| completed(frame, &Offloads::ALL));
    assert_eq!(by_flow(arrived), by_flow(messages.iter().map(Message::complete)));
}
