//! Why a frame was dropped: the one table behind the counters, `trace`, `capture --drops` and docs/drop-reasons.md.

use vswitch_wire::Malformed;

use crate::stage::Stage;

macro_rules! drop_reasons {
    ($($variant:ident, $name:literal, [$($stage:ident),*], $meaning:literal;)*) => {
        /// Why a frame ended here. Every drop has exactly one, and every one has a counter per port.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DropReason {
            $(#[doc = $meaning] $variant,)*
            /// The bytes are not a well-formed frame; which defect, says the parser.
            Malformed(Malformed),
        }

        const PLAIN: &[DropReason] = &[$(DropReason::$variant,)*];

        impl DropReason {
            /// How many reasons there are.
            pub const COUNT: usize = PLAIN.len() + Malformed::ALL.len();

            /// Its place in a table of counters, below [`COUNT`](Self::COUNT).
            pub fn index(self) -> usize {
                match self {
                    Self::Malformed(defect) => PLAIN.len() + defect as usize,
                    $(Self::$variant => Plain::$variant as usize,)*
                }
            }

            /// The name used in output, counters and filters.
            pub fn name(self) -> &'static str {
                match self {
                    Self::Malformed(defect) => defect.name(),
                    $(Self::$variant => $name,)*
                }
            }

            /// One sentence for people.
            pub fn meaning(self) -> &'static str {
                match self {
                    Self::Malformed(defect) => defect.meaning(),
                    $(Self::$variant => $meaning,)*
                }
            }

            /// The stages at which it ends a frame, in their order; at least one.
            pub fn stages(self) -> &'static [Stage] {
                match self {
                    Self::Malformed(_) => &[Stage::Parse],
                    $(Self::$variant => &[$(Stage::$stage,)*],)*
                }
            }

            /// Every reason, in the order of [`index`](Self::index).
            pub fn all() -> impl Iterator<Item = Self> {
                PLAIN.iter().copied().chain(Malformed::ALL.iter().copied().map(Self::Malformed))
            }
        }

        #[repr(usize)]
        enum Plain { $($variant,)* }
    };
}

