//! What the control API says, as JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The switch's name.
    pub(crate) name: String,
    /// Its process.
    pub(crate) pid: u32,
    /// The program's version.
    pub(crate) version: String,
    /// Whether it runs without root.
    pub(crate) rootless: bool,
    /// Dataplane threads.
    pub(crate) workers: usize,
    /// Ports that are up.
    pub(crate) ports_up: usize,
    /// All ports.
    pub(crate) ports: usize,
    /// The way out; none where none is configured.
    pub(crate) uplink: Option<UplinkState>,
    /// Whether every port is up, and the uplink has the address that DHCP is to give.
    pub(crate) ready: bool,
}

/// In [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UplinkState {
    pub(crate) interface: String,
    /// The switch's own, each with the prefix length of its subnet.
    pub(crate) addresses: Vec<String>,
    pub(crate) ready: bool,
    /// Why it is not, as `waiting for DHCP`.
    pub(crate) reason: Option<String>,
}

/// One of `GET /v1/ports`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Port {
    /// Its number in the switch.
    pub(crate) port: String,
    /// `uplink` for the uplink's.
    pub(crate) network: String,
    /// None for a port that leads to a LAN, or to the host's own stack on it.
    pub(crate) container: Option<String>,
    /// Inside the container; of the host for a port without one, with the VLAN behind a dot.
    pub(crate) interface: String,
    pub(crate) mac_address: String,
    pub(crate) ipv4_address: Option<String>,
    pub(crate) ipv6_address: Option<String>,
    pub(crate) mtu: u16,
    /// What carries its frames, such as `tap` and `tap-plain`.
    pub(crate) driver: String,
    /// What the kernel granted.
    pub(crate) offloads: Vec<String>,
    pub(crate) queues: usize,
    pub(crate) source_guard: bool,
    pub(crate) up: bool,
    /// Why it is down; for the uplink's, if it is up, what keeps it from having its address.
    pub(crate) reason: Option<String>,
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
    /// Frames dropped, all reasons together.
    pub(crate) dropped: u64,
}

/// Traffic of a port. A super-frame counts as one frame.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Frames the container sent.
    pub(crate) received_frames: u64,
    pub(crate) received_bytes: u64,
    /// Frames sent to the container.
    pub(crate) sent_frames: u64,
    pub(crate) sent_bytes: u64,
    /// How many of those travelled in a super-frame made of several.
    pub(crate) coalesced_frames: u64,
}

/// One of `GET /v1/fdb`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FdbEntry {
    pub(crate) network: String,
    pub(crate) mac_address: String,
    pub(crate) port: String,
    pub(crate) container: String,
    pub(crate) interface: String,
    /// `static` or `learned`.
    pub(crate) kind: String,
    /// Seconds since it was heard; none for static entries.
    pub(crate) age: Option<u32>,
}

/// `GET /v1/counters`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) networks: Vec<NetworkCounters>,
    pub(crate) ports: Vec<PortCounters>,
    pub(crate) rules: Vec<RuleCounters>,
}

/// What became of connections to a published port or range of ports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RuleCounters {
    pub(crate) container: String,
    /// As in the configuration, with the protocol.
    pub(crate) rule: String,
    /// Connections that were let in.
    pub(crate) accepted: u64,
    /// First packets dropped because of a limit, or because their endpoints are in use already.
    pub(crate) refused: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NetworkCounters {
    pub(crate) network: String,
    /// By counter name.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Drops on all the network's ports, by reason.
    pub(crate) drops: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PortCounters {
    pub(crate) port: String,
    pub(crate) network: String,
    /// None for a port that leads to a LAN.
    pub(crate) container: Option<String>,
    pub(crate) interface: String,
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
    /// By reason.
    pub(crate) drops: BTreeMap<String, u64>,
}

/// One of `GET /v1/neighbors`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Neighbor {
    /// `uplink` for those on the uplink.
    pub(crate) network: String,
    pub(crate) address: String,
    /// None while it is not known.
    pub(crate) mac_address: Option<String>,
    /// `configured`, or found by asking: `incomplete`, `reachable`, `stale`, `delay`, `probe`, `failed`.
    pub(crate) state: String,
    /// Seconds since it was last confirmed, or else made; none for those configured.
    pub(crate) age: Option<u32>,
    /// Whose it is, for those configured.
    pub(crate) container: Option<String>,
}

