//! IPv6 and its extension headers on the way to the transport header.

use zerocopy::FromBytes;

use super::{Fragment, Headers, Layer3, Link, Malformed, Network, Parsed, Transport, layer4};
use crate::{Ipv6Header, protocol};

/// Extension headers one packet may have. RFC 8200 §4.1 recommends at most one of each kind; the limit keeps
/// a packet from costing more than a few times what others do (RFC 8504 §5.3 allows such limits).
const MOST_EXTENSIONS: usize = 8;

#[inline]
pub(super) fn parse(packet: &[u8], link: Link) -> Result<Parsed, Malformed> {
    let (ipv6, payload) = Ipv6Header::ref_from_prefix(packet).map_err(|_| Malformed::Ipv6Truncated)?;
    if ipv6.version() != 6 {
        return Err(Malformed::Ipv6Version);
    }
    let payload_length = ipv6.payload_length.get();
    // A jumbogram (RFC 2675, Linux's BIG TCP) says 0 too; it is refused, since no port takes one.
    if payload_length == 0 && ipv6.next_header != protocol::NO_NEXT_HEADER {
        return Err(Malformed::Ipv6PayloadLength);
    }
    let payload = payload.get(..usize::from(payload_length)).ok_or(Malformed::Ipv6PayloadLength)?;

    let offset = link.layer3_offset + 40;
    let mut network = Network {
        source_ip: ipv6.source,
        destination_ip: ipv6.destination,
        protocol: ipv6.next_header,
        layer3: Layer3::IPV6,
        fragment: Fragment::WHOLE,
        flags: 0,
        end: u32::from(offset) + u32::from(payload_length),
    };
    if !is_extension(ipv6.next_header) {
        let transport = layer4::parse(payload, offset, &network)?;
        return Ok(link.carrying(network, transport));
    }
    let chain = walk(ipv6.next_header, payload)?;
    network.protocol = chain.protocol;
    network.fragment = chain.fragment;
    network.flags = Headers::IPV6_EXTENSIONS;
    let transport = match chain.fragment {
        Fragment::LATER => Transport::default(),
        _ => layer4::parse(chain.rest, offset + chain.length, &network)?,
    };
    Ok(link.carrying(network, transport))
}

/// The headers between IPv6's own and the transport's. ESP hides what follows it, so it ends the walk as a
/// transport would.
#[inline]
fn is_extension(next_header: u8) -> bool {
    use protocol::{AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// What a walk over the extension headers came to.
struct Chain<'a> {
    protocol: u8,
    fragment: Fragment,
    /// Bytes of the headers.
    length: u16,
    /// What is behind them.
    rest: &'a [u8],
}

fn walk(first: u8, payload: &[u8]) -> Result<Chain<'_>, Malformed> {
    let mut chain = Chain { protocol: first, fragment: Fragment::WHOLE, length: 0, rest: payload };
    for _ in 0..MOST_EXTENSIONS {
        let kind = chain.protocol;
        let (extension, rest) = extension(kind, chain.rest).ok_or_else(|| truncated(chain.fragment))?;
        chain.protocol = extension.next_header;
        // Cannot overflow: eight times at most 2048.
        chain.length += extension.length;
        chain.rest = rest;
        if kind == protocol::FRAGMENT && extension.offset_flags & !RESERVED != 0 {
            chain.fragment = layer4::fragment(chain.protocol, extension.offset_flags >> 3, rest.len())?;
        }
        if chain.fragment == Fragment::LATER || !is_extension(chain.protocol) {
            return Ok(chain);
        }
    }
    Err(Malformed::Ipv6TooManyExtensions)
}

/// In a fragment header's second half: two bits between the offset and the flag for more.
const RESERVED: u16 = 0b110;

/// The whole chain of headers belongs into the first fragment (RFC 7112).
fn truncated(fragment: Fragment) -> Malformed {
    if fragment == Fragment::FIRST { Malformed::TinyFragment } else { Malformed::Ipv6ExtensionTruncated }
}

struct Extension {
    next_header: u8,
    /// Bytes 2 and 3, which are the offset and the flags in a fragment header.
    offset_flags: u16,
    /// In bytes.
    length: u16,
}

fn extension(kind: u8, bytes: &[u8]) -> Option<(Extension, &[u8])> {
    let [next_header, length, high, low, ..] = *bytes.first_chunk::<8>()?;
    let length = match kind {
        protocol::FRAGMENT => 8,
        // In words of four bytes, less two (RFC 4302 §2.2).
        protocol::AUTHENTICATION => (u16::from(length) + 2) * 4,
        // In words of eight bytes, less one (RFC 8200 §4).
        _ => (u16::from(length) + 1) * 8,
    };
    let extension = Extension { next_header, offset_flags: u16::from_be_bytes([high, low]), length };
    Some((extension, bytes.get(usize::from(length)..)?))
}
