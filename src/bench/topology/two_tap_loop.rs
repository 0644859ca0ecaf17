//! Two taps with every offload and the shortest loop between them: the ceiling of any switch on taps.
//!
//! The loop is a process of its own, so that it pays for changing address spaces as a switch does.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use vswitch_ports::cpu::cpu_time_of;
use vswitch_ports::netns::NetNs;
use vswitch_ports::process::enter_on_exec;

use super::Unavailable;
use super::namespaces::{LEFT, Namespace, RIGHT};
use crate::bench::measure::{Side, TWO_TAP_LOOP, Topology};

pub(super) struct TwoTapLoop {
    left: Namespace,
    right: Namespace,
    relay: Relay,
    offloads: String,
}

/// The process that copies; ends with this value.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl TwoTapLoop {
    pub(super) fn build(mtu: u16) -> Result<Self, Unavailable> {
        let (left, right) = (Namespace::create(LEFT)?, Namespace::create(RIGHT)?);
        let failed = |error: &dyn std::fmt::Display| {
            Unavailable::Failed(format!("cannot run the two-tap loop: {error}"))
        };
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command.arg("bench-relay").args([left.net.path(), right.net.path()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // For its death with ours.
        enter_on_exec(&mut command, NetNs::current()?.as_fd(), None)?;
        let mut relay = Relay(command.spawn().map_err(|error| failed(&error))?);
        let mut offloads = String::new();
        if let Some(stdout) = relay.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut offloads).map_err(|error| failed(&error))?;
        }
        left.configure(mtu)?;
        right.configure(mtu)?;
        Ok(Self { left, right, relay, offloads: offloads.trim().to_owned() })
    }
}

impl Topology for TwoTapLoop {
    fn name(&self) -> &str {
        TWO_TAP_LOOP
    }

    fn description(&self) -> String {
        format!("two taps ({}) and a read/write loop in a process of one thread, no switch", self.offloads)
    }

    fn left(&self) -> &dyn Side {
        &self.left
    }

    fn right(&self) -> &dyn Side {
        &self.right
    }

    fn cpu_time(&self) -> Option<Duration> {
        cpu_time_of(self.relay.0.id()).ok()
    }
}
