//! From a received batch to verdicts, and what is done with each.
//!
//! # Theory of operation
//! A batch is gone over three times. Every frame is parsed; then every frame's place in the flow cache is worked out
//! and touched; then every frame is decided and sent on, by the cache's answer or, on a miss, by the stages. Neither
//! of the first two looks at anything that deciding changes. So what the frames of a batch miss in the processor's
//! caches is fetched for all of them at once, and not by one frame after the other; and no frame's headers are read
//! as words so soon after they were written as bytes that the processor has to wait for them.

use std::sync::Arc;

use vswitch_wire::{Parsed, parse_into};

use super::routing::{rewrite, still_holds};
use super::{Flow, HEARD, Heard, Shard};
use crate::bridge::Stages;
use crate::conntrack::Activity;
use crate::counters::PortCounters;
use crate::device::Device;
use crate::drop_reason::DropReason;
use crate::flow::{Current, FlowCache, FlowKey, Generations, Place, Transform};
use crate::frame::Frame;
use crate::id::{NetworkId, PortId};
use crate::router::hearing::GatewayStage;
use crate::tables::{Network, Port, Tables};
use crate::time::Time;
use crate::verdict::Verdict;

/// What the frames of a batch have in common.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) tables: &'a Tables,
    /// Where they come from.
    pub(super) ingress: PortId,
    pub(super) port: &'a Port,
    pub(super) network: &'a Network,
    /// The ingress port's.
    pub(super) counters: &'a PortCounters,
    pub(super) now: Time,
}

impl<D: Device> Shard<D> {
    /// Decides and transmits a whole batch from one port.
    pub(super) fn carry(&mut self, tables: &Tables, ingress: PortId, batch: &mut [Frame], now: Time) {
        let counters = match self.ports.slots.get(ingress.index()) {
            Some(Some(slot)) => Arc::clone(&slot.counters),
            _ => return,
        };
        let bytes: usize = batch.iter().map(Frame::len).sum();
        counters.received(batch.len() as u64, bytes as u64);
        self.decide_all(tables, ingress, &counters, batch, None, now);
    }

    /// Decides every frame of a batch and transmits it. `known` is what is known of the first beyond its own bytes.
    pub(super) fn decide_all(
        &mut self,
        tables: &Tables,
        ingress: PortId,
        counters: &PortCounters,
        batch: &mut [Frame],
        known: Option<Parsed>,
        now: Time,
    ) {
        let port = tables.port(ingress);
        let Some((port, network)) = port.and_then(|port| Some((port, tables.network(port.network)?))) else {
            return counters.dropped(DropReason::NoNetwork, batch.len() as u64);
        };
        let turn = Turn { tables, ingress, port, network, counters, now };
        let Some(mut current) = self.current(&turn) else {
            return counters.dropped(DropReason::NoNetwork, batch.len() as u64);
        };
        self.look(&turn, batch, known);
        let mut hits = 0;
        for index in 0..batch.len() {
            let Some(place) = self.places[index] else { continue };
            let (frame, parsed) = (&mut batch[index], &mut self.parsed[index]);
            let verdict =
                match answer(&self.flows, self.router.activity(), &turn, &current, place, frame, parsed) {
                    Some(answered) => {
                        hits += 1;
                        answered
                    }
                    None => self.decide(&turn, place, frame, index, &mut current),
                };
            self.carry_out(&turn, verdict, batch, index);
        }
        self.release(tables, batch);
        self.count_hits(port.network, hits);
    }

    /// Parses every frame, drops those that contradict themselves, and touches the places of the others.
    fn look(&mut self, turn: &Turn<'_>, batch: &mut [Frame], known: Option<Parsed>) {
        self.parsed.resize(batch.len(), Parsed::default());
        self.places.resize(batch.len(), None);
        for ((frame, parsed), place) in batch.iter_mut().zip(&mut self.parsed).zip(&mut self.places) {
            let looked = parse_into(frame.bytes(), parsed).map_err(DropReason::Malformed);
            match looked.and_then(|()| frame.offload.validate(parsed, frame.len())) {
                Ok(offload) => {
                    frame.offload = offload;
                    *place = Some(Place::default());
                }
                // Nobody looks at a dropped frame's place.
                Err(reason) => turn.counters.dropped(reason, 1),
            }
        }
        if let (Some(known), Some(first)) = (known, self.parsed.first_mut()) {
            *first = known;
        }
        for (parsed, place) in self.parsed.iter().zip(&mut self.places) {
            if let Some(place) = place {
                *place = self.flows.place(&FlowKey::new(parsed.headers, turn.ingress));
                self.touched ^= self.flows.touch(*place);
            }
        }
    }

    /// Today's generations; none when the port's network is not open yet.
    #[inline]
    fn current(&self, turn: &Turn<'_>) -> Option<Current> {
        let domain = self.domains.get(turn.port.network.index())?.as_ref()?;
        Some(Current {
            bridged: Generations { tables: turn.network.generation, learned: domain.fdb.generation() },
            routed: Generations {
                tables: turn.tables.generation(),
                learned: self.router.epoch().wrapping_add(self.moves),
            },
        })
    }

