//! What no router may pass on, whatever the tables say.

use std::net::IpAddr;

use vswitch_wire::{Headers, Ipv4Header, Parsed, ipv4_header_checksum_ok};

use crate::address::{Address, Family};
use crate::drop_reason::DropReason;

/// Admits a packet to the router, or says what is wrong with its addresses or options.
///
/// # Errors
/// One of the martian reasons, [`DropReason::LandAttack`], [`DropReason::LinkLocalRouted`],
/// [`DropReason::BadHeaderChecksum`] or [`DropReason::SourceRoute`].
pub fn check(bytes: &[u8], parsed: &Parsed, family: Family) -> Result<(), DropReason> {
    let headers = &parsed.headers;
    let packet = bytes.get(usize::from(parsed.layer3_offset)..).unwrap_or_default();
    // RFC 1812 §5.2.2: a router must check it before it looks at anything else.
    if family == Family::V4 && !ipv4_header_checksum_ok(packet) {
        return Err(DropReason::BadHeaderChecksum);
    }
    let source = Address(headers.source_ip).ip(family);
    let destination = Address(headers.destination_ip).ip(family);
    if martian_source(source) {
        return Err(DropReason::MartianSource);
    }
    if martian_destination(destination) {
        return Err(DropReason::MartianDestination);
    }
    if source == destination {
        return Err(DropReason::LandAttack);
    }
    // RFC 3927 §7, RFC 4291 §2.5.6.
    if link_local(source) || link_local(destination) {
        return Err(DropReason::LinkLocalRouted);
    }
    if headers.has_options() && asks_for_a_source_route(packet, headers) {
        return Err(DropReason::SourceRoute);
    }
    Ok(())
}

/// RFC 1812 §5.3.7, RFC 6890: addresses that nobody sends from.
fn martian_source(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => {
            source.octets()[0] == 0
                || source.is_loopback()
                || source.is_multicast()
                // 240.0.0.0/4, the limited broadcast included.
                || source.octets()[0] >= 240
        }
        IpAddr::V6(source) => {
            source.is_unspecified() || source.is_loopback() || source.is_multicast() || mapped(source)
        }
    }
}

fn martian_destination(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(destination) => {
            destination.octets()[0] == 0
                || destination.is_loopback()
                || destination.is_multicast()
                || destination.octets()[0] >= 240
        }
        IpAddr::V6(destination) => {
            destination.is_unspecified()
                || destination.is_loopback()
                || destination.is_multicast()
                || mapped(destination)
        }
    }
}

