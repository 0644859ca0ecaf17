//! The daemon's state as the control API tells it.

mod lan_ports;
mod published;
mod routing;

use std::collections::BTreeMap;

use serde::Serialize;
use vswitch_config::model::{Attachment, Container, Network, NetworkMode, Uplink};
use vswitch_config::names::ContainerName;
use vswitch_switch::counters::PortTotals;

use super::container::{Live, LivePort, State};
use super::{Daemon, lan};
use crate::api::server::{Answer, Query, Refusal};
use crate::api::types;

/// What the uplink's network is called in output.
const UPLINK: &str = "uplink";

/// Values with commas between, or what stands for none.
fn listed(values: &[String], none: &str) -> String {
    if values.is_empty() { none.to_owned() } else { values.join(", ") }
}

impl Daemon {
    /// Answers a question that changes nothing.
    pub(super) fn report(&self, query: Query) -> Answer {
        match query {
            Query::Status => json(&self.status()),
            Query::Ports { network } => {
                let network = self.known_table(network)?;
                let mut ports = self.container_ports(network.as_deref());
                ports.extend(self.lan_ports(network.as_deref()));
                json(&ports)
            }
            Query::Fdb { network } => json(&self.fdb(self.known(network)?.as_deref())),
            Query::Counters { network } => json(&self.counters(self.known_table(network)?.as_deref())),
            Query::Neighbors { network } => json(&self.neighbors(self.known_table(network)?.as_deref())),
            Query::Routes { network } => json(&self.routes(self.known_table(network)?.as_deref())),
            Query::Conntrack { network, from } => {
                json(&self.connections(self.known_table(network)?.as_deref(), from))
            }
            Query::Networks => {
                json(&self.config.networks.values().map(|n| self.network(n)).collect::<Vec<_>>())
            }
            Query::Network(name) => match self.config.networks.get(name.as_str()) {
                Some(network) => json(&self.network_in_full(network)),
                None => Err(no_such("network", &name, self.config.networks.keys())),
            },
            Query::Containers => {
                json(&self.config.containers.values().map(|c| self.container(c)).collect::<Vec<_>>())
            }
            Query::Container(name) => match self.config.containers.get(name.as_str()) {
                Some(container) => json(&self.container(container)),
                None => Err(no_such("container", &name, self.config.containers.keys())),
            },
            Query::Published(name) => match self.config.containers.get(name.as_str()) {
                Some(container) => json(&self.published_by(container)),
                None => Err(no_such("container", &name, self.config.containers.keys())),
            },
        }
    }

    /// One line per network and container, for whoever started the switch.
    pub(super) fn announce(&self) {
        if let (Some(key), Some(uplink)) = (lan::of_uplink(&self.config.uplink), &self.uplink) {
            let addresses: Vec<_> = uplink.addresses.iter().map(ToString::to_string).collect();
            let routers: Vec<_> = uplink.routers.iter().map(ToString::to_string).collect();
            tracing::info!(
                "uplink {}: {} by router {}",
                key.interface,
                listed(&addresses, "no address yet"),
                listed(&routers, "none")
            );
        }
        for network in self.config.networks.values() {
            let subnets: Vec<_> = network.ipam.iter().map(|ipam| ipam.subnet.to_string()).collect();
            tracing::info!("network {}: {}", network.name, subnets.join(", "));
        }
        for (spec, attachment, _, port) in self.attached(None) {
            let addresses: Vec<_> = addresses(attachment).into_iter().flatten().collect();
            tracing::info!(
                "container {}: {} on {}: {} ({})",
                spec.name,
                attachment.interface_name,
                attachment.network,
                addresses.join(", "),
                port.driver
            );
        }
    }

    /// The processes of commands that run.
    pub(super) fn command_pids(&self) -> Vec<u32> {
        self.containers.values().filter_map(|live| live.pid).collect()
    }

    /// The containers whose commands run.
    pub(super) fn running_commands(&self) -> BTreeMap<ContainerName, u32> {
        self.containers.iter().filter_map(|(name, live)| Some((name.clone(), live.pid?))).collect()
    }

    fn known(&self, network: Option<String>) -> Result<Option<String>, Refusal> {
        match network {
            Some(name) if !self.config.networks.contains_key(name.as_str()) => {
                Err(no_such("network", &name, self.config.networks.keys()))
            }
            network => Ok(network),
        }
    }

