//! The packet that an ICMP error quotes: who it was from and for, and translating it along with the error.
//!
//! An error about a translated packet quotes it as it was on the far side. To reach the socket it is meant for, the
//! quote must read as that host sent it (RFC 5508 REQ-4, REQ-5; hairpin: REQ-7). The quote comes from anybody, may be
//! cut anywhere behind the first eight bytes of its transport header (RFC 792) and claims lengths that it does not
//! have: what is not there is not read and not corrected.
//!
//! Changing it uses [`Translation`] on a copy of the two quoted headers, laid next to each other and filled up with
//! zeroes; of that, what the quote really has is written back. The error's own checksum covers the quote and is
//! corrected by the difference.

use std::net::Ipv6Addr;

use vswitch_wire::checksum::{Sum, change, pseudo_header_v6, update};
use vswitch_wire::{
    EtherType, Extensions, Fragment, Headers, IcmpHeader, Ipv4Header, Ipv6Header, Layer3, Parsed,
    ipv4_header_checksum_ok, protocol,
};
use zerocopy::FromBytes;

use crate::address::{Address, Endpoint, Tuple};
use crate::drop_reason::DropReason;
use crate::offload::OffloadHeader;
use crate::rewrite::{Side, Translation, is_echo, is_echo_v6};

/// Of its transport header a quote has at least these (RFC 792), and ports and identifiers are within them.
const LEAST_TRANSPORT: usize = 8;

/// The copy that is translated: an IP header without options or extensions, and behind it a transport header.
const COPY_TRANSPORT: usize = Ipv6Header::LENGTH;
const COPY_LENGTH: usize = COPY_TRANSPORT + MOST_TRANSPORT;

/// No transport header that is translated has anything to change further on.
const MOST_TRANSPORT: usize = 20;

/// Whether the packet is an ICMP error: of IPv4 (RFC 792) or IPv6 (RFC 4443). Redirects are errors too, as far as
/// answering them with an error goes.
pub fn is_error(headers: &Headers) -> bool {
    let kind = headers.destination_port.to_be_bytes()[0];
    let of_v4 = headers.is_ipv4() && headers.protocol == protocol::ICMP && is_error_v4(kind);
    let of_v6 = headers.is_ipv6() && headers.protocol == protocol::ICMPV6 && is_error_v6(kind);
    of_v4 || of_v6
}

/// Destination unreachable, source quench, redirect, time exceeded, parameter problem.
fn is_error_v4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | REDIRECT | 11 | 12)
}

/// RFC 4443 §2.1: all types below 128, known ones or not.
fn is_error_v6(kind: u8) -> bool {
    kind < 128
}

/// Names a gateway that means nothing on the other side of a router.
const REDIRECT: u8 = 5;

/// A packet found in an ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// Who sent the quoted packet to whom, as quoted: for an echo both ports are its identifier, where the protocol
    /// has none they are 0.
    pub tuple: Tuple,
    /// The quoted headers as they lie in the copy that is translated.
    copied: Parsed,
    /// Where the quoted IP header is in the frame.
    layer3: usize,
    /// Where the quoted transport header is in the frame.
    layer4: usize,
    /// How many bytes of it can be written back: an even number, so that no checksum is halved.
    transport_length: usize,
}

/// How an ICMP error is to be changed; `None` stays.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ErrorTranslation {
    /// The error's own sender.
    pub source: Option<Address>,
    /// The error's recipient.
    pub destination: Option<Address>,
    /// The quoted packet's sender.
    pub quoted_source: Option<Endpoint>,
    /// The quoted packet's recipient.
    pub quoted_destination: Option<Endpoint>,
}

/// Finds the packet that an ICMP error quotes. None when the packet is no error or a redirect; when its checksum or
/// the quoted IPv4 header's is wrong (RFC 5508 REQ-3: such errors are dropped silently), while the quoted transport
/// checksum does not matter (REQ-3c); when it is a fragment; or when what it quotes is cut too short, no first
/// fragment, routed by its sender or itself an ICMP error, about which there are no errors (RFC 1122 §3.2.2).
pub fn find(bytes: &[u8], parsed: &Parsed) -> Option<Quoted> {
    let headers = &parsed.headers;
    if !is_error(headers) || headers.is_fragment() {
        return None;
    }
    let start = usize::from(parsed.layer4_offset);
    let message = bytes.get(start..usize::try_from(parsed.layer3_end).ok()?)?;
    if !checksum_ok(headers, message) {
        return None;
    }
    let (icmp, quote) = IcmpHeader::ref_from_prefix(message).ok()?;
    let quote = without_extensions(headers, icmp, quote);
    let layer3 = start + IcmpHeader::LENGTH;
    if headers.is_ipv4() {
        (icmp.kind != REDIRECT).then_some(())?;
        find_v4(quote, layer3)
    } else {
        find_v6(quote, layer3)
    }
}

