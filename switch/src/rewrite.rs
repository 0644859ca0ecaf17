//! What translating and routing write into a packet: addresses, ports, MAC addresses, the TTL, and every checksum
//! that covers them.
//!
//! Whatever changes, a checksum is corrected by the difference (RFC 1624), never made anew: that costs the same for
//! a super-frame as for a ping, and one that was wrong stays wrong, so that the receiver still sees it. A checksum
//! that is yet to be finished (virtio's `NEEDS_CHECKSUM`) holds the pseudo-header's sum only: there the addresses
//! count, and the ports are summed with the rest when it is finished.
//!
//! The differences are worked out once per flow, in [`Translation::new`]; [`Translation::apply`] is additions.

use vswitch_wire::checksum::{Sum, change, update};
use vswitch_wire::{
    Extensions, Headers, IcmpHeader, Ipv4Header, Ipv6Header, MacAddr, Parsed, TcpHeader, UdpHeader, crc32c,
    protocol,
};
use zerocopy::FromBytes;

use crate::address::{Address, Endpoint};
use crate::drop_reason::DropReason;
use crate::offload::OffloadHeader;

/// Which end of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// What stands behind IP, as far as translating it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transport {
    /// No port and no checksum over addresses, as far as we know; also ICMP that is no query.
    Plain,
    Tcp,
    Udp,
    /// An ICMP echo of IPv4: an identifier for a port, no pseudo-header.
    Echo,
    /// An ICMPv6 echo.
    EchoV6,
    /// ICMPv6 that is no echo: only the pseudo-header counts.
    OtherV6,
    Sctp,
    /// A checksum as UDP's, ports that nobody parsed and that stay: UDP-Lite (RFC 3828) and DCCP (RFC 4340 §9).
    LikeUdp,
}

impl Transport {
    const UDP_LITE: u8 = 136;
    const DCCP: u8 = 33;

    fn of(headers: &Headers) -> Self {
        // The parser puts the type where other protocols have the destination port.
        let kind = headers.destination_port.to_be_bytes()[0];
        match headers.protocol {
            protocol::TCP => Self::Tcp,
            protocol::UDP => Self::Udp,
            protocol::SCTP => Self::Sctp,
            protocol::ICMP if headers.is_ipv4() && is_echo(kind) => Self::Echo,
            protocol::ICMPV6 if headers.is_ipv6() && is_echo_v6(kind) => Self::EchoV6,
            protocol::ICMPV6 if headers.is_ipv6() => Self::OtherV6,
            Self::UDP_LITE | Self::DCCP => Self::LikeUdp,
            _ => Self::Plain,
        }
    }

    fn has_port(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp | Self::Echo | Self::EchoV6 | Self::Sctp)
    }

    /// Whether its checksum is one's complement and covers the addresses.
    fn has_pseudo_header(self) -> bool {
        !matches!(self, Self::Plain | Self::Echo | Self::Sctp)
    }
}

/// Whether an ICMP message of this type is an echo, which has an identifier.
pub(crate) fn is_echo(kind: u8) -> bool {
    matches!(kind, IcmpHeader::ECHO_REQUEST | IcmpHeader::ECHO_REPLY)
}

/// Whether an ICMPv6 message of this type is an echo.
pub(crate) fn is_echo_v6(kind: u8) -> bool {
    matches!(kind, IcmpHeader::ECHO_REQUEST_V6 | IcmpHeader::ECHO_REPLY_V6)
}

/// One end of a flow's packets becomes another: made once per flow, applied to each packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    to: Address,
    port: u16,
    /// What the addresses add: to the IPv4 header's sum and to an unfinished checksum.
    address_change: Sum,
    /// What addresses and ports add to a finished transport checksum.
    message_change: Sum,
    side: Side,
    transport: Transport,
}

impl Translation {
    /// Translates one side of packets with these headers. The port counts where the protocol has ports: for an ICMP
    /// echo it is the identifier, which both sides share.
    ///
    /// A second translation of the same packet is made from headers that [`Translation::update`] went over.
    pub fn new(headers: &Headers, side: Side, to: Endpoint) -> Self {
        let transport = Transport::of(headers);
        let (address, port) = match side {
            Side::Source => (&headers.source_ip, headers.source_port),
            Side::Destination if matches!(transport, Transport::Echo | Transport::EchoV6) => {
                (&headers.destination_ip, headers.source_port)
            }
            Side::Destination => (&headers.destination_ip, headers.destination_port),
        };
        let address_change = change(Sum::of(address), Sum::of(&to.address.0));
        let port_change = change(Sum::from_partial(port), Sum::from_partial(to.port));
        let message_change = match (transport.has_pseudo_header(), transport.has_port()) {
            (true, true) => address_change + port_change,
            (true, false) => address_change,
            (false, _) => port_change,
        };
        Self { to: to.address, port: to.port, address_change, message_change, side, transport }
    }