    /// As [`known`](Self::known), where what is outside has tables and ports too.
    fn known_table(&self, network: Option<String>) -> Result<Option<String>, Refusal> {
        match network {
            Some(name) if name == UPLINK && self.config.uplink != Uplink::None => Ok(Some(name)),
            network => self.known(network),
        }
    }

    fn status(&self) -> types::Status {
        let ports = self.containers.values().map(|live| live.ports.len()).sum();
        let up = self.containers.values().filter(|live| live.state == State::Up);
        let ports_up = up.map(|live| live.ports.len()).sum();
        let uplink = self.uplink_state().map(|(interface, state)| types::UplinkState {
            interface: interface.to_string(),
            ready: state.is_ok(),
            reason: state.as_ref().err().cloned(),
            addresses: state.unwrap_or_default().iter().map(ToString::to_string).collect(),
        });
        types::Status {
            name: self.config.switch.name.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rootless: self.rootless,
            workers: self.dataplane.workers(),
            ports_up,
            ports,
            ready: ports_up == ports && uplink.as_ref().is_none_or(|uplink| uplink.ready),
            uplink,
        }
    }

    /// Every attachment with its live port, on one network or on all.
    fn attached<'a>(
        &'a self,
        network: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Container, &'a Attachment, &'a Live, &'a LivePort)> {
        let on =
            move |attachment: &Attachment| network.is_none_or(|only| attachment.network.as_str() == only);
        self.containers
            .iter()
            .flat_map(move |(name, live)| {
                let spec = self.config.containers.get(name);
                let attachments =
                    spec.into_iter().flat_map(|spec| spec.attachments.iter().map(move |at| (spec, at)));
                attachments.zip(&live.ports).map(move |((spec, at), port)| (spec, at, live, port))
            })
            .filter(move |(_, attachment, _, _)| on(attachment))
    }

    fn container_ports(&self, network: Option<&str>) -> Vec<types::Port> {
        let describe = |(spec, attachment, live, port): (&Container, &Attachment, &Live, &LivePort)| {
            let totals = self.dataplane.port_totals(port.id);
            let [ipv4_address, ipv6_address] = addresses(attachment);
            types::Port {
                port: port.id.to_string(),
                network: attachment.network.to_string(),
                container: Some(spec.name.to_string()),
                interface: attachment.interface_name.to_string(),
                mac_address: attachment.mac_address.to_string(),
                ipv4_address,
                ipv6_address,
                mtu: self.config.networks.get(&attachment.network).map_or(0, |network| network.mtu),
                driver: port.driver.to_owned(),
                offloads: port.offloads.iter().map(ToString::to_string).collect(),
                queues: port.queues,
                source_guard: attachment.source_guard,
                up: live.state == State::Up,
                reason: reason(live),
                traffic: traffic(&totals),
                dropped: totals.dropped(),
            }
        };
        self.attached(network).map(describe).collect()
    }

    fn fdb(&self, network: Option<&str>) -> Vec<types::FdbEntry> {
        let mut entries = Vec::new();
        for (name, id) in
            self.networks.iter().filter(|(name, _)| network.is_none_or(|only| name.as_str() == only))
        {
            for (spec, attachment, _, port) in self.attached(Some(name.as_str())) {
                entries.push(types::FdbEntry {
                    network: name.to_string(),
                    mac_address: attachment.mac_address.to_string(),
                    port: port.id.to_string(),
                    container: spec.name.to_string(),
                    interface: attachment.interface_name.to_string(),
                    kind: "static".to_owned(),
                    age: None,
                });
            }
            for learned in self.dataplane.learned(*id) {
                let owner =
                    self.attached(Some(name.as_str())).find(|(_, _, _, port)| port.id == learned.port);
                let Some((spec, attachment, _, _)) = owner else { continue };
                entries.push(types::FdbEntry {
                    network: name.to_string(),
                    mac_address: learned.mac.to_string(),
                    port: learned.port.to_string(),
                    container: spec.name.to_string(),
                    interface: attachment.interface_name.to_string(),
                    kind: "learned".to_owned(),
                    age: Some(learned.age),
                });
            }
        }
        entries
    }

    fn counters(&self, only: Option<&str>) -> types::Counters {
        let of_container = |(spec, attachment, _, port): (&Container, &Attachment, &Live, &LivePort)| {
            let totals = self.dataplane.port_totals(port.id);
            types::PortCounters {
                port: port.id.to_string(),
                network: attachment.network.to_string(),
                container: Some(spec.name.to_string()),
                interface: attachment.interface_name.to_string(),
                traffic: traffic(&totals),
                drops: drops(&totals),
            }
        };
        let mut ports: Vec<_> = self.attached(only).map(of_container).collect();
        ports.extend(self.lan_port_counters(only));
        let mut drops_by_network: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        for port in &ports {
            let network_drops = drops_by_network.entry(&port.network).or_default();
            for (reason, count) in &port.drops {
                *network_drops.entry(reason.clone()).or_default() += count;
            }
        }
        let names = self.network_names();
        let mut wanted: Vec<_> =
            names.iter().filter(|(_, name)| only.is_none_or(|only| **name == only)).collect();
        wanted.sort_by_key(|(_, name)| **name);
        let networks = wanted.into_iter().map(|(id, name)| types::NetworkCounters {
            network: (*name).to_owned(),
            counters: self
                .dataplane
                .network_totals(*id)
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            drops: drops_by_network.remove(name).unwrap_or_default(),
        });
        types::Counters { networks: networks.collect(), rules: self.rule_counters(only), ports }
    }

    fn network(&self, network: &Network) -> types::Network {
        let members = self.attached(Some(network.name.as_str())).map(|(spec, attachment, live, _)| {
            let [ipv4_address, ipv6_address] = addresses(attachment);
            types::Member {
                container: spec.name.to_string(),
                interface: attachment.interface_name.to_string(),
                mac_address: attachment.mac_address.to_string(),
                ipv4_address,
                ipv6_address,
                up: live.state == State::Up,
            }
        });
        types::Network {
            name: network.name.to_string(),
            containers: members.collect(),
            configuration: serde_json::to_value(network).unwrap_or_default(),
        }
    }

    fn container(&self, spec: &Container) -> types::Container {
        let nothing = Live::default();
        let live = self.containers.get(&spec.name).unwrap_or(&nothing);
        let state = match live.state {
            _ if spec.attachments.is_empty() => "none",
            State::Up => "up",
            State::Down { .. } => "down",
        };
        types::Container {
            name: spec.name.to_string(),
            state: state.to_owned(),
            reason: reason(live),
            ephemeral: live.ephemeral,
            pid: live.pid,
            exit_code: live.exit_code,
            namespaces: self.namespaces(spec),
            ports: self.published_by(spec),
            configuration: serde_json::to_value(spec).unwrap_or_default(),
        }
    }

    fn namespaces(&self, spec: &Container) -> Option<types::Namespaces> {
        let owner = self.config.containers.get(self.namespace_owner(&spec.name))?;
        if owner.network_mode == NetworkMode::Host {
            let own = |kind: &str| format!("/proc/{}/ns/{kind}", std::process::id()).into();
            return Some(types::Namespaces {
                user: Some(own("user")),
                net: own("net"),
                mount: own("mnt"),
                uts: own("uts"),
            });
        }
        let namespaces = self.containers.get(&owner.name)?.namespaces.as_ref()?;
        let paths = namespaces.view.namespaces(&namespaces.net);
        Some(types::Namespaces { user: paths.user, net: paths.net, mount: paths.mount, uts: paths.uts })
    }
}

