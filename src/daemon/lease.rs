//! The uplink with an address that DHCP gives: what a lease changes, and what of it is not taken.
//!
//! A server is a stranger on the link. Its lease may give the uplink an address, routers and routes outside; it may
//! not have anything that belongs to the switch's own networks, whose packets would go astray, or to a stranger, with
//! a route of their own.

use std::future::pending;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use vswitch_config::Config;
use vswitch_config::model::{InterfaceUplink, Uplink, UplinkIpv4};
use vswitch_config::names::{InterfaceName, NetworkName};
use vswitch_services::Lease;
use vswitch_wire::MacAddr;

use super::dhcp::Dhcp;
use super::lan::{self, LanKey, LiveUplink};
use super::{Daemon, DaemonError, layer3};

#[cfg(test)]
mod tests;

/// The least that a network with IPv6 must carry (RFC 8200 §5), whatever a server of IPv4 says.
const LEAST_MTU_IPV6: u16 = 1280;

/// Where an uplink by DHCP is.
#[derive(Debug)]
pub(super) struct Leased {
    client: Dhcp,
    /// The lease that is in use.
    lease: Option<Lease>,
    /// Why the one that holds is not.
    refused: Option<String>,
}

impl Daemon {
    /// Begins to ask for the uplink's address, if DHCP is to give it.
    pub(super) fn start_dhcp(&self, mac: MacAddr) -> Result<Option<Leased>, DaemonError> {
        let Uplink::Interface(InterfaceUplink { interface, ipv4: Some(UplinkIpv4::Dhcp), .. }) =
            &self.config.uplink
        else {
            return Ok(None);
        };
        // A host name has no underscore, unlike the name of a switch.
        let hostname = format!("vswitch-{}", self.config.switch.name.replace('_', "-"));
        let client = Dhcp::start(interface.as_str(), mac, hostname)
            .map_err(|cause| DaemonError::Dhcp { interface: interface.clone(), cause })?;
        tracing::info!("uplink {interface}: asking for an address by DHCP");
        Ok(Some(Leased { client, lease: None, refused: None }))
    }

    /// Waits until a lease begins, changes or ends; for ever, where there is no DHCP. May be dropped and called again.
    pub(super) async fn lease_change(&mut self) {
        match self.uplink.as_mut().and_then(|uplink| uplink.leased.as_mut()) {
            Some(leased) => leased.client.change().await,
            None => pending().await,
        }
    }

    /// Uses the lease that holds now, or none.
    pub(super) fn follow_lease(&mut self) {
        let (Some(key), Some(uplink)) = (lan::of_uplink(&self.config.uplink), &mut self.uplink) else {
            return;
        };
        let Some(leased) = &mut uplink.leased else { return };
        let held = leased.client.lease();
        let refused = held.as_ref().and_then(|lease| conflict(&self.config, lease));
        let mut lease = held.filter(|_| refused.is_none());
        let taken = lease.as_mut().map(|lease| take_own_networks(&self.config, lease));
        tell(&key.interface, leased, lease.as_ref(), refused.as_deref());
        leased.refused = refused;
        let before = std::mem::replace(&mut leased.lease, lease);
        // A renewal is nothing that traffic would notice.
        if !matters(before.as_ref(), leased.lease.as_ref()) {
            return;
        }
        for (destination, network) in taken.into_iter().flatten() {
            tracing::warn!("DHCP: a route to {destination} is left out: it is inside network {network}");
        }
        self.adopt_lease(&key);
        // The client announces the address itself (RFC 5227 §2.3).
        self.refresh_layer3();
    }

    /// Makes the uplink's addresses, routes and MTU what configuration and lease say together.
    fn adopt_lease(&mut self, key: &LanKey) {
        let (Some(uplink), Some(lan)) = (&mut self.uplink, self.lans.get(key)) else { return };
        let lease = uplink.leased.as_ref().and_then(|leased| leased.lease.as_ref());
        let (addresses, routers) = lan::configured(&self.config.uplink);
        uplink.addresses = lease.map(|lease| lease.address.into()).into_iter().chain(addresses).collect();
        uplink.routers =
            lease.and_then(|lease| lease.router).map(Into::into).into_iter().chain(routers).collect();
        uplink.mtu = mtu(&self.config.uplink, lan.mtu, lease);
        uplink.routes = lease.map(|lease| lease.routes.clone()).unwrap_or_default();
    }

