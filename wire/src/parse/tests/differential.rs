//! The parser against etherparse, on frames that etherparse built and on such frames with one byte changed.

use etherparse::{
    IpAuthHeader, IpFragOffset, IpHeaders, IpNumber, Ipv4Options, Ipv6Extensions, Ipv6FragmentHeader,
    Ipv6RawExtHeader, Ipv6RoutingExtensions, LaxNetSlice, LaxSlicedPacket, PacketBuilder, TransportSlice,
};
use proptest::prelude::*;

use super::super::*;
use super::check_places;
use crate::protocol;

#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp,
    Udp,
    Echo,
}

fn ipv4() -> impl Strategy<Value = IpHeaders> {
    (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<u16>(), 0_usize..=10).prop_map(
        |(source, destination, identification, words)| {
            let mut header = etherparse::Ipv4Header::new(0, 64, IpNumber::UDP, source, destination).unwrap();
            header.identification = identification;
            header.options = Ipv4Options::try_from(&vec![1; words * 4][..]).unwrap();
            IpHeaders::Ipv4(header, Default::default())
        },
    )
}

fn ipv6() -> impl Strategy<Value = IpHeaders> {
    (any::<[u8; 16]>(), any::<[u8; 16]>(), extensions()).prop_map(|(source, destination, extensions)| {
        let header = etherparse::Ipv6Header { source, destination, ..Default::default() };
        IpHeaders::Ipv6(header, extensions)
    })
}

fn extensions() -> impl Strategy<Value = Ipv6Extensions> {
    let raw = || {
        prop::option::of(
            (0_usize..6)
                .prop_map(|units| Ipv6RawExtHeader::new_raw(IpNumber::UDP, &vec![0; 6 + 8 * units]).unwrap()),
        )
    };
    let authentication = prop::option::of(
        (0_usize..5).prop_map(|units| IpAuthHeader::new(IpNumber::UDP, 1, 2, &vec![3; 4 * units]).unwrap()),
    );
    (raw(), raw(), raw(), raw(), authentication, prop::option::of(any::<bool>())).prop_map(
        |(hop_by_hop_options, destination_options, routing, last, auth, fragment)| Ipv6Extensions {
            hop_by_hop_options,
            destination_options,
            routing: routing
                .map(|routing| Ipv6RoutingExtensions { routing, final_destination_options: last }),
            fragment: fragment.map(|more| {
                Ipv6FragmentHeader::new(IpNumber::UDP, IpFragOffset::try_new(0).unwrap(), more, 9)
            }),
            auth,
        },
    )
}

prop_compose! {
    fn frame()(
        macs: ([u8; 6], [u8; 6]),
        vlan in prop::option::of(0_u16..4096),
        ip in prop_oneof![ipv4(), ipv6()],
        transport in prop::sample::select(vec![Transport::Tcp, Transport::Udp, Transport::Echo]),
        ports: (u16, u16),
        options in 0_usize..=10,
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(macs.0, macs.1);
        let is_ipv4 = matches!(ip, IpHeaders::Ipv4(..));
        let ip = match vlan {
            Some(vlan) => ethernet.single_vlan(vlan.try_into().unwrap()).ip(ip),
            None => ethernet.ip(ip),
        };
        let mut frame = vec![];
        match transport {
            Transport::Tcp => {
                let tcp = ip.tcp(ports.0, ports.1, 7, 100).syn().ack(9);
                tcp.options_raw(&vec![1; options * 4]).unwrap().write(&mut frame, &payload).unwrap();
            }
            Transport::Udp => ip.udp(ports.0, ports.1).write(&mut frame, &payload).unwrap(),
            Transport::Echo if is_ipv4 => {
                ip.icmpv4_echo_request(ports.0, ports.1).write(&mut frame, &payload).unwrap();
            }
            Transport::Echo => ip.icmpv6_echo_request(ports.0, ports.1).write(&mut frame, &payload).unwrap(),
        }
        frame
    }
}

