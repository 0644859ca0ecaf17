//! The backends that are measured, each joining two namespaces of the benchmark's own.

mod linux_bridge;
mod linux_router;
pub(crate) mod namespaces;
mod open_vswitch;
mod switch;
mod two_tap_loop;
mod veth;
mod vswitch;
mod vswitch_router;

use super::measure::Topology;
use crate::cli::BackendName;

/// Why a backend cannot be measured here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    /// It is not on this machine, or not for this user: a run over all backends goes on without it.
    #[error("{0}")]
    Absent(String),
    /// It should have worked.
    #[error(transparent)]
    Ports(#[from] vswitch_ports::Error),
    /// It should have worked.
    #[error("{0}")]
    Failed(String),
}

/// Builds a backend, up and forwarding, with interfaces of this MTU.
pub(crate) fn build(backend: BackendName, mtu: u16) -> Result<Box<dyn Topology>, Unavailable> {
    Ok(match backend {
        BackendName::Veth => Box::new(veth::Veth::build(mtu)?),
        BackendName::LinuxBridge => Box::new(linux_bridge::LinuxBridge::build(mtu)?),
        BackendName::TwoTapLoop => Box::new(two_tap_loop::TwoTapLoop::build(mtu)?),
        BackendName::Vswitch => Box::new(vswitch::Vswitch::build(mtu, vswitch::Port::Tap)?),
        BackendName::VswitchPlain => Box::new(vswitch::Vswitch::build(mtu, vswitch::Port::Plain)?),
        BackendName::OpenVswitch => Box::new(open_vswitch::OpenVswitch::build(mtu)?),
        BackendName::LinuxRouter => Box::new(linux_router::LinuxRouter::build(mtu)?),
        BackendName::VswitchRouter => Box::new(vswitch_router::VswitchRouter::build(mtu)?),
    })
}
