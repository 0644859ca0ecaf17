//! The kernel as a gateway, the way container engines set it up: a bridge with the network's address, routing, and
//! nftables that masquerade what leaves and lead a published port to its container.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;
use vswitch_ports::process::enter_on_exec;

use super::Unavailable;
use super::namespaces::{GATEWAY, INTERFACE, LEFT, Namespace, OUTSIDE, PUBLISHED, WORLD};
use crate::bench::measure::{LINUX_ROUTER, Published, Side, Topology};

/// The interfaces of the namespace that routes.
const BRIDGE: &str = "br0";
const INSIDE: &str = "inside";
const UPLINK: &str = "uplink";

pub(super) struct LinuxRouter {
    left: Namespace,
    right: Namespace,
    /// Holds the bridge and the rules.
    _router: NetNs,
    version: String,
}

impl LinuxRouter {
    pub(super) fn build(mtu: u16) -> Result<Self, Unavailable> {
        let version = version()
            .ok_or_else(|| Unavailable::Absent("nftables is not installed (Debian: nftables)".to_owned()))?;
        let (left, right) = (Namespace::create(LEFT)?, Namespace::create(WORLD)?);
        let router = NetNs::create()?;
        router.within(|| -> vswitch_ports::Result<()> {
            let mut netlink = Netlink::open()?;
            netlink.create_bridge(BRIDGE)?;
            let bridge = netlink.link_index(BRIDGE)?;
            netlink.create_veth(INSIDE, INTERFACE, Some(left.net.as_fd()))?;
            let inside = netlink.link_index(INSIDE)?;
            netlink.set_master(inside, Some(bridge))?;
            netlink.create_veth(UPLINK, INTERFACE, Some(right.net.as_fd()))?;
            let uplink = netlink.link_index(UPLINK)?;
            for interface in [inside, uplink] {
                netlink.set_mtu(interface, mtu.into())?;
            }
            for (interface, address) in [(bridge, GATEWAY), (uplink, OUTSIDE)] {
                netlink.add_address(interface, IpNet::V4(Ipv4Net::new_assert(address, 24)))?;
            }
            [inside, bridge, uplink].into_iter().try_for_each(|interface| netlink.set_up(interface))
        })??;
        // A file of the thread's own network namespace, whoever mounted /proc.
        router
            .within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?
            .map_err(|error| Unavailable::Failed(format!("cannot turn on routing: {error}")))?;
        load(&rules(), &router)?;
        left.configure_behind(Some(GATEWAY), mtu)?;
        right.configure(mtu)?;
        Ok(Self { left, right, _router: router, version })
    }
}

fn version() -> Option<String> {
    let answer = Command::new("nft").arg("--version").output().ok()?;
    String::from_utf8_lossy(&answer.stdout).split_whitespace().nth(1).map(str::to_owned)
}

fn rules() -> String {
    let Published { outside, inside } = PUBLISHED;
    format!(
        "table ip nat {{\n\
         chain postrouting {{ type nat hook postrouting priority srcnat; oifname \"{UPLINK}\" masquerade; }}\n\
         chain prerouting {{ type nat hook prerouting priority dstnat; iifname \"{UPLINK}\" tcp dport {} dnat to {inside}; }}\n\
         }}\n",
        outside.port()
    )
}

/// Has nft load `rules` in the namespace `router`.
fn load(rules: &str, router: &NetNs) -> Result<(), Unavailable> {
    let failed = |error: &dyn std::fmt::Display| Unavailable::Failed(format!("cannot run nft: {error}"));
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    enter_on_exec(&mut command, router.as_fd(), None)?;
    let mut process = command.spawn().map_err(|error| failed(&error))?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin.write_all(rules.as_bytes()).map_err(|error| failed(&error))?;
    }
    let answer = process.wait_with_output().map_err(|error| failed(&error))?;
    if answer.status.success() {
        return Ok(());
    }
    // A kernel built without NAT in nftables: nothing this run could change.
    let why = String::from_utf8_lossy(&answer.stderr).lines().next().unwrap_or_default().to_owned();
    Err(Unavailable::Absent(format!("the kernel does not take the rules of nftables: {why}")))
}

impl Topology for LinuxRouter {
    fn name(&self) -> &str {
        LINUX_ROUTER
    }

    fn description(&self) -> String {
        format!(
            "the kernel's bridge, routing and masquerade by nftables {}, a veth pair to each side",
            self.version
        )
    }

    fn left(&self) -> &dyn Side {
        &self.left
    }

    fn right(&self) -> &dyn Side {
        &self.right
    }

    fn published(&self) -> Option<Published> {
        Some(PUBLISHED)
    }

    fn cpu_time(&self) -> Option<Duration> {
        None
    }
}
