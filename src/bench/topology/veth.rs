//! A veth pair: the kernel hands frames from one namespace to the other, and nobody switches.

use std::os::fd::AsFd;
use std::time::Duration;

use vswitch_ports::Result;
use vswitch_ports::netlink::Netlink;

use super::namespaces::{INTERFACE, LEFT, Namespace, RIGHT};
use crate::bench::measure::{Side, Topology};

pub(super) struct Veth {
    left: Namespace,
    right: Namespace,
}

impl Veth {
    pub(super) fn build(mtu: u16) -> Result<Self> {
        let (left, right) = (Namespace::create(LEFT)?, Namespace::create(RIGHT)?);
        left.net.within(|| Netlink::open()?.create_veth(INTERFACE, INTERFACE, Some(right.net.as_fd())))??;
        left.configure(mtu)?;
        right.configure(mtu)?;
        Ok(Self { left, right })
    }
}

impl Topology for Veth {
    fn name(&self) -> &str {
        "veth"
    }

    fn description(&self) -> String {
        "a veth pair between the two namespaces, no switch".to_owned()
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
