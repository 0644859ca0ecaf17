//! From inside to outside.

use crate::address::{Endpoint, Tuple};
use crate::conntrack::{Class, Kind, OUTSIDE, Side};
use crate::drop_reason::DropReason;
use crate::id::{NetworkId, PortId};
use vswitch_wire::protocol;

use super::admission::{Candidate, begins};
use super::mapping::Sender;
use super::rules::{NatMode, NatRules};
use super::{Nat, Packet, Passage, has_ports, key};

impl Nat {
    /// The passage of a packet from inside.
    ///
    /// # Errors
    /// See [`Nat::translate`].
    pub(super) fn outbound(
        &mut self,
        rules: &NatRules,
        network: NetworkId,
        owner: PortId,
        packet: &Packet,
        now: u32,
    ) -> Result<Passage, DropReason> {
        let tuple = key(packet.tuple, Side::Inside);
        if let Some(passage) = self.follow(rules, network.number(), &tuple, packet, now) {
            return Ok(passage);
        }
        begins(packet)?;
        let remote = tuple.destination.address.ip(tuple.family);
        let mode = rules.mode_towards(network, remote).ok_or(DropReason::NoRoute)?;
        let turns = self.turns(rules, packet)?;
        self.admit(rules, owner, tuple.protocol, None, now)?;
        let sender = Sender {
            network,
            owner,
            family: tuple.family,
            protocol: tuple.protocol,
            inside: tuple.source,
            remote: tuple.destination.address,
        };
        let (kind, mapping, public) = self.public(rules, mode, &sender, &tuple, now)?;
        let candidate = Candidate {
            inside: tuple.source,
            remote: tuple.destination,
            public,
            network,
            owner,
            kind,
            mapping,
            initiator: Side::Inside,
            turns,
        };
        self.connect(rules, &candidate, packet, now)
    }

    /// Whether a packet will come back in. To one of our own addresses where there is nothing to meet, it is not
    /// worth a connection.
    ///
    /// # Errors
    /// `NotPublished`.
    fn turns(&self, rules: &NatRules, packet: &Packet) -> Result<bool, DropReason> {
        let Tuple { family, protocol, destination, .. } = packet.tuple;
        let address = destination.address.ip(family);
        if !rules.is_own(address) {
            return Ok(rules.networks.routed(address).is_some());
        }
        let met = rules.one_to_one.of_external(address).is_some()
            || rules.published_to(protocol, family, destination).is_some()
            || self.mappings.recipient(family, protocol, destination, &self.table.owners).is_some();
        if met { Ok(true) } else { Err(DropReason::NotPublished) }
    }

    /// What the sender is to be called outside.
    fn public(
        &mut self,
        rules: &NatRules,
        mode: NatMode,
        sender: &Sender,
        tuple: &Tuple,
        now: u32,
    ) -> Result<(Kind, Option<u32>, Endpoint), DropReason> {
        let address = sender.inside.address.ip(sender.family);
        if let Some(entry) = rules.one_to_one.of_internal(sender.network, address) {
            let public = Endpoint { address: entry.external.into(), port: sender.inside.port };
            return Ok((Kind::OneToOne, None, public));
        }
        if mode != NatMode::Masquerade {
            return Ok((Kind::Routed, None, sender.inside));
        }
        if !has_ports(sender.protocol) {
            return self.portless(rules, sender, tuple, now).map(|public| (Kind::Portless, None, public));
        }
        let mapping = match self.mappings.of_sender(rules, &self.table.owners, sender, now) {
            Err(DropReason::NoExternalPort) if self.free_a_port(sender, now) => {
                self.mappings.of_sender(rules, &self.table.owners, sender, now)?
            }
            other => other?,
        };
        Ok((Kind::Mapped, Some(mapping), self.mappings.public(mapping)))
    }

    /// Without ports, one host at a time talks to a remote address behind a shared one.
    fn portless(
        &self,
        rules: &NatRules,
        sender: &Sender,
        tuple: &Tuple,
        now: u32,
    ) -> Result<Endpoint, DropReason> {
        let mut addresses = rules.shared_addresses(sender.family).peekable();
        addresses.peek().ok_or(DropReason::NoExternalAddress)?;
        addresses
            .map(|address| Endpoint { address, port: 0 })
            .find(|public| {
                let answer = Tuple { source: tuple.destination, destination: *public, ..*tuple };
                let other = self.table.find(OUTSIDE, &answer);
                other.is_none_or(|(place, _)| self.table.over(place, &rules.timeouts, now))
            })
            .ok_or(DropReason::NoExternalPort)
    }

    /// Ports have run out: a TCP connection that is over on both sides gives up its own.
    fn free_a_port(&mut self, sender: &Sender, now: u32) -> bool {
        if sender.protocol != protocol::TCP {
            return false;
        }
        let (mappings, owners) = (&self.mappings, &self.table.owners);
        let closing = self.table.near_front(Class::Closing, |_, old| {
            old.kind == Kind::Mapped && mappings.would_free(old.mapping, sender, owners)
        });
        closing.is_some_and(|place| {
            self.remove(place, now);
            true
        })
    }
}
