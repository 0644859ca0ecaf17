//! The Linux bridge: a veth pair from each side into a third namespace, where the kernel bridges them.

use std::os::fd::AsFd;
use std::time::Duration;

use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;

use super::Unavailable;
use super::namespaces::{INTERFACE, LEFT, Namespace, RIGHT};
use crate::bench::measure::{LINUX_BRIDGE, Side, Topology};

pub(super) struct LinuxBridge {
    left: Namespace,
    right: Namespace,
    /// Holds the bridge.
    _middle: NetNs,
}

impl LinuxBridge {
    pub(super) fn build(mtu: u16) -> Result<Self, Unavailable> {
        let (left, right) = (Namespace::create(LEFT)?, Namespace::create(RIGHT)?);
        let middle = NetNs::create()?;
        middle.within(|| -> vswitch_ports::Result<()> {
            let mut netlink = Netlink::open()?;
            netlink.create_bridge("br0")?;
            let bridge = netlink.link_index("br0")?;
            for (name, side) in [("left", &left), ("right", &right)] {
                netlink.create_veth(name, INTERFACE, Some(side.net.as_fd()))?;
                let port = netlink.link_index(name)?;
                netlink.set_mtu(port, mtu.into())?;
                netlink.set_master(port, Some(bridge))?;
                netlink.set_up(port)?;
            }
            netlink.set_up(bridge)
        })??;
        left.configure(mtu)?;
        right.configure(mtu)?;
        Ok(Self { left, right, _middle: middle })
    }
}

impl Topology for LinuxBridge {
    fn name(&self) -> &str {
        LINUX_BRIDGE
    }

    fn description(&self) -> String {
        "the kernel's bridge, a veth pair to each side".to_owned()
    }

    fn left(&self) -> &dyn Side {
        &self.left
    }

    fn right(&self) -> &dyn Side {
        &self.right
    }

    fn cpu_time(&self) -> Option<Duration> {
        None
    }
}
