//! No address may belong to two subnets, of one network or of two.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    names::NetworkName,
};

/// A subnet as configured.
#[derive(Debug, Clone)]
pub(super) struct Declared<'a> {
    pub(super) network: &'a NetworkName,
    pub(super) net: IpNet,
    pub(super) span: Span,
}

/// Reports each subnet that lies in or around another; `declared` is in the order of the text. O(n log n): ranges of
/// addresses are nested or apart, so the enclosing ones of each form a stack when walked in order of addresses.
pub(super) fn overlaps(declared: &[Declared<'_>], report: &mut Diagnostics) {
    let mut order: Vec<usize> = (0..declared.len()).collect();
    order.sort_by_key(|i| (declared[*i].net.network(), declared[*i].net.prefix_len(), *i));
    let mut free = None;
    let mut enclosing: Vec<usize> = Vec::new();
    for current in order {
        while enclosing.last().is_some_and(|outer| !declared[*outer].net.contains(&declared[current].net)) {
            enclosing.pop();
        }
        if let Some(outer) = enclosing.last() {
            let (first, second) = (&declared[current.min(*outer)], &declared[current.max(*outer)]);
            let free = free.get_or_insert_with(|| FreeNets::new(declared));
            report.push(overlap(first, second, free));
        }
        enclosing.push(current);
    }
}

fn overlap(first: &Declared<'_>, second: &Declared<'_>, free: &FreeNets) -> Diagnostic {
    let message = format!("subnet {} of network `{}` overlaps another", second.net, second.network);
    let label = format!("overlaps {} of network `{}`", first.net, first.network);
    let diagnostic = Diagnostic::new(message, second.span.clone(), label)
        .also(first.span.clone(), format!("{} is declared here", first.net));
    match free.near(&second.net) {
        Some(net) => diagnostic.help(format!("a free one of that size is \"{net}\"")),
        None => diagnostic.help("choose a subnet whose addresses no other one has"),
    }
}

/// What no configured subnet covers.
struct FreeNets {
    outermost: BTreeSet<IpNet>,
}

impl FreeNets {
    fn new(declared: &[Declared<'_>]) -> Self {
        let nets: Vec<_> = declared.iter().map(|declared| declared.net).collect();
        Self { outermost: IpNet::aggregate(&nets).into_iter().collect() }
    }

    /// A free private subnet of the size of `net`: the next one above it in its own block, or the first of another.
    fn near(&self, net: &IpNet) -> Option<IpNet> {
        let blocks = || private_blocks().into_iter().filter(|block| block.prefix_len() <= net.prefix_len());
        let own = blocks().find(|block| block.contains(net));
        let first_of = |block: IpNet| Some((IpNet::new(block.network(), net.prefix_len()).ok()?, block));
        let others = blocks().filter(|block| block.network().is_ipv4() == net.network().is_ipv4());
        let mut starts = own.map(|block| (*net, block)).into_iter().chain(others.filter_map(first_of));
        starts.find_map(|(start, block)| self.within(start, &block))
    }

    /// The first free subnet of the size of `start` from there to the end of `block`.
    fn within(&self, start: IpNet, block: &IpNet) -> Option<IpNet> {
        const TRIES: usize = 1024;
        let mut candidate = start;
        for _ in 0..TRIES {
            if !block.contains(&candidate) {
                return None;
            }
            // A candidate is taken if a range starts inside it or the last range that starts before reaches into it.
            let last = candidate.broadcast();
            let top = IpNet::new(last, candidate.max_prefix_len()).ok()?;
            let taken = self
                .outermost
                .range(..=top)
                .next_back()
                .filter(|taken| taken.broadcast() >= candidate.network());
            let Some(taken) = taken.filter(|taken| taken.network().is_ipv4() == last.is_ipv4()) else {
                return Some(candidate);
            };
            let next = after(taken.broadcast().max(last))?;
            candidate = IpNet::new(next, start.prefix_len()).ok()?.trunc();
        }
        None
    }
}

/// Where private networks live: RFC 1918 and RFC 4193.
fn private_blocks() -> [IpNet; 4] {
    let v4 = |a, b, len| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), len));
    let ula = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0), 8);
    [v4(10, 0, 8), v4(172, 16, 12), v4(192, 168, 16), IpNet::V6(ula)]
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(address) => u128::from(address).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive_overlap(a: &IpNet, b: &IpNet) -> bool {
        a.contains(&b.network()) || b.contains(&a.network())
    }

    fn spans(nets: &[IpNet]) -> (Vec<Declared<'static>>, Diagnostics) {
        let name: &'static NetworkName = Box::leak(Box::new("n".parse().expect("valid")));
        let declared: Vec<_> = nets
            .iter()
            .enumerate()
            .map(|(i, net)| Declared { network: name, net: *net, span: i..i + 1 })
            .collect();
        let mut report = Diagnostics::default();
        overlaps(&declared, &mut report);
        (declared, report)
    }

    proptest! {
        /// Small addresses, so that overlaps are common.
        #[test]
        fn finds_every_subnet_that_overlaps(nets in proptest::collection::vec((0u32..64, 26u8..=32), 0..12)) {
            let nets: Vec<_> = nets
                .into_iter()
                .map(|(low, len)| IpNet::new(IpAddr::V4((0x0a00_0000 | low).into()), len).expect("valid").trunc())
                .collect();
            let (_, report) = spans(&nets);
            let touched = |i: usize| nets.iter().enumerate().any(|(j, net)| i != j && naive_overlap(net, &nets[i]));
            let mut reported = BTreeSet::new();
            for diagnostic in &report {
                reported.insert(diagnostic.span().start);
                reported.extend(diagnostic.related().map(|span| span.start));
            }
            let expected: BTreeSet<_> = (0..nets.len()).filter(|i| touched(*i)).collect();
            prop_assert_eq!(reported, expected);
        }

        #[test]
        fn a_proposed_subnet_is_private(start: u32, len in 9u8..=32) {
            let net = IpNet::new(IpAddr::V4(start.into()), len).expect("valid").trunc();
            let (declared, _) = spans(&[net]);
            if let Some(proposed) = FreeNets::new(&declared).near(&net) {
                prop_assert!(private_blocks().iter().any(|block| block.contains(&proposed)), "{}", proposed);
                prop_assert!(!naive_overlap(&net, &proposed));
            }
        }

        #[test]
        fn a_proposed_subnet_is_free(nets in proptest::collection::vec((0u32..256, 24u8..=32), 1..12)) {
            let nets: Vec<_> = nets
                .into_iter()
                .map(|(low, len)| IpNet::new(IpAddr::V4((0x0a00_0000 | low).into()), len).expect("valid").trunc())
                .collect();
            let (declared, _) = spans(&nets);
            let proposed = FreeNets::new(&declared).near(&nets[0]).expect("all above 10.0.1.0 is free");
            prop_assert_eq!(proposed.prefix_len(), nets[0].prefix_len());
            prop_assert!(!nets.iter().any(|net| naive_overlap(net, &proposed)), "{} in {:?}", proposed, nets);
        }
    }
}
