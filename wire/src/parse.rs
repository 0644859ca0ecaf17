//! The one-pass parser of the hot path.
//!
//! It goes once over the headers of a frame, copies the fields by which flows are told apart and notes where
//! things are. It holds nothing, allocates nothing and, whatever the bytes, does not panic: every read is a
//! checked prefix. A frame that contradicts itself is refused with the one defect found first; a frame that
//! carries something unknown is not malformed, it only has fewer fields.
//!
//! Checksums are not verified: on the way from port to port they are the receiver's to check, and often not
//! computed yet.

mod ipv4;
mod ipv6;
mod layer4;
mod malformed;
#[cfg(test)]
mod tests;

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use self::malformed::Malformed;
use crate::arp::ArpPacket;
use crate::vlan::{Tci, VlanTag};
use crate::{EtherType, EthernetHeader, MacAddr};

/// What the frame carries, as far as the parser understands it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Layer3(pub u8);

impl Layer3 {
    /// Anything else, frames with two VLAN tags and with a length for an EtherType included.
    pub const OTHER: Self = Self(0);
    /// ARP for IPv4 over Ethernet.
    pub const ARP: Self = Self(1);
    /// IPv4.
    pub const IPV4: Self = Self(2);
    /// IPv6.
    pub const IPV6: Self = Self(3);
}

/// Which part of an IP packet the frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Fragment(pub u8);

impl Fragment {
    /// All of it; an atomic fragment (RFC 6946) is one.
    pub const WHOLE: Self = Self(0);
    /// The first of several, with the transport header.
    pub const FIRST: Self = Self(1);
    /// A later one, which has no ports.
    pub const LATER: Self = Self(2);
}

/// The header fields a flow is told by, in host order: 56 bytes without padding, so that they are hashed and
/// compared as seven words.
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Headers {
    /// The station or group the frame is for.
    pub destination: MacAddr,
    /// The station that sent it.
    pub source: MacAddr,
    /// Of the payload behind at most one VLAN tag.
    pub ethertype: EtherType,
    /// The VLAN tag's control information ([`Tci`]), 0 when untagged. A priority tag may be 0 as well:
    /// [`Headers::TAGGED`] tells.
    pub tci: u16,
    /// IPv4 in the first four bytes, the rest zero; for ARP the sender's protocol address.
    pub source_ip: [u8; 16],
    /// As `source_ip`; for ARP the target's protocol address.
    pub destination_ip: [u8; 16],
    /// Of TCP, UDP and SCTP; the identifier of an ICMP echo; otherwise, and in later fragments, 0.
    pub source_port: u16,
    /// Of TCP, UDP and SCTP; for ICMP the type in the high byte and the code in the low; otherwise 0.
    pub destination_port: u16,
    /// See [`crate::protocol`]: what IP carries behind extension headers. For ARP the operation's low byte.
    pub protocol: u8,
    /// Which of the fields above have a meaning.
    pub layer3: Layer3,
    /// [`Fragment::WHOLE`] where there is no IP.
    pub fragment: Fragment,
    /// [`Headers::TAGGED`] and so on.
    pub flags: u8,
}

impl Headers {
    /// In `flags`: there is a VLAN tag.
    pub const TAGGED: u8 = 1 << 0;
    /// In `flags`: the IPv4 header has options.
    pub const IPV4_OPTIONS: u8 = 1 << 1;
    /// In `flags`: there are IPv6 extension headers.
    pub const IPV6_EXTENSIONS: u8 = 1 << 2;
    /// In `flags`: the VLAN tag is a service tag (802.1ad), not a customer tag, so that the two never
    /// share a flow.
    pub const SERVICE_TAG: u8 = 1 << 3;

    /// Whether the frame carries IPv4.
    #[inline]
    pub fn is_ipv4(&self) -> bool {
        self.layer3 == Layer3::IPV4
    }

    /// Whether the frame carries IPv6.
    #[inline]
    pub fn is_ipv6(&self) -> bool {
        self.layer3 == Layer3::IPV6
    }

    /// Whether the frame carries IP of either version.
    #[inline]
    pub fn is_ip(&self) -> bool {
        self.is_ipv4() || self.is_ipv6()
    }

