//! How many connections each attachment has, and whether it is still the one that made them.

use crate::id::PortId;

/// Counts and epochs per port, by index; grows once when a port with a higher number comes.
#[derive(Debug, Default)]
pub(crate) struct Owners(Vec<Owner>);

#[derive(Clone, Copy, Debug, Default)]
struct Owner {
    connections: u32,
    epoch: u16,
}

impl Owners {
    /// The attachment that the port stands for now, as opposed to those it stood for before.
    #[inline]
    pub(crate) fn epoch(&self, port: PortId) -> u16 {
        self.0.get(port.index()).map_or(0, |owner| owner.epoch)
    }

    /// How many connections it has.
    pub(crate) fn connections(&self, port: PortId) -> u32 {
        self.0.get(port.index()).map_or(0, |owner| owner.connections)
    }

    pub(crate) fn count(&mut self, port: PortId) {
        self.entry(port).connections += 1;
    }

    /// Counts a connection off, unless it was an earlier attachment's.
    pub(crate) fn uncount(&mut self, port: PortId, epoch: u16) {
        let owner = self.entry(port);
        if owner.epoch == epoch {
            owner.connections -= 1;
        }
    }

    /// The attachment is gone: what it had is void, and the next one begins at nothing.
    pub(crate) fn end(&mut self, port: PortId) {
        let owner = self.entry(port);
        *owner = Owner { connections: 0, epoch: owner.epoch.wrapping_add(1) };
    }

    fn entry(&mut self, port: PortId) -> &mut Owner {
        if self.0.len() <= port.index() {
            self.0.resize(port.index() + 1, Owner::default());
        }
        &mut self.0[port.index()]
    }
}