/// Every field and offset of what both accepted.
fn check_agreement(frame: &[u8], parsed: &Parsed, theirs: &LaxSlicedPacket<'_>) -> Result<(), TestCaseError> {
    let headers = &parsed.headers;
    match theirs.net.as_ref() {
        Some(LaxNetSlice::Ipv4(ipv4)) => {
            let (source, destination) = (ipv4.header().source_addr(), ipv4.header().destination_addr());
            prop_assert_eq!(headers.source_address(), Some(source.into()));
            prop_assert_eq!(headers.destination_address(), Some(destination.into()));
            let options = !ipv4.header().options().is_empty();
            prop_assert_eq!(headers.flags & Headers::IPV4_OPTIONS != 0, options);
        }
        Some(LaxNetSlice::Ipv6(ipv6)) => {
            let (source, destination) = (ipv6.header().source_addr(), ipv6.header().destination_addr());
            prop_assert_eq!(headers.source_address(), Some(source.into()));
            prop_assert_eq!(headers.destination_address(), Some(destination.into()));
        }
        _ => prop_assert!(!matches!(headers.layer3, Layer3::IPV4 | Layer3::IPV6)),
    }
    let Some(payload) = theirs.ip_payload() else { return Ok(()) };
    prop_assert_eq!(headers.fragment != Fragment::WHOLE, payload.fragmented);
    // etherparse goes on into what the bytes of a later fragment seem to be, and into IPv4's authentication
    // header, where we stop.
    let authenticated = headers.layer3 == Layer3::IPV4 && headers.protocol == protocol::AUTHENTICATION;
    if headers.fragment == Fragment::LATER || authenticated {
        return Ok(());
    }
    prop_assert_eq!(headers.protocol, payload.ip_number.0);
    let end = usize::try_from(parsed.layer3_end).unwrap();
    if parsed.layer4_offset != 0 {
        prop_assert_eq!(&frame[usize::from(parsed.layer4_offset)..end], payload.payload);
    }
    let behind = &frame[usize::from(parsed.payload_offset)..end];
    match theirs.transport.as_ref() {
        Some(TransportSlice::Tcp(tcp)) => {
            prop_assert_eq!(
                (headers.source_port, headers.destination_port),
                (tcp.source_port(), tcp.destination_port())
            );
            prop_assert_eq!(behind, tcp.payload());
            prop_assert_eq!(parsed.tcp_flags & 0x12 == 0x12, tcp.syn() && tcp.ack());
        }
        Some(TransportSlice::Udp(udp)) => {
            prop_assert_eq!(
                (headers.source_port, headers.destination_port),
                (udp.source_port(), udp.destination_port())
            );
            prop_assert!(behind.starts_with(udp.payload()));
        }
        Some(TransportSlice::Icmpv4(icmp)) if headers.layer3 == Layer3::IPV4 => {
            prop_assert_eq!(headers.destination_port, u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]));
        }
        Some(TransportSlice::Icmpv6(icmp)) if headers.layer3 == Layer3::IPV6 => {
            prop_assert_eq!(headers.destination_port, u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]));
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn agrees_on_what_etherparse_built(frame in frame()) {
        let theirs = LaxSlicedPacket::from_ethernet(&frame).unwrap();
        prop_assert_eq!(&theirs.stop_err, &None);
        let parsed = match parse(&frame) {
            Ok(parsed) => parsed,
            Err(defect) => return Err(TestCaseError::fail(defect.name())),
        };
        check_places(&frame, &parsed)?;
        let vlan = theirs.vlan_ids().first().map(|vlan| vlan.value());
        prop_assert_eq!(parsed.headers.tag().map(|tci| tci.0 & 0xfff), vlan);
        prop_assert_ne!(parsed.payload_offset, 0);
        check_agreement(&frame, &parsed, &theirs)?;
        let echo = matches!(parsed.headers.protocol, protocol::ICMP | protocol::ICMPV6);
        prop_assert!(!echo || frame[usize::from(parsed.payload_offset) - 4..].starts_with(
            &parsed.headers.source_port.to_be_bytes()));
    }

    #[test]
    fn agrees_on_what_both_accept(mut frame in frame(), at: prop::sample::Index, byte: u8) {
        // Behind the tag's place: with another EtherType etherparse reads things that we leave alone.
        let at = 14 + at.index(frame.len() - 14);
        frame[at] = byte;
        let Ok(parsed) = parse(&frame) else { return Ok(()) };
        check_places(&frame, &parsed)?;
        let theirs = LaxSlicedPacket::from_ethernet(&frame).unwrap();
        if theirs.stop_err.is_none() && parsed.headers.layer3 != Layer3::OTHER {
            check_agreement(&frame, &parsed, &theirs)?;
        }
    }
}
