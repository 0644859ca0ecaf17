//! What lies outside a switch: a router on the LAN of its uplink, and a server behind that router.
//!
//! ```text
//! home: the switch, up0 ── lan0 :router: wan0 ── eth0 :far
//! ```
//!
//! All of it is namespaces without a name, which go when the last descriptor does. Root only: an interface uplink loads
//! programs into the kernel, which no user namespace allows.

use std::fs;
use std::net::IpAddr;
use std::os::fd::AsFd;

use ipnet::IpNet;
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;

use super::switch::Switch;

/// The interface in the switch's namespace that is given to it.
pub(crate) const UPLINK: &str = "up0";
/// The router's two interfaces.
pub(crate) const LAN: &str = "lan0";
pub(crate) const WAN: &str = "wan0";
/// The server's.
pub(crate) const FAR: &str = "eth0";

/// The switch's own addresses, IPv4 first as in all pairs here.
pub(crate) const SWITCH: [&str; 2] = ["192.0.2.10", "2001:db8:1::10"];
/// The router's, on the LAN.
pub(crate) const ROUTER: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
/// The router's, towards the server.
const ROUTER_WAN: [&str; 2] = ["198.51.100.1", "2001:db8:2::1"];
/// The server's.
pub(crate) const SERVER: [&str; 2] = ["198.51.100.7", "2001:db8:2::7"];
/// The server's second ones: to the switch, another server.
pub(crate) const OTHER_SERVER: [&str; 2] = ["198.51.100.8", "2001:db8:2::8"];

/// The prefix lengths of all those subnets.
const PREFIXES: [u8; 2] = [24, 64];

/// An `[uplink]` that fits; keys may follow.
pub(crate) const INTERFACE_UPLINK: &str = r#"
    [uplink]
    kind = "interface"
    interface = "up0"
    ipv4 = "192.0.2.10/24"
    ipv6 = "2001:db8:1::10/64"
    gateway = ["192.0.2.1", "2001:db8:1::1"]
"#;

/// Three namespaces and what joins them.
pub(crate) struct World {
    /// Where the switch runs.
    pub(crate) home: NetNs,
    pub(crate) router: NetNs,
    /// The server's.
    pub(crate) far: NetNs,
}

impl World {
    /// With an MTU of 1500 everywhere.
    pub(crate) fn create() -> Self {
        Self::with_far_mtu(1500)
    }

    /// With another MTU on the link between router and server.
    pub(crate) fn with_far_mtu(mtu: u32) -> Self {
        let [home, router, far] = [(); 3].map(|()| NetNs::create().unwrap());
        let world = Self { home, router, far };
        world.join_uplink();
        change(&world.router, |netlink| {
            netlink.create_veth(WAN, FAR, Some(world.far.as_fd()))?;
            let wan = netlink.link_index(WAN)?;
            netlink.set_mtu(wan, mtu)?;
            ROUTER_WAN.iter().zip(PREFIXES).try_for_each(|own| netlink.add_address(wan, net(own)))?;
            netlink.set_up(wan)
        });
        route_packets(&world.router);
        change(&world.far, |netlink| {
            let eth = netlink.link_index(FAR)?;
            netlink.set_mtu(eth, mtu)?;
            let own = SERVER.iter().zip(PREFIXES).chain(OTHER_SERVER.iter().zip(PREFIXES));
            own.into_iter().try_for_each(|own| netlink.add_address(eth, net(own)))?;
            netlink.set_up(eth)?;
            ROUTER_WAN.iter().try_for_each(|router| netlink.add_default_route(ip(router), eth))
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
            ROUTER.iter().zip(PREFIXES).try_for_each(|own| netlink.add_address(lan, net(own)))?;
            netlink.set_up(lan)
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

fn net((address, prefix): (&&str, u8)) -> IpNet {
    IpNet::new(ip(address), prefix).unwrap()
}
