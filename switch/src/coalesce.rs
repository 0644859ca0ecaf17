//! Coalescing: same-flow neighbours of one batch leave as one super-frame.
//!
//! # Theory of operation
//! Every write to a tap runs the receiving kernel's whole path, so ten small datagrams in one write cost little
//! more than one. The kernel does this for NICs (GRO); for a tap nobody does. While a batch is decided, a frame
//! that could be joined opens a [`Group`] or extends the open group of its flow; groups are written when they
//! cannot grow, when something must not overtake them, or at the end of the batch. Nothing waits for a frame
//! that has not arrived, so no latency is added, and nothing is copied: the write gathers the head frame and the
//! others' payloads.
//!
//! What may be joined is what the receiver can tell from the separate frames by nothing but the number of
//! reads, the rule of GRO: same headers but for length, checksum, sequence and identification; TCP in sequence
//! with equal flags, window, acknowledgement and options; UDP datagrams of equal size, the last perhaps shorter.
//! Only frames whose checksum is still to be finished (they never left this machine) are joined, so no wrong
//! checksum is ever made right. IPv4 frames must forbid fragmentation, which makes the identification
//! meaningless (RFC 6864 §4.1).
//!
//! Order within a flow is kept: a frame of the same egress that cannot be joined first releases every group of
//! that egress. At most [`GROUPS`] flows are open; one more displaces the oldest.

use std::io::IoSlice;

use vswitch_wire::checksum::{pseudo_header_v4, pseudo_header_v6};
use vswitch_wire::{
    Headers, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader, ipv4_header_checksum_ok, protocol,
};
use zerocopy::FromBytes;

use crate::device::BATCH_FRAMES;
use crate::frame::Frame;
use crate::id::PortId;
use crate::offload::{
    GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP, NEEDS_CHECKSUM, OffloadHeader, Offloads, SHORTEST_TCP_SEGMENT,
};

/// Flows that may be open at once.
pub const GROUPS: usize = 8;

/// Linux refuses UDP super-frames of more segments (`UDP_MAX_SEGMENTS` was 64 before 6.9).
const UDP_SEGMENTS: usize = 64;

/// The longest IP packet.
const LONGEST_PACKET: usize = 65_535;

/// Same-flow frames of one batch, in order, to be written as one.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Where they go.
    pub egress: PortId,
    members: [u8; BATCH_FRAMES],
    count: usize,
    shape: Shape,
    /// Payload bytes so far.
    payload: usize,
    /// The next TCP sequence number.
    next_sequence: u32,
    /// Nothing may follow: the last segment was short or pushed.
    closed: bool,
}

/// What joining needs to know of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    gso_type: u8,
    segment: u16,
    layer3: u16,
    layer4: u16,
    payload_offset: u16,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    shape: Shape,
    payload: usize,
    sequence: u32,
    pushed: bool,
}

/// What to do with an offered frame.
#[derive(Debug)]
pub enum Offer {
    /// It is in a group now.
    Held,
    /// It is in a new group now; write this one first.
    Displaced(Group),
    /// Write the groups of its egress ([`Coalescer::release`]), then the frame itself.
    Alone,
}

/// The open groups of the batch being decided.
#[derive(Debug, Default)]
pub struct Coalescer {
    groups: Vec<Group>,
}

impl Coalescer {
    /// With no group open.
    pub fn new() -> Self {
        Self { groups: Vec::with_capacity(GROUPS + 1) }
    }

