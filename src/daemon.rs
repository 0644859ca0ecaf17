//! The daemon: what `vswitch run` is after it has read its configuration.
//!
//! It owns everything that lives as long as the switch: the dataplane, the containers' namespaces and the
//! processes run in them. Change takes one road: the desired configuration is compared with what there is, the
//! difference is a [`plan`], and the plan is [applied](Daemon::apply). Starting is the difference from nothing;
//! a container that is added later, or whose namespace comes back, takes the same steps. Everything is held by
//! descriptors, so however the process ends, the kernel takes it all away with it.

mod container;
mod control;
mod dhcp;
mod files;
mod lan;
mod layer3;
mod lease;
mod outside;
mod plan;
mod report;
mod supervisor;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vswitch_config::model::{
    IpvlanMode, NetworkDriver, NetworkMode, PortDriver, PublishedPort, StormLimit, UnknownUnicast,
};
use vswitch_config::names::{ContainerName, NetworkName};
use vswitch_config::{AllotError, Allotter, Config, model};
use vswitch_ports::veth::Wiring;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::guard::Guard;
use vswitch_switch::nat::RuleCounters;
use vswitch_switch::parent::Mode;
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, Port, UnknownUnicast as Unknown};
use vswitch_switch::{NetworkId, PortId};

pub(crate) use self::control::run;

use self::container::{Live, LivePort, Prepared, State, Workshop};
use self::lan::{Lan, LanKey, LiveUplink};
use self::plan::Plan;
use crate::dataplane::{Dataplane, DataplaneError, NewPort, Opened};
use crate::host;