    /// Enters the translation into the headers, for whoever looks at them afterwards.
    #[inline]
    pub fn update(&self, headers: &mut Headers) {
        let echo = matches!(self.transport, Transport::Echo | Transport::EchoV6);
        let (address, port) = match self.side {
            Side::Source => (&mut headers.source_ip, &mut headers.source_port),
            Side::Destination if echo => (&mut headers.destination_ip, &mut headers.source_port),
            Side::Destination => (&mut headers.destination_ip, &mut headers.destination_port),
        };
        *address = self.to.0;
        if self.transport.has_port() {
            *port = self.port;
        }
    }

    /// Translates a packet of the flow: its address, its port unless it is a later fragment, and its checksums.
    /// `offload` is what came with the frame, validated.
    ///
    /// # Errors
    /// [`DropReason::NoTransport`] when the packet is not as `parsed` says, or is the first fragment of an SCTP
    /// packet whose port should change: its checksum covers bytes that are not here.
    /// [`DropReason::SourceRoute`] when a routing header hides the destination to be changed.
    #[inline]
    pub fn apply(
        &self,
        bytes: &mut [u8],
        parsed: &Parsed,
        offload: &OffloadHeader,
    ) -> Result<(), DropReason> {
        if parsed.headers.has_options() && self.side == Side::Destination && routed_by_sender(bytes, parsed) {
            return Err(DropReason::SourceRoute);
        }
        self.rewrite_address(bytes, parsed).ok_or(DropReason::NoTransport)?;
        if parsed.layer4_offset == 0 {
            // A later fragment: the checksum is in the first, over the whole packet.
            return Ok(());
        }
        let unfinished = offload.needs_checksum() && offload.checksum_start == parsed.layer4_offset;
        let message = bytes.get_mut(usize::from(parsed.layer4_offset)..).ok_or(DropReason::NoTransport)?;
        self.rewrite_transport(message, parsed, unfinished).ok_or(DropReason::NoTransport)
    }

    #[inline(always)]
    fn rewrite_address(&self, bytes: &mut [u8], parsed: &Parsed) -> Option<()> {
        let packet = bytes.get_mut(usize::from(parsed.layer3_offset)..)?;
        if parsed.headers.is_ipv4() {
            let (ip, _) = Ipv4Header::mut_from_prefix(packet).ok()?;
            let [a, b, c, d, ..] = self.to.0;
            match self.side {
                Side::Source => ip.source = [a, b, c, d],
                Side::Destination => ip.destination = [a, b, c, d],
            }
            ip.checksum.set(update(ip.checksum.get(), self.address_change));
        } else if parsed.headers.is_ipv6() {
            let (ip, _) = Ipv6Header::mut_from_prefix(packet).ok()?;
            match self.side {
                Side::Source => ip.source = self.to.0,
                Side::Destination => ip.destination = self.to.0,
            }
        } else {
            return None;
        }
        Some(())
    }

    #[inline(always)]
    fn rewrite_transport(&self, message: &mut [u8], parsed: &Parsed, unfinished: bool) -> Option<()> {
        match self.transport {
            Transport::Tcp => {
                let (tcp, _) = TcpHeader::mut_from_prefix(message).ok()?;
                match self.side {
                    Side::Source => tcp.source_port.set(self.port),
                    Side::Destination => tcp.destination_port.set(self.port),
                }
                tcp.checksum.set(self.corrected(tcp.checksum.get(), unfinished));
            }
            Transport::Udp => {
                let (udp, _) = UdpHeader::mut_from_prefix(message).ok()?;
                match self.side {
                    Side::Source => udp.source_port.set(self.port),
                    Side::Destination => udp.destination_port.set(self.port),
                }
                udp.checksum.set(self.corrected_udp(udp.checksum.get(), unfinished));
            }
            Transport::LikeUdp => {
                // Both have the checksum where UDP has it.
                let (lite, _) = UdpHeader::mut_from_prefix(message).ok()?;
                lite.checksum.set(self.corrected_udp(lite.checksum.get(), unfinished));
            }
            Transport::Echo | Transport::EchoV6 | Transport::OtherV6 => {
                let (icmp, _) = IcmpHeader::mut_from_prefix(message).ok()?;
                if self.transport != Transport::OtherV6 {
                    icmp.identifier.set(self.port);
                }
                icmp.checksum.set(self.corrected(icmp.checksum.get(), unfinished));
            }
            Transport::Sctp => return self.rewrite_sctp(message, parsed, unfinished),
            Transport::Plain => {}
        }
        Some(())
    }

