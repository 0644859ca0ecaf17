//! Software segmentation and checksums, for an egress whose device does not take them over.
//!
//! The slow but complete way: every segment of a super-frame is written out with its own headers and a finished
//! checksum, as RFC 9293 and RFC 768 want them, in a scratch frame that is reused from segment to segment.

use vswitch_wire::checksum::{Sum, complete_partial};
use vswitch_wire::{Ipv4Header, Ipv6Header, Parsed, TcpHeader, UdpHeader, protocol};
use zerocopy::FromBytes;

use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::offload::OffloadHeader;

const IPV6_HEADER: u16 = 40;

/// Calls `emit` with each frame that `frame` stands for, complete and without offload header. `frame`'s offload
/// header must have been validated against `parsed`.
///
/// # Errors
/// [`DropReason::BadOffload`] when the headers cannot be rewritten after all; frames emitted before stay sent.
pub fn complete(
    frame: &Frame,
    parsed: &Parsed,
    scratch: &mut Frame,
    mut emit: impl FnMut(&mut Frame),
) -> Result<(), DropReason> {
    let offload = &frame.offload;
    if !offload.is_super_frame() {
        scratch.copy_from(frame.bytes());
        if offload.needs_checksum() {
            complete_partial(scratch.bytes_mut(), offload.checksum_start, offload.checksum_offset)
                .map_err(|_| DropReason::BadOffload)?;
        }
        emit(scratch);
        return Ok(());
    }

    let bytes = frame.bytes();
    let (headers, payload) =
        bytes.split_at_checked(offload.header_length.into()).ok_or(DropReason::BadOffload)?;
    let size = usize::from(offload.gso_size.max(1));
    let count = payload.len().div_ceil(size);
    let whole =
        bytes.len().checked_sub(parsed.layer4_offset.into()).and_then(|whole| u16::try_from(whole).ok());
    let whole = whole.ok_or(DropReason::BadOffload)?;
    let checksum_offset = usize::from(offload.checksum_offset);
    for (nth, part) in payload.chunks(size).enumerate() {
        scratch.copy_from(headers);
        scratch.append(part);
        scratch.offload = OffloadHeader::NONE;
        let position = Position {
            nth,
            first: nth == 0,
            last: nth + 1 == count,
            sent: nth * size,
            whole,
            checksum_offset,
        };
        finish_segment(scratch.bytes_mut(), parsed, position).ok_or(DropReason::BadOffload)?;
        emit(scratch);
    }
    Ok(())
}

/// Where in its super-frame a segment was.
#[derive(Clone, Copy)]
struct Position {
    nth: usize,
    first: bool,
    last: bool,
    /// Payload bytes before it.
    sent: usize,
    /// Bytes from the transport header to the end of the super-frame.
    whole: u16,
    /// Where the checksum is, from the transport header.
    checksum_offset: usize,
}

#[allow(clippy::cast_possible_truncation, reason = "identification and sequence numbers wrap by definition")]
fn finish_segment(segment: &mut [u8], parsed: &Parsed, position: Position) -> Option<()> {
    let (layer3, layer4) = (usize::from(parsed.layer3_offset), usize::from(parsed.layer4_offset));
    let packet_length = u16::try_from(segment.len().checked_sub(layer3)?).ok()?;
    let layer4_length = u16::try_from(segment.len().checked_sub(layer4)?).ok()?;
    let (below, message) = segment.split_at_mut_checked(layer4)?;
    if parsed.headers.is_ipv4() {
        let (ip, _) = Ipv4Header::mut_from_prefix(below.get_mut(layer3..)?).ok()?;
        ip.set_total_length(packet_length);
        ip.set_identification(ip.identification.get().wrapping_add(position.nth as u16));
    } else {
        let (ip, _) = Ipv6Header::mut_from_prefix(below.get_mut(layer3..)?).ok()?;
        ip.payload_length.set(packet_length.checked_sub(IPV6_HEADER)?);
    }
    if parsed.headers.protocol == protocol::TCP {
        let (tcp, _) = TcpHeader::mut_from_prefix(message).ok()?;
        tcp.sequence.set(tcp.sequence.get().wrapping_add(position.sent as u32));
        if !position.last {
            tcp.flags &= !(TcpHeader::FIN | TcpHeader::PSH);
        }
        if !position.first {
            // RFC 3168 §6.1.2: the window was reduced once.
            tcp.flags &= !TcpHeader::CWR;
        }
    } else {
        let (udp, _) = UdpHeader::mut_from_prefix(message).ok()?;
        udp.length.set(layer4_length);
    }
    // The field holds the pseudo-header's sum for the whole super-frame, of which only the length changes. With a
    // routing header it is not the sum of the addresses at hand (RFC 8200 §8.1), so it is not made anew.
    let change = Sum::from_partial(!position.whole) + Sum::from_partial(layer4_length);
    // RFC 768: zero means "no checksum", so a sum of zero is sent as all ones, which TCP takes for zero as well.
    let checksum = (Sum::of(message) + change).nonzero_checksum();
    let field = message.get_mut(position.checksum_offset..)?.first_chunk_mut()?;
    *field = checksum.to_be_bytes();
    Some(())
}

#[cfg(test)]
mod tests;