/// Why the switch, or a part of it, did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    #[error("interface {interface}: {cause}")]
    Lan { interface: vswitch_config::names::InterfaceName, cause: vswitch_ports::Error },
    #[error("uplink {interface}: cannot ask for an address by DHCP: {cause}")]
    Dhcp { interface: vswitch_config::names::InterfaceName, cause: dhcp::StartError },
    #[error("container {container}: {cause}")]
    Container { container: ContainerName, cause: vswitch_ports::Error },
    #[error(transparent)]
    Allot(#[from] AllotError),
    #[error(transparent)]
    Socket(#[from] crate::control_socket::SocketError),
    #[error("cannot {operation}: {cause}")]
    System { operation: &'static str, cause: std::io::Error },
    #[error(transparent)]
    Ports(#[from] vswitch_ports::Error),
    #[error(
        "there is no container named {0} with a command in the configuration; --exit-code-from needs one"
    )]
    NoSuchCommand(String),
}

/// Everything that lives as long as the switch.
pub(crate) struct Daemon {
    /// What is configured, containers added at run time included.
    config: Config,
    allotter: Allotter,
    dataplane: Dataplane,
    networks: BTreeMap<NetworkName, NetworkId>,
    containers: BTreeMap<ContainerName, Live>,
    /// The interfaces of the host that the switch is on.
    lans: HashMap<LanKey, Lan>,
    uplink: Option<LiveUplink>,
    /// Where our ends of veth pairs are, once there is one.
    wiring: Option<Wiring>,
    /// What was counted on each published port, for as long as it is published.
    rules: BTreeMap<(ContainerName, PublishedPort), Arc<RuleCounters>>,
    /// Counts what layer 3 was told.
    layer3_generation: u32,
    rootless: bool,
}

impl Daemon {
    /// A daemon with nothing in it yet.
    fn new(config: Config, dataplane: Dataplane, rootless: bool) -> Self {
        Self {
            allotter: Allotter::new(&config),
            config,
            dataplane,
            networks: BTreeMap::new(),
            containers: BTreeMap::new(),
            lans: HashMap::new(),
            uplink: None,
            wiring: None,
            rules: BTreeMap::new(),
            layer3_generation: 0,
            rootless,
        }
    }

    /// Brings up what the configuration has and the switch has not.
    fn bring_up(&mut self) -> Result<(), DaemonError> {
        let plan = plan::difference(&self.config, &self.lans, &self.networks, &self.containers);
        self.apply(plan)
    }

    fn apply(&mut self, plan: Plan) -> Result<(), DaemonError> {
        for key in plan.open_lans {
            self.open_lan(key)?;
        }
        self.share_macs();
        for name in plan.open_networks {
            self.open_network(name)?;
        }
        let specs: Vec<_> =
            plan.add_containers.iter().filter_map(|name| self.config.containers.get(name)).collect();
        let texts = files::Texts::new(&self.config, &host::resolv_conf());
        let veth =
            |spec: &&model::Container| spec.attachments.iter().any(|on| on.port_driver == PortDriver::Veth);
        if self.wiring.is_none() && specs.iter().any(veth) {
            self.wiring = Some(Wiring::create()?);
        }
        let workshop = Workshop {
            networks: &self.config.networks,
            workers: self.dataplane.workers(),
            texts: &texts,
            wiring: self.wiring.as_ref(),
        };
        let prepared = container::prepare_all(&specs, workshop);
        let mut ports = Vec::new();
        let added = plan.add_containers.clone();
        for (name, prepared) in plan.add_containers.into_iter().zip(prepared) {
            let prepared =
                prepared.map_err(|cause| DaemonError::Container { container: name.clone(), cause })?;
            ports.append(&mut self.settle(name, prepared)?);
        }
        // One snapshot for all of them.
        self.dataplane.attach(ports)?;
        self.refresh_layer3();
        for name in &added {
            self.announce_addresses(name);
        }
        Ok(())
    }

    /// Opens a network of its own, or finds the LAN it is a part of.
    fn open_network(&mut self, name: NetworkName) -> Result<(), DaemonError> {
        let Some(network) = self.config.networks.get(&name) else { return Ok(()) };
        let id = match lan::of(network).and_then(|key| self.lans.get(&key)) {
            Some(lan) => lan.network,
            None => self.dataplane.open_network(Opened {
                settings: bridge_settings(network),
                icc: network.icc,
                layer3_only: matches!(network.driver, NetworkDriver::Ipvlan { mode: IpvlanMode::L3, .. }),
            })?,
        };
        self.networks.insert(name, id);
        Ok(())
    }

    /// Makes a prepared container a live one; its ports come up when they are attached to the dataplane.
    fn settle(&mut self, name: ContainerName, prepared: Prepared) -> Result<Vec<NewPort>, DaemonError> {
        let Prepared { namespaces, ports: prepared } = prepared;
        let mut live = self.containers.remove(&name).unwrap_or_default();
        for file in namespaces.iter().flat_map(|namespaces| namespaces.view.unbound()) {
            tracing::warn!("{name}: the host has no {file}, so the container has none of its own");
        }
        let attachments = self.config.containers.get(&name).map_or(&[][..], |spec| &spec.attachments);
        let mut ports = Vec::with_capacity(attachments.len());
        for (place, (attachment, prepared)) in attachments.iter().zip(prepared).enumerate() {
            let (Some(network), Some(id)) =
                (self.config.networks.get(&attachment.network), self.networks.get(&attachment.network))
            else {
                continue;
            };
            let port = match live.ports.get(place) {
                // It was here before its namespace went away, and keeps its number and counters.
                Some(port) => port.id,
                None => self.dataplane.add_port()?,
            };
            let described = LivePort::describe(port, &prepared);
            match live.ports.get_mut(place) {
                Some(port) => *port = described,
                None => live.ports.push(described),
            }
            ports.push(NewPort {
                id: port,
                port: Port { network: *id, mtu: network.mtu, guard: guard(attachment) },
                // With one MAC address for all, it tells nobody from the others.
                mac: (!shares_mac(network)).then_some(attachment.mac_address),
                queues: prepared.queues,
            });
        }
        live.namespaces = namespaces;
        live.state = State::Up;
        self.containers.insert(name, live);
        Ok(ports)
    }

    /// Adds a container on `network` that lasts as long as the process `pid`.
    fn add_ephemeral(&mut self, network: &str, pid: u32) -> Result<ContainerName, DaemonError> {
        let name = format!("exec-{pid}");
        // Digits and letters only, so it is a valid name.
        let name = name
            .parse::<ContainerName>()
            .unwrap_or_else(|error| unreachable!("{name} is a container name: {error}"));
        let spec = self.allotter.attach_ephemeral(&name, network)?;
        self.config.containers.insert(name.clone(), spec);
        if let Err(error) = self.bring_up() {
            self.remove(&name);
            return Err(error);
        }
        if let Some(live) = self.containers.get_mut(&name) {
            live.ephemeral = true;
        }
        Ok(name)
    }

    /// Takes a container out of the switch for good.
    fn remove(&mut self, name: &ContainerName) {
        if let Some(live) = self.containers.remove(name) {
            for port in live.ports {
                self.dataplane.detach(port.id);
                self.dataplane.remove_port(port.id);
                unplug(self.wiring.as_ref(), port.end.as_deref());
            }
        }
        self.allotter.release(name);
        self.config.containers.remove(name);
        self.rules.retain(|(owner, _), _| owner != name);
        self.refresh_layer3();
    }

    /// Takes a container's ports down; they keep their numbers and counters for when they come back.
    fn take_down(&mut self, name: &ContainerName, reason: &str) {
        let Some(live) = self.containers.get_mut(name) else { return };
        if live.state == State::Up {
            tracing::warn!("{name}: down: {reason}");
            live.state = State::Down { reason: reason.to_owned() };
        }
        // Descriptors would keep a namespace alive that its owner deleted.
        live.namespaces = None;
        for port in &mut live.ports {
            self.dataplane.detach(port.id);
            unplug(self.wiring.as_ref(), port.end.take().as_deref());
        }
        self.refresh_layer3();
    }

    /// The container a port belongs to.
    fn owner(&self, port: PortId) -> Option<ContainerName> {
        let owns = |live: &Live| live.ports.iter().any(|own| own.id == port);
        self.containers.iter().find(|(_, live)| owns(live)).map(|(name, _)| name.clone())
    }

    /// The container whose namespaces `name` uses: itself, or the one its `network_mode` names.
    fn namespace_owner<'a>(&'a self, mut name: &'a ContainerName) -> &'a ContainerName {
        // The configuration's references end.
        while let Some(NetworkMode::Container(target)) =
            self.config.containers.get(name).map(|spec| &spec.network_mode)
        {
            name = target;
        }
        name
    }

    /// Takes down containers whose namespace is gone or another one now, and brings up those whose is back.
    fn watch_namespaces(&mut self) {
        for name in plan::lost_namespaces(&self.config, &self.containers) {
            self.take_down(&name, "its network namespace is gone");
        }
        let back = plan::returned_namespaces(&self.config, &self.containers);
        if back.is_empty() {
            return;
        }
        for name in back {
            let plan = Plan { add_containers: vec![name.clone()], ..Plan::default() };
            match self.apply(plan) {
                Ok(()) => tracing::info!("{name}: up again"),
                Err(error) => self.take_down(&name, &error.to_string()),
            }
        }
    }
}

/// Removes a veth pair whose port is gone; with the container's namespace it may be gone already.
fn unplug(wiring: Option<&Wiring>, end: Option<&str>) {
    if let (Some(wiring), Some(end)) = (wiring, end)
        && let Err(error) = wiring.disconnect(end)
    {
        tracing::warn!("{error}");
    }
}

/// Whether a network's members all have their parent's MAC address.
fn shares_mac(network: &model::Network) -> bool {
    lan::mode(&network.driver) == Mode::Shared
}

/// How the dataplane shall bridge a configured network.
fn bridge_settings(network: &model::Network) -> BridgeSettings {
    let limit = |limit| match limit {
        StormLimit::FramesPerSecond(frames) => Some(frames),
        StormLimit::Off => None,
    };
    BridgeSettings {
        fdb: FdbLimits {
            entries: usize::try_from(network.mac_limit).unwrap_or(usize::MAX),
            per_port: usize::try_from(network.mac_limit_per_port).unwrap_or(usize::MAX),
            ageing: network.mac_ageing,
        },
        storm: StormLimits {
            broadcast: limit(network.storm_control.broadcast),
            multicast: limit(network.storm_control.multicast),
            unknown_unicast: limit(network.storm_control.unknown_unicast),
        },
        unknown_unicast: match network.unknown_unicast {
            UnknownUnicast::Flood => Unknown::Flood,
            UnknownUnicast::Drop => Unknown::Drop,
        },
    }
}

fn guard(attachment: &model::Attachment) -> Option<Guard> {
    attachment.source_guard.then(|| {
        Guard::new(
            attachment.mac_address,
            attachment.ipv4_address.map(|net| net.addr()),
            attachment.ipv6_address.map(|net| net.addr()),
        )
    })
}