    /// What the flow cache does not know, the stages decide. `current` is of afterwards.
    #[cold]
    #[inline(never)]
    fn decide(
        &mut self,
        turn: &Turn<'_>,
        place: Place,
        frame: &mut Frame,
        index: usize,
        current: &mut Current,
    ) -> Result<Verdict, DropReason> {
        let (tables, ingress, now) = (turn.tables, turn.ingress, turn.now);
        let id = turn.port.network;
        let mut parsed = self.parsed[index];
        let Some(Some(domain)) = self.domains.get_mut(id.index()) else {
            return Err(DropReason::NoNetwork);
        };
        let Some(Some(slot)) = self.ports.slots.get_mut(ingress.index()) else {
            return Err(DropReason::NoNetwork);
        };
        domain.counters.flow_misses.add(1);
        let before = domain.fdb.generation();
        let mut stages = Stages {
            port: turn.port,
            network: turn.network,
            fdb: &mut domain.fdb,
            storm: &mut slot.storm,
            counters: &domain.counters,
            gateway: GatewayStage {
                router: &self.router,
                network: id,
                replies: &mut slot.replies,
                reply: &mut self.own,
                again: &mut self.again,
            },
        };
        let decision = stages.decide(ingress, frame.bytes(), &parsed, now);
        if decision.learned && self.heard.len() < HEARD {
            self.heard.push(Heard { network: id, mac: parsed.headers.source, port: ingress });
        }
        // Learning may have moved the source, so the decision is of the generation after it.
        self.moves = self.moves.wrapping_add(domain.fdb.generation().wrapping_sub(before));
        *current = self.current(turn).unwrap_or(*current);
        let seconds = now.seconds();
        let flow = Flow {
            place,
            key: FlowKey::new(parsed.headers, ingress),
            current: *current,
            until: seconds.saturating_add(turn.network.settings.fdb.ageing / 8),
        };
        let verdict = match decision.verdict {
            Verdict::Forward(egress) if decision.cacheable => {
                let transform = Transform { egress, routed: None };
                self.keep(&flow, flow.until, transform, now);
                Ok(decision.verdict)
            }
            Verdict::Route => self.route(tables, id, ingress, frame, &mut parsed, &flow, now),
            verdict => Ok(verdict),
        };
        // Routing changed the headers, and may have heard of neighbours.
        self.parsed[index] = parsed;
        *current = self.current(turn).unwrap_or(*current);
        verdict
    }

    /// Keeps an answer until the second `until`.
    pub(super) fn keep(&mut self, flow: &Flow, until: u32, transform: Transform, now: Time) {
        self.flows.insert(flow.place, &flow.key, &flow.current, now.seconds(), until, transform);
    }

    /// Does with a frame what was decided.
    #[inline]
    fn carry_out(
        &mut self,
        turn: &Turn<'_>,
        verdict: Result<Verdict, DropReason>,
        batch: &mut [Frame],
        index: usize,
    ) {
        let Turn { tables, ingress, port, counters, .. } = *turn;
        match verdict {
            Ok(Verdict::Forward(egress)) if self.reaches(tables, egress, port.network) => {
                self.forward(tables, egress, batch, index);
            }
            Ok(Verdict::Routed(egress)) if self.ports.has(egress) => {
                self.forward(tables, egress, batch, index);
            }
            Ok(Verdict::Forward(_) | Verdict::Routed(_)) => counters.dropped(DropReason::EgressDown, 1),
            Ok(Verdict::Fragmented { egress, mtu }) => {
                self.release(tables, batch);
                self.ports.send_fragments(egress, &mut batch[index], &self.parsed[index], mtu);
            }
            Ok(Verdict::Flood) => {
                // A flood must not overtake what was held for any of its ports.
                self.release(tables, batch);
                self.flood(tables, port.network, Some(ingress), counters, &mut batch[index], index);
            }
            Ok(Verdict::RoutedFlood(network)) => {
                self.release(tables, batch);
                self.flood(tables, network, None, counters, &mut batch[index], index);
            }
            Ok(Verdict::Taken) => self.send_own(tables, ingress),
            Ok(Verdict::Held) => {}
            Ok(Verdict::Drop(reason)) | Err(reason) => {
                counters.dropped(reason, 1);
                self.send_own(tables, ingress);
            }
            // `decide` asks the router itself.
            Ok(Verdict::Route) => counters.dropped(DropReason::NoRoute, 1),
        }
    }

    /// Writes every group that is open.
    #[inline]
    fn release(&mut self, tables: &Tables, batch: &mut [Frame]) {
        while let Some(group) = self.coalescer.release_any() {
            self.ports.send_group(&group, batch, &self.parsed, tables);
        }
    }

    fn count_hits(&self, network: NetworkId, hits: u64) {
        if let Some(Some(domain)) = self.domains.get(network.index()) {
            domain.counters.flow_hits.add(hits);
        }
    }
}

/// The flow cache's answer, with the frame rewritten as it says; none when the stages have to decide.
#[inline]
fn answer(
    flows: &FlowCache,
    activity: &Activity,
    turn: &Turn<'_>,
    current: &Current,
    place: Place,
    frame: &mut Frame,
    parsed: &mut Parsed,
) -> Option<Result<Verdict, DropReason>> {
    let seconds = turn.now.seconds();
    let transform = flows.lookup(place, &FlowKey::new(parsed.headers, turn.ingress), seconds, current)?;
    let Some(routed) = &transform.routed else { return Some(Ok(Verdict::Forward(transform.egress))) };
    still_holds(routed, frame, parsed, activity, seconds)
        .then(|| rewrite(routed, frame, parsed).map(|()| Verdict::Routed(transform.egress)))
}
