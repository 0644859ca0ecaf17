//! Cutting an IPv4 packet for a way that carries less (RFC 791 §3.2; RFC 1812 §5.2.6).

use vswitch_wire::checksum::{Sum, complete_partial};
use vswitch_wire::{Ipv4Header, Parsed};
use zerocopy::FromBytes;

use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::offload::OffloadHeader;

/// The longest IPv4 header.
const MOST_HEADER: usize = 60;

/// Calls `emit` with the fragments of a packet, each of at most `mtu` bytes and written into `scratch`; with a copy of
/// a packet that fits. A fragment is cut like a whole packet. A checksum that was left to the device is finished
/// first, in `frame`: no device finishes one over several fragments.
///
/// # Errors
/// Nothing was emitted then. [`DropReason::PacketTooBig`] when the packet may not be cut: IPv6, don't fragment, and
/// super-frames, whose segments ([`crate::segment::complete`]) may be; or when `mtu` leaves no eight bytes beside the
/// header. [`DropReason::BadOffload`] when the checksum cannot be finished.
pub fn split(
    frame: &mut Frame,
    parsed: &Parsed,
    mtu: u16,
    scratch: &mut Frame,
    mut emit: impl FnMut(&mut Frame),
) -> Result<(), DropReason> {
    let offload = frame.offload;
    if !parsed.headers.is_ipv4() || offload.is_super_frame() {
        return Err(DropReason::PacketTooBig);
    }
    let plan = Plan::new(frame.bytes(), parsed, mtu.into()).ok_or(DropReason::PacketTooBig)?;
    if offload.needs_checksum() {
        complete_partial(frame.bytes_mut(), offload.checksum_start, offload.checksum_offset)
            .map_err(|_| DropReason::BadOffload)?;
        frame.offload = OffloadHeader::NONE;
    }
    let mut rest = frame.bytes().get(plan.payload.clone()).unwrap_or_default();
    let link = frame.bytes().get(..plan.link).unwrap_or_default();
    let mut header = &plan.first;
    // In units of eight bytes.
    let mut offset = plan.flags_fragment & Ipv4Header::FRAGMENT_OFFSET;
    let flags = plan.flags_fragment & !Ipv4Header::FRAGMENT_OFFSET;
    loop {
        let room = usize::from(mtu) - header.length;
        let last = rest.len() <= room;
        let (part, behind) = rest.split_at(if last { rest.len() } else { room & !7 });
        let more = if last { 0 } else { Ipv4Header::MORE_FRAGMENTS };
        scratch.copy_from(link);
        header.write(scratch, part, flags | more | offset);
        emit(scratch);
        if last {
            return Ok(());
        }
        rest = behind;
        // The parser let no fragment pass that ends beyond 65535 bytes.
        offset += u16::try_from(part.len() / 8).unwrap_or_default();
        header = &plan.later;
    }
}

/// How a packet is to be cut.
struct Plan {
    /// Bytes before the IPv4 header.
    link: usize,
    /// The packet's own header.
    first: Header,
    /// That of the fragments behind the first.
    later: Header,
    /// Where the payload is in the frame.
    payload: std::ops::Range<usize>,
    /// As the packet has them.
    flags_fragment: u16,
}

impl Plan {
    fn new(bytes: &[u8], parsed: &Parsed, mtu: usize) -> Option<Self> {
        let link = usize::from(parsed.layer3_offset);
        let end = usize::try_from(parsed.layer3_end).ok()?;
        let packet = bytes.get(link..end)?;
        let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
        let flags_fragment = ip.flags_fragment.get();
        let whole = packet.get(..usize::from(ip.header_length()))?;
        let first = Header::new(whole, false)?;
        let later = Header::new(whole, true)?;
        let fits = packet.len() <= mtu;
        let may_be_cut = flags_fragment & Ipv4Header::DONT_FRAGMENT == 0 && mtu >= first.length + 8;
        let payload = link + first.length..end;
        (fits || may_be_cut).then_some(Self { link, first, later, payload, flags_fragment })
    }
}

/// An IPv4 header with its options.
struct Header {
    bytes: [u8; MOST_HEADER],
    length: usize,
}

impl Header {
    /// A packet's header: with `copied` without the options that belong into the first fragment only (RFC 791 §3.1).
    fn new(whole: &[u8], copied: bool) -> Option<Self> {
        let (fixed, options) = whole.split_at_checked(Ipv4Header::LENGTH)?;
        let mut bytes = [0; MOST_HEADER];
        let (to_fixed, to_options) = bytes.split_at_mut(Ipv4Header::LENGTH);
        to_fixed.copy_from_slice(fixed);
        let kept = if copied {
            copy_options(options, to_options)
        } else {
            to_options.get_mut(..options.len())?.copy_from_slice(options);
            options.len()
        };
        // Padded with the end of the list, which is zero.
        Some(Self { bytes, length: Ipv4Header::LENGTH + kept.next_multiple_of(4) })
    }

    /// Appends the header of a fragment and its payload.
    fn write(&self, scratch: &mut Frame, part: &[u8], flags_fragment: u16) {
        let mut bytes = self.bytes;
        let header = &mut bytes[..self.length];
        if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(&mut *header) {
            // Neither can be cut off: 60 bytes at most, and no more than the packet had.
            ip.version_ihl = 4 << 4 | u8::try_from(self.length / 4).unwrap_or_default();
            ip.total_length.set(u16::try_from(self.length + part.len()).unwrap_or(u16::MAX));
            ip.flags_fragment.set(flags_fragment);
            ip.checksum.set(0);
        }
        let checksum = Sum::of(header).checksum();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        scratch.append(header);
        scratch.append(part);
    }
}

/// Copies the options that every fragment has, and answers their length. A list that contradicts itself ends there.
fn copy_options(options: &[u8], to: &mut [u8]) -> usize {
    /// In an option's kind: it belongs into every fragment.
    const COPIED: u8 = 0x80;
    let (mut rest, mut kept) = (options, 0);
    loop {
        let length = match *rest {
            [] | [0, ..] => return kept,
            // No operation.
            [1, ..] => 1,
            [_, length, ..] if length >= 2 => usize::from(length),
            _ => return kept,
        };
        let Some((option, behind)) = rest.split_at_checked(length) else { return kept };
        if option[0] & COPIED != 0 {
            to[kept..kept + length].copy_from_slice(option);
            kept += length;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests;