    /// Offers frame `index` of the batch, bound for `egress`, whose device takes `offloads` over.
    /// `headers_of` tells the headers of the batch's earlier frames.
    #[inline]
    pub fn offer<'b>(
        &mut self,
        index: usize,
        egress: PortId,
        offloads: &Offloads,
        batch: &'b [Frame],
        headers_of: impl Fn(usize) -> &'b Headers,
    ) -> Offer {
        let (Some(frame), Ok(member)) = (batch.get(index), u8::try_from(index)) else { return Offer::Alone };
        let headers = headers_of(index);
        let Some(candidate) = candidate(frame, headers, offloads) else { return Offer::Alone };

        let same_flow = |group: &Group| group.egress == egress && headers_of(group.head()) == headers;
        let Some(place) = self.groups.iter().position(same_flow) else {
            let displaced = (self.groups.len() == GROUPS).then(|| self.groups.remove(0));
            self.groups.push(Group::open(member, egress, &candidate));
            return displaced.map_or(Offer::Held, Offer::Displaced);
        };
        let group = &mut self.groups[place];
        if group.accepts(&candidate) && same_but_for_position(&batch[group.head()], frame, &candidate.shape) {
            group.push(member, &candidate);
            return Offer::Held;
        }
        // Removed and opened again at the end, so that groups stay in the order they were opened.
        let finished = self.groups.remove(place);
        self.groups.push(Group::open(member, egress, &candidate));
        Offer::Displaced(finished)
    }

    /// Takes the oldest open group bound for `egress`.
    #[inline]
    pub fn release(&mut self, egress: PortId) -> Option<Group> {
        let place = self.groups.iter().position(|group| group.egress == egress)?;
        Some(self.groups.remove(place))
    }

    /// Takes the oldest open group.
    #[inline]
    pub fn release_any(&mut self) -> Option<Group> {
        (!self.groups.is_empty()).then(|| self.groups.remove(0))
    }
}

impl Group {
    fn open(member: u8, egress: PortId, first: &Candidate) -> Self {
        let mut members = [0; BATCH_FRAMES];
        members[0] = member;
        Self {
            egress,
            members,
            count: 1,
            shape: first.shape,
            payload: first.payload,
            next_sequence: first.sequence.wrapping_add(length_in_sequence(first.payload)),
            closed: first.closes(&first.shape),
        }
    }

    /// The place in the batch of its first frame, whose headers the others share.
    #[inline]
    pub fn head(&self) -> usize {
        self.members[0].into()
    }

    /// How many frames it joins.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The places in the batch of the frames behind the head.
    pub fn tails(&self) -> impl Iterator<Item = usize> {
        self.members[..self.count].iter().skip(1).map(|member| usize::from(*member))
    }

    fn accepts(&self, next: &Candidate) -> bool {
        let headers = usize::from(self.shape.payload_offset - self.shape.layer3);
        let fits = self.payload + next.payload + headers <= LONGEST_PACKET && self.count < BATCH_FRAMES;
        let same_shape = Shape { segment: self.shape.segment, ..next.shape } == self.shape;
        let in_sequence = if self.shape.gso_type == GSO_UDP {
            self.count < UDP_SEGMENTS
        } else {
            next.sequence == self.next_sequence && self.shape.segment >= SHORTEST_TCP_SEGMENT
        };
        // One segment may be shorter than the rest only if it is the last; several must be cut alike.
        let single = next.payload <= next.shape.segment.into();
        let cut_alike =
            next.shape.segment == self.shape.segment || single && next.payload <= self.shape.segment.into();
        !self.closed && fits && same_shape && in_sequence && cut_alike
    }

    fn push(&mut self, member: u8, next: &Candidate) {
        self.members[self.count] = member;
        self.count += 1;
        self.payload += next.payload;
        self.next_sequence = next.sequence.wrapping_add(length_in_sequence(next.payload));
        self.closed = next.closes(&self.shape);
    }

