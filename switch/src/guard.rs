//! The guard: the first stage. An attachment may send only from its own addresses.
//!
//! On by default and per attachment; a router, a VM with addresses of its own or a nested bridge needs it off.
//! It looks at every place a frame names its sender: the Ethernet source, the IP source, the ARP sender and the
//! target of a neighbour advertisement. Addresses that say "I have none yet" are allowed where protocols need
//! them. Frames of other protocols are held to their MAC address only; a second VLAN tag, behind which an address could
//! hide, is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use vswitch_wire::{ArpPacket, IcmpHeader, Layer3, MacAddr, Parsed, protocol};
use zerocopy::FromBytes;

use crate::drop_reason::DropReason;

/// The port a DHCP client sends from (RFC 2131 §4.1), the only sender that has no IPv4 address yet.
const DHCP_CLIENT: u16 = 68;

/// The addresses one attachment may send from.
#[derive(Clone, Debug)]
pub struct Guard {
    mac: MacAddr,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    link_local: Ipv6Addr,
}

impl Guard {
    /// A guard for an attachment with these addresses; the link-local address follows from the MAC address.
    pub fn new(mac: MacAddr, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Self {
        Self { mac, ipv4, ipv6, link_local: mac.link_local() }
    }

    /// Admits a frame or says what it forges.
    ///
    /// # Errors
    /// One of the `Spoofed…` reasons.
    pub fn check(&self, frame: &[u8], parsed: &Parsed) -> Result<(), DropReason> {
        let headers = &parsed.headers;
        if headers.source != self.mac {
            return Err(DropReason::SpoofedMac);
        }
        match headers.layer3 {
            Layer3::IPV4 => self.check_ipv4(parsed),
            Layer3::IPV6 => self.check_ipv6(frame, parsed),
            Layer3::ARP => self.check_arp(frame, parsed),
            // Linux strips any number of priority tags (VLAN 0) and delivers what is behind them, which was not
            // parsed (CVE-2021-27853).
            _ if headers.ethertype.is_tag() => Err(DropReason::HiddenSource),
            _ => Ok(()),
        }
    }

    fn check_ipv4(&self, parsed: &Parsed) -> Result<(), DropReason> {
        let headers = &parsed.headers;
        let [a, b, c, d, ..] = headers.source_ip;
        let source = Ipv4Addr::new(a, b, c, d);
        let asking = source.is_unspecified()
            && headers.protocol == protocol::UDP
            && headers.source_port == DHCP_CLIENT;
        if self.ipv4 == Some(source) || asking { Ok(()) } else { Err(DropReason::SpoofedIp) }
    }

    fn check_ipv6(&self, frame: &[u8], parsed: &Parsed) -> Result<(), DropReason> {
        let headers = &parsed.headers;
        let source = Ipv6Addr::from(headers.source_ip);
        // Duplicate address detection (RFC 4862 §5.4.2) and MLD reports before it has ended (RFC 3590 §4) come
        // from the unspecified address; both are ICMPv6.
        let asking = source.is_unspecified() && headers.protocol == protocol::ICMPV6;
        if !self.owns(source) && !asking {
            return Err(DropReason::SpoofedIp);
        }
        if !speaks_for_an_address(parsed) {
            return Ok(());
        }
        // RFC 4861 §4.4: the target address follows the first eight bytes of the advertisement.
        let target = frame.get(usize::from(parsed.layer4_offset) + 8..).and_then(<[u8]>::first_chunk::<16>);
        match target {
            Some(target) if self.owns(Ipv6Addr::from(*target)) => Ok(()),
            _ => Err(DropReason::SpoofedNeighbor),
        }
    }

    fn check_arp(&self, frame: &[u8], parsed: &Parsed) -> Result<(), DropReason> {
        let packet = frame.get(usize::from(parsed.layer3_offset)..).unwrap_or_default();
        let Ok((arp, _)) = ArpPacket::ref_from_prefix(packet) else { return Err(DropReason::SpoofedArp) };
        let sender = Ipv4Addr::from(arp.sender_ip);
        // A probe asks from 0.0.0.0 whether an address is taken (RFC 5227 §1.1).
        let honest = arp.sender_mac == self.mac && (self.ipv4 == Some(sender) || sender.is_unspecified());
        if honest { Ok(()) } else { Err(DropReason::SpoofedArp) }
    }

    fn owns(&self, address: Ipv6Addr) -> bool {
        address == self.link_local || self.ipv6 == Some(address)
    }
}

/// Whether the guard's answer depends on more than the flow's headers, so that it may not be cached.
#[inline]
pub fn looks_inside(parsed: &Parsed) -> bool {
    parsed.headers.layer3 == Layer3::ARP || speaks_for_an_address(parsed)
}

fn speaks_for_an_address(parsed: &Parsed) -> bool {
    let headers = &parsed.headers;
    // `destination_port` holds type and code of an ICMPv6 message.
    headers.protocol == protocol::ICMPV6
        && headers.destination_port >> 8 == u16::from(IcmpHeader::NEIGHBOR_ADVERTISEMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddrV4, SocketAddrV6};
    use vswitch_wire::{EtherType, Tci, build, parse};

    const MINE: MacAddr = MacAddr([2, 0x42, 10, 0, 0, 2]);
    const OTHER: MacAddr = MacAddr([2, 0x42, 10, 0, 0, 3]);
    const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OTHER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
    const IP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    const OTHER_IP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);

