//! IPv6 and its extension headers on the way to the transport header.

use zerocopy::FromBytes;

use super::{Fragment, Headers, Layer3, Link, Malformed, Network, Parsed, Transport, layer4};
use crate::extension::{Extension, MOST_EXTENSIONS, is_extension};
use crate::{Ipv6Header, protocol};

#[inline]
pub(super) fn parse(packet: &[u8], link: Link<'_>, parsed: &mut Parsed) -> Result<(), Malformed> {
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
        link.carries(network, transport, parsed);
        return Ok(());
    }
    let chain = walk(ipv6.next_header, payload)?;
    network.protocol = chain.protocol;
    network.fragment = chain.fragment;
    network.flags = Headers::IPV6_EXTENSIONS;
    let transport = match chain.fragment {
        Fragment::LATER => Transport::default(),
        _ => layer4::parse(chain.rest, offset + chain.length, &network)?,
    };
    link.carries(network, transport, parsed);
    Ok(())
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
        let (extension, rest) =
            Extension::split(kind, chain.rest).ok_or_else(|| truncated(chain.fragment))?;
        chain.protocol = extension.next_header;
        // Cannot overflow: eight times at most 2048.
        chain.length += extension.length;
        chain.rest = rest;
        if kind == protocol::FRAGMENT && extension.is_of_several() {
            chain.fragment = layer4::fragment(chain.protocol, extension.second_word >> 3, rest.len())?;
        }
        if chain.fragment == Fragment::LATER || !is_extension(chain.protocol) {
            return Ok(chain);
        }
    }
    Err(Malformed::Ipv6TooManyExtensions)
}

/// The whole chain of headers belongs into the first fragment (RFC 7112).
fn truncated(fragment: Fragment) -> Malformed {
    if fragment == Fragment::FIRST { Malformed::TinyFragment } else { Malformed::Ipv6ExtensionTruncated }
}
