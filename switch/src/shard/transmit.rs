//! The way out: from a decided frame to the device.

use std::io::IoSlice;

use vswitch_wire::{Parsed, parse};

use super::Ports;
use crate::coalesce::Group;
use crate::counters::PortCounters;
use crate::device::{BATCH_FRAMES, Device, TransmitError};
use crate::drop_reason::DropReason;
use crate::fragment;
use crate::frame::Frame;
use crate::id::PortId;
use crate::offload::Offloads;
use crate::segment;
use crate::tables::Tables;

impl<D: Device> Ports<D> {
    #[inline]
    pub(super) fn has(&self, port: PortId) -> bool {
        self.slots.get(port.index()).is_some_and(Option::is_some)
    }

    #[inline]
    pub(super) fn offloads(&self, port: PortId) -> Offloads {
        match self.slots.get(port.index()) {
            Some(Some(slot)) => slot.device.offloads(),
            _ => Offloads::NONE,
        }
    }

    /// Sends one frame to one port, finishing in software what the device does not.
    #[inline]
    pub(super) fn send(&mut self, egress: PortId, frame: &mut Frame, parsed: &Parsed, tables: &Tables) {
        let Some(Some(slot)) = self.slots.get_mut(egress.index()) else { return };
        if frame.offload.longest_packet(parsed, frame.len()) > mtu(tables, egress) {
            slot.counters.dropped(DropReason::ExceedsMtu, 1);
            return;
        }
        if slot.device.offloads().cover(&frame.offload, parsed) {
            let sent = slot.device.transmit(frame, &[]);
            count_sent(&slot.counters, 1, frame.len(), sent);
            return;
        }
        let finished = segment::complete(frame, parsed, &mut self.scratch, |segment| {
            let sent = slot.device.transmit(segment, &[]);
            count_sent(&slot.counters, 1, segment.len(), sent);
        });
        if let Err(reason) = finished {
            slot.counters.dropped(reason, 1);
        }
    }

    /// Sends one frame in pieces that its egress carries.
    pub(super) fn send_fragments(&mut self, egress: PortId, frame: &mut Frame, parsed: &Parsed, mtu: u16) {
        let Some(Some(slot)) = self.slots.get_mut(egress.index()) else { return };
        let mut transmit = |piece: &mut Frame| {
            let sent = slot.device.transmit(piece, &[]);
            count_sent(&slot.counters, 1, piece.len(), sent);
        };
        let pieces = &mut self.pieces;
        let finished = if frame.offload.is_super_frame() {
            // Each datagram it stands for is a packet of its own, to be cut by itself.
            let mut cut = Ok(());
            let segmented = segment::complete(frame, parsed, &mut self.scratch, |datagram| {
                let one = parse(datagram.bytes()).map_err(DropReason::Malformed);
                let one =
                    one.and_then(|parsed| fragment::split(datagram, &parsed, mtu, pieces, &mut transmit));
                cut = cut.and(one);
            });
            segmented.and(cut)
        } else {
            fragment::split(frame, parsed, mtu, pieces, transmit)
        };
        if let Err(reason) = finished {
            slot.counters.dropped(reason, 1);
        }
    }

    pub(super) fn send_group(
        &mut self,
        group: &Group,
        batch: &mut [Frame],
        parsed: &[Parsed],
        tables: &Tables,
    ) {
        let head = group.head();
        // The head is as long as any packet of the group. Where it does not fit, a shorter one behind it may.
        let longest = batch[head].offload.longest_packet(&parsed[head], batch[head].len());
        if group.count() == 1 || longest > mtu(tables, group.egress) {
            for member in std::iter::once(head).chain(group.tails()) {
                self.send(group.egress, &mut batch[member], &parsed[member], tables);
            }
            return;
        }
        let Some(Some(slot)) = self.slots.get_mut(group.egress.index()) else { return };
        let frames = group.count() as u64;
        let mut tails = [IoSlice::new(&[]); BATCH_FRAMES];
        let Some((head_frame, tails)) = group.assemble(batch, &mut tails) else {
            slot.counters.dropped(DropReason::BadOffload, frames);
            return;
        };
        let length = head_frame.len() + tails.iter().map(|tail| tail.len()).sum::<usize>();
        let sent = slot.device.transmit(head_frame, tails);
        count_sent(&slot.counters, frames, length, sent);
    }
}

/// The longest packet a port carries, in bytes.
#[inline]
fn mtu(tables: &Tables, port: PortId) -> usize {
    tables.port(port).map_or(0, |port| port.mtu.into())
}

#[inline]
fn count_sent(counters: &PortCounters, frames: u64, bytes: usize, sent: Result<(), TransmitError>) {
    match sent {
        Ok(()) => counters.sent(frames, bytes as u64),
        Err(TransmitError::Down) => counters.dropped(DropReason::EgressDown, frames),
        Err(TransmitError::Full) => counters.dropped(DropReason::EgressFull, frames),
        Err(TransmitError::Refused) => counters.dropped(DropReason::EgressRefused, frames),
    }
}
