//! IPv6 extension headers, one after another (RFC 8200 §4).

use zerocopy::FromBytes;

use crate::{Ipv6Header, protocol};

/// Extension headers one packet may have. RFC 8200 §4.1 recommends at most one of each kind; the limit keeps
/// a packet from costing more than a few times what others do (RFC 8504 §5.3 allows such limits).
pub(crate) const MOST_EXTENSIONS: usize = 8;

/// The headers between IPv6's own and the transport's. ESP hides what follows it, so it ends the walk as a
/// transport would.
#[inline]
pub(crate) fn is_extension(next_header: u8) -> bool {
    use protocol::{AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// One extension header, by the fields that more than one kind has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension {
    /// What it is: see [`protocol`].
    pub kind: u8,
    /// What follows it.
    pub next_header: u8,
    /// Bytes 2 and 3: offset and flags in a fragment header; type and segments left in a routing header.
    pub second_word: u16,
    /// Bytes 4 to 7: the identification in a fragment header.
    pub identification: u32,
    /// In bytes.
    pub length: u16,
}

impl Extension {
    /// In a fragment header's `second_word`: this is not the last fragment.
    pub const MORE_FRAGMENTS: u16 = 1;
    /// In a fragment header's `second_word`: the offset, which is in bytes when the other bits are cleared.
    pub const FRAGMENT_OFFSET: u16 = 0xfff8;

    /// Reads the header at the start of `bytes`, and what is behind it; none when they end within it.
    #[inline]
    pub(crate) fn split(kind: u8, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let [next_header, length, a, b, c, d, e, f] = *bytes.first_chunk::<8>()?;
        let length = match kind {
            protocol::FRAGMENT => 8,
            // In words of four bytes, less two (RFC 4302 §2.2).
            protocol::AUTHENTICATION => (u16::from(length) + 2) * 4,
            // In words of eight bytes, less one (RFC 8200 §4).
            _ => (u16::from(length) + 1) * 8,
        };
        let extension = Self {
            kind,
            next_header,
            second_word: u16::from_be_bytes([a, b]),
            identification: u32::from_be_bytes([c, d, e, f]),
            length,
        };
        Some((extension, bytes.get(usize::from(length)..)?))
    }

    /// Whether it is a fragment header of a packet that has more than this fragment: not of an atomic one
    /// (RFC 6946). The two reserved bits do not count.
    #[inline]
    pub fn is_of_several(&self) -> bool {
        self.kind == protocol::FRAGMENT
            && self.second_word & (Self::FRAGMENT_OFFSET | Self::MORE_FRAGMENTS) != 0
    }

    /// Whether it is a routing header by which the packet has yet to go elsewhere: the destination at hand is
    /// then not the one that transport checksums cover (RFC 8200 §8.1).
    #[inline]
    pub fn routes_on(&self) -> bool {
        self.kind == protocol::ROUTING && self.second_word & 0xff != 0
    }
}

/// Walks the extension headers of a packet that may be cut short or lie.
///
/// It ends before the transport header; or at a header that is cut short, behind a fragment header after which
/// no header follows, or at the ninth: [`Extensions::transport`] tells.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    next_header: u8,
    /// From the start of the packet.
    offset: usize,
    rest: &'a [u8],
    left: usize,
    later_fragment: bool,
}

impl<'a> Extensions<'a> {
    /// The headers of the packet that starts with an IPv6 header; none when that is cut short.
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        let (header, rest) = Ipv6Header::ref_from_prefix(packet).ok()?;
        let next_header = header.next_header;
        let offset = Ipv6Header::LENGTH;
        Some(Self { next_header, offset, rest, left: MOST_EXTENSIONS, later_fragment: false })
    }

    /// Where the next header is, in bytes from the start of the packet.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// After the walk: the transport protocol and where its header starts; none where the walk did not come to it.
    pub fn transport(&self) -> Option<(u8, usize)> {
        (!self.later_fragment && !is_extension(self.next_header)).then_some((self.next_header, self.offset))
    }
}

impl Iterator for Extensions<'_> {
    type Item = Extension;

    fn next(&mut self) -> Option<Extension> {
        if self.later_fragment || !is_extension(self.next_header) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let (extension, rest) = Extension::split(self.next_header, self.rest)?;
        self.rest = rest;
        self.next_header = extension.next_header;
        self.offset += usize::from(extension.length);
        self.later_fragment =
            extension.kind == protocol::FRAGMENT && extension.second_word & Extension::FRAGMENT_OFFSET != 0;
        Some(extension)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use zerocopy::IntoBytes;

    use super::*;

    fn packet(first: u8, behind: &[u8]) -> Vec<u8> {
        let header = Ipv6Header::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, first, behind.len());
        [header.as_bytes(), behind].concat()
    }

    fn walk(packet: &[u8]) -> (Vec<u8>, Option<(u8, usize)>) {
        let mut extensions = Extensions::of(packet).unwrap();
        let kinds = extensions.by_ref().map(|extension| extension.kind).collect();
        (kinds, extensions.transport())
    }

    #[test]
    fn walks_to_the_transport_header() {
        assert_eq!(walk(&packet(protocol::TCP, &[])), (vec![], Some((protocol::TCP, 40))));
        let chain = [
            &[protocol::ROUTING, 0, 1, 4, 0, 0, 0, 0][..],
            &[protocol::FRAGMENT, 0, 4, 1, 0, 0, 0, 0],
            &[protocol::AUTHENTICATION, 0, 0, 1, 0, 0, 0, 9],
            // Of three words of four bytes.
            &[protocol::UDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let packet = packet(protocol::HOP_BY_HOP, &chain);
        let kinds =
            vec![protocol::HOP_BY_HOP, protocol::ROUTING, protocol::FRAGMENT, protocol::AUTHENTICATION];
        assert_eq!(walk(&packet), (kinds, Some((protocol::UDP, 40 + 36))));
        let all: Vec<_> = Extensions::of(&packet).unwrap().collect();
        assert!(all[1].routes_on() && !all[0].routes_on());
        assert!(all[2].is_of_several());
        assert_eq!(all[2].identification, 9);
        for length in 40..packet.len() {
            assert_eq!(walk(&packet[..length]).1, None, "cut to {length} bytes");
        }
    }

    #[test]
    fn nothing_follows_a_later_fragment_and_no_chain_is_endless() {
        let later = packet(protocol::FRAGMENT, &[protocol::TCP, 0, 0, 9, 0, 0, 0, 7]);
        assert_eq!(walk(&later), (vec![protocol::FRAGMENT], None));
        let endless = [protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0].repeat(20);
        let (kinds, transport) = walk(&packet(protocol::DESTINATION_OPTIONS, &endless));
        assert_eq!((kinds.len(), transport), (MOST_EXTENSIONS, None));
        assert!(Extensions::of(&later[..39]).is_none());
    }
}
