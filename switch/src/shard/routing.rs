//! The way through the router: a flow the cache knows is rewritten in place, another walks the stages.

use vswitch_wire::{MacAddr, Parsed, TcpHeader, parse};

use super::{Flow, Shard};
use crate::clamp;
use crate::conntrack::Activity;
use crate::device::Device;
use crate::drop_reason::DropReason;
use crate::flow::{Routed, Transform};
use crate::fragment::Leaving;
use crate::frame::Frame;
use crate::gateway::icmp_error::{self, ErrorKind};
use crate::gateway::limit::ReplyKind;
use crate::gateway::{Outcome, announce, echo, reset};
use crate::id::{NetworkId, PortId};
use crate::neighbor::{Ask, Held};
use crate::offload::OffloadHeader;
use crate::parent::Parent;
use crate::router::walk::{Stop, Walk, Way};
use crate::tables::{Gateway, Tables};
use crate::time::Time;
use crate::verdict::Verdict;

/// Segments that begin or end a connection, which the connection table has to see.
const BEGINS_OR_ENDS: u8 = TcpHeader::SYN | TcpHeader::FIN | TcpHeader::RST;

/// How long a routed flow is answered from the cache before it walks the stages again, in seconds: its neighbour's
/// entry and its source's place stay fresh.
const ROUTED_FLOW_LASTS: u32 = 10;

/// Whether a cached answer is right for this packet of its flow: the connection is still there and the packet neither
/// begins nor ends it, fits the way, and has hops left.
#[inline]
pub(super) fn still_holds(
    routed: &Routed,
    frame: &Frame,
    parsed: &Parsed,
    activity: &Activity,
    seconds: u32,
) -> bool {
    if let Some(connection) = routed.connection
        && (parsed.tcp_flags & BEGINS_OR_ENDS != 0 || !activity.touch(connection, seconds))
    {
        return false;
    }
    hops_left(frame.bytes(), parsed) > 1
        && frame.offload.longest_packet(parsed, frame.len()) <= usize::from(routed.mtu)
}

#[inline]
fn hops_left(bytes: &[u8], parsed: &Parsed) -> u8 {
    // The TTL of IPv4, the hop limit of IPv6.
    let offset = if parsed.headers.is_ipv4() { 8 } else { 7 };
    bytes.get(usize::from(parsed.layer3_offset) + offset).copied().unwrap_or(0)
}

/// Makes of a packet what its flow's answer says.
#[inline]
pub(super) fn rewrite(routed: &Routed, frame: &mut Frame, parsed: &mut Parsed) -> Result<(), DropReason> {
    let offload = frame.offload;
    if let Some(translation) = &routed.translation {
        translation.apply(frame.bytes_mut(), parsed, &offload)?;
        translation.update(&mut parsed.headers);
    }
    routed.hop.apply(frame.bytes_mut(), parsed)
}

impl<D: Device> Shard<D> {
    /// Walks the stages of layer 3 with a packet for the gateway of `network`.
    #[expect(clippy::too_many_arguments, reason = "everything a decision depends on is an argument")]
    pub(super) fn route(
        &mut self,
        tables: &Tables,
        network: NetworkId,
        ingress: PortId,
        frame: &mut Frame,
        parsed: &mut Parsed,
        flow: &Flow,
        now: Time,
    ) -> Result<Verdict, DropReason> {
        let Some(gateway) = tables.network(network).and_then(|network| network.gateway.as_deref()) else {
            return Err(DropReason::NoRoute);
        };
        let router = std::sync::Arc::clone(&self.router);
        let gathered = std::mem::take(&mut self.gathered);
        let leaving = Vec::new();
        let mut walk = Walk { tables, router: &router, ingress, network, gateway, now, gathered, leaving };
        let decision = walk.decide(frame, parsed);
        let leaving = walk.leaving;
        for fragment in leaving {
            self.let_go(fragment);
        }
        match decision {
            Ok(way) => self.go(tables, &way, frame, parsed, flow, now),
            Err(Stop::Drop(reason)) => Err(reason),
            Err(Stop::Tell(reason, kind)) => {
                self.tell(gateway, ingress, kind, frame, parsed, now);
                Err(reason)
            }
            Err(Stop::Local) => self.local(tables, gateway, ingress, frame, parsed, now),
            Err(Stop::Held) => Ok(Verdict::Held),
            Err(Stop::Pending { network, address, ask }) => {
                if ask {
                    self.ask(tables, &Ask { network, address, unicast: None }, now);
                }
                let held = Held { ingress, frame: frame.bytes().into(), offload: frame.offload };
                if let Some(dropped) = router.neighbors(|neighbors| neighbors.hold(network, address, held)) {
                    self.count_drop(dropped.ingress, DropReason::NeighborPending);
                }
                Ok(Verdict::Held)
            }
        }
    }

