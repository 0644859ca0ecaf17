use std::net::Ipv4Addr;

use proptest::prelude::*;
use vswitch_wire::{EtherType, MacAddr, TcpHeader, build, ipv4_header_checksum_ok, parse};
use zerocopy::IntoBytes;

use super::*;
use crate::frame::Pool;
use crate::offload::{GSO_TCP4, NEEDS_CHECKSUM};
use crate::rewrite::tests::packets::{Packet, endpoint};
use crate::segment;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn packet(flags_fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let mut header = Ipv4Header::new(source, destination, 253, options.len() + payload.len());
    header.version_ihl = 0x45 + u8::try_from(options.len() / 4).unwrap();
    header.identification.set(0x1234);
    header.flags_fragment.set(flags_fragment);
    header.checksum.set(0);
    header.checksum.set((Sum::of(header.as_bytes()) + Sum::of(options)).checksum());
    build::ethernet(B, A, EtherType::IPV4, &[header.as_bytes(), options, payload].concat())
}

fn cut_with(frame: &[u8], offload: OffloadHeader, mtu: u16) -> Result<Vec<Vec<u8>>, DropReason> {
    let mut pool = Pool::new(2);
    let (mut whole, mut scratch) = (pool.take().unwrap(), pool.take().unwrap());
    whole.copy_from(frame);
    whole.offload = offload;
    let parsed = parse(frame).unwrap();
    let mut pieces = Vec::new();
    split(&mut whole, &parsed, mtu, &mut scratch, |piece| {
        assert_eq!(piece.offload, OffloadHeader::NONE);
        pieces.push(piece.bytes().to_vec());
    })
    .inspect_err(|_| assert!(pieces.is_empty()))?;
    Ok(pieces)
}

fn cut(frame: &[u8], mtu: u16) -> Result<Vec<Vec<u8>>, DropReason> {
    cut_with(frame, OffloadHeader::NONE, mtu)
}

/// Puts the pieces together in any order, by RFC 791's words; answers the first's header, the payload's offset in the
/// packet, the payload and whether more follow.
fn together(pieces: &[Vec<u8>]) -> (Vec<u8>, usize, Vec<u8>, bool) {
    let mut parts: Vec<_> = pieces
        .iter()
        .map(|piece| {
            assert!(ipv4_header_checksum_ok(&piece[14..]));
            let (ip, _) = Ipv4Header::ref_from_prefix(&piece[14..]).unwrap();
            assert_eq!(usize::from(ip.total_length.get()), piece.len() - 14);
            let (header, payload) = piece[14..].split_at(ip.header_length().into());
            let flags = ip.flags_fragment.get();
            (usize::from(flags & 0x1fff) * 8, flags & 0x2000 != 0, header.to_vec(), payload.to_vec())
        })
        .collect();
    parts.sort();
    let start = parts[0].0;
    let mut payload = Vec::new();
    let (last, before) = parts.split_last().unwrap();
    for (offset, more, _, part) in before {
        assert!(*more && part.len() % 8 == 0);
        assert_eq!(*offset, start + payload.len());
        payload.extend_from_slice(part);
    }
    assert_eq!(last.0, start + payload.len());
    payload.extend_from_slice(&last.3);
    (parts[0].2.clone(), start, payload, last.1)
}

proptest! {
    #[test]
    fn pieces_make_the_packet(
        payload in prop::collection::vec(any::<u8>(), 0..3000), words in 0_usize..10, mtu in 68_u16..1500,
        offset in 0_u16..100, more: bool, padding in 0_usize..30,
    ) {
        let more = more && !payload.is_empty();
        let flags = offset | u16::from(more) << 13;
        let frame = packet(flags, &[1; 40][..words * 4], &payload);
        let padded = [&frame[..], &vec![0; padding]].concat();
        let Ok(pieces) = cut(&padded, mtu) else {
            prop_assert!(false, "not cut");
            return Ok(());
        };
        prop_assert!(pieces.iter().all(|piece| piece.len() - 14 <= usize::from(mtu)));
        let least = payload.len().div_ceil((usize::from(mtu) - 20) & !7);
        prop_assert!(pieces.len() <= least + 1 + words, "no more than needed");
        let (header, start, together, last_more) = together(&pieces);
        prop_assert_eq!((start, last_more), (usize::from(offset) * 8, more));
        prop_assert_eq!(together, payload);
        let mut whole = header;
        let (ip, _) = Ipv4Header::mut_from_prefix(&mut whole[..]).unwrap();
        ip.total_length.set(u16::try_from(frame.len() - 14).unwrap());
        ip.flags_fragment.set(flags);
        ip.checksum.set(0);
        let sum = Sum::of(&whole).checksum();
        whole[10..12].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(&whole[..], &frame[14..14 + whole.len()], "the first's header is the packet's");
    }

    /// An unfinished checksum is finished over the whole, wherever in it the field is.
    #[test]
    fn checksums_are_finished_first(mut packet in Packet::any(), mtu in 68_u16..120) {
        packet.v6 = false;
        packet.source = endpoint(false, (packet.source.address.0, packet.source.port));
        packet.destination = endpoint(false, (packet.destination.address.0, packet.destination.port));
        let (mut frame, offload) = packet.frame();
        let mut finished = frame.clone();
        if offload.needs_checksum() {
            complete_partial(&mut finished, offload.checksum_start, offload.checksum_offset).unwrap();
        }
        // As built it may not be cut.
        frame[20] = 0;
        let payload = usize::from(parse(&frame).unwrap().layer4_offset);
        prop_assert_eq!(together(&cut_with(&frame, offload, mtu).unwrap()).2, &finished[payload..]);
    }

    #[test]
    fn hostile_options_are_survived(options in prop::collection::vec(any::<u8>(), 40), mtu in 68_u16..200) {
        let frame = packet(0, &options, &[7; 300]);
        let (_, _, payload, _) = together(&cut(&frame, mtu).unwrap());
        prop_assert_eq!(payload, vec![7; 300]);
    }
}