    fn check(frame: &[u8]) -> Result<(), DropReason> {
        let guard = Guard::new(MINE, Some(IP), Some(IP6));
        guard.check(frame, &parse(frame).expect("a well-formed frame"))
    }

    fn udp4(mac: MacAddr, from: Ipv4Addr, port: u16) -> Vec<u8> {
        build::udp4(OTHER, mac, SocketAddrV4::new(from, port), SocketAddrV4::new(OTHER_IP, 67), b"x")
    }

    fn udp6(from: Ipv6Addr) -> Vec<u8> {
        build::udp6(
            OTHER,
            MINE,
            SocketAddrV6::new(from, 1, 0, 0),
            SocketAddrV6::new(OTHER_IP6, 2, 0, 0),
            b"x",
        )
    }

    #[test]
    fn own_addresses_pass_and_others_do_not() {
        assert_eq!(check(&udp4(MINE, IP, 1)), Ok(()));
        assert_eq!(check(&udp4(OTHER, IP, 1)), Err(DropReason::SpoofedMac));
        assert_eq!(check(&udp4(MINE, OTHER_IP, 1)), Err(DropReason::SpoofedIp));
        assert_eq!(check(&udp6(IP6)), Ok(()));
        assert_eq!(check(&udp6(MINE.link_local())), Ok(()));
        assert_eq!(check(&udp6(OTHER_IP6)), Err(DropReason::SpoofedIp));
    }

    #[test]
    fn no_address_yet_passes_where_protocols_need_it() {
        assert_eq!(check(&udp4(MINE, Ipv4Addr::UNSPECIFIED, DHCP_CLIENT)), Ok(()));
        assert_eq!(check(&udp4(MINE, Ipv4Addr::UNSPECIFIED, 5000)), Err(DropReason::SpoofedIp));
        assert_eq!(check(&udp6(Ipv6Addr::UNSPECIFIED)), Err(DropReason::SpoofedIp));
        let solicitation = build::neighbor_solicitation(MINE, Ipv6Addr::UNSPECIFIED, IP6);
        assert_eq!(check(&solicitation), Ok(()));
    }

    #[test]
    fn arp_speaks_for_the_attachment_only() {
        let arp = |sender, ip| build::arp(ArpPacket::REPLY, sender, ip, OTHER, OTHER_IP);
        assert_eq!(check(&arp(MINE, IP)), Ok(()));
        assert_eq!(check(&arp(MINE, Ipv4Addr::UNSPECIFIED)), Ok(()));
        assert_eq!(check(&arp(MINE, OTHER_IP)), Err(DropReason::SpoofedArp));
        let mut forged = arp(OTHER, IP);
        forged[6..12].copy_from_slice(&MINE.octets());
        assert_eq!(check(&forged), Err(DropReason::SpoofedArp), "honest outside, forged inside");
    }

    #[test]
    fn tags_hide_nothing() {
        let tag = |frame: &[u8]| build::tagged(frame, EtherType::VLAN, Tci(0));
        assert_eq!(check(&tag(&udp4(MINE, IP, 1))), Ok(()));
        assert_eq!(check(&tag(&udp4(MINE, OTHER_IP, 1))), Err(DropReason::SpoofedIp));
        assert_eq!(check(&tag(&tag(&udp4(MINE, OTHER_IP, 1)))), Err(DropReason::HiddenSource));
    }

    #[test]
    fn neighbour_advertisements_speak_for_the_attachment_only() {
        let header = IcmpHeader::new(IcmpHeader::NEIGHBOR_ADVERTISEMENT, 0x6000, 0);
        let advertise =
            |target: Ipv6Addr| build::icmp6(OTHER, MINE, IP6, OTHER_IP6, header, &target.octets());
        assert_eq!(check(&advertise(IP6)), Ok(()));
        assert_eq!(check(&advertise(MINE.link_local())), Ok(()));
        assert_eq!(check(&advertise(OTHER_IP6)), Err(DropReason::SpoofedNeighbor));
        assert!(looks_inside(&parse(&advertise(IP6)).unwrap()), "must not be answered from the cache");
    }
}
