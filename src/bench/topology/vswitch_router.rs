//! This switch as a gateway: a container on a network of its own, and an uplink by which the world is reached.
//!
//! It runs in a namespace that has nothing but the uplink, a veth whose other end is the right side.

use std::os::fd::AsFd;
use std::time::Duration;

use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;

use super::Unavailable;
use super::namespaces::{GATEWAY, INTERFACE, LEFT, Namespace, OUTSIDE, PUBLISHED, WORLD};
use super::switch::Switch;
use crate::bench::measure::{Published, Side, Topology};

/// The interface in the switch's namespace that is given to it.
const UPLINK: &str = "uplink";

pub(super) struct VswitchRouter {
    left: Namespace,
    right: Namespace,
    switch: Switch,
    description: String,
}

impl VswitchRouter {
    pub(super) fn build(mtu: u16) -> Result<Self, Unavailable> {
        let right = Namespace::create(WORLD)?;
        let host = NetNs::create()?;
        host.within(|| -> vswitch_ports::Result<()> {
            let mut netlink = Netlink::open()?;
            netlink.create_veth(UPLINK, INTERFACE, Some(right.net.as_fd()))?;
            let uplink = netlink.link_index(UPLINK)?;
            netlink.set_mtu(uplink, mtu.into())?;
            netlink.set_up(uplink)
        })??;
        right.configure(mtu)?;
        let (switch, status) = Switch::run("router", &configuration(mtu), &host)?;
        let description = format!(
            "vswitch {}, {} worker, a tap ({}) for the container, NAT, uplink of kind \"interface\" on a veth",
            status.version,
            status.workers,
            switch.offloads()?
        );
        let left = switch.container("left", LEFT)?;
        Ok(Self { left, right, switch, description })
    }
}

fn configuration(mtu: u16) -> String {
    let port = PUBLISHED.outside.port();
    let inside = PUBLISHED.inside.port();
    format!(
        "[uplink]\nkind = \"interface\"\ninterface = \"{UPLINK}\"\nipv4 = \"{OUTSIDE}/24\"\ngateway = \"{WORLD}\"\n\
         mtu = {mtu}\n\
         [networks.bench]\nmtu = {mtu}\nipam = [{{ subnet = \"198.18.0.0/24\", gateway = \"{GATEWAY}\" }}]\n\
         [containers.left]\nports = [\"{port}:{inside}\"]\n\
         [containers.left.networks.bench]\nipv4_address = \"{LEFT}\"\n"
    )
}

impl Topology for VswitchRouter {
    fn name(&self) -> &str {
        "vswitch-router"
    }

    fn description(&self) -> String {
        self.description.clone()
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
        self.switch.cpu_time()
    }
}
