//! Headers of Ethernet, IP and transport as typed views on bytes, a one-pass parser, checksums and builders.
//!
//! - [`parse()`] goes over a frame once and answers the fields a flow is told by and where things are.
//! - [`EthernetHeader`], [`Ipv4Header`], [`TcpHeader`] and so on lie on the bytes themselves
//!   (`ref_from_prefix`, `mut_from_prefix`), and are built by `new` and written by `write_to_prefix`.
//! - [`checksum`] sums, updates and finishes Internet checksums.
//! - [`build`] makes whole frames.
//!
//! Nothing here reads a clock, a socket or the environment, and nothing that takes bytes from outside panics,
//! whatever the bytes: what they claim is checked before it is used, and refused by a name.

mod arp;
pub mod build;
pub mod checksum;
pub mod crc32c;
mod discovery;
mod ethernet;
mod ethertype;
mod extension;
mod icmp;
mod ipv4;
mod ipv6;
mod mac;
mod parse;
pub mod protocol;
mod tcp;
mod udp;
mod vlan;

pub use arp::ArpPacket;
pub use discovery::{
    InvalidOption, LinkLayerOption, MtuOption, NeighborMessage, PrefixOption, RouterAdvertisement,
};
pub use ethernet::EthernetHeader;
pub use ethertype::EtherType;
pub use extension::{Extension, Extensions};
pub use icmp::IcmpHeader;
pub use ipv4::{Ipv4Header, ipv4_header_checksum_ok};
pub use ipv6::Ipv6Header;
pub use mac::{InvalidMac, MacAddr};
pub use parse::{Fragment, Headers, Layer3, Malformed, Parsed, parse, parse_into};
pub use tcp::TcpHeader;
pub use udp::UdpHeader;
pub use vlan::{InvalidVlanId, Tci, VlanId, VlanTag};
