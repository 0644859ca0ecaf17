//! The dataplane at work: worker threads, each with a shard, and the handle the daemon steers them by.
//!
//! # Theory of operation
//! The daemon keeps the configured [`Tables`] and publishes a new snapshot after every change; workers look at
//! it once per pass. Devices and questions go to workers through a bounded channel and a waker. A port is
//! attached in this order: every worker gets its queue, then the snapshot with the port is published, so no
//! worker ever forwards to a port it does not have; detaching goes the other way round.
//!
//! Counters are the one thing both sides hold: workers write, the daemon adds up. What routing learns is shared too:
//! connections and neighbours are in one [`Router`] that all workers and the daemon's listings ask.

mod idle;
mod worker;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam::channel::{self, Receiver};
use vswitch_ports::device::PortDevice;
use vswitch_switch::counters::PortTotals;
use vswitch_switch::fdb::FdbEntry;
use vswitch_switch::guard::Guard;
use vswitch_switch::hash::Seed;
use vswitch_switch::nat::NatRules;
use vswitch_switch::parent::Parent;
use vswitch_switch::router::Router;
use vswitch_switch::shard::Chore;
use vswitch_switch::tables::{BridgeSettings, Gateway, Network, Port};
use vswitch_switch::{NetworkCounters, NetworkId, PortCounters, PortId, Tables, Time};
use vswitch_wire::MacAddr;

use self::worker::{Command, Worker};

/// Something a worker noticed.
#[derive(Debug)]
pub(crate) enum Event {
    /// A port's device is gone; the port is down until it is attached again.
    PortGone { port: PortId, reason: String },
    /// A worker's thread ended, which only a defect can cause.
    WorkerDied { worker: usize },
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Dataplane {
    workers: Vec<Worker>,
    published: Arc<ArcSwap<Tables>>,
    tables: Tables,
    router: Arc<Router>,
    epoch: Instant,
    /// By network and port, one set of counters per worker.
    network_counters: HashMap<NetworkId, Vec<Arc<NetworkCounters>>>,
    port_counters: HashMap<PortId, Vec<Arc<PortCounters>>>,
}

/// Why the dataplane could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataplaneError {
    #[error("cannot start worker thread {worker}: {cause}")]
    Start { worker: usize, cause: io::Error },
    #[error("the switch has no room for more than {limit} {what}; split the configuration over two switches")]
    Full { what: &'static str, limit: usize },
    #[error(
        "a port needs one queue for each of the {workers} workers, not {queues}; a plain tap has one queue, so use it with `workers = 1`"
    )]
    Queues { workers: usize, queues: usize },
}

impl Dataplane {
    /// Starts `workers` threads. `seed` makes their hash tables unpredictable, `connections` bounds the connection
    /// table; `notify` is called, from a worker's thread, with what the workers notice.
    pub(crate) fn start(
        workers: usize,
        seed: u64,
        connections: usize,
        notify: impl Fn(Event) + Clone + Send + 'static,
    ) -> Result<Self, DataplaneError> {
        let epoch = Instant::now();
        let router = Arc::new(Router::new(Seed::new(seed), connections));
        let published = Arc::new(ArcSwap::from_pointee(Tables::default()));
        let mailboxes: Vec<_> = (0..workers).map(|_| channel::bounded(worker::MAILBOX)).collect();
        let senders: Vec<_> = mailboxes.iter().map(|(sender, _)| sender.clone()).collect();
        let workers = mailboxes
            .into_iter()
            .enumerate()
            .map(|(index, (sender, receiver))| {
                let peers = senders.iter().enumerate().filter(|(peer, _)| *peer != index);
                worker::Setup {
                    index,
                    seed: Seed::new(seed),
                    router: Arc::clone(&router),
                    epoch,
                    tables: Arc::clone(&published),
                    commands: receiver,
                    peers: peers.map(|(_, sender)| sender.clone()).collect(),
                    notify: Box::new(notify.clone()),
                }
                .start(sender)
                .map_err(|cause| DataplaneError::Start { worker: index, cause })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            workers,
            published,
            tables: Tables::default(),
            router,
            epoch,
            network_counters: HashMap::new(),
            port_counters: HashMap::new(),
        })
    }

