//! The host's own stack on an interface that the switch uses: kept off it, or let in by a door of its own.
//!
//! # Theory of operation
//! A packet socket only listens: the frame goes on to the host's stack, which would answer ARP for any of the
//! host's addresses (Linux answers for all of them on every interface), forward, refuse connections, and send
//! of its own accord (MLD, router solicitations). Programs on the interface's tcx hooks decide otherwise. The
//! incoming hook comes after packet sockets have seen a frame, the outgoing hook before they and the wire do.
//! Frames that our sockets send are told from the host's by their mark
//! ([`WIRE_MARK`](crate::packet::WIRE_MARK), [`HOST_MARK`](crate::packet::HOST_MARK)).
//!
//! - [`Exclusion`]: nothing comes in to the host, nothing of the host's goes out.
//! - [`Door`]: what we send with the host's mark turns round and comes in; for [`Side::Host`](crate::packet::Side).
//! - [`AddressFilter`]: packets for addresses that are ours do not come in, where the host shares its MAC
//!   address with containers and would forward or refuse them.
//!
//! A program hangs on a link, and a link on its descriptor: however the process ends, the host gets its
//! interface back as it was. Other programs on the hooks run as before. Frames that our programs stop count as
//! dropped in the interface's statistics.

mod bpf;
mod program;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use crate::error::{Error, Result};
use crate::netlink::Netlink;
use bpf::Hook;

/// The most addresses one [`AddressFilter`] keeps from the host.
pub const MAX_ADDRESSES: u32 = 64 * 1024;

/// The host's stack kept off an interface, for as long as this lives.
#[derive(Debug)]
pub struct Exclusion {
    _incoming: OwnedFd,
    _outgoing: OwnedFd,
}

impl Exclusion {
    /// Keeps the host's stack off `interface` of the calling thread's namespace.
    ///
    /// # Errors
    /// When the host uses the interface: it has an address (other than an IPv6 link-local one, which is mute from now
    /// on) or belongs to a bridge or bond. Or when the kernel does not let us.
    pub fn attach(interface: &str) -> Result<Self> {
        let index = unused(interface)?;
        let attach = || {
            // Outgoing first: once nothing comes in, the host may begin to look for its neighbours.
            let outgoing = bpf::attach(&bpf::load(&program::pass_only_ours())?, index, Hook::Outgoing)?;
            let incoming = bpf::attach(&bpf::load(&program::drop_all())?, index, Hook::Incoming)?;
            Ok(Self { _incoming: incoming, _outgoing: outgoing })
        };
        attach().map_err(|cause| refused("keep the host's stack off", interface, cause))
    }
}

/// Fails if the host itself uses the interface.
fn unused(interface: &str) -> Result<u32> {
    let in_use = |cause: String, remedy| Error::Interface {
        operation: "take",
        name: interface.to_owned(),
        cause: io::Error::other(cause),
        remedy,
    };
    let mut netlink = Netlink::open()?;
    let link = netlink.link(interface)?;
    if link.master.is_some() {
        let remedy = "take it out (`ip link set … nomaster`)";
        return Err(in_use("it belongs to a bridge or bond".to_owned(), remedy));
    }
    let own = netlink.addresses_of(link.index)?;
    let address = own.into_iter().find(|network| match network.addr() {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    });
    match address {
        None => Ok(link.index),
        Some(network) => Err(in_use(
            format!("the host has its address {network} there"),
            "an uplink is the switch's alone: remove the host's addresses (`ip addr flush dev …`) and whatever sets them",
        )),
    }
}

/// A way for frames of ours into the host's stack, for as long as this lives.
#[derive(Debug)]
pub struct Door {
    _outgoing: OwnedFd,
    _incoming: OwnedFd,
}

impl Door {
    /// Makes `interface` of the calling thread's namespace hand its host what sockets of
    /// [`Side::Host`](crate::packet::Side) send there.
    ///
    /// # Errors
    /// When there is no such interface or the kernel does not let us.
    pub fn attach(interface: &str) -> Result<Self> {
        let index = Netlink::open()?.link_index(interface)?;
        let attach = || {
            let incoming = bpf::attach(&bpf::load(&program::take_mark_off())?, index, Hook::Incoming)?;
            let outgoing = bpf::attach(&bpf::load(&program::turn_round())?, index, Hook::Outgoing)?;
            Ok(Self { _outgoing: outgoing, _incoming: incoming })
        };
        attach().map_err(|cause| refused("open a way to the host on", interface, cause))
    }
}

/// Packets for certain addresses kept from the host, for as long as this lives.
#[derive(Debug)]
pub struct AddressFilter {
    interface: String,
    map: OwnedFd,
    present: HashSet<[u8; 16]>,
    _incoming: OwnedFd,
}

impl AddressFilter {
    /// Begins, without any address, on `interface` of the calling thread's namespace, with frames of `vlan` or
    /// without a tag.
    ///
    /// # Errors
    /// When there is no such interface or the kernel does not let us.
    pub fn attach(interface: &str, vlan: Option<u16>) -> Result<Self> {
        let index = Netlink::open()?.link_index(interface)?;
        let attach = || {
            let map = bpf::address_map(MAX_ADDRESSES)?;
            let program = bpf::load(&program::drop_addressed(&map, vlan))?;
            let incoming = bpf::attach(&program, index, Hook::Incoming)?;
            Ok(Self { interface: interface.to_owned(), map, present: HashSet::new(), _incoming: incoming })
        };
        attach().map_err(|cause| refused("keep containers' packets from the host on", interface, cause))
    }

    /// Keeps packets for these addresses, and no others, from the host; so too ARP requests for them.
    ///
    /// # Errors
    /// When there are more than [`MAX_ADDRESSES`]; some may be missing then.
    pub fn set_addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Result<()> {
        let wanted: HashSet<_> = addresses.into_iter().map(key).collect();
        let change = |present: &mut HashSet<[u8; 16]>, map| {
            for gone in present.extract_if(|address| !wanted.contains(address)) {
                bpf::remove(map, &gone)?;
            }
            for address in &wanted {
                if !present.contains(address) {
                    bpf::insert(map, address)?;
                    present.insert(*address);
                }
            }
            Ok(())
        };
        change(&mut self.present, &self.map).map_err(|cause| Error::Interface {
            operation: "keep containers' packets from the host on",
            name: self.interface.clone(),
            cause,
            remedy: "65536 addresses is the most for one parent",
        })
    }
}

/// Both families as one key: IPv4 as IPv6 has it (RFC 4291 §2.5.5.2).
fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .octets()
}

fn refused(operation: &'static str, interface: &str, cause: io::Error) -> Error {
    let remedy = match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "this takes a BPF program, which needs root on the host (CAP_BPF and CAP_NET_ADMIN, not in a user namespace)"
        }
        Some(libc::ENOSYS) => "the kernel lacks the bpf system call (CONFIG_BPF_SYSCALL)",
        _ => "this takes a BPF program on a tcx hook, which needs Linux 6.6 or later with CONFIG_NET_XGRESS",
    };
    Error::Interface { operation, name: interface.to_owned(), cause, remedy }
}
