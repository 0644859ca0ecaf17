//! Published ports: which host endpoints lead to which containers.
//!
//! A range is one entry, however many ports it has; finding the entry of a port is a binary search among the
//! entries of the same protocol and host address. An entry for one host address wins over one for any.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::address::{Address, Endpoint, Family};
use crate::id::{NetworkId, PortId};

/// One published port or range of ports, as configured.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The host address it answers on. `None`: all of them, of every family the container has an address of;
    /// unspecified (`0.0.0.0`, `::`): all of that family.
    pub host: Option<IpAddr>,
    /// The ports it answers on.
    pub host_ports: RangeInclusive<u16>,
    /// The container's port for the first of them; the others follow one by one.
    pub container_port: u16,
    /// See [`vswitch_wire::protocol`].
    pub protocol: u8,
    /// The container's address for IPv4, if it has one.
    pub container4: Option<Ipv4Addr>,
    /// The container's address for IPv6, if it has one.
    pub container6: Option<Ipv6Addr>,
    /// The network these are on.
    pub network: NetworkId,
    /// The container's attachment to it.
    pub owner: PortId,
    /// What came of it.
    pub counters: Arc<RuleCounters>,
}

/// What became of connections to a published port. Several workers write, though only one connection each.
#[derive(Debug, Default)]
pub struct RuleCounters {
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl RuleCounters {
    /// Connections that were let in.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// First packets that were dropped because of a limit, or because their endpoints are in use already.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    pub(super) fn count(&self, accepted: bool) {
        let counter = if accepted { &self.accepted } else { &self.refused };
        counter.fetch_add(1, Relaxed);
    }
}

/// Why a list of published ports is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    /// Two entries, by their places in the list, claim the same port of the same host address.
    #[error("entries {0} and {1} publish the same port of the same address")]
    Overlap(usize, usize),
    /// The container has no address of the family that the host address is of, or none at all.
    #[error("entry {0} publishes a port of a container that has no address of the family")]
    NoContainerAddress(usize),
    /// The container's ports would go beyond 65535, or the range is empty.
    #[error("entry {0} has no container port for each host port")]
    Ports(usize),
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Published {
    rules: Vec<Publish>,
    by_host: HashMap<(u8, Host), Vec<Span>>,
    by_container: HashMap<(u8, NetworkId, Address, Family), Vec<Span>>,
    containers: HashMap<(NetworkId, Address, Family), usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Host {
    Any(Family),
    One(Address, Family),
}

/// Ports of one rule.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u16,
    last: u16,
    rule: usize,
}

impl Published {
    /// Indexes the entries.
    ///
    /// # Errors
    /// See [`PublishError`]. That one entry is for any address and another for one of them is no error.
    pub fn new(rules: Vec<Publish>) -> Result<Self, PublishError> {
        let mut published = Self::default();
        for (nth, rule) in rules.iter().enumerate() {
            let count = rule.host_ports.end().checked_sub(*rule.host_ports.start());
            if count.and_then(|count| rule.container_port.checked_add(count)).is_none() {
                return Err(PublishError::Ports(nth));
            }
            if !published.add(rule, nth) {
                return Err(PublishError::NoContainerAddress(nth));
            }
        }
        published.rules = rules;
        for spans in published.by_host.values_mut() {
            spans.sort_by_key(|span| span.first);
            if let Some(pair) = spans.windows(2).find(|pair| pair[0].last >= pair[1].first) {
                let (one, other) = (pair[0].rule, pair[1].rule);
                return Err(PublishError::Overlap(one.min(other), one.max(other)));
            }
        }
        for spans in published.by_container.values_mut() {
            *spans = without_overlaps(std::mem::take(spans));
        }
        Ok(published)
    }

    /// Adds to the indexes what the rule says for each family; false when that is nothing.
    fn add(&mut self, rule: &Publish, nth: usize) -> bool {
        let (first, last) = (*rule.host_ports.start(), *rule.host_ports.end());
        let mut added = false;
        for (family, container) in
            [(Family::V4, rule.container4.map(IpAddr::V4)), (Family::V6, rule.container6.map(IpAddr::V6))]
        {
            let host = match rule.host {
                None => Host::Any(family),
                Some(host) if (family == Family::V4) != host.is_ipv4() => continue,
                Some(host) if host.is_unspecified() => Host::Any(family),
                Some(host) => Host::One(host.into(), family),
            };
            let Some(container) = container.map(Address::from) else { continue };
            added = true;
            self.by_host.entry((rule.protocol, host)).or_default().push(Span { first, last, rule: nth });
            // Cannot overflow: checked before.
            let to = rule.container_port.saturating_add(last - first);
            let span = Span { first: rule.container_port, last: to, rule: nth };
            self.by_container.entry((rule.protocol, rule.network, container, family)).or_default().push(span);
            self.containers.entry((rule.network, container, family)).or_insert(nth);
        }
        added
    }

