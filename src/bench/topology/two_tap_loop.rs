//! Two taps with every offload and the shortest loop between them: the ceiling of any switch on taps.

use std::time::Duration;

use vswitch_ports::relay::Relay;
use vswitch_ports::{Result, tap};
use vswitch_switch::Device;

use super::namespaces::{INTERFACE, LEFT, Namespace, RIGHT};
use crate::bench::measure::{Side, TWO_TAP_LOOP, Topology};

pub(super) struct TwoTapLoop {
    left: Namespace,
    right: Namespace,
    relay: Relay,
    offloads: String,
}

impl TwoTapLoop {
    pub(super) fn build(mtu: u16) -> Result<Self> {
        let (left, right) = (Namespace::create(LEFT)?, Namespace::create(RIGHT)?);
        let open = |side: &Namespace| side.net.within(|| tap::create(INTERFACE, 1));
        let (left_tap, right_tap) = (open(&left)??, open(&right)??);
        left.configure(mtu)?;
        right.configure(mtu)?;
        let offloads = left_tap.iter().flat_map(|tap| tap.offloads().names().collect::<Vec<_>>());
        let offloads = offloads.collect::<Vec<_>>().join(",");
        let mut taps = left_tap.into_iter().zip(right_tap);
        let (left_tap, right_tap) =
            taps.next().unwrap_or_else(|| unreachable!("a tap is created with one queue at least"));
        let relay = Relay::start(left_tap, right_tap)?;
        Ok(Self { left, right, relay, offloads })
    }
}

impl Topology for TwoTapLoop {
    fn name(&self) -> &str {
        TWO_TAP_LOOP
    }

    fn description(&self) -> String {
        format!("two taps ({}) and a read/write loop in one thread, no switch", self.offloads)
    }

    fn left(&self) -> &dyn Side {
        &self.left
    }

    fn right(&self) -> &dyn Side {
        &self.right
    }

    fn cpu_time(&self) -> Option<Duration> {
        self.relay.cpu_time().ok()
    }
}