drop_reasons! {
    NoNetwork, "no-network", [Ingress], "The port the frame came from is not, or no longer, part of a network.";
    SourceNotUnicast, "source-not-unicast", [Guard, Gateway], "The source MAC address is a group address or all zeroes, which no station has.";
    SpoofedMac, "spoofed-mac", [Guard], "The source guard is on and the source MAC address is not the attachment's own.";
    SpoofedIp, "spoofed-ip", [Guard], "The source guard is on and the source IP address is not one of the attachment's own.";
    SpoofedArp, "spoofed-arp", [Guard], "The source guard is on and the ARP sender is not the attachment itself.";
    SpoofedNeighbor, "spoofed-neighbor", [Guard], "The source guard is on and the neighbour advertisement speaks for an address that is not the attachment's.";
    HiddenSource, "hidden-source", [Guard], "The source guard is on and a second VLAN tag hides whether the source IP address is the attachment's own.";
    StaticMacElsewhere, "static-mac-elsewhere", [Learn], "The source MAC address belongs by configuration to another port of the network.";
    LinkLocalMulticast, "link-local-multicast", [Guard], "The destination is 01:80:c2:00:00:0x, which IEEE 802.1Q forbids a bridge to forward.";
    SamePort, "same-port", [LookUp], "The destination lives on the port the frame came from.";
    UnknownUnicast, "unknown-unicast", [LookUp], "Nobody is known to have the destination MAC address and the network does not flood such frames.";
    StormBroadcast, "storm-broadcast", [Flood], "The port sent more broadcast frames than the network's storm control allows.";
    StormMulticast, "storm-multicast", [Flood], "The port sent more multicast frames than the network's storm control allows.";
    StormUnknownUnicast, "storm-unknown-unicast", [Flood], "The port sent more frames to unknown destinations than the network's storm control allows.";
    NoListener, "no-listener", [Flood], "The frame was to be flooded and the network has no other port that is up.";
    BadOffload, "bad-offload", [Offload, Egress], "The virtio offload header contradicts the frame's own headers.";
    ExceedsMtu, "exceeds-mtu", [Egress], "The frame, or one of the segments it stands for, exceeds the egress port's MTU.";
    IccOff, "icc-off", [LookUp, Flood, Isolation], "The network's members may not reach each other (`icc = false`).";
    PrivateMember, "private-member", [LookUp], "The network is a private macvlan, whose members may not reach each other.";
    Layer3Only, "layer3-only", [Gateway], "The network routes and does not bridge (ipvlan in mode l3), and the frame is not a unicast IP packet.";
    NotForUs, "not-for-us", [LookUp], "The frame came from the parent or uplink and is for a station that does not live here.";
    TaggedToGateway, "tagged-to-gateway", [Gateway], "The frame is for the gateway and carries a VLAN tag, which the gateway takes no part in.";
    GatewayProtocol, "gateway-protocol", [Gateway], "The frame is for the gateway and carries neither ARP nor IP.";
    BadHeaderChecksum, "bad-header-checksum", [Gateway, Sanity], "The IPv4 header's checksum is wrong.";
    MartianSource, "martian-source", [Gateway, Sanity], "The source address cannot be one: unspecified, loopback, multicast, broadcast or reserved.";
    MartianDestination, "martian-destination", [Sanity, Neighbor], "The destination address cannot be routed to: unspecified, loopback, multicast or reserved.";
    LandAttack, "land-attack", [Gateway, Sanity], "Source and destination are the same address.";
    ReversePath, "reverse-path", [ReversePath], "The source address belongs to another network than the one the packet came from.";
    SourceRoute, "source-route", [Sanity, Rewrite], "The packet carries a source route option or a routing header of type 0, which routers must not follow (RFC 7126, RFC 5095); or a routing header hides the destination to be translated.";
    LinkLocalRouted, "link-local-routed", [Sanity], "A link-local address is not routed.";
    TtlExceeded, "ttl-exceeded", [HopLimit], "The packet's TTL or hop limit ended here.";
    NoRoute, "no-route", [Route, SourceNat], "The network's routing table has no route to the destination.";
    RouteBlackhole, "route-blackhole", [Route], "The route to the destination says to drop silently.";
    RouteUnreachable, "route-unreachable", [Route], "The route to the destination says that it is unreachable.";
    RouteProhibited, "route-prohibited", [Route], "The destination is on a network that is isolated from this one, or its route prohibits it.";
    PacketTooBig, "packet-too-big", [Mtu, Egress], "The packet exceeds the MTU of its way on and may not be fragmented; its sender was told.";
    NeighborPending, "neighbor-pending", [Neighbor], "The next hop's MAC address is being asked for and the packets held for it are too many already.";
    NeighborUnreachable, "neighbor-unreachable", [Neighbor], "The next hop does not answer.";
    NeighborLimit, "neighbor-limit", [Neighbor], "Too many addresses of the network are being asked for at once.";
    BadIcmpChecksum, "bad-icmp-checksum", [Gateway, Local], "The checksum of the ICMP message for the gateway is wrong.";
    InvalidDiscovery, "invalid-discovery", [Gateway], "The neighbour discovery message for the gateway is not valid (RFC 4861 §6.1, §7.1): hop limit, checksum, length, addresses or options.";
    GatewayClosed, "gateway-closed", [Gateway, Local], "The packet is for the gateway itself, which has no such service.";
    ReplyLimit, "reply-limit", [Gateway, Local], "The gateway answered this port too often in a short time.";
    NoTransport, "no-transport", [DestinationNat, SourceNat, Rewrite], "The packet lacks the ports by which it would be translated.";
    NotPublished, "not-published", [DestinationNat, Local], "The packet came from outside and is for no connection or published port.";
    Filtered, "filtered", [DestinationNat], "The packet came from outside for a mapping whose owner never sent to this address.";
    NoExternalAddress, "no-external-address", [DestinationNat, SourceNat], "The uplink has no address of this family to translate to.";
    NoExternalPort, "no-external-port", [DestinationNat, SourceNat], "Every port the address could be translated to is taken.";
    ConnectionLimit, "connection-limit", [DestinationNat, SourceNat], "The attachment has as many connections as it may.";
    ConnectionTableFull, "connection-table-full", [DestinationNat, SourceNat], "The connection table is full of established connections.";
    NotAConnection, "not-a-connection", [DestinationNat, SourceNat], "The TCP segment or the echo reply belongs to no connection and does not begin one.";
    IcmpUnrelated, "icmp-unrelated", [DestinationNat, SourceNat], "The ICMP error quotes a packet that no connection sent.";
    FragmentOverlap, "fragment-overlap", [DestinationNat, SourceNat], "The fragment overlaps another one of its packet (RFC 5722, RFC 3128).";
    FragmentUneven, "fragment-uneven", [DestinationNat, SourceNat], "The fragment is empty, or is not the last of its packet and no multiple of eight bytes long (RFC 791, RFC 8200 §4.5).";
    FragmentLimit, "fragment-limit", [DestinationNat, SourceNat], "Too many packets are in fragments at once, or too many fragments wait for their first, or one packet has too many.";
    FragmentTimeout, "fragment-timeout", [DestinationNat, SourceNat], "The packet's first fragment did not come in time.";
    EgressDown, "egress-down", [Egress], "The egress port is down or gone.";
    EgressFull, "egress-full", [Egress], "The egress device had no room.";
    EgressRefused, "egress-refused", [Egress], "The kernel refused the frame on the egress device.";
}

