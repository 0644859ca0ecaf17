//! VLAN tags: the kernel takes them off what it receives and keeps them beside the frame; here each is put where
//! the port wants it. The offload header counts from the frame's start, so it moves along.

use vswitch_switch::{Frame, OffloadHeader};

use super::filter::{TPID_CUSTOMER, TPID_PROVIDER};
use super::receive::Tag;

/// Bytes of both MAC addresses, which stand before a tag.
pub(super) const ADDRESSES: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 4;
const TAG_BYTES: u16 = 4;

/// What a port makes of tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tags {
    /// They are part of the frame.
    Kept,
    /// There are none.
    Absent,
    /// Of this VLAN, on the wire only.
    Of(u16),
}

impl Tags {
    /// Puts the tag of a received frame where it belongs: `beside` it is what the kernel took off.
    #[inline]
    pub(super) fn settle(self, frame: &mut Frame, beside: Option<Tag>) {
        match (self, beside) {
            (Self::Kept, Some(tag)) => insert(frame, tag),
            // The filter took it for its VLAN, so it is tagged: in the frame, if not beside it.
            (Self::Of(_), None) => remove(frame),
            _ => {}
        }
    }
}

#[cold]
fn insert(frame: &mut Frame, tag: Tag) {
    let (length, mut offload) = (frame.len(), frame.offload);
    if length < ADDRESSES {
        return;
    }
    frame.append(&[0; TAG]);
    let bytes = frame.bytes_mut();
    // The longest frame has room for one tag, and the kernel's longest is that without it.
    let kept = bytes.len() - TAG;
    bytes.copy_within(ADDRESSES..kept, ADDRESSES + TAG);
    bytes[ADDRESSES..ADDRESSES + 2].copy_from_slice(&tag.protocol.to_be_bytes());
    bytes[ADDRESSES + 2..ADDRESSES + TAG].copy_from_slice(&tag.control.to_be_bytes());
    shift(&mut offload);
    frame.offload = offload;
}

#[cold]
fn remove(frame: &mut Frame) {
    let (length, mut offload) = (frame.len(), frame.offload);
    if length < ADDRESSES + TAG {
        return;
    }
    frame.bytes_mut().copy_within(ADDRESSES + TAG.., ADDRESSES);
    frame.filled(length - TAG);
    if offload.needs_checksum() {
        offload.checksum_start = offload.checksum_start.saturating_sub(TAG_BYTES);
    }
    if offload.is_super_frame() {
        offload.header_length = offload.header_length.saturating_sub(TAG_BYTES);
    }
    frame.offload = offload;
}

/// Moves the offload header along with a frame that gets a tag.
#[inline]
pub(super) fn shift(offload: &mut OffloadHeader) {
    if offload.needs_checksum() {
        offload.checksum_start = offload.checksum_start.saturating_add(TAG_BYTES);
    }
    if offload.is_super_frame() {
        offload.header_length = offload.header_length.saturating_add(TAG_BYTES);
    }
}

/// A tag of this VLAN, of ordinary priority.
#[inline]
pub(super) fn encode(vlan: u16) -> [u8; TAG] {
    let ([p0, p1], [v0, v1]) = (TPID_CUSTOMER.to_be_bytes(), vlan.to_be_bytes());
    [p0, p1, v0, v1]
}

/// Whether the frame has a tag in it.
#[inline]
pub(super) fn is_tagged(frame: &[u8]) -> bool {
    frame
        .get(ADDRESSES..)
        .and_then(<[u8]>::first_chunk)
        .is_some_and(|kind| [TPID_CUSTOMER, TPID_PROVIDER].contains(&u16::from_be_bytes(*kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vswitch_switch::Pool;

    fn frame(bytes: &[u8]) -> Frame {
        let mut frame = Pool::new(1).take().unwrap();
        frame.copy_from(bytes);
        frame.offload = OffloadHeader {
            flags: 1,
            gso_type: 1,
            header_length: 54,
            gso_size: 1448,
            checksum_start: 34,
            checksum_offset: 16,
        };
        frame
    }

    #[test]
    fn a_tag_is_put_in_and_taken_out_with_its_offsets() {
        let plain: Vec<u8> = (0..100).collect();
        let mut tagged = frame(&plain);
        Tags::Kept.settle(&mut tagged, Some(Tag { protocol: 0x8100, control: 0x600a }));
        assert_eq!(tagged.bytes(), [&plain[..12], &[0x81, 0, 0x60, 0x0a], &plain[12..]].concat());
        assert_eq!((tagged.offload.checksum_start, tagged.offload.header_length), (38, 58));
        assert!(is_tagged(tagged.bytes()) && !is_tagged(&plain));
        Tags::Of(10).settle(&mut tagged, None);
        assert_eq!(tagged.bytes(), plain);
        assert_eq!(tagged.offload, frame(&plain).offload);
    }

    #[test]
    fn what_needs_no_change_has_none() {
        let plain: Vec<u8> = (0..100).collect();
        let tag = Some(Tag { protocol: 0x8100, control: 10 });
        for (tags, beside) in
            [(Tags::Kept, None), (Tags::Absent, None), (Tags::Absent, tag), (Tags::Of(10), tag)]
        {
            let mut same = frame(&plain);
            tags.settle(&mut same, beside);
            assert_eq!(same.bytes(), plain);
            assert_eq!(same.offload, frame(&plain).offload);
        }
        // Too short for a tag.
        for tags in [Tags::Kept, Tags::Of(10)] {
            let mut short = frame(&plain[..11]);
            tags.settle(&mut short, if tags == Tags::Kept { tag } else { None });
            assert_eq!(short.bytes(), &plain[..11]);
        }
    }
}
