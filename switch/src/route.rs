//! Routing tables: which way a packet goes on, by the longest prefix of its destination.
//!
//! # Theory of operation
//! One [`Fib`] belongs to one network and is immutable: whoever changes routes builds a new one, as with every
//! snapshot. Building turns the prefixes of a family, which nest, into ranges of addresses, which do not: each range
//! knows its most specific route (`route/ranges.rs`). A lookup then is "the last range that begins at or before this
//! address", and the length of prefixes no longer matters.
//!
//! * **Small tables** (nearly all: two or three subnets and a default route) are searched from the front, in one or two
//!   cache lines and without an index; thousands of networks cost a few hundred bytes each.
//! * **Large tables** get an index on top that divides the address space between the first and the last range evenly,
//!   and divides again where ranges crowd; a search touches one or two places of it and a few ranges.
//! * **Full**: a table is as large as the configuration makes it; nothing a port sends adds to it.

mod ranges;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;

use self::ranges::Ranges;
use crate::address::{Address, Family};
use crate::id::NetworkId;

/// What becomes of packets for a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// The destination lives on this network itself.
    Connected(NetworkId),
    /// Another router knows the way.
    Via(NextHops),
    /// Dropped without a word.
    Blackhole,
    /// Dropped, and the sender is told that the destination is unreachable.
    Unreachable,
    /// Dropped, and the sender is told that this is forbidden.
    Prohibit,
}

/// The next router on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The network on which `via` lives.
    pub network: NetworkId,
    /// Its address there.
    pub via: IpAddr,
}

/// 1 to 64 next hops of equal cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextHops(Box<[NextHop]>);

impl NextHops {
    /// The most hops one route has.
    pub const MOST: usize = 64;

    /// These hops, in this order; `None` when there are none or more than [`MOST`](Self::MOST).
    pub fn new(hops: Vec<NextHop>) -> Option<Self> {
        (1..=Self::MOST).contains(&hops.len()).then(|| Self(hops.into_boxed_slice()))
    }

    /// The hop for the flow with this hash: always the same one, and each for about as many flows (RFC 2992's
    /// hash-threshold). The hash must be good in its high bits.
    #[inline]
    pub fn select(&self, flow_hash: u64) -> &NextHop {
        // The high half of the product is below the number of hops.
        let nth = (u128::from(flow_hash) * self.0.len() as u128) >> 64;
        #[allow(clippy::cast_possible_truncation, reason = "below the number of hops, which is at most 64")]
        let nth = nth as usize;
        &self.0[nth]
    }

    /// All hops; at least one.
    pub fn all(&self) -> &[NextHop] {
        &self.0
    }
}

impl From<NextHop> for NextHops {
    fn from(hop: NextHop) -> Self {
        Self(Box::new([hop]))
    }
}

/// One network's routing table. See the [module](self).
#[derive(Clone, Debug)]
pub struct Fib {
    /// Sorted by prefix, IPv4 first.
    routes: Box<[(IpNet, Route)]>,
    /// Values are places in `routes`.
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Fib {
    /// A table of these routes. Host bits of prefixes do not count. Each prefix is given once; should one come
    /// twice all the same, the later route wins.
    pub fn build(mut routes: Vec<(IpNet, Route)>) -> Self {
        for (prefix, _) in &mut routes {
            *prefix = prefix.trunc();
        }
        // Stable, and deduplicated from the back, so that the later one stays.
        routes.sort_by_key(|(prefix, _)| *prefix);
        routes.reverse();
        let given = routes.len();
        routes.dedup_by_key(|(prefix, _)| *prefix);
        debug_assert_eq!(given, routes.len(), "a prefix was given twice");
        routes.reverse();

        let numbered = || (0_u32..).zip(&routes).map(|(nth, (prefix, _))| (nth, *prefix));
        let v4 = Ranges::build(numbered().filter_map(|(nth, prefix)| match prefix {
            IpNet::V4(prefix) => Some((u32::from(prefix.network()), u32::from(prefix.broadcast()), nth)),
            IpNet::V6(_) => None,
        }));
        let v6 = Ranges::build(numbered().filter_map(|(nth, prefix)| match prefix {
            IpNet::V6(prefix) => Some((u128::from(prefix.network()), u128::from(prefix.broadcast()), nth)),
            IpNet::V4(_) => None,
        }));
        Self { routes: routes.into_boxed_slice(), v4, v6 }
    }

    /// The route with the longest prefix that covers `address`, if any does.
    #[inline]
    pub fn lookup(&self, family: Family, address: &Address) -> Option<&Route> {
        let place = match family {
            Family::V4 => {
                let [a, b, c, d, ..] = address.0;
                self.v4.find(u32::from_be_bytes([a, b, c, d]))
            }
            Family::V6 => self.v6.find(u128::from_be_bytes(address.0)),
        };
        // Where there is no route, the place is past the last one.
        self.routes.get(place as usize).map(|(_, route)| route)
    }

    /// Every route, sorted by prefix, IPv4 first.
    pub fn routes(&self) -> impl Iterator<Item = (IpNet, &Route)> {
        self.routes.iter().map(|(prefix, route)| (*prefix, route))
    }
}

impl Default for Fib {
    /// No route at all.
    fn default() -> Self {
        Self::build(Vec::new())
    }
}