/// The page that explains every stage and every reason to people, docs/drop-reasons.md.
pub fn document() -> String {
    let mut page = String::from(
        "# Why frames are dropped\n\n\
         Every frame that is not forwarded ends with one of the reasons below, at one stage of its way, and is counted\n\
         per port; `vswitch show counters` shows the reasons that occurred. Those that begin with `egress-` and\n\
         `exceeds-mtu` are counted on the port the frame was meant for, all others on the port it came from. This page is\n\
         made from the tables in `switch/src/stage.rs` and `switch/src/drop_reason.rs` by\n\
         `cargo run -p vswitch-switch --example drop-reasons`.\n\n\
         ## Stages, in the order of a frame's way\n\n\
         | stage | does |\n|---|---|\n",
    );
    for stage in Stage::ALL {
        page += &format!("| {} | {} |\n", stage.name(), stage.meaning());
    }
    page += "\n## Reasons\n\n| reason | stage | meaning |\n|---|---|---|\n";
    for reason in DropReason::all() {
        let stages: Vec<_> = reason.stages().iter().map(|stage| stage.name()).collect();
        page += &format!("| `{}` | {} | {} |\n", reason.name(), stages.join(", "), reason.meaning());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_page_says_what_the_table_says() {
        assert!(
            document() == include_str!("../../docs/drop-reasons.md"),
            "docs/drop-reasons.md is out of date: cargo run -p vswitch-switch --example drop-reasons > docs/drop-reasons.md"
        );
    }

    #[test]
    fn every_reason_has_its_stages_in_order() {
        for reason in DropReason::all() {
            let stages = reason.stages();
            assert!(!stages.is_empty(), "{} has no stage", reason.name());
            let in_order = stages.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(in_order, "{}: {stages:?}", reason.name());
        }
    }

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let all: Vec<_> = DropReason::all().collect();
        assert_eq!(all.len(), DropReason::COUNT);
        for (place, reason) in all.iter().enumerate() {
            assert_eq!(reason.index(), place, "{}", reason.name());
        }
        let names: HashSet<_> = all.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT, "two reasons share a name");
    }
}
