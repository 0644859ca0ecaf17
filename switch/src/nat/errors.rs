//! ICMP errors: translated by the packet they quote, outside and in (RFC 5508 REQ-3 to REQ-7).
//!
//! Nothing is kept of them: they neither refresh nor end a connection (REQ-6, RFC 4787 REQ-12, RFC 5382 REQ-10).

use crate::address::{Address, Endpoint, Tuple};
use crate::conntrack::{Connection, Kind, OUTSIDE, Side};
use crate::drop_reason::DropReason;
use crate::id::NetworkId;
use crate::time::Time;

use super::rules::NatRules;
use super::{Nat, Origin, is_query, key};

/// What is to be done to an ICMP error and to the packet it quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TranslatedError {
    /// The quoted packet's new source, if it changes; for a quoted ICMP query, its port is the identifier.
    pub quoted_source: Option<Endpoint>,
    /// The quoted packet's new destination, if it changes; likewise.
    pub quoted_destination: Option<Endpoint>,
    /// The error's own new source, if it changes.
    pub source: Option<Address>,
    /// The error's own new destination, if it changes.
    pub destination: Option<Address>,
    /// The network that the destination is on; `None`: outside.
    pub to: Option<NetworkId>,
}

impl Nat {
    /// How an ICMP error is to be changed, whose quoted packet had the tuple `quoted`, and which goes from `source`
    /// to `destination`. Both must be of the quoted packet's family.
    ///
    /// # Errors
    /// `IcmpUnrelated`: no connection sent the quoted packet, or not from the address the error is for.
    pub fn translate_error(
        &self,
        rules: &NatRules,
        origin: Origin,
        quoted: &Tuple,
        (source, destination): (Address, Address),
        now: Time,
    ) -> Result<TranslatedError, DropReason> {
        let now = now.seconds();
        // An error is for the sender of what it quotes.
        if quoted.source.address != destination {
            return Err(DropReason::IcmpUnrelated);
        }
        let Origin::Inside { network, .. } = origin else {
            return self.error_in(rules, quoted, now);
        };
        let connection = self.quoted(rules, network.number(), Side::Inside, quoted, now)?;
        let mut left = *quoted;
        left.destination = connection.public;
        if is_query(quoted.protocol) {
            left.source.port = connection.public.port;
        }
        // RFC 5508 REQ-5c: whoever inside sent it, outside it comes from an address of ours.
        let hidden = connection.kind != Kind::Routed && connection.public.address != source;
        let error = TranslatedError {
            quoted_destination: (connection.public != connection.inside).then_some(connection.public),
            source: hidden.then_some(connection.public.address),
            ..TranslatedError::default()
        };
        if !connection.turns {
            return Ok(error);
        }
        let entered = self.error_in(rules, &left, now)?;
        let mut quoted_destination = error.quoted_destination;
        if let (true, Some(endpoint), Some(inside)) =
            (is_query(quoted.protocol), &mut quoted_destination, entered.quoted_source)
        {
            endpoint.port = inside.port;
        }
        Ok(TranslatedError { quoted_destination, source: error.source, ..entered })
    }

    /// The half of an error that comes from outside.
    fn error_in(&self, rules: &NatRules, quoted: &Tuple, now: u32) -> Result<TranslatedError, DropReason> {
        let connection = self.quoted(rules, OUTSIDE, Side::Outside, quoted, now)?;
        let translated = connection.public != connection.inside;
        Ok(TranslatedError {
            quoted_source: translated.then_some(connection.inside),
            destination: translated.then_some(connection.inside.address),
            to: Some(connection.network),
            ..TranslatedError::default()
        })
    }

    /// The connection that the quoted packet belongs to: the one that its recipient, on this side, answers in.
    fn quoted(
        &self,
        rules: &NatRules,
        realm: u16,
        side: Side,
        quoted: &Tuple,
        now: u32,
    ) -> Result<&Connection, DropReason> {
        let (place, _) =
            self.table.find(realm, &key(quoted.reversed(), side)).ok_or(DropReason::IcmpUnrelated)?;
        if self.table.over(place, &rules.timeouts, now) {
            return Err(DropReason::IcmpUnrelated);
        }
        self.table.at(place).ok_or(DropReason::IcmpUnrelated)
    }
}
