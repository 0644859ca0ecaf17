//! What lies outside a switch: a router on the LAN of its uplink, another one behind it, and a server.
//!
//! ```text
//! home: the switch, up0 ── lan0 :router: wan0 ── wan0 :beyond: eth0 ── eth0 :far
//! ```
//!
//! All of it is namespaces without a name, which go when the last descriptor does. An interface uplink loads programs
//! into the kernel, which no user namespace allows, so most of the tests in a world are root's only.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use ipnet::IpNet;
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;

use super::switch::Switch;

/// The interface in the switch's namespace that is given to it.
pub(crate) const UPLINK: &str = "up0";
/// The router's interface on the LAN.
pub(crate) const LAN: &str = "lan0";
/// Both routers' on the link between them.
const WAN: &str = "wan0";
/// The server's, and the second router's towards it.
const FAR: &str = "eth0";

/// The switch's own addresses, IPv4 first as in all pairs here.
pub(crate) const SWITCH: [&str; 2] = ["192.0.2.10", "2001:db8:1::10"];
/// The router's, on the LAN.
pub(crate) const ROUTER: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
/// The link between the routers.
const ROUTER_WAN: [&str; 2] = ["203.0.113.1", "2001:db8:3::1"];
pub(crate) const BEYOND: [&str; 2] = ["203.0.113.2", "2001:db8:3::2"];
/// The second router's, towards the server.
const BEYOND_FAR: [&str; 2] = ["198.51.100.1", "2001:db8:2::1"];
/// The server's.
pub(crate) const SERVER: [&str; 2] = ["198.51.100.7", "2001:db8:2::7"];
/// The server's second ones: to the switch, another server.
pub(crate) const OTHER_SERVER: [&str; 2] = ["198.51.100.8", "2001:db8:2::8"];

/// An `[uplink]` that fits; keys may follow.
pub(crate) const INTERFACE_UPLINK: &str = r#"
    [uplink]
    kind = "interface"
    interface = "up0"
    ipv4 = "192.0.2.10/24"
    ipv6 = "2001:db8:1::10/64"
    gateway = ["192.0.2.1", "2001:db8:1::1"]
"#;

/// Four namespaces and what joins them.
pub(crate) struct World {
    /// Where the switch runs.
    pub(crate) home: NetNs,
    pub(crate) router: NetNs,
    beyond: NetNs,
    /// The server's.
    pub(crate) far: NetNs,
}

impl World {
    /// With an MTU of 1500 everywhere.
    pub(crate) fn create() -> Self {
        Self::around(NetNs::create().unwrap(), 1500)
    }

    /// With another MTU on the link between the routers.
    pub(crate) fn with_narrow_hop(mtu: u32) -> Self {
        Self::around(NetNs::create().unwrap(), mtu)
    }

    /// With a namespace for the switch that is there already.
    pub(crate) fn around(home: NetNs, hop_mtu: u32) -> Self {
        let [router, beyond, far] = [(); 3].map(|()| NetNs::create().unwrap());
        let world = Self { home, router, beyond, far };
        // The kernel tells its own sockets of unreachable hosts by the loopback interface.
        for netns in [&world.home, &world.router, &world.beyond, &world.far] {
            change(netns, |netlink| netlink.link_index("lo").and_then(|lo| netlink.set_up(lo)));
        }
        world.join_uplink();
        change(&world.router, |netlink| netlink.create_veth(WAN, WAN, Some(world.beyond.as_fd())));
        change(&world.beyond, |netlink| netlink.create_veth(FAR, FAR, Some(world.far.as_fd())));
        for (router, own, other) in [(&world.router, ROUTER_WAN, BEYOND), (&world.beyond, BEYOND, ROUTER_WAN)]
        {
            change(router, |netlink| {
                let wan = netlink.link_index(WAN)?;
                netlink.set_mtu(wan, hop_mtu)?;
                settle(netlink, wan, &own)?;
                // Each sends the other what it does not know better itself.
                other.iter().try_for_each(|other| netlink.add_default_route(ip(other), wan))
            });
            route_packets(router);
        }
        change(&world.beyond, |netlink| {
            let eth = netlink.link_index(FAR)?;
            settle(netlink, eth, &BEYOND_FAR)
        });
        change(&world.far, |netlink| {
            let eth = netlink.link_index(FAR)?;
            // The kernel prefers the first IPv4 address, and the last one of IPv6.
            settle(netlink, eth, &[SERVER[0], OTHER_SERVER[0]])?;
            settle(netlink, eth, &[OTHER_SERVER[1], SERVER[1]])?;
            BEYOND_FAR.iter().try_for_each(|router| netlink.add_default_route(ip(router), eth))
        });
        world
    }

    /// Makes the uplink's veth pair, the switch's end of it up and bare.
    pub(crate) fn join_uplink(&self) {
        change(&self.home, |netlink| {
            netlink.create_veth(UPLINK, LAN, Some(self.router.as_fd()))?;
            let uplink = netlink.link_index(UPLINK)?;
            netlink.set_up(uplink)
        });
        change(&self.router, |netlink| {
            let lan = netlink.link_index(LAN)?;
            settle(netlink, lan, &ROUTER)
        });
    }

    /// Has the router send packets for `subnet` to the switch.
    pub(crate) fn route_to_switch(&self, subnet: &str) {
        let subnet: IpNet = subnet.parse().unwrap();
        let via = ip(SWITCH[usize::from(subnet.addr().is_ipv6())]);
        change(&self.router, |netlink| {
            let lan = netlink.link_index(LAN)?;
            netlink.add_route(subnet, Some(via), lan)
        });
    }

    /// A switch at home, all its ports up.
    pub(crate) fn switch(&self, text: &str) -> Switch {
        Switch::launch_at(&self.home, text).ready()
    }
}

/// Changes the interfaces of a namespace from inside.
#[track_caller]
pub(crate) fn change<T: Send>(
    netns: &NetNs,
    change: impl FnOnce(&mut Netlink) -> vswitch_ports::Result<T> + Send,
) -> T {
    netns.within(|| Netlink::open().and_then(|mut netlink| change(&mut netlink))).unwrap().unwrap()
}

/// Has the kernel of a namespace route, and report every error rather than a few in a second.
pub(crate) fn route_packets(netns: &NetNs) {
    set(netns, "ipv4/ip_forward", "1");
    set(netns, "ipv6/conf/all/forwarding", "1");
    set(netns, "ipv4/icmp_ratelimit", "0");
    set(netns, "ipv6/icmp/ratelimit", "0");
}

/// Sets one of a namespace's `/proc/sys/net`, which shows each thread its own.
pub(crate) fn set(netns: &NetNs, name: &str, value: &str) {
    netns.within(|| fs::write(format!("/proc/sys/net/{name}"), value)).unwrap().unwrap();
}

/// An address written in a test.
#[track_caller]
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Any address of the family of `like`.
pub(crate) fn any(like: &str, port: u16) -> SocketAddr {
    let any = if ip(like).is_ipv6() { "::" } else { "0.0.0.0" };
    SocketAddr::new(ip(any), port)
}

/// Gives an interface addresses and sets it up.
fn settle(netlink: &mut Netlink, index: u32, addresses: &[&str]) -> vswitch_ports::Result<()> {
    for address in addresses {
        let address = ip(address);
        let prefix = if address.is_ipv6() { 64 } else { 24 };
        netlink.add_address(index, IpNet::new(address, prefix).unwrap())?;
    }
    netlink.set_up(index)
}