fn checksum_ok(headers: &Headers, message: &[u8]) -> bool {
    let pseudo_header = if headers.is_ipv4() {
        Sum::default()
    } else {
        let (source, destination) =
            (Ipv6Addr::from(headers.source_ip), Ipv6Addr::from(headers.destination_ip));
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        pseudo_header_v6(source, destination, protocol::ICMPV6, length)
    };
    (pseudo_header + Sum::of(message)).checksum() == 0
}

/// RFC 4884 §4: the length of the quote, in words, where extensions follow it; 0 where none do. They have a checksum
/// of their own and stay as they are (RFC 5508 REQ-3d).
fn without_extensions<'a>(headers: &Headers, icmp: &IcmpHeader, quote: &'a [u8]) -> &'a [u8] {
    // The four bytes behind the checksum.
    let [first, second] = icmp.identifier.to_bytes();
    let length = match (headers.is_ipv4(), icmp.kind) {
        (true, 3 | 11 | 12) => usize::from(second) * 4,
        (false, 1 | 3) => usize::from(first) * 8,
        _ => 0,
    };
    if length == 0 { quote } else { quote.get(..length).unwrap_or(quote) }
}

fn find_v4(quote: &[u8], layer3: usize) -> Option<Quoted> {
    let (ip, _) = Ipv4Header::ref_from_prefix(quote).ok()?;
    let first = ip.flags_fragment.get() & Ipv4Header::FRAGMENT_OFFSET == 0;
    if ip.version_ihl >> 4 != 4 || !first || !ipv4_header_checksum_ok(quote) {
        return None;
    }
    let mut headers = Headers {
        ethertype: EtherType::IPV4,
        layer3: Layer3::IPV4,
        protocol: ip.protocol,
        ..Headers::default()
    };
    headers.source_ip[..4].copy_from_slice(&ip.source);
    headers.destination_ip[..4].copy_from_slice(&ip.destination);
    let fragment = ip.flags_fragment.get() & Ipv4Header::MORE_FRAGMENTS != 0;
    let transport = usize::from(ip.header_length());
    let claimed = usize::from(ip.total_length.get()).checked_sub(transport)?;
    Quoted::new(headers, quote, layer3, transport, claimed, fragment)
}

fn find_v6(quote: &[u8], layer3: usize) -> Option<Quoted> {
    let (ip, _) = Ipv6Header::ref_from_prefix(quote).ok()?;
    if ip.version() != 6 {
        return None;
    }
    let mut extensions = Extensions::of(quote)?;
    let (mut fragment, mut routed) = (false, false);
    for extension in extensions.by_ref() {
        fragment |= extension.is_of_several();
        routed |= extension.routes_on();
    }
    let (protocol, transport) = extensions.transport().filter(|_| !routed)?;
    let headers = Headers {
        ethertype: EtherType::IPV6,
        layer3: Layer3::IPV6,
        protocol,
        source_ip: ip.source,
        destination_ip: ip.destination,
        ..Headers::default()
    };
    let packet_length = Ipv6Header::LENGTH + usize::from(ip.payload_length.get());
    Quoted::new(headers, quote, layer3, transport, packet_length.checked_sub(transport)?, fragment)
}

impl Quoted {
    /// `transport` is where the transport header is in the quote, `claimed` how long the message is that it begins.
    fn new(
        mut headers: Headers,
        quote: &[u8],
        layer3: usize,
        transport: usize,
        claimed: usize,
        fragment: bool,
    ) -> Option<Self> {
        let message = quote.get(transport..)?;
        let message = message.get(..claimed).unwrap_or(message);
        read_ports(&mut headers, message)?;
        // The checksum of a fragmented SCTP packet covers bytes that nobody knows: it is left alone.
        let sctp_fragment = fragment && headers.protocol == protocol::SCTP;
        let most = if sctp_fragment { LEAST_TRANSPORT } else { MOST_TRANSPORT };
        headers.fragment = Fragment::WHOLE;
        let copied = Parsed {
            headers,
            layer4_offset: u16::try_from(COPY_TRANSPORT).ok()?,
            layer3_end: u32::try_from(COPY_TRANSPORT + claimed).ok()?,
            ..Parsed::default()
        };
        Some(Self {
            tuple: Tuple::of(&headers)?,
            copied,
            layer3,
            layer4: layer3 + transport,
            transport_length: message.len().min(most) & !1,
        })
    }

