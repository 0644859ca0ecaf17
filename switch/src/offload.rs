//! The virtio offload header that travels with a frame, and the check that it tells the truth.
//!
//! A kernel that offloads to us hands over frames whose checksum is not finished and which stand for many
//! segments (super-frames). The header says so. A container with `CAP_NET_RAW` can write any header it likes,
//! so one is believed only after [`OffloadHeader::validate`] held it against the parsed frame: the kernel
//! would refuse a false one on the way out (`EINVAL`), or worse, act on it.

use vswitch_wire::Parsed;

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

/// Where TCP and UDP keep their checksum within their header, in bytes.
const TCP_CHECKSUM_OFFSET: u16 = 16;
const UDP_CHECKSUM_OFFSET: u16 = 6;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

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

    fn validate_claims(self, parsed: &Parsed, length: usize) -> Option<Self> {
        if !self.needs_checksum() {
            // The kernel never hands out a super-frame whose checksum is finished: each segment's differs.
            return None;
        }
        let field_end = usize::from(self.checksum_start) + usize::from(self.checksum_offset) + 2;
        if usize::from(self.checksum_start) < parsed.layer3_offset.into() || field_end > length {
            return None;
        }
        if self.gso_type == GSO_NONE {
            return Some(Self {
                flags: NEEDS_CHECKSUM,
                gso_type: GSO_NONE,
                header_length: 0,
                gso_size: 0,
                ..self
            });
        }

        let headers = &parsed.headers;
        let (protocol, checksum_offset) = match self.gso_kind() {
            GSO_TCP4 if headers.is_ipv4() => (PROTOCOL_TCP, TCP_CHECKSUM_OFFSET),
            GSO_TCP6 if headers.is_ipv6() => (PROTOCOL_TCP, TCP_CHECKSUM_OFFSET),
            GSO_UDP if headers.is_ip() && self.gso_type == GSO_UDP => (PROTOCOL_UDP, UDP_CHECKSUM_OFFSET),
            _ => return None,
        };
        let truthful = headers.protocol == protocol
            && !headers.is_fragment()
            && self.checksum_start == parsed.layer4_offset
            && self.checksum_offset == checksum_offset
            && self.gso_size > 0
            && parsed.payload_offset > 0
            && parsed.layer3_end as usize == length
            && length > usize::from(parsed.payload_offset);
        truthful.then_some(Self { flags: NEEDS_CHECKSUM, header_length: parsed.payload_offset, ..self })
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

