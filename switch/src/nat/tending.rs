//! What is done in the background, in small steps: forgetting what is over, obeying new rules.

use crate::address::Family;
use crate::conntrack::{Class, Connection, Kind, Side};
use crate::time::Time;

use super::rules::{NatMode, NatRules};
use super::{Nat, is_query};

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The rules that were swept for, or are being.
    generation: Option<u32>,
    /// The next place that a sweep through all connections looks at.
    sweep: Option<u32>,
    /// Which class expires first next time, so that none starves.
    turn: usize,
}

impl Progress {
    /// Has every connection looked at again.
    pub(super) fn begin(&mut self) {
        self.sweep = Some(0);
    }
}

impl Nat {
    /// Forgets connections and mappings that are over, and drops what new rules no longer allow: published ports
    /// and addresses that are gone, and what belongs to removed attachments. Looks at no more than `budget` of
    /// them, about a microsecond each at worst. Whether there is more to do at once; if not, a call per second
    /// is enough.
    pub fn tend(&mut self, rules: &NatRules, now: Time, budget: usize) -> bool {
        let now = now.seconds();
        let mut left = budget;
        self.sweep(rules, now, &mut left);
        for nth in 0..Class::LISTED.len() {
            let class = Class::LISTED[(self.tending.turn + nth) % Class::LISTED.len()];
            while let Some(place) = self.table.next_due(class, &rules.timeouts, now, &mut left) {
                self.remove(place, now);
            }
        }
        self.tending.turn += 1;
        self.mappings.expire(rules.timeouts.hold, now, &mut left);
        left == 0
    }

    fn sweep(&mut self, rules: &NatRules, now: u32, left: &mut usize) {
        if self.tending.generation != Some(rules.generation) {
            self.tending.generation = Some(rules.generation);
            self.tending.begin();
        }
        let Some(mut place) = self.tending.sweep else { return };
        while *left > 0 && place < self.table.places() {
            *left -= 1;
            let allowed = self.table.at(place).is_none_or(|connection| self.allowed(rules, connection));
            if !allowed || (self.table.at(place).is_some() && self.table.void(place)) {
                self.remove(place, now);
            } else if let Some(connection) = self.table.at(place) {
                let turns = rules.leads_inside(connection.remote.address.ip(connection.family));
                self.table.connection_mut(place).turns = turns;
            }
            place += 1;
        }
        if place < self.table.places() {
            self.tending.sweep = Some(place);
        } else {
            self.tending.sweep = None;
            self.mappings.shrink();
        }
    }

    /// Whether a connection could still be made as it is.
    fn allowed(&self, rules: &NatRules, connection: &Connection) -> bool {
        let Connection { family, protocol, inside, public, remote, network, .. } = *connection;
        let mode = rules.mode_towards(network, remote.address.ip(family));
        match connection.kind {
            Kind::Mapped => {
                mode == Some(NatMode::Masquerade) && self.mappings.usable(rules, connection.mapping)
            }
            Kind::Portless => mode == Some(NatMode::Masquerade) && rules.is_shared(family, public.address),
            Kind::Published => {
                let rule = rules.published_to(protocol, family, public);
                rule.is_some_and(|(rule, to)| (rule.network, to) == (network, inside))
            }
            Kind::OneToOne => {
                let entry = rules.one_to_one.of_external(public.address.ip(family));
                entry.is_some_and(|entry| {
                    (entry.network, entry.internal) == (network, inside.address.ip(family))
                })
            }
            Kind::Routed => {
                mode.is_some_and(|mode| mode != NatMode::Masquerade)
                    && (connection.initiator == Side::Inside || self.reachable(rules, family, connection))
            }
        }
    }

    fn reachable(&self, rules: &NatRules, family: Family, connection: &Connection) -> bool {
        let Connection { protocol, inside, network, .. } = *connection;
        if is_query(protocol) {
            rules.published.any_of(family, network, inside.address).is_some()
        } else {
            rules.published.of_container(protocol, family, network, inside).is_some()
        }
    }
}
