//! The defects for which the parser refuses a frame.

use std::fmt;

/// Makes the enum and its three tables from one list, so that they cannot disagree.
macro_rules! defects {
    ($($variant:ident $name:literal $meaning:literal)*) => {
        /// The one thing, of those that can be wrong with a frame, that was found first.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Malformed {
            $(#[doc = $meaning] $variant,)*
        }

        impl Malformed {
            /// Every defect, in the order of their numbers.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// A short name for counters: lower case, words joined by hyphens.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What was found, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

defects! {
    FrameTooShort "frame-too-short" "The frame ends before its 14-byte Ethernet header does."
    VlanTruncated "vlan-truncated" "The frame ends within its VLAN tag."
    ArpTruncated "arp-truncated" "The frame ends before the 28 bytes of an ARP packet do."
    ArpNotEthernetIpv4 "arp-not-ethernet-ipv4" "The ARP packet is not for IPv4 addresses over Ethernet."
    Ipv4Truncated "ipv4-truncated" "The frame ends within the IPv4 header or its options."
    Ipv4Version "ipv4-version" "The EtherType says IPv4, but the packet's version is not 4."
    Ipv4HeaderLength "ipv4-header-length" "The IPv4 header claims to be shorter than 20 bytes."
    Ipv4TotalLength "ipv4-total-length" "The IPv4 total length is less than the header or more than the frame holds."
    Ipv6Truncated "ipv6-truncated" "The frame ends within the IPv6 header."
    Ipv6Version "ipv6-version" "The EtherType says IPv6, but the packet's version is not 6."
    Ipv6PayloadLength "ipv6-payload-length" "The IPv6 payload length is more than the frame holds, or 0 though something should follow."
    Ipv6ExtensionTruncated "ipv6-extension-truncated" "The IPv6 packet ends within an extension header."
    Ipv6TooManyExtensions "ipv6-too-many-extensions" "The IPv6 packet has more than eight extension headers."
    FragmentOverflow "fragment-overflow" "The fragment would end beyond the 65535 bytes a packet can have."
    TinyFragment "tiny-fragment" "A first fragment is too small for its transport header, or a later one would overwrite TCP's."
    TcpTruncated "tcp-truncated" "The packet ends within the 20-byte TCP header."
    TcpDataOffset "tcp-data-offset" "The TCP header claims to be shorter than 20 bytes or longer than the segment."
    UdpTruncated "udp-truncated" "The packet ends within the UDP header."
    UdpLength "udp-length" "The UDP length is less than its header or more than the packet holds."
    IcmpTruncated "icmp-truncated" "The packet ends within the eight bytes every ICMP message has."
    SctpTruncated "sctp-truncated" "The packet ends within the 12-byte SCTP header."
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning())
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_are_indices_and_names_are_unique_kebab_case() {
        for (index, defect) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(defect as usize, index);
            let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(defect.name().bytes().all(kebab), "{}", defect.name());
            assert!(defect.meaning().ends_with('.'), "{}", defect.name());
        }
        let names: HashSet<_> = Malformed::ALL.iter().map(|defect| defect.name()).collect();
        assert_eq!(names.len(), Malformed::ALL.len());
    }
}
