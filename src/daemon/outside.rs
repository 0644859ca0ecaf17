//! The daemon's part in what leads outside: LANs come and go, and layer 3 follows whatever changed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use vswitch_config::model::{Attachment, Uplink};
use vswitch_config::names::ContainerName;
use vswitch_ports::device::PortDevice;
use vswitch_ports::netlink::Netlink;
use vswitch_switch::fdb::FdbLimits;
use vswitch_switch::parent::Mode;
use vswitch_switch::shard::{Announcement, Chore};
use vswitch_switch::storm::StormLimits;
use vswitch_switch::tables::{BridgeSettings, Port, UnknownUnicast};
use vswitch_switch::{Device, NetworkId, PortId};

use super::container::State;
use super::lan::{self, HostStack, Lan, LanKey, LiveUplink};
use super::layer3::{self, Inventory};
use super::{Daemon, DaemonError, bridge_settings, guard};
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
            trouble: None,
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
        self.fit_mtus(&key, live.mtu);
        self.lans.insert(key, live);
        Ok(())
    }

    /// Gives members no longer packets than their parent carries.
    fn fit_mtus(&mut self, key: &LanKey, mtu: u16) {
        for network in self.config.networks.values_mut() {
            if network.mtu > mtu && lan::of(network).as_ref() == Some(key) {
                tracing::warn!("network {}: mtu {mtu}, as its parent {} has", network.name, key.interface);
                network.mtu = mtu;
            }
        }
    }

    /// Gives every attachment that shares its parent's MAC address just that, again where the parent came back as
    /// another.
    pub(super) fn share_macs(&mut self) {
        let shared = self.lans.iter().filter(|(_, lan)| lan.up && lan.mode == Mode::Shared);
        let shared: HashMap<_, _> = shared.map(|(key, lan)| (key.clone(), lan.mac)).collect();
        let mut changed = Vec::new();
        for (name, spec) in &mut self.config.containers {
            for (place, attachment) in spec.attachments.iter_mut().enumerate() {
                let network = self.config.networks.get(&attachment.network);
                let mac = network.and_then(lan::of).and_then(|key| shared.get(&key));
                if let Some(mac) = mac.filter(|mac| **mac != attachment.mac_address) {
                    attachment.mac_address = *mac;
                    changed.push((name.clone(), place));
                }
            }
        }
        for (name, place) in changed {
            self.change_mac(&name, place);
        }
    }

    /// Gives the interface of an attachment that is up the MAC address that is configured by now.
    fn change_mac(&mut self, name: &ContainerName, place: usize) {
        let (Some(spec), Some(live)) = (self.config.containers.get(name), self.containers.get(name)) else {
            return;
        };
        let attachment = spec.attachments.get(place);
        let (Some(attachment), Some(port), Some(namespaces)) =
            (attachment, live.ports.get(place), &live.namespaces)
        else {
            return;
        };
        let interface = attachment.interface_name.as_str();
        let changed = namespaces.net.within(|| {
            let mut netlink = Netlink::open()?;
            let index = netlink.link_index(interface)?;
            netlink.set_mac(index, attachment.mac_address.octets())
        });
        if let Err(error) = changed.and_then(|changed| changed) {
            tracing::warn!("{name}: {interface} does not get its parent's new MAC address: {error}");
        }
        self.dataplane.set_guard(port.id, guard(attachment));
    }

    /// A LAN's interface is gone. Answers whether the port was one's.
    pub(super) fn lose_lan(&mut self, port: PortId, reason: &str) -> bool {
        let has = |lan: &Lan| lan.wire == port || lan.host == Some(port);
        let Some((key, lan)) = self.lans.iter_mut().find(|(_, lan)| has(lan)) else { return false };
        if std::mem::replace(&mut lan.up, false) {
            tracing::error!("interface {}: {reason}; waiting for it to come back", key.interface);
        }
        lan.stack = HostStack::default();
        let (network, ports) = (lan.network, [Some(lan.wire), lan.host]);
        if self.uplink.as_ref().is_some_and(|uplink| uplink.network == lan.network) {
            self.uplink = None;
        }
        for port in ports.into_iter().flatten() {
            self.dataplane.detach(port);
        }
        // Whoever is there when it comes back need not be who was.
        self.dataplane.forget_neighbors(network);
        self.refresh_layer3();
        true
    }

    /// Whether an interface is gone that may come back.
    pub(super) fn misses_a_lan(&self) -> bool {
        self.lans.values().any(|lan| !lan.up)
    }

    /// Opens the interfaces that are back.
    pub(super) fn watch_lans(&mut self) {
        let is_there = |key: &LanKey| {
            Netlink::open().and_then(|mut netlink| netlink.link_index(key.interface.as_str())).is_ok()
        };
        let back: Vec<_> = self
            .lans
            .iter()
            .filter(|(key, lan)| !lan.up && is_there(key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in back {
            let opened = self.open_lan(key.clone());
            if opened.is_ok() {
                tracing::info!("interface {}: up again", key.interface);
                self.share_macs();
                self.refresh_layer3();
                self.announce_uplink();
                self.announce_members(&key);
            }
            self.report_trouble(&key, opened.err());
        }
    }

    /// Says why an interface that is back is not used, once for each reason.
    fn report_trouble(&mut self, key: &LanKey, error: Option<DaemonError>) {
        let Some(lan) = self.lans.get_mut(key) else { return };
        let trouble = error.map(|error| error.to_string());
        if let Some(trouble) = trouble.as_ref().filter(|_| lan.trouble != trouble) {
            tracing::error!("{trouble}; trying again");
        }
        lan.trouble = trouble;
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

    /// Announces the addresses of everybody on a LAN.
    fn announce_members(&self, key: &LanKey) {
        let on_it = |attachment: &Attachment| {
            self.config.networks.get(&attachment.network).and_then(lan::of).as_ref() == Some(key)
        };
        for (name, spec) in &self.config.containers {
            if spec.attachments.iter().any(on_it) {
                self.announce_addresses(name);
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
