//! The virtio offload header that travels with a frame, and the check that it tells the truth.
//!
//! A kernel that offloads to us hands over frames whose checksum is not finished and which stand for many
//! segments (super-frames). The header says so. A container with `CAP_NET_RAW` can write any header it likes,
//! so one is believed only after [`OffloadHeader::validate`] held it against the parsed frame: the kernel
//! would refuse a false one on the way out (`EINVAL`), or worse, act on it.

use vswitch_wire::{Layer3, Parsed, TcpHeader, UdpHeader, protocol};

use crate::drop_reason::DropReason;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum field holds only the pseudo-header's sum.
pub const NEEDS_CHECKSUM: u8 = 1;
/// No segmentation (`VIRTIO_NET_HDR_GSO_NONE`).
pub const GSO_NONE: u8 = 0;
/// TCP over IPv4 (`VIRTIO_NET_HDR_GSO_TCPV4`).
pub const GSO_TCP4: u8 = 1;
/// TCP over IPv6 (`VIRTIO_NET_HDR_GSO_TCPV6`).
pub const GSO_TCP6: u8 = 4;
/// UDP, one datagram per segment (`VIRTIO_NET_HDR_GSO_UDP_L4`).
pub const GSO_UDP: u8 = 5;
/// Set beside a TCP type when the segments' congestion-window-reduced flag matters (`VIRTIO_NET_HDR_GSO_ECN`).
pub const GSO_ECN: u8 = 0x80;

/// Linux refuses sums that begin before an IPv4 header could have ended, counted as it does from the frame's
/// start (`nh_min_len` in `virtio_net_hdr_to_skb`).
const EARLIEST_CHECKSUM_START: u16 = 20;

/// Linux counts from the start of its buffer, headroom included, in 16 bits. No honest header is this deep.
const LATEST_CHECKSUM_START: u16 = 32 * 1024;

/// The shortest TCP segments Linux cuts (`TCP_MIN_GSO_SIZE`). Bounds what one super-frame costs an egress that
/// needs it segmented in software.
pub(crate) const SHORTEST_TCP_SEGMENT: u16 = 8;

/// The most datagrams one UDP super-frame may stand for (`UDP_MAX_SEGMENTS`; 64 before Linux 6.9).
const MOST_DATAGRAMS: usize = 128;

/// Linux gives this size a meaning of its own (`GSO_BY_FRAGS`) and refuses it from outside.
const RESERVED_SIZE: u16 = u16::MAX;

/// The fields of `struct virtio_net_hdr` (virtio 1.2 §5.1.6), in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OffloadHeader {
    /// [`NEEDS_CHECKSUM`] or 0.
    pub flags: u8,
    /// One of the `GSO_` kinds, perhaps with [`GSO_ECN`].
    pub gso_type: u8,
    /// Bytes of headers before the payload, the part every segment repeats.
    pub header_length: u16,
    /// Payload bytes of each segment but the last.
    pub gso_size: u16,
    /// Where summing begins, in bytes from the start of the frame.
    pub checksum_start: u16,
    /// Where the sum goes, in bytes from `checksum_start`.
    pub checksum_offset: u16,
}

impl OffloadHeader {
    /// The header of a frame that is complete as it is.
    pub const NONE: Self =
        Self { flags: 0, gso_type: 0, header_length: 0, gso_size: 0, checksum_start: 0, checksum_offset: 0 };