    /// How many queues a port needs.
    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Opens a network.
    pub(crate) fn open_network(&mut self, opened: Opened) -> Result<NetworkId, DataplaneError> {
        let settings = opened.settings;
        let id = (0..vswitch_switch::id::MAX_NETWORKS)
            .filter_map(NetworkId::new)
            .find(|id| self.tables.network(*id).is_none())
            .ok_or(DataplaneError::Full { what: "networks", limit: vswitch_switch::id::MAX_NETWORKS })?;
        let counters: Vec<Arc<NetworkCounters>> = self.workers.iter().map(|_| Arc::default()).collect();
        for (worker, counters) in self.workers.iter().zip(&counters) {
            worker.send(Command::OpenNetwork { id, settings, counters: Arc::clone(counters) });
        }
        self.network_counters.insert(id, counters);
        let network = Network { icc: opened.icc, layer3_only: opened.layer3_only, ..Network::new(settings) };
        self.tables.set_network(id, Some(network));
        self.publish();
        Ok(id)
    }

    /// Reserves a port number; the port is down until it is attached. Its counters start at zero.
    pub(crate) fn add_port(&mut self) -> Result<PortId, DataplaneError> {
        let id = (0..vswitch_switch::id::MAX_PORTS)
            .filter_map(PortId::new)
            .find(|id| !self.port_counters.contains_key(id))
            .ok_or(DataplaneError::Full { what: "ports", limit: vswitch_switch::id::MAX_PORTS })?;
        self.port_counters.insert(id, self.workers.iter().map(|_| Arc::default()).collect());
        Ok(id)
    }

    /// Brings ports up: each gets its queues, one per worker, and joins its network with `mac` as static entry.
    /// One snapshot is published for all of them.
    pub(crate) fn attach(&mut self, ports: Vec<NewPort>) -> Result<(), DataplaneError> {
        let workers = self.workers.len();
        if let Some(odd) = ports.iter().find(|port| port.queues.len() != workers) {
            return Err(DataplaneError::Queues { workers, queues: odd.queues.len() });
        }
        for NewPort { id, port, mac, queues } in ports {
            let counters = self.port_counters.entry(id).or_default();
            for ((worker, device), counters) in self.workers.iter().zip(queues).zip(counters) {
                worker.send(Command::Attach { port: id, device, counters: Arc::clone(counters) });
            }
            self.change_network(port.network, |network| {
                network.members.push(id);
                network.static_macs.extend(mac.map(|mac| (mac, id)));
            });
            self.tables.set_port(id, Some(port));
        }
        self.publish();
        Ok(())
    }

    /// Tells what there is of layer 3: replaces every gateway, the uplink and the rules of NAT.
    pub(crate) fn set_layer3(&mut self, layer3: Layer3) {
        let Layer3 { gateways, uplink, nat } = layer3;
        let mut gateways: HashMap<NetworkId, Gateway> = gateways.into_iter().collect();
        let networks: Vec<_> = self.network_counters.keys().copied().collect();
        for id in networks {
            let gateway = gateways.remove(&id).map(Arc::new);
            if let Some(advertising) = &gateway
                && advertising.advertisement.is_some()
                && self.tables.network(id).is_some_and(|network| network.gateway.is_none())
            {
                self.add_chore(Chore::Advertise(id));
            }
            self.change_network(id, |network| network.gateway = gateway);
        }
        self.tables.set_uplink(uplink, nat);
        self.publish();
    }

    /// Says on which interface a network lives, for one that is a part of a LAN.
    pub(crate) fn set_parent(&mut self, id: NetworkId, parent: Option<Parent>) {
        self.change_network(id, |network| network.parent = parent);
        self.publish();
    }

    /// Says anew from which addresses a port that is up may send.
    pub(crate) fn set_guard(&mut self, id: PortId, guard: Option<Guard>) {
        let Some(port) = self.tables.port(id).cloned() else { return };
        let network = port.network;
        self.tables.set_port(id, Some(Port { guard, ..port }));
        // Decisions made with the old one are void.
        self.change_network(network, |_| {});
        self.publish();
    }

    /// Gives the first worker, which does them all, something to do on time.
    pub(crate) fn add_chore(&self, chore: Chore) {
        if let Some(worker) = self.workers.first() {
            worker.send(Command::AddChore(chore));
        }
    }

    /// What routing has learned.
    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    /// Forgets who was heard on a network that is gone, for a while or for good.
    pub(crate) fn forget_neighbors(&self, network: NetworkId) {
        let now = self.now();
        self.router.neighbors(|neighbors| neighbors.forget_network(network, now));
    }

