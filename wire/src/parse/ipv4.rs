//! IPv4 on the way to the transport header.

use zerocopy::FromBytes;

use super::{Fragment, Headers, Layer3, Link, Malformed, Network, Parsed, Transport, layer4, widened};
use crate::Ipv4Header;

#[inline]
pub(super) fn parse(packet: &[u8], link: Link<'_>, parsed: &mut Parsed) -> Result<(), Malformed> {
    let (ipv4, _) = Ipv4Header::ref_from_prefix(packet).map_err(|_| Malformed::Ipv4Truncated)?;
    let header_length = ipv4.header_length();
    let total_length = ipv4.total_length.get();
    let flags = if ipv4.version_ihl == 0x45 { 0 } else { unusual_first_byte(ipv4, packet.len())? };
    // A total length of 0 (Linux's BIG TCP) is refused too: whoever reads the length would see no payload.
    if total_length < header_length {
        return Err(Malformed::Ipv4TotalLength);
    }
    let packet = packet.get(..usize::from(total_length)).ok_or(Malformed::Ipv4TotalLength)?;
    let payload = packet.get(usize::from(header_length)..).ok_or(Malformed::Ipv4TotalLength)?;

    let mut network = Network {
        source_ip: widened(ipv4.source),
        destination_ip: widened(ipv4.destination),
        protocol: ipv4.protocol,
        layer3: Layer3::IPV4,
        fragment: Fragment::WHOLE,
        flags,
        end: u32::from(link.layer3_offset) + u32::from(total_length),
    };
    let flags_fragment = ipv4.flags_fragment.get();
    if flags_fragment & (Ipv4Header::MORE_FRAGMENTS | Ipv4Header::FRAGMENT_OFFSET) != 0 {
        let units = flags_fragment & Ipv4Header::FRAGMENT_OFFSET;
        network.fragment = layer4::fragment(ipv4.protocol, units, payload.len())?;
        if network.fragment == Fragment::LATER {
            link.carries(network, Transport::default(), parsed);
            return Ok(());
        }
    }
    let transport = layer4::parse(payload, link.layer3_offset + header_length, &network)?;
    link.carries(network, transport, parsed);
    Ok(())
}

/// Options, or a lie: nearly every packet starts with 0x45, which is one comparison. Answers the flags.
#[cold]
fn unusual_first_byte(ipv4: &Ipv4Header, available: usize) -> Result<u8, Malformed> {
    if ipv4.version_ihl >> 4 != 4 {
        return Err(Malformed::Ipv4Version);
    }
    let header_length = usize::from(ipv4.header_length());
    if header_length < Ipv4Header::LENGTH {
        return Err(Malformed::Ipv4HeaderLength);
    }
    if header_length > available {
        return Err(Malformed::Ipv4Truncated);
    }
    Ok(Headers::IPV4_OPTIONS)
}
