//! TCP's maximum segment size, lowered where the way on is narrower than the one the SYN came from.
//!
//! Path MTU discovery does the same with one lost segment per connection and needs ICMP errors to arrive; where a
//! network's own MTU is known to the router, saying so in the handshake (RFC 9293 §3.7.1) spares both.

use vswitch_wire::checksum::update_u16;
use vswitch_wire::{Ipv4Header, Ipv6Header, Parsed, TcpHeader, protocol};

use crate::offload::OffloadHeader;

/// End of the list, a byte of padding, and the maximum segment size: kinds of options (RFC 9293 §3.1).
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const SEGMENT_SIZE: u8 = 2;

/// Lowers the segment size that a SYN offers to what a packet of `mtu` bytes carries behind plain headers (RFC 6691),
/// and answers whether it did. Left alone are all other packets, a smaller offer, options that contradict themselves,
/// and a SYN without an offer, which means 536 or 1220 bytes and fits everywhere.
pub fn clamp(bytes: &mut [u8], parsed: &Parsed, offload: &OffloadHeader, mtu: u16) -> bool {
    let headers = &parsed.headers;
    if headers.protocol != protocol::TCP || parsed.tcp_flags & TcpHeader::SYN == 0 {
        return false;
    }
    let ip = if headers.is_ipv4() { Ipv4Header::LENGTH } else { Ipv6Header::LENGTH };
    let most = usize::from(mtu).saturating_sub(ip + TcpHeader::LENGTH);
    // Cannot be cut off: less than the MTU.
    let most = u16::try_from(most).unwrap_or(u16::MAX);
    let unfinished = offload.needs_checksum() && offload.checksum_start == parsed.layer4_offset;
    bytes
        .get_mut(usize::from(parsed.layer4_offset)..)
        .and_then(|segment| lower(segment, most, unfinished))
        .is_some()
}

fn lower(segment: &mut [u8], most: u16, unfinished: bool) -> Option<()> {
    let (tcp, options, _) = TcpHeader::split_mut(segment)?;
    let at = offer(options)?;
    let offered = options.get_mut(at..)?.first_chunk_mut::<2>()?;
    let old = u16::from_be_bytes(*offered);
    if old <= most {
        return None;
    }
    *offered = most.to_be_bytes();
    // An unfinished checksum holds the pseudo-header's sum, which options are no part of.
    if !unfinished {
        // At an odd offset the halves lie in two words, and count as if they were swapped (RFC 1071 §2 B).
        let [old, new] = if at % 2 == 0 { [old, most] } else { [old.swap_bytes(), most.swap_bytes()] };
        tcp.checksum.set(update_u16(tcp.checksum.get(), old, new));
    }
    Some(())
}