    /// Whether the packet is one of several fragments.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment != Fragment::WHOLE
    }

    /// Whether the IP header has options or extension headers.
    #[inline]
    pub fn has_options(&self) -> bool {
        self.flags & (Self::IPV4_OPTIONS | Self::IPV6_EXTENSIONS) != 0
    }

    /// The fields as words, to be hashed.
    #[inline]
    pub fn words(&self) -> [u64; 7] {
        zerocopy::transmute!(*self)
    }

    /// The source as an address: none but for ARP and IP.
    #[inline]
    pub fn source_address(&self) -> Option<IpAddr> {
        self.address(&self.source_ip)
    }

    /// The destination as an address: none but for ARP and IP.
    #[inline]
    pub fn destination_address(&self) -> Option<IpAddr> {
        self.address(&self.destination_ip)
    }

    #[inline]
    fn address(&self, bytes: &[u8; 16]) -> Option<IpAddr> {
        let [a, b, c, d, ..] = *bytes;
        match self.layer3 {
            Layer3::ARP | Layer3::IPV4 => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            Layer3::IPV6 => Some(IpAddr::V6(Ipv6Addr::from(*bytes))),
            _ => None,
        }
    }

    /// The VLAN tag's control information: none when untagged.
    #[inline]
    pub fn tag(&self) -> Option<Tci> {
        (self.flags & Self::TAGGED != 0).then_some(Tci(self.tci))
    }
}

// Compared and hashed as plain bytes: there is no padding, and seven words compare faster than twelve fields.
impl PartialEq for Headers {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Headers {}

impl Hash for Headers {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

/// What parsing found: the fields, and where things are. All offsets are from the start of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Parsed {
    /// The fields a flow is told by.
    pub headers: Headers,
    /// Where the payload of Ethernet starts: 14, or 18 behind a VLAN tag.
    pub layer3_offset: u16,
    /// Where the payload of IP starts, behind options and extension headers; 0 when there is none, as in
    /// later fragments.
    pub layer4_offset: u16,
    /// Where the payload of TCP (behind options), UDP, SCTP or ICMP (behind eight bytes) starts; 0 when unknown.
    pub payload_offset: u16,
    /// TCP's flags, 0 when it is not TCP. They change within a flow, so they are not among the headers.
    pub tcp_flags: u8,
    /// Where the packet ends by its own length, so that Ethernet's padding does not count as payload. The
    /// end of the frame where the layer is unknown.
    pub layer3_end: u32,
}

/// Parses a frame from its Ethernet header on, up to a super-frame of 64 KiB.
///
/// Behind the Ethernet header one VLAN tag is parsed; with a second one the frame counts as
/// [`Layer3::OTHER`] and the EtherType is that second tag's.
///
/// # Errors
/// The first [`Malformed`] defect on the way from the front to the transport header.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Parsed, Malformed> {
    let mut parsed = Parsed::default();
    parse_into(frame, &mut parsed)?;
    Ok(parsed)
}

/// As [`parse`], to the place where it is to be: moving a `Parsed` that has just been written costs 4 ns, because the
/// processor cannot read as words what it has not yet done writing as bytes. After an error `parsed` is as it was.
///
/// # Errors
/// As [`parse`].
pub fn parse_into(frame: &[u8], parsed: &mut Parsed) -> Result<(), Malformed> {
    let (ethernet, packet) = EthernetHeader::ref_from_prefix(frame).map_err(|_| Malformed::FrameTooShort)?;
    let mut link = Link {
        ethernet,
        ethertype: EtherType(ethernet.ethertype.get()),
        tci: 0,
        flags: 0,
        layer3_offset: 14,
    };
    let packet = if link.ethertype.is_tag() { vlan(packet, &mut link)? } else { packet };
    match link.ethertype {
        EtherType::IPV4 => ipv4::parse(packet, link, parsed),
        EtherType::IPV6 => ipv6::parse(packet, link, parsed),
        EtherType::ARP => arp(packet, link, parsed),
        _ => {
            let end = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            link.carries(Network { end, ..Network::default() }, Transport::default(), parsed);
            Ok(())
        }
    }
}