    /// Rewrites a packet for its way and finds the port.
    fn go(
        &mut self,
        tables: &Tables,
        way: &Way,
        frame: &mut Frame,
        parsed: &mut Parsed,
        flow: &Flow,
        now: Time,
    ) -> Result<Verdict, DropReason> {
        let offload = frame.offload;
        if let Some((quoted, changes)) = &way.quoted {
            quoted.translate(frame.bytes_mut(), parsed, changes)?;
        }
        for translation in way.translations.iter().flatten() {
            translation.apply(frame.bytes_mut(), parsed, &offload)?;
            translation.update(&mut parsed.headers);
        }
        way.hop.apply(frame.bytes_mut(), parsed)?;
        if let Some(mtu) = way.clamp {
            clamp::clamp(frame.bytes_mut(), parsed, &offload, mtu);
        }
        let Some(egress) = way.port.or_else(|| self.station(tables, way.network, way.hop.destination, now))
        else {
            return Ok(Verdict::RoutedFlood(way.network));
        };
        if way.fragments {
            return Ok(Verdict::Fragmented { egress, mtu: way.mtu });
        }
        if way.cacheable {
            let translation = way.translations.iter().flatten().copied().next();
            let routed = Routed { hop: way.hop, mtu: way.mtu, translation, connection: way.connection };
            let until = flow.until.min(now.seconds().saturating_add(ROUTED_FLOW_LASTS));
            let transform = Transform { egress, routed: Some(routed) };
            self.keep(flow, until, transform, now);
        }
        Ok(Verdict::Routed(egress))
    }

    /// The port behind which a station lives, as the bridge of its network knows.
    fn station(&self, tables: &Tables, id: NetworkId, mac: MacAddr, now: Time) -> Option<PortId> {
        let network = tables.network(id)?;
        if let Some(parent) = &network.parent {
            return Some(parent.port_of(network, mac));
        }
        let learned = || self.domains.get(id.index())?.as_ref()?.fdb.lookup(mac, now.seconds());
        network.static_macs.get(&mac).copied().or_else(learned).or(match network.members[..] {
            [only] => Some(only),
            _ => None,
        })
    }

    /// Writes what the gateway answers to a packet for itself that nothing on it wants.
    fn local(
        &mut self,
        tables: &Tables,
        gateway: &Gateway,
        ingress: PortId,
        frame: &Frame,
        parsed: &Parsed,
        now: Time,
    ) -> Result<Verdict, DropReason> {
        match echo::answer(frame.bytes(), parsed, &mut self.own) {
            Outcome::Reply(kind) => {
                self.may_reply(ingress, kind, now)?;
                return Ok(Verdict::Taken);
            }
            Outcome::Drop(reason) => return Err(reason),
            Outcome::Pass | Outcome::Consumed => self.own.clear(),
        }
        // From outside, silence: RFC 5382 REQ-4 asks for it, and what is not published is nobody's business.
        if tables.port(ingress).map(|port| port.network) == tables.uplink() {
            return Err(DropReason::NotPublished);
        }
        let refused = reset::write(frame.bytes(), parsed, &mut self.own)
            || icmp_error::write(ErrorKind::PortUnreachable, gateway, frame.bytes(), parsed, &mut self.own);
        if refused {
            self.may_reply(ingress, ReplyKind::Error, now)?;
        }
        Err(DropReason::GatewayClosed)
    }

    /// Writes an ICMP error for the sender of a packet.
    fn tell(
        &mut self,
        gateway: &Gateway,
        ingress: PortId,
        kind: ErrorKind,
        frame: &Frame,
        parsed: &Parsed,
        now: Time,
    ) {
        if icmp_error::write(kind, gateway, frame.bytes(), parsed, &mut self.own) {
            // The packet is dropped for its own reason, told or not.
            let _ = self.may_reply(ingress, ReplyKind::Error, now);
        }
    }

