//! veth pairs as ports: one end is the container's interface, the other is ours.
//!
//! For engines that insist on a veth; a tap does the same with one kernel object less. Our end is in a namespace
//! of the switch's own, where no stack has an address, a route or a neighbour and IPv6 is off, so that the host's
//! stack never meets a container's frames. The namespace ends with the process, and with it the pairs.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use crate::error::{Error, Result};
use crate::netlink::{InterfaceSettings, Netlink};
use crate::netns::NetNs;
use crate::packet::{self, Options, PacketSocket, Side};

/// The largest MTU a veth has; ours has it always, as the container's end is what limits.
const LARGEST_MTU: u32 = 65_535;

/// Where the switch's ends of veth pairs are.
#[derive(Debug)]
pub struct Wiring {
    netns: NetNs,
}

impl Wiring {
    /// A namespace for the ends, empty.
    ///
    /// # Errors
    /// As for [`NetNs::create`].
    pub fn create() -> Result<Self> {
        let netns = NetNs::create()?;
        netns.within(mute)??;
        Ok(Self { netns })
    }

    /// Makes a pair: the interface with these settings in the namespace of the calling thread, and our end as
    /// `queues` sockets. `end` names our end and must differ between pairs: 1 to 15 bytes.
    ///
    /// # Errors
    /// When a name is taken or invalid, or the user may not make interfaces here; or as
    /// [`Netlink::configure_interface`].
    pub fn connect(
        &self,
        settings: &InterfaceSettings,
        end: &str,
        queues: usize,
    ) -> Result<Vec<PacketSocket>> {
        let container = NetNs::current()?;
        self.netns
            .within(|| Netlink::open()?.create_veth(end, &settings.name, Some(container.as_fd())))??;
        let connected = self.netns.within(|| raise(end, queues)).flatten().and_then(|sockets| {
            Netlink::open()?.configure_interface(settings)?;
            // The kernel lets our end send only some time after the other came up; asking waits for that (since
            // Linux 6.8). Until then what we send is lost without a word.
            self.netns.within(|| Netlink::open()?.link(end))??;
            Ok(sockets)
        });
        if connected.is_err() {
            // Half a port is none; the first error says why.
            let _ = self.disconnect(end);
        }
        connected
    }

    /// Removes a pair, for a container whose namespace lives on. Does nothing if it is gone already.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn disconnect(&self, end: &str) -> Result<()> {
        self.netns.within(|| {
            let mut netlink = Netlink::open()?;
            match netlink.link_index(end) {
                Ok(index) => netlink.delete_link(index),
                Err(error) if is_absent(&error) => Ok(()),
                Err(error) => Err(error),
            }
        })?
    }
}

/// Sets our end up and opens it, in the namespace of the calling thread.
fn raise(end: &str, queues: usize) -> Result<Vec<PacketSocket>> {
    Netlink::open()?.configure_interface(&end_settings(end))?;
    packet::open(end, queues, Options { side: Side::Pair, vlan: None })
}

fn is_absent(error: &Error) -> bool {
    error.cause().and_then(io::Error::raw_os_error) == Some(libc::ENODEV)
}

fn end_settings(end: &str) -> InterfaceSettings {
    InterfaceSettings {
        name: end.to_owned(),
        mac: None,
        mtu: LARGEST_MTU,
        txqueuelen: None,
        addresses: Vec::new(),
        default_gateways: Vec::new(),
        on_link: Vec::new(),
        ipv6: false,
        link_local: true,
        accept_ra: false,
        arp: false,
        loopback: false,
    }
}

/// Switches IPv6 off for every interface that will be made in the calling thread's namespace.
fn mute() -> Result<()> {
    const SWITCH: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    match fs::write(SWITCH, "1") {
        Ok(()) => Ok(()),
        // A kernel without IPv6; or a read-only /proc/sys, where each interface goes without a link-local address.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem) => {
            Ok(())
        }
        Err(cause) => Err(Error::File { operation: "write", path: SWITCH.into(), cause }),
    }
}
