//! The daemon's part in what leads outside: LANs come and go, and layer 3 follows whatever changed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use vswitch_config::model::{Network, Uplink};
use vswitch_config::names::ContainerName;
use vswitch_ports::device::PortDevice;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::parent::Mode;
use vswitch_switch::shard::{Announcement, Chore};
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, Port, UnknownUnicast};
use vswitch_switch::{Device, NetworkId, PortId};

use super::container::State;
use super::lan::{self, HostStack, Lan, LanKey, LiveUplink};
use super::layer3::{self, Inventory};
use super::{Daemon, DaemonError, bridge_settings};
use crate::dataplane::{NewPort, Opened};

/// A LAN learns nothing; these are bounds nobody reaches.
const LAN_SETTINGS: BridgeSettings = BridgeSettings {
    fdb: FdbLimits { entries: 1, per_port: 1, ageing: 300 },
    storm: StormLimits { broadcast: Some(10_000), multicast: Some(50_000), unknown_unicast: None },
    unknown_unicast: UnknownUnicast::Drop,
};

impl Daemon {
    /// Opens an interface of the host and puts the switch on its LAN.
    pub(super) fn open_lan(&mut self, key: LanKey) -> Result<(), DaemonError> {
        let member = self.config.networks.values().find(|network| lan::of(network).as_ref() == Some(&key));
        let mode = member.map_or(Mode::Bridge, |network| lan::mode(&network.driver));
        let settings = member.map_or(LAN_SETTINGS, bridge_settings);
        let is_uplink = lan::of_uplink(&self.config.uplink).as_ref() == Some(&key);
        let workers = self.dataplane.workers();
        let opened = match &self.config.uplink {
            Uplink::Interface(uplink) if is_uplink => lan::open_exclusive(uplink, workers),
            Uplink::Tap(uplink) if is_uplink => lan::open_tap(uplink, workers),
            _ => lan::open_shared(&key, mode, workers),
        };
        let failed = |cause| DaemonError::Lan { interface: key.interface.clone(), cause };
        let opened = opened.map_err(failed)?;
        let leased = if is_uplink { self.start_dhcp(opened.mac)? } else { None };

        let known = self.lans.get(&key).map(|lan| (lan.network, lan.wire, lan.host));
        let (network, wire, host) = match known {
            // It was there before the interface went away.
            Some(known) => known,
            None => {
                let opening = Opened { settings, icc: true, layer3_only: false };
                let network = self.dataplane.open_network(opening)?;
                let wire = self.dataplane.add_port()?;
                let host = opened.host.as_ref().map(|_| self.dataplane.add_port()).transpose()?;
                (network, wire, host)
            }
        };
        let port = |id, queues| NewPort {
            id,
            port: Port { network, mtu: opened.mtu, guard: None },
            mac: None,
            queues,
        };
        let mut ports = Vec::new();
        let wire_is = opened.wire.first().map_or("none", PortDevice::driver);
        let offloads = opened.wire.first().map(|device| device.offloads().names().collect());
        if let (Some(id), Some(queues)) = (host, opened.host) {
            ports.push(port(id, queues));
        }
        ports.push(port(wire, opened.wire));
        let stack = opened.stack;
        let live = Lan {
            network,
            wire,
            host,
            mac: opened.mac,
            mtu: opened.mtu,
            mode,
            wire_is,
            offloads: offloads.unwrap_or_default(),
            stack,
            up: true,
        };
        self.dataplane.set_parent(network, Some(live.parent(HashMap::new())));
        self.dataplane.attach(ports)?;
        if is_uplink {
            let (addresses, routers) = lan::configured(&self.config.uplink);
            let (mac, mtu) = (live.mac, live.mtu);
            let routes = Vec::new();
            let uplink = LiveUplink { network, port: wire, mac, mtu, addresses, routers, routes, leased };
            self.uplink = Some(uplink);
        }
        if mode == Mode::Shared {
            self.share_mac(&key, &live);
        }
        self.lans.insert(key, live);
        Ok(())
    }

    /// Gives every attachment of the networks on this LAN its parent's MAC address.
    fn share_mac(&mut self, key: &LanKey, lan: &Lan) {
        let on_it = |network: &&Network| lan::of(network).as_ref() == Some(key);
        let names: Vec<_> =
            self.config.networks.values().filter(on_it).map(|network| network.name.clone()).collect();
        for attachment in self.config.containers.values_mut().flat_map(|spec| &mut spec.attachments) {
            if names.contains(&attachment.network) {
                attachment.mac_address = lan.mac;
            }
        }
    }

