//! A container as it lives in the switch: its namespaces, its ports, its process.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use vswitch_config::model::{
    Attachment, Container, IpvlanMode, Netns, NetnsRef, Network, NetworkDriver, NetworkMode, PortDriver,
};
use vswitch_config::names::NetworkName;
use vswitch_ports::device::PortDevice;
use vswitch_ports::netlink::{InterfaceSettings, Netlink};
use vswitch_ports::netns::NetNs;
use vswitch_ports::veth::Wiring;
use vswitch_ports::view::{ContainerView, ViewFiles};
use vswitch_ports::{Result, plain_tap, tap};
use vswitch_switch::{Device, PortId};

use super::files::Texts;

/// Frames a tap may queue towards the switch. The kernel's default of 1000 overflows at one TCP window of
/// MTU-sized frames, which collapses throughput where offloads are missing.
const TXQUEUELEN: u32 = 5000;

/// A container in the switch.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Its namespaces; none for `network_mode` `host` and `container:`, and while it is down.
    pub(super) namespaces: Option<Namespaces>,
    /// One for each attachment, in the same order.
    pub(super) ports: Vec<LivePort>,
    pub(super) state: State,
    /// Whether it lasts only as long as a process.
    pub(super) ephemeral: bool,
    /// The process of its command, while that runs.
    pub(super) pid: Option<u32>,
    /// How its command ended.
    pub(super) exit_code: Option<i32>,
}

/// Whether a container's ports work.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// They do.
    #[default]
    Up,
    /// They do not.
    Down { reason: String },
}

/// The namespaces a container's processes live in.
#[derive(Debug)]
pub(super) struct Namespaces {
    pub(super) net: NetNs,
    pub(super) view: ContainerView,
}

/// A port, and what its device turned out to be.
#[derive(Debug)]
pub(super) struct LivePort {
    pub(super) id: PortId,
    pub(super) driver: &'static str,
    pub(super) offloads: Vec<&'static str>,
    pub(super) queues: usize,
    /// Our end of a veth pair, by name.
    pub(super) end: Option<String>,
}

impl LivePort {
    /// Describes a port by its queues, which are all alike.
    pub(super) fn describe(id: PortId, PreparedPort { queues, end }: &PreparedPort) -> Self {
        Self {
            end: end.clone(),
            id,
            driver: queues.first().map_or("none", PortDevice::driver),
            offloads: queues.first().map(|device| device.offloads().names().collect()).unwrap_or_default(),
            queues: queues.len(),
        }
    }
}

/// A container's namespaces and devices, made but not yet in the switch.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) namespaces: Option<Namespaces>,
    /// One for each attachment.
    pub(super) ports: Vec<PreparedPort>,
}

/// The devices of an attachment.
#[derive(Debug)]
pub(super) struct PreparedPort {
    /// One device per worker.
    pub(super) queues: Vec<PortDevice>,
    /// Our end of a veth pair, by name.
    pub(super) end: Option<String>,
}

impl PreparedPort {
    fn of(queues: Vec<PortDevice>) -> Self {
        Self { queues, end: None }
    }
}

/// What containers are prepared with.
#[derive(Clone, Copy)]
pub(super) struct Workshop<'a> {
    pub(super) networks: &'a BTreeMap<NetworkName, Network>,
    /// How many queues each port needs.
    pub(super) workers: usize,
    pub(super) texts: &'a Texts,
    /// Where our ends of veth pairs go; there is one if any container has such a port.
    pub(super) wiring: Option<&'a Wiring>,
}

/// Prepares many containers at once, answering in their order: making a namespace is mostly waiting for the
/// kernel, and a hundred must not take a second.
pub(super) fn prepare_all(specs: &[&Container], workshop: Workshop<'_>) -> Vec<Result<Prepared>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(specs.len());
    if threads <= 1 {
        return specs.iter().map(|spec| workshop.prepare(spec)).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(place) else { return done };
            done.push((place, workshop.prepare(spec)));
        }
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, prepared)| prepared).collect()
}

