//! From outside to inside.

use crate::address::{Endpoint, Tuple};
use crate::conntrack::{Kind, OUTSIDE, Side};
use crate::drop_reason::DropReason;
use crate::id::{NetworkId, PortId};

use super::admission::{Candidate, begins};
use super::publish::RuleCounters;
use super::rules::{Filtering, NatRules};
use super::{Nat, Packet, Passage, Query, key};

/// Whom a packet is for.
struct Addressee<'a> {
    inside: Endpoint,
    network: NetworkId,
    owner: PortId,
    kind: Kind,
    mapping: Option<u32>,
    counters: Option<&'a RuleCounters>,
}

impl Nat {
    /// The passage of a packet from outside. `keep` is not to make room for it.
    ///
    /// # Errors
    /// See [`Nat::translate`].
    pub(super) fn inbound(
        &mut self,
        rules: &NatRules,
        packet: &Packet,
        keep: Option<u32>,
        now: u32,
    ) -> Result<Passage, DropReason> {
        let tuple = key(packet.tuple, Side::Outside);
        if let Some(passage) = self.follow(rules, OUTSIDE, &tuple, packet, now) {
            return Ok(passage);
        }
        let addressee = self.addressee(rules, packet, &tuple, now)?;
        begins(packet)?;
        let candidate = Candidate {
            inside: addressee.inside,
            remote: tuple.source,
            public: tuple.destination,
            network: addressee.network,
            owner: addressee.owner,
            kind: addressee.kind,
            mapping: addressee.mapping,
            initiator: Side::Outside,
            turns: rules.leads_inside(tuple.source.address.ip(tuple.family)),
        };
        let passage = self
            .admit(rules, addressee.owner, tuple.protocol, keep, now)
            .and_then(|()| self.connect(rules, &candidate, packet, now));
        if let Some(counters) = addressee.counters {
            counters.count(passage.is_ok());
        }
        passage
    }

    fn addressee<'a>(
        &mut self,
        rules: &'a NatRules,
        packet: &Packet,
        tuple: &Tuple,
        now: u32,
    ) -> Result<Addressee<'a>, DropReason> {
        let mapped = self.mapped(rules, packet, tuple, now);
        if let Ok(Some(addressee)) = mapped {
            return Ok(addressee);
        }
        published(rules, tuple)
            .or_else(|| one_to_one(rules, tuple))
            .or_else(|| routed(rules, packet, tuple))
            // What a mapping refused, and nothing else wants, is filtered.
            .ok_or(mapped.err().unwrap_or(DropReason::NotPublished))
    }

    /// Whom a mapping leads to. A query is not for a mapping of queries, which have no port to listen on.
    ///
    /// # Errors
    /// `Filtered`.
    fn mapped<'a>(
        &mut self,
        rules: &NatRules,
        packet: &Packet,
        tuple: &Tuple,
        now: u32,
    ) -> Result<Option<Addressee<'a>>, DropReason> {
        if packet.icmp_query == Some(Query::Request) {
            return Ok(None);
        }
        let Tuple { family, protocol, destination, .. } = *tuple;
        let Some(to) = self.mappings.recipient(family, protocol, destination, &self.table.owners) else {
            return Ok(None);
        };
        let passes = match rules.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => self.has_sent(rules, to.mapping, tuple, now),
            // Had it sent to this endpoint, there would be a connection.
            Filtering::AddressAndPortDependent => false,
        };
        if !passes {
            return Err(DropReason::Filtered);
        }
        Ok(Some(Addressee {
            inside: to.inside,
            network: to.network,
            owner: to.owner,
            kind: Kind::Mapped,
            mapping: Some(to.mapping),
            counters: None,
        }))
    }

    /// Whether the inside endpoint of a mapping sent to the packet's source address, lately enough. Connections
    /// that are over and only wait to be removed are: each one met is, and with the last of them the mapping ends.
    fn has_sent(&mut self, rules: &NatRules, mapping: u32, tuple: &Tuple, now: u32) -> bool {
        const MET_AT_ONCE: usize = 32;
        for _ in 0..MET_AT_ONCE {
            let Some(place) = self.peers.any(&self.table, &mut self.mappings, mapping, tuple.source.address)
            else {
                return false;
            };
            if !self.table.over(place, &rules.timeouts, now) {
                return true;
            }
            self.remove(place, now);
        }
        false
    }
}

fn published<'a>(rules: &'a NatRules, tuple: &Tuple) -> Option<Addressee<'a>> {
    let (rule, inside) = rules.published_to(tuple.protocol, tuple.family, tuple.destination)?;
    Some(Addressee {
        inside,
        network: rule.network,
        owner: rule.owner,
        kind: Kind::Published,
        mapping: None,
        counters: Some(&rule.counters),
    })
}

fn one_to_one<'a>(rules: &NatRules, tuple: &Tuple) -> Option<Addressee<'a>> {
    let entry = rules.one_to_one.of_external(tuple.destination.address.ip(tuple.family))?;
    Some(Addressee {
        inside: Endpoint { address: entry.internal.into(), port: tuple.destination.port },
        network: entry.network,
        owner: entry.owner,
        kind: Kind::OneToOne,
        mapping: None,
        counters: None,
    })
}

fn routed<'a>(rules: &'a NatRules, packet: &Packet, tuple: &Tuple) -> Option<Addressee<'a>> {
    let network = rules.networks.routed(tuple.destination.address.ip(tuple.family))?;
    let rule = match packet.icmp_query {
        Some(_) => rules.published.any_of(tuple.family, network, tuple.destination.address),
        None => rules.published.of_container(tuple.protocol, tuple.family, network, tuple.destination),
    }?;
    Some(Addressee {
        inside: tuple.destination,
        network,
        owner: rule.owner,
        kind: Kind::Routed,
        mapping: None,
        counters: Some(&rule.counters),
    })
}
