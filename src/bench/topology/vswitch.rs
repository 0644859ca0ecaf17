//! This switch with a configuration of two containers on one network.

use std::time::Duration;

use vswitch_ports::netns::NetNs;

use super::Unavailable;
use super::namespaces::{LEFT, Namespace, RIGHT};
use super::switch::Switch;
use crate::bench::measure::{Side, Topology};

/// The kind of port to measure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Tap,
    Plain,
}

pub(super) struct Vswitch {
    left: Namespace,
    right: Namespace,
    switch: Switch,
    port: Port,
    description: String,
}

impl Vswitch {
    pub(super) fn build(mtu: u16, port: Port) -> Result<Self, Unavailable> {
        let driver = if port == Port::Plain { "tap-plain" } else { "tap" };
        let configuration = format!(
            "[networks.bench]\nmtu = {mtu}\nipam = [{{ subnet = \"198.18.0.0/24\", gateway = \"198.18.0.254\" }}]\n\
             [containers.left.networks.bench]\nipv4_address = \"{LEFT}\"\nport = \"{driver}\"\n\
             [containers.right.networks.bench]\nipv4_address = \"{RIGHT}\"\nport = \"{driver}\"\n"
        );
        let (switch, status) = Switch::run(driver, &configuration, &NetNs::current()?)?;
        let description = format!(
            "vswitch {}, {} worker, {driver} ports ({}), source guard on",
            status.version,
            status.workers,
            switch.offloads()?
        );
        let (left, right) = (switch.container("left", LEFT)?, switch.container("right", RIGHT)?);
        Ok(Self { left, right, switch, port, description })
    }
}

impl Topology for Vswitch {
    fn name(&self) -> &str {
        match self.port {
            Port::Tap => "vswitch",
            Port::Plain => "vswitch-plain",
        }
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

    fn cpu_time(&self) -> Option<Duration> {
        self.switch.cpu_time()
    }
}
