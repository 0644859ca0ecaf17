//! The part that ICMP (RFC 792) and ICMPv6 (RFC 4443) messages share.

use zerocopy::{BigEndian, FromBytes, Immutable, IntoBytes, KnownLayout, U16, Unaligned};

/// The first eight bytes of a message, as an echo has them.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IcmpHeader {
    /// What the message is.
    pub kind: u8,
    /// Which of its kind.
    pub code: u8,
    /// Over the message; in ICMPv6 also over the pseudo-header.
    pub checksum: U16<BigEndian>,
    /// In an echo: whose it is. In other messages these bytes mean something else.
    pub identifier: U16<BigEndian>,
    /// In an echo: which one it is.
    pub sequence: U16<BigEndian>,
}

impl IcmpHeader {
    /// Bytes of the header, 8.
    pub const LENGTH: usize = size_of::<Self>();
    /// ICMP echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// ICMP: the packet cannot be delivered.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// ICMP echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// ICMP: the packet's TTL ended.
    pub const TIME_EXCEEDED: u8 = 11;
    /// ICMP: a field of the packet's header is wrong.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// ICMPv6: the packet cannot be delivered.
    pub const DESTINATION_UNREACHABLE_V6: u8 = 1;
    /// ICMPv6: the packet exceeds an MTU on its way.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// ICMPv6: the packet's hop limit ended.
    pub const TIME_EXCEEDED_V6: u8 = 3;
    /// ICMPv6: a field of the packet's headers is wrong.
    pub const PARAMETER_PROBLEM_V6: u8 = 4;
    /// ICMPv6 echo request.
    pub const ECHO_REQUEST_V6: u8 = 128;
    /// ICMPv6 echo reply.
    pub const ECHO_REPLY_V6: u8 = 129;
    /// ICMPv6 router solicitation (RFC 4861).
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// ICMPv6 router advertisement (RFC 4861).
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// ICMPv6 neighbor solicitation (RFC 4861).
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// ICMPv6 neighbor advertisement (RFC 4861).
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// ICMPv6 redirect (RFC 4861).
    pub const REDIRECT_V6: u8 = 137;

    /// As [`IcmpHeader::new`], with a code, and the four bytes behind the checksum as one number.
    pub const fn with_code(kind: u8, code: u8, rest: u32) -> Self {
        let [a, b, c, d] = rest.to_be_bytes();
        let header = Self::new(kind, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Self { code, ..header }
    }

    /// A header with code 0 and without a checksum; what messages other than echoes have in place of
    /// identifier and sequence is given as these.
    pub const fn new(kind: u8, identifier: u16, sequence: u16) -> Self {
        Self {
            kind,
            code: 0,
            checksum: U16::ZERO,
            identifier: U16::new(identifier),
            sequence: U16::new(sequence),
        }
    }
}
