//! A container as it lives in the switch: its namespaces, its ports, its process.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipnet::IpNet;
use vswitch_config::model::{Attachment, Container, Netns, NetnsRef, Network, NetworkMode, PortDriver};
use vswitch_config::names::NetworkName;
use vswitch_ports::device::PortDevice;
use vswitch_ports::netlink::{InterfaceSettings, Netlink};
use vswitch_ports::netns::NetNs;
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
}

impl LivePort {
    /// Describes a port by its queues, which are all alike.
    pub(super) fn describe(id: PortId, queues: &[PortDevice]) -> Self {
        Self {
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
    /// For each attachment, one device per worker.
    pub(super) queues: Vec<Vec<PortDevice>>,
}

/// Prepares many containers at once, answering in their order: making a namespace is mostly waiting for the
/// kernel, and a hundred must not take a second.
pub(super) fn prepare_all(
    specs: &[&Container],
    networks: &BTreeMap<NetworkName, Network>,
    workers: usize,
    texts: &Texts,
) -> Vec<Result<Prepared>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(specs.len());
    if threads <= 1 {
        return specs.iter().map(|spec| prepare(spec, networks, workers, texts)).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(place) else { return done };
            done.push((place, prepare(spec, networks, workers, texts)));
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

fn prepare(
    spec: &Container,
    networks: &BTreeMap<NetworkName, Network>,
    workers: usize,
    texts: &Texts,
) -> Result<Prepared> {
    let net = match (&spec.network_mode, &spec.netns) {
        (NetworkMode::Host | NetworkMode::Container(_), _) => {
            return Ok(Prepared { namespaces: None, queues: Vec::new() });
        }
        (_, Netns::New) => NetNs::create()?,
        (_, Netns::Existing(NetnsRef::Name(name))) => NetNs::open_name(name)?,
        (_, Netns::Existing(NetnsRef::Path(path))) => NetNs::open_path(path)?,
        (_, Netns::Existing(NetnsRef::Pid(pid))) => NetNs::of_pid(*pid)?,
    };
    let queues = net.within(|| plug_in(spec, networks, workers))??;
    let files = ViewFiles { hosts: &texts.hosts(spec), resolv_conf: &texts.resolv_conf(spec) };
    let view = ContainerView::create(&net, &spec.hostname, &files)?;
    Ok(Prepared { namespaces: Some(Namespaces { net, view }), queues })
}

/// Makes and sets up a container's interfaces, from inside its namespace.
fn plug_in(
    spec: &Container,
    networks: &BTreeMap<NetworkName, Network>,
    workers: usize,
) -> Result<Vec<Vec<PortDevice>>> {
    let mut netlink = Netlink::open()?;
    if spec.attachments.is_empty() {
        netlink.set_up(vswitch_ports::netlink::LOOPBACK_INDEX)?;
    }
    let mut all = Vec::with_capacity(spec.attachments.len());
    for attachment in &spec.attachments {
        let name = attachment.interface_name.as_str();
        let queues = match attachment.port_driver {
            PortDriver::Tap => tap::create(name, workers)?.into_iter().map(PortDevice::Tap).collect(),
            PortDriver::TapPlain => vec![PortDevice::PlainTap(plain_tap::create(name)?)],
            // `ports` has no such device yet.
            PortDriver::Veth => return Err(no_veth(name)),
        };
        let mtu = networks.get(&attachment.network).map_or(1500, |network| network.mtu);
        netlink.configure_interface(&interface_settings(attachment, mtu))?;
        all.push(queues);
    }
    Ok(all)
}

fn no_veth(name: &str) -> vswitch_ports::Error {
    let cause = std::io::ErrorKind::Unsupported.into();
    vswitch_ports::Error::Netlink {
        operation: "make the veth",
        object: name.to_owned(),
        cause,
        explanation: None,
    }
}

fn interface_settings(attachment: &Attachment, mtu: u16) -> InterfaceSettings {
    let ipv4 = attachment.ipv4_address.map(IpNet::V4);
    let ipv6 = attachment.ipv6_address.map(IpNet::V6);
    let gateways = attachment.gateway4.map(Into::into).into_iter().chain(attachment.gateway6.map(Into::into));
    InterfaceSettings {
        name: attachment.interface_name.to_string(),
        mac: Some(attachment.mac_address.octets()),
        mtu: mtu.into(),
        txqueuelen: Some(TXQUEUELEN),
        addresses: ipv4.into_iter().chain(ipv6).collect(),
        default_gateways: gateways.collect(),
        ipv6: ipv6.is_some(),
    }
}
