//! The Ethernet II header.

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned};

use crate::{EtherType, MacAddr};

/// The first 14 bytes of every frame.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EthernetHeader {
    /// The station or group it is for.
    pub destination: MacAddr,
    /// The station that sent it.
    pub source: MacAddr,
    /// See [`EtherType`].
    pub ethertype: U16<BigEndian>,
}

impl EthernetHeader {
    /// Bytes of the header, 14.
    pub const LENGTH: usize = size_of::<Self>();

    /// A header with these fields.
    pub const fn new(destination: MacAddr, source: MacAddr, ethertype: EtherType) -> Self {
        Self { destination, source, ethertype: U16::new(ethertype.0) }
    }
}
