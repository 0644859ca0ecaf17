//! A super-frame the switch made must be nothing but frames it received, one behind the other.

use vswitch_wire::{Parsed, TcpHeader, parse, protocol};

use crate::device::Crossing;

/// Whether `frame` can be taken apart into frames of `received`: the same headers but for length, checksum,
/// identification, sequence and PSH, their payloads whole, and TCP in sequence.
pub fn is_made_of(frame: &Crossing, parsed: &Parsed, received: &[Crossing]) -> bool {
    let Some(whole) = Part::of(&frame.bytes, parsed) else { return false };
    let parts: Vec<_> = received
        .iter()
        .filter_map(|one| Part::of(&one.bytes, &parse(&one.bytes).ok()?))
        .filter(|part| part.headers == whole.headers && !part.payload.is_empty())
        .collect();
    let (mut rest, mut sequence) = (whole.payload, whole.sequence);
    while !rest.is_empty() {
        let next = parts.iter().find(|part| {
            let in_place = part.sequence == sequence && rest.starts_with(part.payload);
            // Datagrams have no sequence, but all of them one length, save the last.
            let datagram = usize::from(frame.offload.gso_size).min(rest.len());
            in_place && (parsed.headers.protocol == protocol::TCP || part.payload.len() == datagram)
        });
        let Some(next) = next else { return false };
        rest = &rest[next.payload.len()..];
        if parsed.headers.protocol == protocol::TCP {
            sequence = sequence.wrapping_add(u32::try_from(next.payload.len()).unwrap_or(0));
        }
    }
    true
}

/// One frame, as it may stand within another.
struct Part<'a> {
    /// Up to the payload, with zeroes for what joining changes.
    headers: Vec<u8>,
    /// 0 for UDP.
    sequence: u32,
    payload: &'a [u8],
}

impl<'a> Part<'a> {
    fn of(frame: &'a [u8], parsed: &Parsed) -> Option<Self> {
        let (layer3, layer4) = (usize::from(parsed.layer3_offset), usize::from(parsed.layer4_offset));
        let payload = frame.get(parsed.payload_offset.into()..parsed.layer3_end as usize)?;
        let mut headers = frame.get(..parsed.payload_offset.into())?.to_vec();
        let mut sequence = 0;
        let mut blank = |from: usize, to: usize| headers.get_mut(from..to).map(|bytes| bytes.fill(0));
        if parsed.headers.is_ipv4() {
            // Total length and identification, header checksum.
            blank(layer3 + 2, layer3 + 6)?;
            blank(layer3 + 10, layer3 + 12)?;
        } else {
            blank(layer3 + 4, layer3 + 6)?;
        }
        if parsed.headers.protocol == protocol::TCP {
            blank(layer4 + 4, layer4 + 8)?;
            blank(layer4 + 16, layer4 + 18)?;
            *headers.get_mut(layer4 + 13)? &= !TcpHeader::PSH;
            sequence = u32::from_be_bytes(*frame.get(layer4 + 4..)?.first_chunk()?);
        } else {
            // Length and checksum.
            blank(layer4 + 4, layer4 + 8)?;
        }
        Some(Self { headers, sequence, payload })
    }
}