    #[inline(always)]
    fn corrected(&self, checksum: u16, unfinished: bool) -> u16 {
        if unfinished {
            (Sum::from_partial(checksum) + self.address_change).partial()
        } else {
            update(checksum, self.message_change)
        }
    }

    /// RFC 768: 0 says that there is no checksum. It stays, and no other becomes it.
    #[inline(always)]
    fn corrected_udp(&self, checksum: u16, unfinished: bool) -> u16 {
        if checksum == 0 && !unfinished {
            return 0;
        }
        match self.corrected(checksum, unfinished) {
            0 if !unfinished => u16::MAX,
            corrected => corrected,
        }
    }

    /// SCTP's checksum covers no pseudo-header, so it changes with the ports only (RFC 9260 §6.8).
    fn rewrite_sctp(&self, message: &mut [u8], parsed: &Parsed, unfinished: bool) -> Option<()> {
        let length = parsed.layer3_end.checked_sub(u32::from(parsed.layer4_offset))?;
        let header = message.first_chunk_mut::<12>()?;
        let [a, b, c, d, _, _, _, _, checksum @ ..] = *header;
        let [high, low] = self.port.to_be_bytes();
        let ports = match self.side {
            Side::Source => [high, low, c, d],
            Side::Destination => [a, b, high, low],
        };
        if ports == [a, b, c, d] {
            return Some(());
        }
        if parsed.headers.is_fragment() {
            return None;
        }
        header[..4].copy_from_slice(&ports);
        if !unfinished {
            let checksum = crc32c::update(checksum, [a, b, c, d], ports, u16::try_from(length).ok()?);
            header[8..].copy_from_slice(&checksum);
        }
        Some(())
    }
}

/// Whether the packet has to go elsewhere from the destination at hand, by a routing header: its transport checksum
/// then covers another one (RFC 8200 §8.1).
#[cold]
fn routed_by_sender(bytes: &[u8], parsed: &Parsed) -> bool {
    let packet = bytes.get(usize::from(parsed.layer3_offset)..).unwrap_or_default();
    parsed.headers.is_ipv6()
        && Extensions::of(packet)
            .is_some_and(|mut extensions| extensions.any(|extension| extension.routes_on()))
}

/// The next hop, as the frame carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The next station.
    pub destination: MacAddr,
    /// The router on that network.
    pub source: MacAddr,
}

impl Hop {
    /// Addresses the frame to the next hop and counts the hop: TTL or hop limit less one (RFC 1812 §5.3.1,
    /// RFC 8200 §3).
    ///
    /// # Errors
    /// [`DropReason::TtlExceeded`] when this was its last hop; the frame is unchanged then.
    /// [`DropReason::NoTransport`] when the packet is not as `parsed` says.
    #[inline]
    pub fn apply(&self, bytes: &mut [u8], parsed: &Parsed) -> Result<(), DropReason> {
        /// The TTL is the high byte of its word: less one is less 0x0100, and ~m + m' the same for every m.
        const ONE_HOP_LESS: Sum = Sum::from_partial(!0x0100);
        let (link, packet) =
            bytes.split_at_mut_checked(parsed.layer3_offset.into()).ok_or(DropReason::NoTransport)?;
        let stations = link.first_chunk_mut::<12>().ok_or(DropReason::NoTransport)?;
        if parsed.headers.is_ipv4() {
            let (ip, _) = Ipv4Header::mut_from_prefix(packet).map_err(|_| DropReason::NoTransport)?;
            ip.ttl = one_less(ip.ttl)?;
            ip.checksum.set(update(ip.checksum.get(), ONE_HOP_LESS));
        } else if parsed.headers.is_ipv6() {
            let (ip, _) = Ipv6Header::mut_from_prefix(packet).map_err(|_| DropReason::NoTransport)?;
            ip.hop_limit = one_less(ip.hop_limit)?;
        } else {
            return Err(DropReason::NoTransport);
        }
        let (destination, source) = stations.split_at_mut(6);
        destination.copy_from_slice(&self.destination.0);
        source.copy_from_slice(&self.source.0);
        Ok(())
    }
}

#[inline(always)]
fn one_less(hops: u8) -> Result<u8, DropReason> {
    if hops > 1 { Ok(hops - 1) } else { Err(DropReason::TtlExceeded) }
}

#[cfg(test)]
pub(crate) mod tests;
