//! The devices a worker can own, as one type: a match costs less per batch than a call through a pointer, and
//! a shard stays free of boxes.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};

use vswitch_switch::{Device, DeviceError, Frame, Offloads, Pool, Received, TransmitError};

use crate::packet::PacketSocket;
use crate::plain_tap::PlainTap;
use crate::tap::TapQueue;

/// A device that moves frames through the kernel.
#[derive(Debug)]
pub enum PortDevice {
    /// A tap queue with offloads.
    Tap(TapQueue),
    /// A plain tap.
    PlainTap(PlainTap),
    /// A packet socket on an interface of the host, or on our end of a veth pair.
    Packet(PacketSocket),
}

impl PortDevice {
    /// What the device is, as `show ports` names it.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Tap(_) => "tap",
            Self::PlainTap(_) => "tap-plain",
            Self::Packet(socket) => socket.driver(),
        }
    }
}

impl Device for PortDevice {
    #[inline]
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>) -> Result<Received, DeviceError> {
        match self {
            Self::Tap(tap) => tap.receive(pool, batch),
            Self::PlainTap(tap) => tap.receive(pool, batch),
            Self::Packet(socket) => socket.receive(pool, batch),
        }
    }

    #[inline]
    fn transmit(&mut self, head: &mut Frame, tails: &[IoSlice<'_>]) -> Result<(), TransmitError> {
        match self {
            Self::Tap(tap) => tap.transmit(head, tails),
            Self::PlainTap(tap) => tap.transmit(head, tails),
            Self::Packet(socket) => socket.transmit(head, tails),
        }
    }

    #[inline]
    fn offloads(&self) -> Offloads {
        match self {
            Self::Tap(tap) => tap.offloads(),
            Self::PlainTap(tap) => tap.offloads(),
            Self::Packet(socket) => socket.offloads(),
        }
    }
}

impl AsRawFd for PortDevice {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tap(tap) => tap.as_raw_fd(),
            Self::PlainTap(tap) => tap.as_raw_fd(),
            Self::Packet(socket) => socket.as_raw_fd(),
        }
    }
}
