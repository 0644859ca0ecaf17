//! The only room of vswitch with `unsafe` and system calls.
//!
//! Everything here works both for root and for an ordinary user inside a user namespace that the process made
//! itself ([`userns`]), needs a kernel of 6.1 or later, and reports failure as an [`Error`] that names what to do.
//!
//! - [`netns`]: network namespaces held by descriptors.
//! - [`userns`]: running without root.
//! - [`view`]: what a container's processes see beside the network.
//! - [`process`]: starting commands in a container's namespaces.
//! - [`descendants`]: watching, ending and reaping processes.
//! - [`cpu`]: which CPUs there are, and how much of them was used.
//! - [`device`], [`tap`], [`plain_tap`], [`virtio`]: what frames come from and go to.
//! - [`packet`]: interfaces that are there already.
//! - [`veth`]: veth pairs as ports.
//! - [`dhcp_socket`]: what a DHCP client sends and receives by.
//! - [`host_stack`]: the host's own stack kept off such an interface.
//! - [`relay`]: two taps joined without a switch, the ceiling that benches compare with.
//! - [`socket`]: options of ordinary sockets that the standard library does not have.
//! - [`netlink`]: interfaces, addresses and routes.

pub mod cpu;
pub mod descendants;
pub mod device;
pub mod dhcp_socket;
pub mod error;
pub mod host_stack;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod plain_tap;
pub mod process;
pub mod relay;
pub mod socket;
pub mod tap;
pub mod userns;
pub mod veth;
pub mod view;
pub mod virtio;

pub use error::{Error, Result};