    /// The workers' time.
    pub(crate) fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// What is configured now.
    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Takes a port down: nothing is sent to it any more, and its devices are closed before this returns.
    pub(crate) fn detach(&mut self, id: PortId) {
        let Some(port) = self.tables.port(id) else { return };
        let network = port.network;
        self.change_network(network, |network| {
            network.members.retain(|member| *member != id);
            network.static_macs.retain(|_, port| *port != id);
        });
        self.tables.set_port(id, None);
        self.publish();
        let (done, closed) = channel::bounded(self.workers.len());
        for worker in &self.workers {
            worker.send(Command::Detach { port: id, done: done.clone() });
        }
        drop(done);
        self.router.forget(id);
        // Ends when every worker has answered or died.
        closed.iter().for_each(drop);
    }

    /// Gives a port's number back; it must be detached.
    pub(crate) fn remove_port(&mut self, id: PortId) {
        self.port_counters.remove(&id);
    }

    /// What was counted on a port.
    pub(crate) fn port_totals(&self, id: PortId) -> PortTotals {
        let mut totals = PortTotals::default();
        for counters in self.port_counters.get(&id).into_iter().flatten() {
            counters.add_to(&mut totals);
        }
        totals
    }

    /// What was counted on a network, by name.
    pub(crate) fn network_totals(&self, id: NetworkId) -> Vec<(&'static str, u64)> {
        let mut totals: Vec<(&'static str, u64)> = Vec::new();
        for counters in self.network_counters.get(&id).into_iter().flatten() {
            for (place, (name, counter)) in counters.named().into_iter().enumerate() {
                match totals.get_mut(place) {
                    Some((_, sum)) => *sum += counter.read(),
                    None => totals.push((name, counter.read())),
                }
            }
        }
        totals
    }

    /// What was learned on a network, by any worker; the freshest sighting of each address.
    pub(crate) fn learned(&self, network: NetworkId) -> Vec<FdbEntry> {
        let (reply, answers): (_, Receiver<Vec<FdbEntry>>) = channel::bounded(self.workers.len());
        for worker in &self.workers {
            worker.send(Command::ListLearned { network, reply: reply.clone() });
        }
        drop(reply);
        let mut freshest: HashMap<MacAddr, FdbEntry> = HashMap::new();
        for entry in answers.iter().flatten() {
            let known = freshest.entry(entry.mac).or_insert(entry);
            if entry.age < known.age {
                *known = entry;
            }
        }
        let mut entries: Vec<_> = freshest.into_values().collect();
        entries.sort_by_key(|entry| entry.mac);
        entries
    }

    fn change_network(&mut self, id: NetworkId, change: impl FnOnce(&mut Network)) {
        if let Some(mut network) = self.tables.network(id).cloned() {
            change(&mut network);
            // 0 is never a generation.
            network.generation = network.generation.checked_add(1).unwrap_or(1);
            self.tables.set_network(id, Some(network));
        }
    }

    fn publish(&self) {
        self.published.store(Arc::new(self.tables.clone()));
        for worker in &self.workers {
            worker.wake();
        }
    }
}

/// A network about to be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// How it bridges.
    pub(crate) settings: BridgeSettings,
    /// Whether members reach each other.
    pub(crate) icc: bool,
    /// Whether it only routes: nothing is bridged or sent to all.
    pub(crate) layer3_only: bool,
}

/// What the dataplane has to know of layer 3.
#[derive(Debug)]
pub(crate) struct Layer3 {
    /// The gateways of all networks that have one.
    pub(crate) gateways: Vec<(NetworkId, Gateway)>,
    /// The network that leads outside.
    pub(crate) uplink: Option<NetworkId>,
    /// How addresses are translated on the way there and back.
    pub(crate) nat: Option<Arc<NatRules>>,
}

/// A port about to come up.
#[derive(Debug)]
pub(crate) struct NewPort {
    /// Its number, from [`Dataplane::add_port`].
    pub(crate) id: PortId,
    /// How it is configured.
    pub(crate) port: Port,
    /// The address that lives there; none where others than the configured live.
    pub(crate) mac: Option<MacAddr>,
    /// One device per worker.
    pub(crate) queues: Vec<PortDevice>,
}