    /// Changes the error: the quoted packet with its checksums, the error's checksum and its addresses. `bytes` and
    /// `parsed` are those it was found in; the new addresses are entered into `parsed`.
    ///
    /// # Errors
    /// [`DropReason::NoTransport`] when they are not; [`DropReason::SourceRoute`] as [`Translation::apply`].
    pub fn translate(
        &self,
        bytes: &mut [u8],
        parsed: &mut Parsed,
        to: &ErrorTranslation,
    ) -> Result<(), DropReason> {
        if to.quoted_source.is_some() || to.quoted_destination.is_some() {
            let change = self.translate_quote(bytes, to)?;
            correct_message(bytes, parsed, change).ok_or(DropReason::NoTransport)?;
        }
        for (side, address) in [(Side::Source, to.source), (Side::Destination, to.destination)] {
            let Some(address) = address else { continue };
            let translation = Translation::new(&parsed.headers, side, Endpoint { address, port: 0 });
            translation.apply(bytes, parsed, &OffloadHeader::NONE)?;
            translation.update(&mut parsed.headers);
        }
        Ok(())
    }

    /// Answers what that adds to the sum of the error's message.
    fn translate_quote(&self, bytes: &mut [u8], to: &ErrorTranslation) -> Result<Sum, DropReason> {
        let mut copy = self.copy(bytes).ok_or(DropReason::NoTransport)?;
        let before = Sum::of(&copy);
        let mut copied = self.copied;
        for (side, to) in [(Side::Source, to.quoted_source), (Side::Destination, to.quoted_destination)] {
            let Some(to) = to else { continue };
            let translation = Translation::new(&copied.headers, side, to);
            translation.apply(&mut copy, &copied, &OffloadHeader::NONE)?;
            translation.update(&mut copied.headers);
        }
        // A checksum that the quote does not have was corrected as well.
        copy[COPY_TRANSPORT + self.transport_length..].fill(0);
        let (ip, transport) = copy.split_at(COPY_TRANSPORT);
        let [to_ip, to_transport] = self.places(bytes).ok_or(DropReason::NoTransport)?;
        to_ip.copy_from_slice(&ip[..to_ip.len()]);
        to_transport.copy_from_slice(&transport[..to_transport.len()]);
        Ok(change(before, Sum::of(&copy)))
    }

    /// The two quoted headers next to each other. All of them start at an even offset of the error's message, so
    /// that they add the same to a sum here as there.
    fn copy(&self, bytes: &mut [u8]) -> Option<[u8; COPY_LENGTH]> {
        let mut copy = [0; COPY_LENGTH];
        let (ip, transport) = copy.split_at_mut(COPY_TRANSPORT);
        let [from_ip, from_transport] = self.places(bytes)?;
        ip[..from_ip.len()].copy_from_slice(from_ip);
        transport[..from_transport.len()].copy_from_slice(from_transport);
        Some(copy)
    }

    /// The bytes of the frame that are copied: the IP header without what follows it, and the transport header.
    fn places<'a>(&self, bytes: &'a mut [u8]) -> Option<[&'a mut [u8]; 2]> {
        let ip = if self.copied.headers.is_ipv4() { Ipv4Header::LENGTH } else { Ipv6Header::LENGTH };
        let (below, transport) = bytes.split_at_mut_checked(self.layer4)?;
        Some([below.get_mut(self.layer3..self.layer3 + ip)?, transport.get_mut(..self.transport_length)?])
    }
}

/// Reads ports or identifier as the parser does; none when they are cut off or the message is an ICMP error.
fn read_ports(headers: &mut Headers, message: &[u8]) -> Option<()> {
    let start = message.first_chunk::<LEAST_TRANSPORT>();
    match headers.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let [a, b, c, d, ..] = *start?;
            headers.source_port = u16::from_be_bytes([a, b]);
            headers.destination_port = u16::from_be_bytes([c, d]);
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let [kind, code, _, _, high, low, ..] = *start?;
            headers.destination_port = u16::from_be_bytes([kind, code]);
            if is_error(headers) {
                return None;
            }
            let echo = if headers.is_ipv4() { is_echo(kind) } else { is_echo_v6(kind) };
            headers.source_port = if echo { u16::from_be_bytes([high, low]) } else { 0 };
        }
        _ => {}
    }
    Some(())
}

/// Corrects the error's own checksum.
fn correct_message(bytes: &mut [u8], parsed: &Parsed, change: Sum) -> Option<()> {
    let message = bytes.get_mut(usize::from(parsed.layer4_offset)..)?;
    let (icmp, _) = IcmpHeader::mut_from_prefix(message).ok()?;
    icmp.checksum.set(update(icmp.checksum.get(), change));
    Some(())
}

#[cfg(test)]
mod tests;