/// `::ffff:0:0/96` never stands in a packet (RFC 6890 table 20).
fn mapped(address: std::net::Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether an IPv4 option (RFC 791) or an IPv6 routing header of type 0 (RFC 5095) tells routers where to go.
fn asks_for_a_source_route(packet: &[u8], headers: &Headers) -> bool {
    if headers.is_ipv4() { has_source_route_option(packet) } else { has_routing_header_0(packet) }
}

fn has_source_route_option(packet: &[u8]) -> bool {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let length = usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4;
    let mut options = packet.get(Ipv4Header::LENGTH..length).unwrap_or_default();
    while let [kind, rest @ ..] = options {
        match *kind {
            END => return false,
            NOTHING => options = rest,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return true,
            _ => {
                // The length counts kind and length themselves; a shorter one would never end.
                let Some(length) = rest.first().filter(|length| **length >= 2) else { return false };
                options = options.get(usize::from(*length)..).unwrap_or_default();
            }
        }
    }
    false
}

fn has_routing_header_0(packet: &[u8]) -> bool {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION_OPTIONS: u8 = 60;
    let mut next = packet.get(6).copied().unwrap_or(59);
    let mut rest = packet.get(40..).unwrap_or_default();
    // The parser has walked this chain before and refused an endless one.
    while matches!(next, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
        let [following, length, kind, ..] = *rest else { return false };
        if next == ROUTING && kind == 0 {
            return true;
        }
        next = following;
        rest = rest.get((usize::from(length) + 1) * 8..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use vswitch_wire::{MacAddr, build, parse};

    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn udp(from: &str, to: &str) -> Vec<u8> {
        match (SocketAddr::new(from.parse().unwrap(), 1), SocketAddr::new(to.parse().unwrap(), 2)) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => build::udp4(A, B, from, to, b"x"),
            (SocketAddr::V6(from), SocketAddr::V6(to)) => build::udp6(A, B, from, to, b"x"),
            _ => panic!("two families"),
        }
    }

    fn checked(frame: &[u8]) -> Result<(), DropReason> {
        let parsed = parse(frame).unwrap();
        check(frame, &parsed, Family::of(&parsed.headers).unwrap())
    }

    #[test]
    fn ordinary_packets_pass() {
        assert_eq!(checked(&udp("10.0.0.1", "192.0.2.1")), Ok(()));
        assert_eq!(checked(&udp("fd00::1", "2001:db8::1")), Ok(()));
    }

    #[test]
    fn impossible_addresses_do_not() {
        for source in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"] {
            assert_eq!(checked(&udp(source, "192.0.2.1")), Err(DropReason::MartianSource), "{source}");
        }
        for source in ["::", "::1", "ff02::1", "::ffff:10.0.0.1"] {
            assert_eq!(checked(&udp(source, "2001:db8::1")), Err(DropReason::MartianSource), "{source}");
        }
        for destination in ["0.0.0.0", "127.0.0.1", "224.0.0.251", "255.255.255.255"] {
            assert_eq!(checked(&udp("10.0.0.1", destination)), Err(DropReason::MartianDestination));
        }
        assert_eq!(checked(&udp("10.0.0.1", "10.0.0.1")), Err(DropReason::LandAttack));
        assert_eq!(checked(&udp("169.254.1.1", "10.0.0.1")), Err(DropReason::LinkLocalRouted));
        assert_eq!(checked(&udp("fe80::1", "fd00::1")), Err(DropReason::LinkLocalRouted));
    }

    #[test]
    fn a_wrong_header_checksum_ends_the_walk() {
        let mut frame = udp("10.0.0.1", "192.0.2.1");
        frame[24] ^= 1;
        assert_eq!(checked(&frame), Err(DropReason::BadHeaderChecksum));
    }

    #[test]
    fn source_routes_are_refused_wherever_they_hide() {
        let header = |options: &[u8]| {
            [&[0x40 | u8::try_from(5 + options.len() / 4).unwrap()][..], &[0; 19], options].concat()
        };
        assert!(has_source_route_option(&header(&[1, 1, 131, 3, 4, 0, 0, 0])));
        assert!(has_source_route_option(&header(&[7, 3, 4, 137, 3, 4, 0, 0])));
        assert!(!has_source_route_option(&header(&[7, 3, 4, 0, 137, 3, 4, 0])), "behind the end");
        assert!(!has_source_route_option(&header(&[7, 0, 0, 0])), "a length that would never end");

        let chain = |headers: &[u8], first: u8| {
            [&[0x60, 0, 0, 0, 0, 0, first, 64][..], &Ipv6Addr::UNSPECIFIED.octets(), &[0; 16], headers]
                .concat()
        };
        assert!(has_routing_header_0(&chain(&[59, 0, 0, 0, 0, 0, 0, 0], 43)));
        assert!(
            !has_routing_header_0(&chain(&[59, 0, 4, 0, 0, 0, 0, 0], 43)),
            "segment routing is another type"
        );
        assert!(has_routing_header_0(&chain(&[43, 0, 0, 0, 0, 0, 0, 0, 59, 0, 0, 0, 0, 0, 0, 0], 60)));
        assert!(!has_routing_header_0(&chain(&[43, 200], 0)), "cut");
    }
}