impl Workshop<'_> {
    fn prepare(&self, spec: &Container) -> Result<Prepared> {
        let net = match (&spec.network_mode, &spec.netns) {
            (NetworkMode::Host | NetworkMode::Container(_), _) => {
                return Ok(Prepared { namespaces: None, ports: Vec::new() });
            }
            (_, Netns::New) => NetNs::create()?,
            (_, Netns::Existing(NetnsRef::Name(name))) => NetNs::open_name(name)?,
            (_, Netns::Existing(NetnsRef::Path(path))) => NetNs::open_path(path)?,
            (_, Netns::Existing(NetnsRef::Pid(pid))) => NetNs::of_pid(*pid)?,
        };
        let ports = net.within(|| self.plug_in(spec))??;
        let files = ViewFiles { hosts: &self.texts.hosts(spec), resolv_conf: &self.texts.resolv_conf(spec) };
        let view = ContainerView::create(&net, &spec.hostname, &files)?;
        Ok(Prepared { namespaces: Some(Namespaces { net, view }), ports })
    }

    /// Makes and sets up a container's interfaces, from inside its namespace.
    fn plug_in(&self, spec: &Container) -> Result<Vec<PreparedPort>> {
        let mut netlink = Netlink::open()?;
        if spec.attachments.is_empty() {
            netlink.set_up(vswitch_ports::netlink::LOOPBACK_INDEX)?;
        }
        let mut all = Vec::with_capacity(spec.attachments.len());
        for attachment in &spec.attachments {
            let name = attachment.interface_name.as_str();
            let settings = interface_settings(attachment, self.networks.get(&attachment.network));
            let port = match (attachment.port_driver, self.wiring) {
                (PortDriver::TapPlain, _) => {
                    PreparedPort::of(vec![PortDevice::PlainTap(plain_tap::create(name)?)])
                }
                (PortDriver::Veth, Some(wiring)) => {
                    let end = next_end();
                    let sockets = wiring.connect(&settings, &end, self.workers)?;
                    let queues = sockets.into_iter().map(PortDevice::Packet).collect();
                    PreparedPort { queues, end: Some(end) }
                }
                (PortDriver::Tap | PortDriver::Veth, _) => PreparedPort::of(
                    tap::create(name, self.workers)?.into_iter().map(PortDevice::Tap).collect(),
                ),
            };
            if port.end.is_none() {
                netlink.configure_interface(&settings)?;
            }
            all.push(port);
        }
        Ok(all)
    }
}

/// A name for our end of a veth pair, another one each time.
fn next_end() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("port{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn interface_settings(attachment: &Attachment, network: Option<&Network>) -> InterfaceSettings {
    let ipv4 = attachment.ipv4_address.map(IpNet::V4);
    let ipv6 = attachment.ipv6_address.map(IpNet::V6);
    let gateways = attachment.gateway4.map(Into::into).into_iter().chain(attachment.gateway6.map(Into::into));
    let everything4 = attachment.default_on_device4.then(|| IpNet::V4(Ipv4Net::default()));
    let everything6 = attachment.default_on_device6.then(|| IpNet::V6(Ipv6Net::default()));
    let driver = network.map(|network| &network.driver);
    InterfaceSettings {
        name: attachment.interface_name.to_string(),
        mac: Some(attachment.mac_address.octets()),
        mtu: network.map_or(1500, |network| network.mtu).into(),
        txqueuelen: Some(TXQUEUELEN),
        addresses: ipv4.into_iter().chain(ipv6).collect(),
        default_gateways: gateways.collect(),
        on_link: everything4.into_iter().chain(everything6).collect(),
        ipv6: ipv6.is_some(),
        // All members of such a network have one MAC address, and would have one link-local address.
        link_local: !matches!(driver, Some(NetworkDriver::Ipvlan { .. })),
        // The routes are those of the configuration, by `gw_priority`.
        accept_ra: false,
        // Where everything is routed there is nobody to ask.
        arp: !matches!(driver, Some(NetworkDriver::Ipvlan { mode: IpvlanMode::L3, .. })),
        loopback: true,
    }
}
