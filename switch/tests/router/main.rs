//! The router as a whole: packets in at one port, out at another, with nothing of the kernel's in between.

mod cached;
mod gateway;
mod hostile;
mod nat;
mod neighbors;
mod path_mtu;
mod town;
