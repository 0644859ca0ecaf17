//! A worker's share of the switch: its devices, what it learned, its flow cache and its frames.
//!
//! # Theory of operation
//! One thread owns a shard and calls [`Shard::service`] for a port that has something to receive. That receives
//! a turn's frames in batches, decides each and transmits, to completion; nothing is kept between calls but tables. Every
//! shard holds a queue of every port, so a frame never changes threads and shards share nothing they write.
//!
//! What is for a gateway is routed ([`routing`]); a routed frame is rewritten where it lies. Frames of the gateway's
//! own (an answer, a question to a network) are written into one buffer kept for them.
//!
//! Bounded work: a turn ends once it had [`BATCH_FRAMES`] frames, each decided in constant time or flooded once to
//! each member, so that no port can keep the others waiting longer than one turn. Everything is allocated when
//! a port or network is attached; `service` allocates nothing.

mod chores;
mod deciding;
mod routing;
mod transmit;

use std::sync::Arc;

use self::chores::Chores;
pub use self::chores::{Announcement, Chore};

use vswitch_wire::{Headers, MacAddr, Parsed};

use crate::coalesce::{Coalescer, Offer};
use crate::counters::{NetworkCounters, PortCounters};
use crate::device::{BATCH_FRAMES, Device, DeviceError, Received};
use crate::drop_reason::DropReason;
use crate::fdb::{Fdb, FdbEntry};
use crate::flow::{Current, FlowCache, FlowKey, Place};
use crate::fragment::Leaving;
use crate::frame::{Frame, Pool};
use crate::gateway::limit::ReplyLimit;
use crate::hash::Seed;
use crate::id::{NetworkId, PortId};
use crate::neighbor::Held;
use crate::parent::Parent;
use crate::router::Router;
use crate::storm::Storm;
use crate::tables::{BridgeSettings, Tables};
use crate::time::Time;

/// Flows a worker remembers: twenty thousand are found in it at nearly no loss, see [`flow`](crate::flow). 8 MiB.
/// Few under the fuzzer, which makes them anew for every input, and so meets full sets too.
const FLOWS: usize = if cfg!(fuzzing) { 64 } else { 64 * 1024 };

/// FDB slots looked at per call of [`Shard::expire`] and network.
const EXPIRE_SLOTS: usize = 4096;

/// The most observations kept for the other workers until they are taken.
const HEARD: usize = 1024;

/// How a call of [`Shard::service`] ended.
#[derive(Debug)]
pub enum Serviced {
    /// The port is empty; it will be reported ready when there is more.
    Drained,
    /// There may be more; call again, after the other ports.
    More,
    /// The port's device is gone.
    Gone(DeviceError),
}

/// A source heard on a port, for the other workers to learn too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// On which network.
    pub network: NetworkId,
    /// Who.
    pub mac: MacAddr,
    /// Where.
    pub port: PortId,
}

/// A port's part that this worker owns.
#[derive(Debug)]
struct Slot<D> {
    device: D,
    counters: Arc<PortCounters>,
    storm: Storm,
    /// How often the gateway may still answer this port.
    replies: ReplyLimit,
}

/// A frame's place in the flow cache, should its decision be kept.
struct Flow {
    place: Place,
    key: FlowKey,
    current: Current,
    until: u32,
}