/// One of `GET /v1/routes`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Route {
    /// Whose table it is in; `uplink` for the one of packets from outside.
    pub(crate) network: String,
    pub(crate) destination: String,
    /// `connected`, `via`, `blackhole`, `unreachable` or `prohibit`.
    pub(crate) kind: String,
    /// One for `connected`, one or several of equal cost for `via`, else none.
    pub(crate) next_hops: Vec<NextHop>,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextHop {
    /// The router; none where the destination lives on the network itself.
    pub(crate) via: Option<String>,
    /// Where that is.
    pub(crate) network: String,
}

/// `GET /v1/conntrack`: one part of the connection table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Connections {
    /// In no order.
    pub(crate) connections: Vec<Connection>,
    /// What to ask for as `from` to get the next part; none after the last.
    pub(crate) next: Option<u32>,
}

/// One tracked connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// The network of its inside end.
    pub(crate) network: String,
    /// The container there; none once it is gone.
    pub(crate) container: Option<String>,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6` or a number.
    pub(crate) protocol: String,
    /// Who began it: `outbound` or `inbound`.
    pub(crate) direction: String,
    /// As its first packet was sent.
    pub(crate) original: Tuple,
    /// As answers to it are sent.
    pub(crate) reply: Tuple,
    /// How far it is.
    pub(crate) state: String,
    /// Seconds since the last packet that kept it alive.
    pub(crate) idle: u32,
    /// Seconds until it is forgotten, if nothing comes.
    pub(crate) remaining: u32,
}

/// Who sends to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Tuple {
    pub(crate) source: IpAddr,
    /// None for protocols without ports.
    pub(crate) source_port: Option<u16>,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: Option<u16>,
    /// Of an ICMP query.
    pub(crate) identifier: Option<u16>,
}

/// One of `GET /v1/containers/NAME/ports`: a published port or range of ports in one family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PublishedPorts {
    /// First and last.
    pub(crate) container_ports: (u16, u16),
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
    /// Where they answer; unspecified: at every address of the family.
    pub(crate) host_ip: IpAddr,
    /// First and last, as many as the container's and in the same order.
    pub(crate) host_ports: (u16, u16),
}

/// One of `GET /v1/networks`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// The configuration, every default filled in.
    pub(crate) configuration: serde_json::Value,
    /// Who is on it.
    pub(crate) containers: Vec<Member>,
}

/// `GET /v1/networks/NAME`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NetworkInFull {
    #[serde(flatten)]
    pub(crate) network: Network,
    /// The switch's own router on it; none where there is none, or a router of the LAN.
    pub(crate) gateway: Option<Gateway>,
    /// That router's table.
    pub(crate) routes: Vec<Route>,
}

/// A network's router.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Gateway {
    pub(crate) mac_address: String,
    /// Each with the prefix length of its subnet.
    pub(crate) addresses: Vec<String>,
    pub(crate) mtu: u16,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) container: String,
    pub(crate) interface: String,
    pub(crate) mac_address: String,
    pub(crate) ipv4_address: Option<String>,
    pub(crate) ipv6_address: Option<String>,
    pub(crate) up: bool,
}

/// One of `GET /v1/containers`; `GET /v1/containers/NAME`; the answer to `POST /v1/containers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// `up`, `down` or, where there is no port to be either, `none`.
    pub(crate) state: String,
    /// Why it is down.
    pub(crate) reason: Option<String>,
    /// Made by `exec --network`, and gone when its process ends.
    pub(crate) ephemeral: bool,
    /// The process of its command, while that runs.
    pub(crate) pid: Option<u32>,
    /// The status its command ended with.
    pub(crate) exit_code: Option<i32>,
    /// Where its namespaces can be joined; none while it is down.
    pub(crate) namespaces: Option<Namespaces>,
    /// Its published ports; none while it is down.
    pub(crate) ports: Vec<PublishedPorts>,
    /// The configuration, every default filled in.
    pub(crate) configuration: serde_json::Value,
}

/// Paths by which a container's namespaces can be joined while the switch runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Namespaces {
    pub(crate) user: Option<PathBuf>,
    pub(crate) net: PathBuf,
    pub(crate) mount: PathBuf,
    pub(crate) uts: PathBuf,
}

/// `POST /v1/containers`: a container on a network for as long as a process runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NewContainer {
    pub(crate) network: String,
    /// The process.
    pub(crate) pid: u32,
}

/// Any answer but 200.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// What failed, on what, why, and what to do.
    pub(crate) error: String,
}