    /// The rule for a host endpoint, and the container's endpoint there. Whether the address is the host's, is for
    /// the caller to know.
    pub fn lookup(&self, protocol: u8, family: Family, host: Endpoint) -> Option<(&Publish, Endpoint)> {
        let span = self.span(protocol, family, host)?;
        let rule = &self.rules[span.rule];
        let address = match family {
            Family::V4 => rule.container4?.into(),
            Family::V6 => Address::from(IpAddr::V6(rule.container6?)),
        };
        Some((rule, Endpoint { address, port: rule.container_port + (host.port - span.first) }))
    }

    /// The published host ports around this one, if it is.
    pub(super) fn around(&self, protocol: u8, family: Family, host: Endpoint) -> Option<RangeInclusive<u16>> {
        self.span(protocol, family, host).map(|span| span.first..=span.last)
    }

    /// A rule that publishes this port of a container.
    pub(super) fn of_container(
        &self,
        protocol: u8,
        family: Family,
        network: NetworkId,
        container: Endpoint,
    ) -> Option<&Publish> {
        let spans = self.by_container.get(&(protocol, network, container.address, family))?;
        Some(&self.rules[containing(spans, container.port)?.rule])
    }

    /// A rule that publishes any port of a container.
    pub(super) fn any_of(&self, family: Family, network: NetworkId, container: Address) -> Option<&Publish> {
        Some(&self.rules[*self.containers.get(&(network, container, family))?])
    }

    /// Every entry, in the order given.
    pub fn rules(&self) -> &[Publish] {
        &self.rules
    }

    fn span(&self, protocol: u8, family: Family, host: Endpoint) -> Option<Span> {
        if self.by_host.is_empty() {
            return None;
        }
        [Host::One(host.address, family), Host::Any(family)]
            .into_iter()
            .find_map(|key| containing(self.by_host.get(&(protocol, key))?, host.port))
    }
}

/// The span that has the port, among sorted spans that do not overlap.
fn containing(spans: &[Span], port: u16) -> Option<Span> {
    let after = spans.partition_point(|span| span.first <= port);
    let span = spans[..after].last()?;
    (port <= span.last).then_some(*span)
}

/// The same ports, each in the first span that has it. One container port may be published several times.
fn without_overlaps(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.first);
    let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        let first = match apart.last() {
            Some(before) if before.last >= span.last => continue,
            Some(before) => span.first.max(before.last + 1),
            None => span.first,
        };
        apart.push(Span { first, ..span });
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(host: Option<IpAddr>, host_ports: RangeInclusive<u16>, container_port: u16) -> Publish {
        Publish {
            host,
            host_ports,
            container_port,
            protocol: 6,
            container4: Some(Ipv4Addr::new(10, 0, 0, 2)),
            container6: None,
            network: NetworkId::FIRST,
            owner: PortId::FIRST,
            counters: Arc::default(),
        }
    }

    fn host(last: u8, port: u16) -> Endpoint {
        Endpoint { address: Ipv4Addr::new(192, 0, 2, last).into(), port }
    }

    #[test]
    fn a_range_leads_port_by_port() {
        let published = Published::new(vec![rule(None, 9000..=9010, 80)]).unwrap();
        let port = |port| published.lookup(6, Family::V4, host(1, port)).map(|(_, to)| to.port);
        assert_eq!([port(8999), port(9000), port(9010), port(9011)], [None, Some(80), Some(90), None]);
        assert!(published.lookup(17, Family::V4, host(1, 9000)).is_none(), "another protocol");
        assert!(published.lookup(6, Family::V6, host(1, 9000)).is_none(), "no IPv6 address to lead to");
    }

    #[test]
    fn one_address_wins_over_any() {
        let one = Some(IpAddr::from([192, 0, 2, 1]));
        let any = Some(IpAddr::from([0, 0, 0, 0]));
        let published = Published::new(vec![rule(any, 80..=80, 1), rule(one, 80..=80, 2)]).unwrap();
        let port = |last| published.lookup(6, Family::V4, host(last, 80)).map(|(_, to)| to.port);
        assert_eq!((port(1), port(2)), (Some(2), Some(1)));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let error = |rules| Published::new(rules).err();
        let overlap = vec![rule(None, 1..=2, 1), rule(None, 10..=20, 1), rule(None, 20..=21, 5)];
        assert_eq!(error(overlap), Some(PublishError::Overlap(1, 2)));
        assert_eq!(error(vec![rule(None, 1..=1000, 65_000)]), Some(PublishError::Ports(0)));
        let v6 = Some(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(error(vec![rule(v6, 1..=1, 1)]), Some(PublishError::NoContainerAddress(0)));
    }

    proptest! {
        #[test]
        fn spans_without_overlaps_have_the_same_ports(ranges in prop::collection::vec((0u16..60, 0u16..20), 0..8)) {
            let spans: Vec<_> = ranges.iter().enumerate()
                .map(|(rule, (first, more))| Span { first: *first, last: first + more, rule }).collect();
            let apart = without_overlaps(spans.clone());
            for port in 0..100 {
                let expected = spans.iter().any(|span| (span.first..=span.last).contains(&port));
                prop_assert_eq!(containing(&apart, port).is_some(), expected, "{}", port);
                if let Some(found) = containing(&apart, port) {
                    prop_assert!((spans[found.rule].first..=spans[found.rule].last).contains(&port));
                }
            }
        }
    }
}