/// A network's part that this worker owns.
#[derive(Debug)]
struct Domain {
    fdb: Fdb,
    counters: Arc<NetworkCounters>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Shard<D> {
    ports: Ports<D>,
    domains: Vec<Option<Domain>>,
    flows: FlowCache,
    pool: Pool,
    batch: Vec<Frame>,
    /// What parsing found of each frame of the batch.
    parsed: Vec<Parsed>,
    /// The place of each in the flow cache; none when it was dropped at the first look.
    places: Vec<Option<Place>>,
    /// Nothing but a place where the touches of flow cache places end, so that they are made.
    touched: u64,
    coalescer: Coalescer,
    heard: Vec<Heard>,
    router: Arc<Router>,
    /// Grows with every change of what was learned on any network that makes decisions wrong.
    moves: u32,
    /// What a gateway says itself.
    own: Frame,
    /// Frames that waited for something that is known now.
    again: Vec<Held>,
    /// Fragments whose packet's ports are known now.
    fragments: Vec<Leaving>,
    /// Whether the frame being decided is one of those.
    gathered: bool,
    chores: Chores,
    seed: Seed,
}

/// The devices, and what transmitting needs beside them.
#[derive(Debug)]
struct Ports<D> {
    slots: Vec<Option<Slot<D>>>,
    /// For frames that must be rewritten before an egress takes them.
    scratch: Frame,
    /// For a packet cut in pieces, each in turn.
    pieces: Frame,
}

impl<D: Device> Shard<D> {
    /// A shard without ports. `seed` is the switch's secret for its hash tables, `router` is shared by all its shards.
    pub fn new(seed: Seed, router: Arc<Router>) -> Self {
        // Three frames more than a batch: the scratch frame, the one for pieces and the gateways' own.
        let mut pool = Pool::new(BATCH_FRAMES + 3);
        let mut spare = || pool.take().unwrap_or_else(|| unreachable!("a new pool is full"));
        let (scratch, pieces, own) = (spare(), spare(), spare());
        Self {
            ports: Ports { slots: Vec::new(), scratch, pieces },
            domains: Vec::new(),
            flows: FlowCache::new(FLOWS, seed),
            pool,
            batch: Vec::with_capacity(BATCH_FRAMES),
            parsed: Vec::with_capacity(BATCH_FRAMES),
            places: Vec::with_capacity(BATCH_FRAMES),
            touched: 0,
            coalescer: Coalescer::new(),
            heard: Vec::with_capacity(HEARD),
            router,
            moves: 0,
            own,
            again: Vec::new(),
            fragments: Vec::new(),
            gathered: false,
            chores: Chores::default(),
            seed,
        }
    }

    /// Gives a port its device; one that it had is detached first. The port is expected to be in the tables of
    /// the next call of [`service`](Self::service), or not to be served yet.
    pub fn attach(&mut self, port: PortId, device: D, counters: Arc<PortCounters>) {
        self.detach(port);
        place(
            &mut self.ports.slots,
            port.index(),
            Some(Slot { device, counters, storm: Storm::default(), replies: ReplyLimit::default() }),
        );
    }

    /// Takes a port's device away and forgets what was heard on the port and every decision made so far: the
    /// port's number may be given to another network, whose generations may happen to be the same.
    pub fn detach(&mut self, port: PortId) -> Option<D> {
        let slot = self.ports.slots.get_mut(port.index())?.take()?;
        for domain in self.domains.iter_mut().flatten() {
            domain.fdb.flush_port(port);
        }
        self.moves = self.moves.wrapping_add(1);
        self.flows.forget_all();
        Some(slot.device)
    }

    /// The port's device.
    pub fn device(&self, port: PortId) -> Option<&D> {
        Some(&self.ports.slots.get(port.index())?.as_ref()?.device)
    }

    /// Makes room for what is learned on a network; an existing one starts anew.
    pub fn open_network(&mut self, id: NetworkId, settings: &BridgeSettings, counters: Arc<NetworkCounters>) {
        // The new table counts its generations from the start, so that decisions made from an old one would count.
        self.flows.forget_all();
        let domain = Domain { fdb: Fdb::new(settings.fdb, self.seed), counters };
        place(&mut self.domains, id.index(), Some(domain));
    }

    /// What was learned on a network.
    pub fn learned(&self, network: NetworkId, now: Time) -> impl Iterator<Item = FdbEntry> {
        let domain = self.domains.get(network.index()).and_then(Option::as_ref);
        domain.into_iter().flat_map(move |domain| domain.fdb.entries(now.seconds()))
    }

    /// Takes what this worker heard and others should learn, through `tell`.
    #[inline]
    pub fn take_heard(&mut self, tell: impl FnMut(Heard)) {
        self.heard.drain(..).for_each(tell);
    }

    /// Learns what another worker heard, unless the port has been detached since.
    pub fn hear(&mut self, heard: Heard, now: Time) {
        if let Some(Some(domain)) = self.domains.get_mut(heard.network.index())
            && self.ports.has(heard.port)
        {
            let before = domain.fdb.generation();
            domain.fdb.learn(heard.mac, heard.port, now.seconds());
            self.moves = self.moves.wrapping_add(domain.fdb.generation().wrapping_sub(before));
        }
    }