// The layers are parsed into the three values below and written to their place once, at the end. Filling one
// `Parsed` field by field and then moving it took half as long again.

/// What Ethernet and the VLAN tag say.
#[derive(Clone, Copy)]
struct Link<'a> {
    /// With the addresses, which stay where they are until the end.
    ethernet: &'a EthernetHeader,
    ethertype: EtherType,
    tci: u16,
    flags: u8,
    layer3_offset: u16,
}

/// What ARP or IP say; the flags are added to the link's.
#[derive(Clone, Copy, Default)]
struct Network {
    source_ip: [u8; 16],
    destination_ip: [u8; 16],
    protocol: u8,
    layer3: Layer3,
    fragment: Fragment,
    flags: u8,
    end: u32,
}

/// What the transport header says.
#[derive(Clone, Copy, Default)]
struct Transport {
    source_port: u16,
    destination_port: u16,
    layer4_offset: u16,
    payload_offset: u16,
    tcp_flags: u8,
}

/// [`Headers`], with both stations' addresses in words: copied as addresses, through the stack in pieces of four and two
/// bytes, they cost 4 ns.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct InWords {
    stations: [u32; 3],
    ethertype: EtherType,
    tci: u16,
    source_ip: [u8; 16],
    destination_ip: [u8; 16],
    source_port: u16,
    destination_port: u16,
    protocol: u8,
    layer3: Layer3,
    fragment: Fragment,
    flags: u8,
}

impl Link<'_> {
    #[inline(always)]
    fn carries(self, network: Network, transport: Transport, parsed: &mut Parsed) {
        let ethernet: &[u8; EthernetHeader::LENGTH] = zerocopy::transmute_ref!(self.ethernet);
        let [stations @ .., _, _] = ethernet;
        let headers = InWords {
            stations: zerocopy::transmute!(*stations),
            ethertype: self.ethertype,
            tci: self.tci,
            source_ip: network.source_ip,
            destination_ip: network.destination_ip,
            source_port: transport.source_port,
            destination_port: transport.destination_port,
            protocol: network.protocol,
            layer3: network.layer3,
            fragment: network.fragment,
            flags: self.flags | network.flags,
        };
        *parsed = Parsed {
            headers: zerocopy::transmute!(headers),
            layer3_offset: self.layer3_offset,
            layer4_offset: transport.layer4_offset,
            payload_offset: transport.payload_offset,
            tcp_flags: transport.tcp_flags,
            layer3_end: network.end,
        };
    }
}

/// Parses one tag and answers what is behind it.
#[inline(always)]
fn vlan<'a>(behind: &'a [u8], link: &mut Link<'_>) -> Result<&'a [u8], Malformed> {
    let (tag, packet) = VlanTag::ref_from_prefix(behind).map_err(|_| Malformed::VlanTruncated)?;
    let service = if link.ethertype == EtherType::QINQ { Headers::SERVICE_TAG } else { 0 };
    link.flags = Headers::TAGGED | service;
    link.tci = tag.tci.get();
    link.ethertype = EtherType(tag.ethertype.get());
    link.layer3_offset = 18;
    Ok(packet)
}

#[inline]
fn arp(packet: &[u8], link: Link<'_>, parsed: &mut Parsed) -> Result<(), Malformed> {
    let (arp, _) = ArpPacket::ref_from_prefix(packet).map_err(|_| Malformed::ArpTruncated)?;
    if !arp.is_ethernet_ipv4() {
        return Err(Malformed::ArpNotEthernetIpv4);
    }
    let network = Network {
        source_ip: widened(arp.sender_ip),
        destination_ip: widened(arp.target_ip),
        protocol: arp.operation.to_bytes()[1],
        layer3: Layer3::ARP,
        end: u32::from(link.layer3_offset) + 28,
        ..Network::default()
    };
    link.carries(network, Transport::default(), parsed);
    Ok(())
}

/// An IPv4 address in the 16 bytes that have room for either version.
#[inline(always)]
fn widened(address: [u8; 4]) -> [u8; 16] {
    u128::from(u32::from_le_bytes(address)).to_le_bytes()
}
