//! The small numbers by which the dataplane names its ports and networks.

use std::fmt;

/// The most ports one switch has, over all networks. Bounds every per-port table.
pub const MAX_PORTS: usize = 16 * 1024;

/// The most networks one switch has.
pub const MAX_NETWORKS: usize = 4 * 1024;

/// A port: one attachment's place in the switch. An index into per-port tables, always below [`MAX_PORTS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PortId(u16);

/// A network: one bridge domain with tables of its own. Always below [`MAX_NETWORKS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NetworkId(u16);

macro_rules! small_number {
    ($name:ident, $limit:ident, $letter:literal) => {
        impl $name {
            /// The id with index 0.
            pub const FIRST: Self = Self(0);

            /// The id with this index, or `None` past the limit.
            pub fn new(index: usize) -> Option<Self> {
                let number = u16::try_from(index).ok()?;
                (index < $limit).then_some(Self(number))
            }

            /// Its place in a per-id table.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The number itself.
            #[inline]
            pub const fn number(self) -> u16 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }
    };
}

small_number!(PortId, MAX_PORTS, "p");
small_number!(NetworkId, MAX_NETWORKS, "n");