    /// The state of the uplink, in words that follow its name; `Err`: what it lacks.
    pub(super) fn uplink_state(&self) -> Option<(InterfaceName, Result<Vec<IpNet>, String>)> {
        let key = lan::of_uplink(&self.config.uplink)?;
        let state = match &self.uplink {
            None => Err("its interface is gone".to_owned()),
            Some(LiveUplink { leased: Some(Leased { lease: None, refused, .. }), .. }) => {
                Err(refused.clone().unwrap_or_else(|| "waiting for DHCP".to_owned()))
            }
            Some(uplink) => Ok(uplink.addresses.clone()),
        };
        Some((key.interface, state))
    }
}

/// Whether traffic would notice that the one lease takes the other's place.
fn matters(before: Option<&Lease>, after: Option<&Lease>) -> bool {
    match (before, after) {
        (Some(a), Some(b)) => {
            (a.address, a.router, &a.routes, a.mtu) != (b.address, b.router, &b.routes, b.mtu)
        }
        (None, None) => false,
        _ => true,
    }
}

/// Says what became of the lease.
fn tell(interface: &InterfaceName, before: &Leased, lease: Option<&Lease>, refused: Option<&str>) {
    if let Some(refused) = refused {
        if before.refused.as_deref() != Some(refused) {
            tracing::error!("uplink {interface}: {refused}");
        }
        return;
    }
    match (&before.lease, lease) {
        (old, Some(lease)) if matters(old.as_ref(), Some(lease)) => {
            tracing::info!("uplink {interface}: {}", describe(lease, before.client.time_left(lease)));
        }
        (Some(_), Some(lease)) => {
            tracing::debug!(
                "uplink {interface}: renewed: {}",
                describe(lease, before.client.time_left(lease))
            );
        }
        (Some(old), None) => {
            tracing::warn!("uplink {interface}: lost {}; asking for an address again", old.address);
        }
        (None, _) => {}
    }
}

/// A lease in one line.
fn describe(lease: &Lease, left: Option<Duration>) -> String {
    let router = lease.router.map_or("no router".to_owned(), |router| format!("router {router}"));
    // What is left is a moment less than what was granted.
    let time = left.map_or("for ever".to_owned(), |left| format!("for {} s", left.as_secs_f64().round()));
    format!("{} by DHCP from {}, {router}, {time}", lease.address, lease.server)
}

/// Why a lease cannot be used at all.
fn conflict(config: &Config, lease: &Lease) -> Option<String> {
    let address = lease.address;
    if let Some((network, subnet)) = overlapped(config, address) {
        return Some(format!(
            "DHCP gives {address}, which overlaps {subnet} of network {network}; give the network another `ipam` subnet"
        ));
    }
    // Of the uplink's own addresses this one is not yet among them.
    let own = address.addr();
    config.uplink.addresses().chain(external(config)).any(|taken| taken == own).then(|| {
        format!(
            "DHCP gives {own}, which [uplink.nat] has already; take it out of `addresses` and `one_to_one`"
        )
    })
}

fn external(config: &Config) -> impl Iterator<Item = std::net::IpAddr> {
    config.uplink.nat().into_iter().flat_map(|nat| &nat.one_to_one).map(|pair| pair.external)
}

/// Takes the routes to what is the switch's own out of a lease, and answers them, each with the network it leads into.
fn take_own_networks<'a>(config: &'a Config, lease: &mut Lease) -> Vec<(Ipv4Net, &'a NetworkName)> {
    let mut taken = Vec::new();
    lease.routes.retain(|route| match overlapped(config, route.destination) {
        // One that is wider leads to what is outside of the network only: longer prefixes come first.
        Some((network, subnet)) if route.destination.prefix_len() >= subnet.prefix_len() => {
            taken.push((route.destination, network));
            false
        }
        _ => true,
    });
    taken
}

/// A network that the switch routes for and that shares addresses with `range`.
fn overlapped(config: &Config, range: Ipv4Net) -> Option<(&NetworkName, IpNet)> {
    let routed = config.networks.values().filter(|network| layer3::has_gateway(network));
    let mut subnets = routed.flat_map(|network| network.ipam.iter().map(|ipam| (&network.name, ipam.subnet)));
    subnets.find(|(_, subnet)| match subnet {
        IpNet::V4(subnet) => subnet.contains(&range) || range.contains(subnet),
        IpNet::V6(_) => false,
    })
}

/// The uplink's MTU: the configured one, else the interface's `own` unless the lease has a smaller.
fn mtu(uplink: &Uplink, own: u16, lease: Option<&Lease>) -> u16 {
    let configured = matches!(uplink, Uplink::Interface(InterfaceUplink { mtu: Some(_), .. }));
    match lease.and_then(|lease| lease.mtu).filter(|_| !configured) {
        Some(leased) if uplink.has_ipv6() => leased.max(LEAST_MTU_IPV6).min(own),
        Some(leased) => leased.min(own),
        None => own,
    }
}
