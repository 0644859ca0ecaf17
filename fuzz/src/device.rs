//! An in-memory device that holds the switch to the terms on which it lends and gets frames.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use vswitch_switch::device::{BATCH_BYTES, BATCH_FRAMES};
use vswitch_switch::{Device, DeviceError, Frame, OffloadHeader, Offloads, Pool, Received, TransmitError};

/// A frame as it crosses a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crossing {
    /// Its bytes, gathered.
    pub bytes: Vec<u8>,
    /// Its offload header.
    pub offload: OffloadHeader,
}

/// What the outside of a device sees.
#[derive(Debug, Default)]
pub struct Outside {
    /// To be received by the switch.
    pub inbound: VecDeque<Crossing>,
    /// Frames the switch received since the last look.
    pub received: Vec<Crossing>,
    /// Frames the switch transmitted, since the last look.
    pub transmitted: Vec<Crossing>,
    /// Frames the switch tried to transmit in vain, since the last look.
    pub refused: usize,
    /// How transmitting fails, if it does.
    pub failure: Option<TransmitError>,
}

/// The switch's end of it.
#[derive(Debug)]
pub struct FuzzDevice {
    outside: Rc<RefCell<Outside>>,
    offloads: Offloads,
}

impl FuzzDevice {
    /// A device whose other end is `outside`.
    pub fn new(outside: Rc<RefCell<Outside>>, offloads: Offloads) -> Self {
        Self { outside, offloads }
    }
}

impl Device for FuzzDevice {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        assert_eq!(pool.free(), BATCH_FRAMES, "frames were not put back");
        assert!(batch.is_empty() && batch.capacity() >= BATCH_FRAMES, "the batch is not what it was");
        let mut outside = self.outside.borrow_mut();
        let mut bytes = 0;
        while batch.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let Some(crossing) = outside.inbound.pop_front() else { return Ok(Received::Drained) };
            let Some(mut frame) = pool.take() else { return Ok(Received::More) };
            frame.copy_from(&crossing.bytes);
            frame.offload = crossing.offload;
            bytes += frame.len();
            outside.received.push(Crossing { bytes: frame.bytes().to_vec(), offload: crossing.offload });
            batch.push(frame);
        }
        Ok(Received::More)
    }

    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        let mut outside = self.outside.borrow_mut();
        if let Some(failure) = outside.failure {
            outside.refused += 1;
            return Err(failure);
        }
        // What a tap does: the offload header goes in front, into the headroom, and the bytes stay as they are.
        let before = head.bytes().to_vec();
        assert!(head.with_prefix(&[0xff; 24]).is_some(), "no room for an offload header");
        assert_eq!(head.bytes(), before);
        let mut bytes = before;
        tails.iter().for_each(|tail| bytes.extend_from_slice(tail));
        outside.transmitted.push(Crossing { bytes, offload: head.offload });
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }
}
