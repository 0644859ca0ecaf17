//! What the configuration says, as the dataplane reads it: an immutable snapshot, swapped whole.
//!
//! Workers share one [`Tables`] and look at it once per batch. Whoever changes the configuration builds a new
//! one, giving each network that changed a new generation; flow cache entries of other networks stay valid.

use std::collections::HashMap;

use vswitch_wire::MacAddr;

use crate::fdb::FdbLimits;
use crate::guard::Guard;
use crate::id::{NetworkId, PortId};
use crate::storm::StormLimits;

/// A snapshot of every port and network.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    ports: Vec<Option<Port>>,
    networks: Vec<Option<Network>>,
}

/// A port as configured.
#[derive(Clone, Debug)]
pub struct Port {
    /// The network it belongs to.
    pub network: NetworkId,
    /// The longest L3 packet it carries, in bytes.
    pub mtu: u16,
    /// Whose sources it may use; `None` when the guard is switched off.
    pub guard: Option<Guard>,
}

/// What a network does with a frame whose destination nobody is known to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownUnicast {
    /// Copy it to every port, within storm control.
    Flood,
    /// Drop it.
    Drop,
}

/// How a network bridges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BridgeSettings {
    /// The learned table's size and ageing.
    pub fdb: FdbLimits,
    /// Limits on flooded traffic.
    pub storm: StormLimits,
    /// What becomes of unknown destinations.
    pub unknown_unicast: UnknownUnicast,
}

/// A network as configured.
#[derive(Clone, Debug)]
pub struct Network {
    /// Changes with every change of this network's ports or settings; never 0.
    pub generation: u32,
    /// How it bridges.
    pub settings: BridgeSettings,
    /// Its ports that are up: the flood list.
    pub members: Vec<PortId>,
    /// Static FDB entries: the configured attachments' addresses. They neither age nor move.
    pub static_macs: HashMap<MacAddr, PortId>,
}

impl Tables {
    /// Sets or clears a port.
    pub fn set_port(&mut self, id: PortId, port: Option<Port>) {
        place(&mut self.ports, id.index(), port);
    }

    /// Sets or clears a network.
    pub fn set_network(&mut self, id: NetworkId, network: Option<Network>) {
        place(&mut self.networks, id.index(), network);
    }

    /// The port, if there is one.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(id.index())?.as_ref()
    }

    /// The network, if there is one.
    #[inline]
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(id.index())?.as_ref()
    }
}

fn place<T>(table: &mut Vec<Option<T>>, index: usize, value: Option<T>) {
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    table[index] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_found_until_it_is_cleared() {
        let id = |index| PortId::new(index).unwrap();
        let mut tables = Tables::default();
        assert!(tables.port(id(7)).is_none());
        tables.set_port(id(7), Some(Port { network: NetworkId::FIRST, mtu: 1500, guard: None }));
        assert_eq!(tables.port(id(7)).map(|port| port.mtu), Some(1500));
        assert!(tables.port(id(6)).is_none() && tables.port(id(8)).is_none());

        let before = tables.clone();
        tables.set_port(id(7), None);
        assert!(tables.port(id(7)).is_none());
        assert!(before.port(id(7)).is_some(), "a snapshot does not change");
    }
}
