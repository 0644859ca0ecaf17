//! What the control API says, as JSON.

use std::collections::BTreeMap;
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
    pub(crate) network: String,
    pub(crate) container: String,
    pub(crate) interface: String,
    pub(crate) mac_address: String,
    pub(crate) ipv4_address: Option<String>,
    pub(crate) ipv6_address: Option<String>,
    pub(crate) mtu: u16,
    /// `tap` or `tap-plain`.
    pub(crate) driver: String,
    /// What the kernel granted.
    pub(crate) offloads: Vec<String>,
    pub(crate) queues: usize,
    pub(crate) source_guard: bool,
    pub(crate) up: bool,
    /// Why it is down.
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
    pub(crate) container: String,
    pub(crate) interface: String,
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
    /// By reason.
    pub(crate) drops: BTreeMap<String, u64>,
}

/// One of `GET /v1/networks`; `GET /v1/networks/NAME`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// The configuration, every default filled in.
    pub(crate) configuration: serde_json::Value,
    /// Who is on it.
    pub(crate) containers: Vec<Member>,
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