    /// Removes aged entries, a bounded number per call; to be called about once a second. Answers whether
    /// anything learned is left to age.
    pub fn expire(&mut self, now: Time) -> bool {
        let mut left = false;
        for domain in self.domains.iter_mut().flatten() {
            if !domain.fdb.is_empty() {
                let before = domain.fdb.generation();
                domain.fdb.expire(now.seconds(), EXPIRE_SLOTS);
                self.moves = self.moves.wrapping_add(domain.fdb.generation().wrapping_sub(before));
                left |= !domain.fdb.is_empty();
            }
        }
        left
    }

    /// Gives a port its turn: receives up to [`BATCH_FRAMES`] frames and carries each to its end. Small frames come
    /// as one batch; super-frames in several, each small enough to stay in the cache, but in one turn all the same:
    /// turning to the acknowledgements after every few of them would make a burst into a trickle.
    #[inline]
    pub fn service(&mut self, tables: &Tables, ingress: PortId, now: Time) -> Serviced {
        let mut left = BATCH_FRAMES;
        while left > 0 {
            let Some(Some(slot)) = self.ports.slots.get_mut(ingress.index()) else {
                return Serviced::Drained;
            };
            // Moved out so that the frames and the rest of the shard can be borrowed apart; an empty `Vec` is no
            // allocation, and the same buffer comes back below.
            let mut batch = std::mem::take(&mut self.batch);
            let received = slot.device.receive(&mut self.pool, &mut batch);
            let count = batch.len();
            if count > 0 {
                self.carry(tables, ingress, &mut batch, now);
            }
            self.recycle(batch);
            self.walk_again(tables, now);
            left = left.saturating_sub(count);
            match received {
                // Drained is drained only when nothing came: what was carried took longer than looking again.
                Ok(Received::Drained) if count == 0 => return Serviced::Drained,
                Ok(Received::Drained | Received::More) => {}
                Err(gone) => return Serviced::Gone(gone),
            }
        }
        Serviced::More
    }

    fn recycle(&mut self, mut batch: Vec<Frame>) {
        // Last first, so that the next batch takes the frames in the order of this one.
        while let Some(frame) = batch.pop() {
            self.pool.put(frame);
        }
        self.batch = batch;
        self.parsed.clear();
        self.places.clear();
    }

    /// Whether a frame of `network` may and can leave at `egress`: what was learned may be older than the tables.
    #[inline]
    fn reaches(&self, tables: &Tables, egress: PortId, network: NetworkId) -> bool {
        tables.port(egress).is_some_and(|port| port.network == network) && self.ports.has(egress)
    }

    #[inline]
    fn forward(&mut self, tables: &Tables, egress: PortId, batch: &mut [Frame], index: usize) {
        let offloads = self.ports.offloads(egress);
        let parsed = &self.parsed;
        let headers_of = |index: usize| -> &Headers { &parsed[index].headers };
        match self.coalescer.offer(index, egress, &offloads, batch, headers_of) {
            Offer::Held => {}
            Offer::Displaced(group) => self.ports.send_group(&group, batch, parsed, tables),
            Offer::Alone => {
                while let Some(group) = self.coalescer.release(egress) {
                    self.ports.send_group(&group, batch, parsed, tables);
                }
                self.ports.send(egress, &mut batch[index], &parsed[index], tables);
            }
        }
    }

    fn flood(
        &mut self,
        tables: &Tables,
        network: NetworkId,
        except: Option<PortId>,
        counters: &PortCounters,
        frame: &mut Frame,
        index: usize,
    ) {
        let Some(domain) = tables.network(network) else { return };
        let source = self.parsed[index].headers.source;
        let mut copies = 0;
        for egress in domain.members.iter().copied().filter(|member| Some(*member) != except) {
            let copied = |parent: &Parent| parent.copies_to(domain, except, source, egress);
            if self.reaches(tables, egress, network) && domain.parent.as_ref().is_none_or(copied) {
                self.ports.send(egress, frame, &self.parsed[index], tables);
                copies += 1;
            }
        }
        if copies == 0 {
            // The bridge saw listeners in the tables, but none has a device here yet.
            counters.dropped(DropReason::EgressDown, 1);
        }
    }
}

fn place<T>(table: &mut Vec<Option<T>>, index: usize, value: Option<T>) {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    table[index] = value;
}