    /// Makes the head the head of the super-frame and lends it with the payloads that follow it, for one
    /// gathering write. A group of one is its frame, unchanged.
    pub fn assemble<'b, 't>(
        &self,
        batch: &'b mut [Frame],
        tails: &'t mut [IoSlice<'b>; BATCH_FRAMES],
    ) -> Option<(&'b mut Frame, &'t [IoSlice<'b>])> {
        // Members are in ascending order, so the tails are all behind the head.
        let (head, rest) = batch.get_mut(self.head()..)?.split_first_mut()?;
        let payload_offset = usize::from(self.shape.payload_offset);
        let mut pushed = false;
        let mut count = 0;
        let rest: &'b [Frame] = rest;
        for (place, member) in self.tails().enumerate() {
            let bytes = rest.get(member.checked_sub(self.head() + 1)?)?.bytes();
            pushed |= self.shape.gso_type != GSO_UDP && tcp_flags(bytes, &self.shape) & TcpHeader::PSH != 0;
            tails[place] = IoSlice::new(bytes.get(payload_offset..)?);
            count = place + 1;
        }
        if count > 0 {
            self.rewrite_head(head, pushed)?;
        }
        Some((head, &tails[..count]))
    }

    /// Lengths, pseudo-header sum and offload header of the super-frame.
    fn rewrite_head(&self, head: &mut Frame, pushed: bool) -> Option<()> {
        let shape = &self.shape;
        let packet = usize::from(shape.payload_offset - shape.layer3) + self.payload;
        let layer4_length = usize::from(shape.payload_offset - shape.layer4) + self.payload;
        let packet = u16::try_from(packet).ok()?;
        let layer4_length = u16::try_from(layer4_length).ok()?;

        let (below, layer4) = head.bytes_mut().split_at_mut_checked(shape.layer4.into())?;
        let layer3 = below.get_mut(shape.layer3.into()..)?;
        let protocol = if shape.gso_type == GSO_UDP { protocol::UDP } else { protocol::TCP };
        let partial = if layer3.first()? >> 4 == 4 {
            let (ip, _) = Ipv4Header::mut_from_prefix(layer3).ok()?;
            ip.set_total_length(packet);
            pseudo_header_v4(ip.source.into(), ip.destination.into(), protocol, layer4_length.into())
        } else {
            let (ip, _) = Ipv6Header::mut_from_prefix(layer3).ok()?;
            ip.payload_length.set(layer4_length);
            pseudo_header_v6(ip.source.into(), ip.destination.into(), protocol, layer4_length.into())
        }
        .partial();
        let checksum_offset = if shape.gso_type == GSO_UDP {
            let (udp, _) = UdpHeader::mut_from_prefix(layer4).ok()?;
            udp.length.set(layer4_length);
            udp.checksum.set(partial);
            UdpHeader::CHECKSUM_OFFSET
        } else {
            let (tcp, _) = TcpHeader::mut_from_prefix(layer4).ok()?;
            tcp.checksum.set(partial);
            if pushed {
                tcp.flags |= TcpHeader::PSH;
            }
            TcpHeader::CHECKSUM_OFFSET
        };
        head.offload = OffloadHeader {
            flags: NEEDS_CHECKSUM,
            gso_type: shape.gso_type,
            header_length: shape.payload_offset,
            gso_size: shape.segment,
            checksum_start: shape.layer4,
            checksum_offset,
        };
        Some(())
    }
}

impl Candidate {
    /// Whether nothing may follow it in a group of this shape.
    fn closes(&self, group: &Shape) -> bool {
        self.pushed || !self.payload.is_multiple_of(group.segment.into())
    }
}