    pub(super) fn count_drop(&self, port: PortId, reason: DropReason) {
        if let Some(Some(slot)) = self.ports.slots.get(port.index()) {
            slot.counters.dropped(reason, 1);
        }
    }

    /// Lets the gateway answer this port, or takes back what it has written.
    fn may_reply(&mut self, ingress: PortId, kind: ReplyKind, now: Time) -> Result<(), DropReason> {
        let admitted = match self.ports.slots.get_mut(ingress.index()) {
            Some(Some(slot)) => slot.replies.admit(kind, now),
            _ => Err(DropReason::EgressDown),
        };
        if admitted.is_err() {
            self.own.clear();
        }
        admitted
    }

    /// A fragment that waited for its packet's first one goes on, or is dropped.
    pub(super) fn let_go(&mut self, fragment: Leaving) {
        match fragment.fate {
            Ok(()) => self.fragments.push(fragment),
            Err(reason) => self.count_drop(fragment.ingress.port, reason),
        }
    }

    /// Sends what the gateway has written, if anything, to one port.
    pub(super) fn send_own(&mut self, tables: &Tables, port: PortId) {
        if self.own.is_empty() {
            return;
        }
        if let Ok(parsed) = parse(self.own.bytes()) {
            self.ports.send(port, &mut self.own, &parsed, tables);
        }
        self.own.clear();
    }

    /// Sends what has been written to every port of a network, as if whoever it speaks for had sent it.
    pub(super) fn send_own_to_all(&mut self, tables: &Tables, network: NetworkId) {
        if let (Some(network), Ok(parsed)) = (tables.network(network), parse(self.own.bytes())) {
            let source = parsed.headers.source;
            let speaker = network.static_macs.get(&source).copied();
            let heard = network.icc || speaker.is_none();
            for member in network.members.iter().copied().filter(|member| heard && Some(*member) != speaker) {
                let copied = |parent: &Parent| parent.copies_to(network, speaker, source, member);
                if network.parent.as_ref().is_none_or(copied) {
                    self.ports.send(member, &mut self.own, &parsed, tables);
                }
            }
        }
        self.own.clear();
    }

    /// Asks who has an address: everybody on its network, or the one station that had it.
    pub(super) fn ask(&mut self, tables: &Tables, question: &Ask, now: Time) {
        let network = tables.network(question.network);
        let Some(gateway) = network.and_then(|network| network.gateway.as_deref()) else { return };
        if !announce::ask(gateway, question.address, question.unicast, &mut self.own) {
            return;
        }
        match question.unicast.and_then(|mac| self.station(tables, question.network, mac, now)) {
            Some(port) => self.send_own(tables, port),
            None => self.send_own_to_all(tables, question.network),
        }
    }

    /// Lets frames walk again that waited for something that is known now.
    pub(super) fn walk_again(&mut self, tables: &Tables, now: Time) {
        // In the order they came. What walks again may let others go, which are looked for when these are done.
        while !self.again.is_empty() || !self.fragments.is_empty() {
            for held in std::mem::take(&mut self.again) {
                self.walk_one(tables, held.ingress, &held.frame, held.offload, None, now);
            }
            for fragment in std::mem::take(&mut self.fragments) {
                let (port, parsed) = (fragment.ingress.port, Some(fragment.parsed));
                self.walk_one(tables, port, &fragment.bytes, OffloadHeader::NONE, parsed, now);
            }
        }
    }

    fn walk_one(
        &mut self,
        tables: &Tables,
        ingress: PortId,
        bytes: &[u8],
        offload: OffloadHeader,
        known: Option<Parsed>,
        now: Time,
    ) {
        // Nothing is in use between batches, so there is a frame.
        let Some(mut frame) = self.pool.take() else { return };
        // What waited for a port that is gone was forgotten with it, uncounted as its counters are.
        let Some(Some(slot)) = self.ports.slots.get(ingress.index()) else {
            return self.pool.put(frame);
        };
        let counters = std::sync::Arc::clone(&slot.counters);
        frame.copy_from(bytes);
        frame.offload = offload;
        self.gathered = known.is_some();
        let mut batch = std::mem::take(&mut self.batch);
        batch.push(frame);
        self.decide_all(tables, ingress, &counters, &mut batch, known, now);
        self.gathered = false;
        self.recycle(batch);
    }
}