    /// Whether the checksum still has to be finished.
    #[inline]
    pub const fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CHECKSUM != 0
    }

    /// Whether the frame stands for several segments.
    #[inline]
    pub const fn is_super_frame(&self) -> bool {
        self.gso_type != GSO_NONE
    }

    /// The segmentation kind without the ECN bit.
    #[inline]
    pub const fn gso_kind(&self) -> u8 {
        self.gso_type & !GSO_ECN
    }

    /// Holds the header against the frame it came with and returns the one to pass on: the same claim with
    /// every field we can derive (`header_length`) derived, and every bit we do not carry cleared.
    ///
    /// # Errors
    /// [`DropReason::BadOffload`] when header and frame contradict each other.
    #[inline]
    pub fn validate(self, parsed: &Parsed, length: usize) -> Result<Self, DropReason> {
        if self.flags & NEEDS_CHECKSUM == 0 && self.gso_type == GSO_NONE {
            return Ok(Self::NONE);
        }
        self.validate_claims(parsed, length).ok_or(DropReason::BadOffload)
    }

    // Inlined so that the header stays in registers: through memory it cost 4 ns a frame.
    #[inline]
    fn validate_claims(self, parsed: &Parsed, length: usize) -> Option<Self> {
        // The kernel never hands out a super-frame whose checksum is finished: each segment's differs.
        if !self.needs_checksum() || !self.may_write_checksum(parsed, length) {
            return None;
        }
        if self.gso_type == GSO_NONE {
            return Some(Self { flags: NEEDS_CHECKSUM, header_length: 0, gso_size: 0, ..self });
        }

        let headers = &parsed.headers;
        let payload = length.checked_sub(parsed.payload_offset.into()).filter(|payload| *payload > 0)?;
        let (protocol, sensible_size) = match self.gso_kind() {
            GSO_TCP4 if headers.is_ipv4() => (protocol::TCP, self.gso_size >= SHORTEST_TCP_SEGMENT),
            GSO_TCP6 if headers.is_ipv6() => (protocol::TCP, self.gso_size >= SHORTEST_TCP_SEGMENT),
            GSO_UDP if headers.is_ip() && self.gso_type == GSO_UDP => {
                (protocol::UDP, payload <= usize::from(self.gso_size) * MOST_DATAGRAMS)
            }
            _ => return None,
        };
        let truthful = headers.protocol == protocol
            && sensible_size
            && self.gso_size != RESERVED_SIZE
            && self.checksum_start == parsed.layer4_offset
            && parsed.layer3_end as usize == length;
        truthful.then_some(Self { flags: NEEDS_CHECKSUM, header_length: parsed.payload_offset, ..self })
    }

    /// Whether the two bytes that finishing the checksum overwrites may be overwritten.
    ///
    /// They are written after the guard looked at the frame, with a value the sender can choose by choosing the
    /// bytes summed. So they must be a transport checksum, or lie behind everything the guard looks at: a
    /// tunnelled frame's checksum is finished within the outer datagram.
    fn may_write_checksum(&self, parsed: &Parsed, length: usize) -> bool {
        let headers = &parsed.headers;
        let start = self.checksum_start;
        let end = usize::from(start) + usize::from(self.checksum_offset) + 2;
        if !(EARLIEST_CHECKSUM_START..LATEST_CHECKSUM_START).contains(&start) || end > length {
            return false;
        }
        if !headers.is_ip() {
            // Within a frame not understood, such as one with two VLAN tags; never in an ARP packet.
            return headers.layer3 == Layer3::OTHER;
        }
        // No system leaves the checksum of a datagram open that it sends in fragments.
        if headers.is_fragment() || parsed.layer4_offset == 0 || end > parsed.layer3_end as usize {
            return false;
        }
        let own = |offset| start == parsed.layer4_offset && self.checksum_offset == offset;
        match headers.protocol {
            protocol::TCP => own(TcpHeader::CHECKSUM_OFFSET),
            protocol::UDP => own(UdpHeader::CHECKSUM_OFFSET) || start >= parsed.payload_offset,
            // Always finished by the sender, and a neighbour advertisement is what the guard looks inside.
            protocol::ICMP | protocol::ICMPV6 => false,
            _ => start >= parsed.layer4_offset,
        }
    }

    /// The longest L3 packet this frame puts on a wire of its own: its own length, or a segment's.
    #[inline]
    pub fn longest_packet(&self, parsed: &Parsed, length: usize) -> usize {
        let layer3 = usize::from(parsed.layer3_offset);
        let whole = length.saturating_sub(layer3);
        if self.is_super_frame() {
            (usize::from(self.header_length) + usize::from(self.gso_size)).saturating_sub(layer3).min(whole)
        } else {
            whole
        }
    }
}

/// What a device takes over from us, each probed on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Finishing checksums.
    pub checksum: bool,
    /// Cutting TCP over IPv4.
    pub tso4: bool,
    /// Cutting TCP over IPv6.
    pub tso6: bool,
    /// Cutting TCP whose segments carry ECN's CWR flag.
    pub ecn: bool,
    /// Cutting UDP over IPv4.
    pub uso4: bool,
    /// Cutting UDP over IPv6.
    pub uso6: bool,
}

impl Offloads {
    /// Everything on, as an in-memory device has it.
    pub const ALL: Self = Self { checksum: true, tso4: true, tso6: true, ecn: true, uso4: true, uso6: true };
    /// Nothing on: every frame must be complete.
    pub const NONE: Self =
        Self { checksum: false, tso4: false, tso6: false, ecn: false, uso4: false, uso6: false };

    /// Whether a frame with this header can be handed over as it is.
    #[inline]
    pub fn cover(&self, header: &OffloadHeader, parsed: &Parsed) -> bool {
        if header.flags == 0 && header.gso_type == GSO_NONE {
            return true;
        }
        let segmentation = match header.gso_kind() {
            GSO_NONE => true,
            GSO_TCP4 => self.tso4,
            GSO_TCP6 => self.tso6,
            GSO_UDP if parsed.headers.is_ipv4() => self.uso4,
            GSO_UDP => self.uso6,
            _ => false,
        };
        let ecn = header.gso_type & GSO_ECN == 0 || self.ecn;
        self.checksum && segmentation && ecn
    }

    /// The names of what is on, for `show ports`.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let list = [
            (self.checksum, "csum"),
            (self.tso4, "tso4"),
            (self.tso6, "tso6"),
            (self.ecn, "ecn"),
            (self.uso4, "uso4"),
            (self.uso6, "uso6"),
        ];
        list.into_iter().filter_map(|(on, name)| on.then_some(name))
    }
}

#[cfg(test)]
mod tests;