    /// A LAN's interface is gone. Answers whether the port was one's.
    pub(super) fn lose_lan(&mut self, port: PortId, reason: &str) -> bool {
        let has = |lan: &Lan| lan.wire == port || lan.host == Some(port);
        let Some((key, lan)) = self.lans.iter_mut().find(|(_, lan)| has(lan)) else { return false };
        if std::mem::replace(&mut lan.up, false) {
            tracing::error!("interface {}: {reason}; waiting for it to come back", key.interface);
        }
        lan.stack = HostStack::default();
        let ports = [Some(lan.wire), lan.host];
        if self.uplink.as_ref().is_some_and(|uplink| uplink.network == lan.network) {
            self.uplink = None;
        }
        for port in ports.into_iter().flatten() {
            self.dataplane.detach(port);
        }
        self.refresh_layer3();
        true
    }

    /// Whether an interface is gone that may come back.
    pub(super) fn misses_a_lan(&self) -> bool {
        self.lans.values().any(|lan| !lan.up)
    }

    /// Opens the interfaces that are back.
    pub(super) fn watch_lans(&mut self) {
        let missing: Vec<_> =
            self.lans.iter().filter(|(_, lan)| !lan.up).map(|(key, _)| key.clone()).collect();
        for key in missing {
            let name = key.interface.clone();
            match self.open_lan(key) {
                Ok(()) => {
                    tracing::info!("interface {name}: up again");
                    self.refresh_layer3();
                    self.announce_uplink();
                }
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }

    /// Tells the dataplane what there is of layer 3 now.
    pub(super) fn refresh_layer3(&mut self) {
        for spec in self.config.containers.values() {
            for port in &spec.ports {
                self.rules.entry((spec.name.clone(), *port)).or_default();
            }
        }
        self.layer3_generation = self.layer3_generation.wrapping_add(1);
        let inventory = Inventory {
            config: &self.config,
            networks: &self.networks,
            containers: &self.containers,
            uplink: self.uplink.as_ref(),
            generation: self.layer3_generation,
            rules: &self.rules,
        };
        let layer3 = inventory.layer3();
        let shared: Vec<_> = self
            .lans
            .values()
            .filter(|lan| lan.mode == Mode::Shared)
            .map(|lan| (lan.network, inventory.addresses_on(lan.network)))
            .collect();
        self.dataplane.set_layer3(layer3);
        for (network, addresses) in shared {
            self.share_addresses(network, addresses);
        }
    }

    /// Tells a LAN, and the filter before the host's stack, whose addresses are behind the parent's MAC address.
    fn share_addresses(&mut self, network: NetworkId, addresses: HashMap<IpAddr, PortId>) {
        let Some(lan) = self.lans.values_mut().find(|lan| lan.network == network) else { return };
        if let Err(error) = lan.stack.set_addresses(addresses.keys().copied()) {
            tracing::warn!("the host may answer for containers that share its MAC address: {error}");
        }
        let parent = lan.parent(addresses);
        self.dataplane.set_parent(network, Some(parent));
    }

    /// Announces a container's addresses where it lives.
    pub(super) fn announce_addresses(&self, name: &ContainerName) {
        let (Some(spec), Some(live)) = (self.config.containers.get(name), self.containers.get(name)) else {
            return;
        };
        if live.state != State::Up {
            return;
        }
        for attachment in &spec.attachments {
            let Some(network) = self.networks.get(&attachment.network) else { continue };
            for (address, mac) in layer3::announced(attachment) {
                self.dataplane.add_chore(Chore::Announce(Announcement { network: *network, address, mac }));
            }
        }
    }

    /// Announces the switch's own addresses on the uplink.
    pub(super) fn announce_uplink(&self) {
        let Some(uplink) = &self.uplink else { return };
        let gateway =
            self.dataplane.tables().network(uplink.network).and_then(|network| network.gateway.clone());
        let own = uplink.addresses.iter().map(IpNet::addr);
        let further = gateway.iter().flat_map(|gateway: &Arc<_>| gateway.answers_for.iter().copied());
        for address in own.chain(further) {
            let announcement = Announcement { network: uplink.network, address, mac: uplink.mac };
            self.dataplane.add_chore(Chore::Announce(announcement));
        }
    }
}
