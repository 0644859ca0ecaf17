//! Which part of its packet a fragment is.

use vswitch_wire::{Extension, Extensions, Ipv4Header, Parsed, protocol};
use zerocopy::FromBytes;

use crate::drop_reason::DropReason;

/// A fragment's place: bytes `start..end` of what is fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// The same in all fragments of a packet.
    pub(super) identification: u32,
    pub(super) start: u16,
    /// More than `start`.
    pub(super) end: u16,
    /// This is not the last one.
    pub(super) more: bool,
}

impl Piece {
    /// # Errors
    /// [`DropReason::FragmentUneven`] for a fragment that nothing could fit behind, or an empty one;
    /// [`DropReason::NoTransport`] when there is no fragment in these bytes.
    pub(super) fn of(bytes: &[u8], parsed: &Parsed) -> Result<Self, DropReason> {
        let packet = bytes
            .get(usize::from(parsed.layer3_offset)..usize::try_from(parsed.layer3_end).unwrap_or(usize::MAX))
            .filter(|_| parsed.headers.is_fragment())
            .ok_or(DropReason::NoTransport)?;
        let (identification, offset, more, length) =
            if parsed.headers.is_ipv4() { read_v4(packet) } else { read_v6(packet) }
                .ok_or(DropReason::NoTransport)?;
        if length == 0 || more && length % 8 != 0 {
            return Err(DropReason::FragmentUneven);
        }
        // The parser let no fragment pass that ends beyond 65535.
        let end = u16::try_from(usize::from(offset) + length).map_err(|_| DropReason::FragmentUneven)?;
        Ok(Self { identification, start: offset, end, more })
    }
}

/// Identification, offset in bytes, whether more follow, and length.
fn read_v4(packet: &[u8]) -> Option<(u32, u16, bool, usize)> {
    let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
    let flags_fragment = ip.flags_fragment.get();
    let offset = (flags_fragment & Ipv4Header::FRAGMENT_OFFSET) * 8;
    let more = flags_fragment & Ipv4Header::MORE_FRAGMENTS != 0;
    let length = packet.len().checked_sub(ip.header_length().into())?;
    Some((ip.identification.get().into(), offset, more, length))
}

fn read_v6(packet: &[u8]) -> Option<(u32, u16, bool, usize)> {
    let mut extensions = Extensions::of(packet)?;
    let fragment = extensions.find(|extension| extension.kind == protocol::FRAGMENT)?;
    let offset = fragment.second_word & Extension::FRAGMENT_OFFSET;
    let more = fragment.second_word & Extension::MORE_FRAGMENTS != 0;
    let length = packet.len().checked_sub(extensions.offset())?;
    Some((fragment.identification, offset, more, length))
}