/// Where the segment size is among the options; none where there is none or the list cannot be followed to it.
fn offer(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *options.get(at..)? {
            [END, ..] => return None,
            [NO_OPERATION, ..] => at += 1,
            [SEGMENT_SIZE, 4, _, _, ..] => return Some(at + 2),
            [SEGMENT_SIZE, ..] => return None,
            [_, length, ..] if length >= 2 => at += usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;
    use vswitch_wire::checksum::{Sum, pseudo_header_v4, pseudo_header_v6};
    use vswitch_wire::{MacAddr, build, parse};
    use zerocopy::IntoBytes;

    use super::*;
    use crate::offload::NEEDS_CHECKSUM;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    /// A segment with these options, padded to words, and a finished checksum.
    fn segment(v6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), END);
        let mut header = TcpHeader::new(1, 2, flags, 3, 4);
        header.data_offset = u8::try_from(5 + options.len() / 4).unwrap() << 4;
        let length = u32::try_from(20 + options.len() + 3).unwrap();
        let (a4, b4) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let (a6, b6) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from([7; 16]));
        let pseudo_header =
            if v6 { pseudo_header_v6(a6, b6, 6, length) } else { pseudo_header_v4(a4, b4, 6, length) };
        let sum = pseudo_header + Sum::of(header.as_bytes()) + Sum::of(&options) + Sum::of(b"odd");
        header.checksum.set(sum.checksum());
        let segment = [header.as_bytes(), &options, b"odd"].concat();
        if v6 { build::ipv6(B, A, a6, b6, 6, &segment) } else { build::ipv4(B, A, a4, b4, 6, &segment) }
    }

    fn clamped(frame: &[u8], mtu: u16) -> Option<Vec<u8>> {
        let mut frame = frame.to_vec();
        let parsed = parse(&frame).unwrap();
        clamp(&mut frame, &parsed, &OffloadHeader::NONE, mtu).then_some(frame)
    }

    #[test]
    fn an_offer_is_lowered_to_what_fits() {
        for (v6, size) in [(false, 1360_u16), (true, 1340)] {
            for flags in [TcpHeader::SYN, TcpHeader::SYN | TcpHeader::ACK] {
                // At an even offset and, behind one byte of padding, at an odd one.
                for before in
                    [&[][..], &[NO_OPERATION], &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8], &[4, 2, NO_OPERATION]]
                {
                    let with = |size: u16| {
                        let [high, low] = size.to_be_bytes();
                        segment(v6, flags, &[before, &[SEGMENT_SIZE, 4, high, low, 3, 3, 7]].concat())
                    };
                    assert_eq!(clamped(&with(1460), 1400), Some(with(size)), "{before:?}");
                    assert_eq!(clamped(&with(size), 1400), None, "fits already");
                    assert_eq!(clamped(&with(500), 1400), None, "fits already");
                }
            }
        }
    }

    #[test]
    fn what_makes_no_offer_is_left_alone() {
        let offer = [SEGMENT_SIZE, 4, 0xff, 0xff];
        assert_eq!(clamped(&segment(false, TcpHeader::ACK, &offer), 1400), None, "no SYN");
        assert_eq!(clamped(&segment(false, TcpHeader::SYN, &[]), 1400), None, "no options");
        for wrong in [
            &[SEGMENT_SIZE, 3, 0xff, 0xff][..],
            &[5, 0, 2, 4],
            &[5, 1, 2, 4],
            &[5, 1],
            &[5, 9, 0, 0],
            &[END, 2, 4, 0xff, 0xff],
        ] {
            let frame = segment(false, TcpHeader::SYN, &[wrong, &offer].concat());
            // A length of nine leads out of the list.
            assert_eq!(clamped(&frame, 1400), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_unfinished_checksum_stays() {
        let mut frame = segment(false, TcpHeader::SYN, &[SEGMENT_SIZE, 4, 0xff, 0xff]);
        let parsed = parse(&frame).unwrap();
        let offload = OffloadHeader {
            flags: NEEDS_CHECKSUM,
            checksum_start: 34,
            checksum_offset: 16,
            ..OffloadHeader::NONE
        };
        let before = frame.clone();
        assert!(clamp(&mut frame, &parsed, &offload, 1400));
        assert_eq!((&frame[..56], &frame[56..58]), (&before[..56], &1360_u16.to_be_bytes()[..]));
    }

    proptest! {
        /// Whatever the options, the checksum stays right and nothing but two bytes of them changes.
        #[test]
        fn hostile_options_are_survived(options in prop::collection::vec(0_u8..12, 0..40), mtu: u16) {
            let frame = segment(false, TcpHeader::SYN, &options);
            let Some(after) = clamped(&frame, mtu) else { return Ok(()) };
            let parsed = parse(&after).unwrap();
            let message = &after[34..];
            let length = u32::try_from(message.len()).unwrap();
            let (a4, b4) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
            prop_assert_eq!((pseudo_header_v4(a4, b4, 6, length) + Sum::of(message)).checksum(), 0);
            let changed: Vec<_> = (0..frame.len()).filter(|at| frame[*at] != after[*at]).collect();
            let allowed = |at: &usize| matches!(*at, 50 | 51) || (54..usize::from(parsed.payload_offset)).contains(at);
            prop_assert!(changed.iter().all(allowed) && changed.len() <= 4, "{changed:?}");
        }
    }
}
