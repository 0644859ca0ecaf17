//! A switch on the bench: one or more networks of in-memory ports and a clock that is turned by hand.

use std::sync::Arc;
use std::time::Duration;

use vswitch_switch::counters::PortTotals;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::guard::Guard;
use vswitch_switch::hash::Seed;
use vswitch_switch::memory::{MemoryDevice, MemoryFrame};
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, Network, Port, UnknownUnicast};
use vswitch_switch::{
    DropReason, NetworkCounters, NetworkId, Offloads, PortCounters, PortId, Serviced, Shard, Tables, Time,
};

pub(crate) const SETTINGS: BridgeSettings = BridgeSettings {
    fdb: FdbLimits { entries: 64, per_port: 32, ageing: 80 },
    storm: StormLimits { broadcast: None, multicast: None, unknown_unicast: None },
    unknown_unicast: UnknownUnicast::Flood,
};

pub(crate) struct Bed {
    pub(crate) shard: Shard<MemoryDevice>,
    pub(crate) tables: Tables,
    pub(crate) now: Time,
    devices: Vec<MemoryDevice>,
    ports: Vec<Arc<PortCounters>>,
    networks: Vec<Arc<NetworkCounters>>,
}

impl Bed {
    /// Without networks.
    pub(crate) fn empty() -> Self {
        Self {
            shard: Shard::new(
                Seed::new(0x5eed),
                Arc::new(vswitch_switch::router::Router::new(Seed::new(0x5eed), 1)),
            ),
            tables: Tables::default(),
            now: Time::from_secs(1000),
            devices: Vec::new(),
            ports: Vec::new(),
            networks: Vec::new(),
        }
    }

    /// One network of `ports` ports that take everything over.
    pub(crate) fn new(settings: BridgeSettings, ports: usize) -> Self {
        let mut bed = Self::empty();
        let network = bed.add_network(settings);
        for _ in 0..ports {
            bed.add_port(network, Offloads::ALL);
        }
        bed
    }

    pub(crate) fn add_network(&mut self, settings: BridgeSettings) -> NetworkId {
        let id = network(self.networks.len());
        let counters = Arc::new(NetworkCounters::default());
        self.shard.open_network(id, &settings, Arc::clone(&counters));
        self.networks.push(counters);
        self.tables.set_network(id, Some(Network::new(settings)));
        id
    }

    pub(crate) fn add_port(&mut self, network: NetworkId, offloads: Offloads) -> PortId {
        let id = port(self.devices.len());
        let device = MemoryDevice::new(offloads);
        self.devices.push(device.clone());
        self.ports.push(Arc::new(PortCounters::default()));
        self.attach(id, network);
        id
    }

    /// Gives a port its device (again) and makes it a member of the network.
    pub(crate) fn attach(&mut self, id: PortId, network: NetworkId) {
        let counters = Arc::clone(&self.ports[id.index()]);
        self.shard.attach(id, self.devices[id.index()].clone(), counters);
        self.tables.set_port(id, Some(Port { network, mtu: 1500, guard: None }));
        self.change_network(network, |network| network.members.push(id));
    }

    /// Takes a port out of the tables and its device away.
    pub(crate) fn detach(&mut self, id: PortId) {
        let network = self.tables.port(id).expect("it is attached").network;
        self.tables.set_port(id, None);
        self.change_network(network, |network| network.members.retain(|member| *member != id));
        assert!(self.shard.detach(id).is_some());
    }

    pub(crate) fn change_network(&mut self, id: NetworkId, change: impl FnOnce(&mut Network)) {
        let mut changed = self.tables.network(id).expect("it is open").clone();
        change(&mut changed);
        changed.generation += 1;
        self.tables.set_network(id, Some(changed));
    }

    pub(crate) fn guard(&mut self, id: PortId, guard: Option<Guard>) {
        let port = Port { guard, ..self.tables.port(id).expect("it is attached").clone() };
        let network = port.network;
        self.tables.set_port(id, Some(port));
        self.change_network(network, |_| {});
    }

    pub(crate) fn set_mtu(&mut self, id: PortId, mtu: u16) {
        let port = Port { mtu, ..self.tables.port(id).expect("it is attached").clone() };
        self.tables.set_port(id, Some(port));
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    pub(crate) fn device(&self, id: PortId) -> &MemoryDevice {
        &self.devices[id.index()]
    }

    /// Receives `frames` from a port, in batches as large as they get.
    pub(crate) fn receive(&mut self, from: PortId, frames: impl IntoIterator<Item = MemoryFrame>) {
        frames.into_iter().for_each(|frame| self.devices[from.index()].push(frame));
        while let Serviced::More = self.shard.service(&self.tables, from, self.now) {}
    }

    /// Receives one complete frame and answers the ports it left at.
    pub(crate) fn send(&mut self, from: PortId, frame: &[u8]) -> Vec<PortId> {
        self.receive(from, [MemoryFrame::from(frame.to_vec())]);
        let mut to = Vec::new();
        for (index, device) in self.devices.iter().enumerate() {
            for sent in device.take_sent() {
                assert_eq!(sent.bytes, frame, "changed on the way to port {index}");
                to.push(port(index));
            }
        }
        to
    }

    /// As [`send`](Self::send), for a frame that is dropped.
    pub(crate) fn drop_of(&mut self, from: PortId, frame: &[u8]) -> DropReason {
        let before = self.totals(from);
        assert_eq!(self.send(from, frame), [], "not dropped");
        let after = self.totals(from);
        let count = |totals: &PortTotals, reason| {
            totals.drops().find(|(dropped, _)| *dropped == reason).map_or(0, |(_, count)| count)
        };
        let more = |reason: &DropReason| count(&after, *reason) > count(&before, *reason);
        let mut reasons = DropReason::all().filter(more);
        let reason = reasons.next().expect("a dropped frame is counted");
        assert_eq!((reasons.next(), after.dropped()), (None, before.dropped() + 1), "one drop, one reason");
        reason
    }

    pub(crate) fn totals(&self, id: PortId) -> PortTotals {
        let mut totals = PortTotals::default();
        self.ports[id.index()].add_to(&mut totals);
        totals
    }

    pub(crate) fn counters(&self, id: NetworkId) -> &NetworkCounters {
        &self.networks[id.index()]
    }
}

pub(crate) fn port(index: usize) -> PortId {
    PortId::new(index).expect("below the limit")
}

pub(crate) fn network(index: usize) -> NetworkId {
    NetworkId::new(index).expect("below the limit")
}