/// What joining needs to know, if the frame may be joined at all.
#[inline]
fn candidate(frame: &Frame, headers: &Headers, offloads: &Offloads) -> Option<Candidate> {
    // Cheapest first: full super-frames and frames that are complete are the common cases that never join.
    if !frame.offload.needs_checksum() || frame.len() > LONGEST_PACKET / 2 {
        return None;
    }
    let is_ipv4 = headers.is_ipv4();
    let plain = headers.is_ip() && !headers.is_fragment() && !headers.has_options();
    let (gso_type, wanted) = match (headers.protocol, is_ipv4) {
        (protocol::UDP, true) => (GSO_UDP, offloads.uso4),
        (protocol::UDP, false) => (GSO_UDP, offloads.uso6),
        (protocol::TCP, true) => (GSO_TCP4, offloads.tso4),
        (protocol::TCP, false) => (GSO_TCP6, offloads.tso6),
        _ => return None,
    };
    if !plain || !wanted || !offloads.checksum {
        return None;
    }

    let bytes = frame.bytes();
    let layer3 = if headers.tag().is_some() { 18 } else { 14 };
    let layer4 = layer3 + if is_ipv4 { 20 } else { 40 };
    if frame.offload.checksum_start != layer4 {
        // The open checksum is that of a frame tunnelled within.
        return None;
    }
    let packet = bytes.get(layer3.into()..)?;
    if is_ipv4 {
        let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
        let whole = usize::from(ip.total_length.get()) == packet.len();
        let may_be_fragmented = ip.flags_fragment.get() & Ipv4Header::DONT_FRAGMENT == 0;
        if !whole || may_be_fragmented || !ipv4_header_checksum_ok(packet) {
            return None;
        }
    } else {
        let (ip, _) = Ipv6Header::ref_from_prefix(packet).ok()?;
        if usize::from(ip.payload_length.get()) + Ipv6Header::LENGTH != packet.len() {
            return None;
        }
    }
    let segment = bytes.get(layer4.into()..)?;
    let shape = |header_length: u16, size: usize| {
        let own =
            if frame.offload.is_super_frame() { frame.offload.gso_size } else { u16::try_from(size).ok()? };
        Some(Shape { gso_type, segment: own, layer3, layer4, payload_offset: layer4 + header_length })
    };
    if gso_type == GSO_UDP {
        let payload = segment.len().checked_sub(UdpHeader::LENGTH).filter(|length| *length > 0)?;
        let (udp, _) = UdpHeader::ref_from_prefix(segment).ok()?;
        let joinable = frame.offload.gso_type == GSO_NONE
            && usize::from(udp.length.get()) == segment.len()
            && frame.offload.checksum_offset == UdpHeader::CHECKSUM_OFFSET;
        return joinable
            .then(|| Some(Candidate { shape: shape(8, payload)?, payload, sequence: 0, pushed: false }))
            .flatten();
    }
    let (tcp, _) = TcpHeader::ref_from_prefix(segment).ok()?;
    let header_length = tcp.header_length();
    let payload = segment.len().checked_sub(header_length.into()).filter(|length| *length > 0)?;
    let joinable = tcp.flags & !TcpHeader::PSH == TcpHeader::ACK
        && frame.offload.checksum_offset == TcpHeader::CHECKSUM_OFFSET
        && (frame.offload.gso_type == GSO_NONE || frame.offload.gso_type == gso_type);
    joinable
        .then(|| {
            Some(Candidate {
                shape: shape(header_length, payload)?,
                payload,
                sequence: tcp.sequence.get(),
                pushed: tcp.flags & TcpHeader::PSH != 0,
            })
        })
        .flatten()
}

/// Whether two frames of one flow and shape differ only in length, checksum, sequence and identification.
fn same_but_for_position(head: &Frame, next: &Frame, shape: &Shape) -> bool {
    let same = |from: u16, to: u16| {
        let range = usize::from(from)..usize::from(to);
        head.bytes().get(range.clone()).is_some_and(|bytes| next.bytes().get(range) == Some(bytes))
    };
    let (layer3, layer4) = (shape.layer3, shape.layer4);
    let ip = if layer4 - layer3 == 20 {
        // Version, header length, DSCP and ECN; flags; hops.
        same(layer3, layer3 + 2) && same(layer3 + 6, layer3 + 10)
    } else {
        // Version, class and flow label; next header and hops.
        same(layer3, layer3 + 4) && same(layer3 + 6, layer3 + 8)
    };
    // Acknowledgement and header length; window; options. The flags were compared by `candidate`, but for PSH.
    let tcp = || {
        same(layer4 + 8, layer4 + 13)
            && same(layer4 + 14, layer4 + 16)
            && same(layer4 + 18, shape.payload_offset)
    };
    ip && (shape.gso_type == GSO_UDP || tcp())
}

fn tcp_flags(frame: &[u8], shape: &Shape) -> u8 {
    frame.get(usize::from(shape.layer4) + 13).copied().unwrap_or(0)
}

#[allow(clippy::cast_possible_truncation, reason = "a payload is shorter than 64 KiB")]
fn length_in_sequence(payload: usize) -> u32 {
    payload as u32
}

#[cfg(test)]
mod tests;