fn reason(live: &Live) -> Option<String> {
    match &live.state {
        State::Up => None,
        State::Down { reason } => Some(reason.clone()),
    }
}

fn traffic(totals: &PortTotals) -> types::Traffic {
    types::Traffic {
        received_frames: totals.received_frames,
        received_bytes: totals.received_bytes,
        sent_frames: totals.sent_frames,
        sent_bytes: totals.sent_bytes,
        coalesced_frames: totals.coalesced_frames,
    }
}

fn drops(totals: &PortTotals) -> BTreeMap<String, u64> {
    totals.drops().map(|(reason, count)| (reason.name().to_owned(), count)).collect()
}

/// An attachment's addresses, of IPv4 and of IPv6, each with the prefix length of its subnet.
fn addresses(attachment: &Attachment) -> [Option<String>; 2] {
    [attachment.ipv4_address.map(|net| net.to_string()), attachment.ipv6_address.map(|net| net.to_string())]
}

fn json(value: &impl Serialize) -> Answer {
    serde_json::to_value(value)
        .map_err(|error| Refusal::Failed(format!("cannot put the answer into JSON: {error}")))
}

fn no_such(what: &str, name: &str, known: impl Iterator<Item = impl ToString>) -> Refusal {
    let known: Vec<_> = known.map(|name| name.to_string()).collect();
    let known = if known.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    Refusal::NotFound(format!("there is no {what} named {name}; {known}"))
}