/// RFC 791 §3.1: security, source routes and the stream identifier go into every fragment; others into the first.
#[test]
fn options_are_copied_by_their_flag() {
    // Record route, no operation, router alert (copied), timestamp, strict source route (copied), end.
    let options = [7, 7, 4, 1, 1, 1, 1, 1, 0x94, 4, 0, 9, 68, 4, 5, 0, 0x89, 3, 4, 0];
    let pieces = cut(&packet(0, &options, &[7; 100]), 80).unwrap();
    let headers: Vec<_> =
        pieces.iter().map(|piece| piece[34..14 + usize::from(piece[14] & 15) * 4].to_vec()).collect();
    assert_eq!(headers[0], options);
    assert!(headers.len() > 2);
    for header in &headers[1..] {
        assert_eq!(header, &[0x94, 4, 0, 9, 0x89, 3, 4, 0], "padded to words");
    }
}

#[test]
fn what_fits_comes_as_it_is_and_what_may_not_be_cut_does_not() {
    let forbidden = packet(Ipv4Header::DONT_FRAGMENT, &[], &[7; 100]);
    assert_eq!(cut(&forbidden, 120), Ok(vec![forbidden.clone()]));
    assert_eq!(cut(&forbidden, 119), Err(DropReason::PacketTooBig));
    let allowed = packet(0, &[], &[7; 100]);
    assert_eq!(cut(&allowed, 119).unwrap().len(), 2);
    assert_eq!(cut(&allowed, 27), Err(DropReason::PacketTooBig), "no room for eight bytes");
    let v6 = build::ipv6(B, A, "fd00::1".parse().unwrap(), "fd00::2".parse().unwrap(), 253, &[7; 100]);
    assert_eq!(cut(&v6, 100), Err(DropReason::PacketTooBig));
}

#[test]
fn a_checksum_outside_the_frame_is_refused() {
    let offload = OffloadHeader { flags: NEEDS_CHECKSUM, checksum_start: 900, ..OffloadHeader::NONE };
    assert_eq!(cut_with(&packet(0, &[], &[7; 100]), offload, 100), Err(DropReason::BadOffload));
}

/// A super-frame is cut into segments, and those into fragments.
#[test]
fn segments_of_a_super_frame_may_be_cut() {
    let (from, to) = ("10.0.0.1:1000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let mut frame = build::tcp4(B, A, from, to, TcpHeader::ACK, 1, 1, &[7; 5000]);
    frame[20] = 0;
    let mut pool = Pool::new(3);
    let (mut whole, mut scratch, mut pieces) =
        (pool.take().unwrap(), pool.take().unwrap(), pool.take().unwrap());
    let parsed = parse(&frame).unwrap();
    whole.copy_from(&frame);
    let claim = OffloadHeader {
        flags: NEEDS_CHECKSUM,
        gso_type: GSO_TCP4,
        gso_size: 1400,
        checksum_start: 34,
        checksum_offset: 16,
        ..OffloadHeader::NONE
    };
    whole.offload = claim.validate(&parsed, frame.len()).unwrap();
    assert_eq!(split(&mut whole, &parsed, 600, &mut scratch, |_| {}), Err(DropReason::PacketTooBig));
    let mut counts = Vec::new();
    segment::complete(&whole, &parsed, &mut scratch, |segment| {
        let parsed = parse(segment.bytes()).unwrap();
        let (mut count, bytes) = (0, segment.bytes().to_vec());
        let mut found = Vec::new();
        split(segment, &parsed, 600, &mut pieces, |piece| {
            count += 1;
            found.push(piece.bytes().to_vec());
        })
        .unwrap();
        assert_eq!(together(&found).2, bytes[34..]);
        counts.push(count);
    })
    .unwrap();
    assert_eq!(counts, [3, 3, 3, 2]);
}
