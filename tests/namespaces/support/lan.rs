//! A LAN: an Ethernet switch made of a Linux bridge, hosts on it, and a machine with an interface on it on which a
//! vswitch runs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::Command;

use vswitch_ports::netlink::{InterfaceSettings, Netlink};
use vswitch_ports::netns::NetNs;

use super::stations::{datagrams, echo, found_at, udp};
use super::switch::Switch;
use super::user::User;

/// The interface of the machine on which a vswitch runs.
pub(crate) const PARENT: &str = "parent0";

/// The machine's own addresses there.
pub(crate) const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
pub(crate) const MACHINE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

/// The same, as they are configured there.
pub(crate) const OWN: [&str; 2] = ["192.0.2.9/24", "2001:db8::9/64"];

/// A LAN of `192.0.2.0/24` and `2001:db8::/64`, gone when dropped.
pub(crate) struct Lan {
    wires: NetNs,
    /// Its hosts, `.1` and so on.
    pub(crate) hosts: Vec<NetNs>,
    /// Where the vswitch runs. It forwards packets, as machines with containers do.
    pub(crate) machine: NetNs,
}

/// The address of a host.
pub(crate) fn host(place: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, place + 1)
}

/// Its IPv6 address.
pub(crate) fn host6(place: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(place) + 1)
}

impl Lan {
    /// A LAN with so many hosts, on which the machine has addresses of its own.
    pub(crate) fn new(hosts: u8) -> Self {
        let lan = Self::without_addresses(hosts);
        lan.plug_in_machine(&OWN);
        lan
    }

    /// A LAN whose interface the machine leaves to the vswitch.
    pub(crate) fn for_uplink(hosts: u8) -> Self {
        let lan = Self::without_addresses(hosts);
        lan.plug_in_machine(&[]);
        lan
    }

    fn without_addresses(hosts: u8) -> Self {
        let create = || NetNs::create().unwrap();
        let lan = Self { wires: create(), hosts: (0..hosts).map(|_| create()).collect(), machine: create() };
        lan.wires
            .within(|| {
                let mut netlink = Netlink::open().unwrap();
                netlink.create_bridge("lan").unwrap();
                netlink.configure_interface(&settings("lan", &[])).unwrap();
            })
            .unwrap();
        for (place, netns) in (0..).zip(&lan.hosts) {
            lan.plug_in(netns, "eth0", &format!("host{place}"));
            configure(netns, "eth0", &[&format!("{}/24", host(place)), &format!("{}/64", host6(place))]);
        }
        forward(&lan.machine);
        lan
    }

    /// One more machine, which only has its interface.
    pub(crate) fn another_machine(&self) -> NetNs {
        let machine = NetNs::create().unwrap();
        self.plug_in(&machine, PARENT, "machine2");
        configure(&machine, PARENT, &[]);
        machine
    }

    /// Gives the machine its interface, again after [`unplug_machine`](Self::unplug_machine).
    pub(crate) fn plug_in_machine(&self, addresses: &[&str]) {
        self.plug_in(&self.machine, PARENT, "machine");
        configure(&self.machine, PARENT, addresses);
    }

    /// Takes the machine's interface away.
    pub(crate) fn unplug_machine(&self) {
        self.machine
            .within(|| {
                let mut netlink = Netlink::open().unwrap();
                let index = netlink.link_index(PARENT).unwrap();
                netlink.delete_link(index).unwrap();
            })
            .unwrap();
    }

    /// Has the LAN's switch send back to the machine what is for others there (802.1Qbg), as VEPA asks for.
    pub(crate) fn reflect(&self) {
        let mut shell = Command::new("nsenter");
        shell
            .arg(format!("--net={}", path_of(&self.wires).display()))
            .args(["unshare", "--mount", "sh", "-c"]);
        shell.arg("mount -t sysfs none /sys && echo 1 > /sys/class/net/machine/brport/hairpin_mode");
        assert!(shell.status().unwrap().success(), "hairpin mode");
    }

    /// Bytes that the LAN's switch has had from the machine.
    pub(crate) fn carried_from_machine(&self) -> u64 {
        let link = self.wires.within(|| Netlink::open().unwrap().link("machine").unwrap()).unwrap();
        link.statistics.rx_bytes
    }

    /// The first host and a container reach each other, both ways, of both families, in bulk and in datagrams; the host finds
    /// the container at `mac`.
    #[track_caller]
    pub(crate) fn meets(&self, container: &NetNs, addresses: (Ipv4Addr, Ipv6Addr), mac: [u8; 6]) {
        meet((&self.hosts[0], (host(0), host6(0))), (container, addresses), mac);
    }

    /// The machine and a container do.
    #[track_caller]
    pub(crate) fn machine_meets(&self, container: &NetNs, addresses: (Ipv4Addr, Ipv6Addr), mac: [u8; 6]) {
        meet((&self.machine, (MACHINE, MACHINE6)), (container, addresses), mac);
    }

    fn plug_in(&self, netns: &NetNs, name: &str, port: &str) {
        self.wires
            .within(|| {
                let mut netlink = Netlink::open().unwrap();
                netlink.create_veth(port, name, Some(netns.as_fd())).unwrap();
                netlink.configure_interface(&settings(port, &[])).unwrap();
                let (port, bridge) = (netlink.link_index(port).unwrap(), netlink.link_index("lan").unwrap());
                netlink.set_master(port, Some(bridge)).unwrap();
            })
            .unwrap();
    }

    /// Starts a vswitch on the machine and waits until all its ports are up.
    #[track_caller]
    pub(crate) fn start(&self, text: &str) -> Switch {
        self.launch(text).ready()
    }

    /// Starts a vswitch on the machine that may not come up.
    pub(crate) fn launch(&self, text: &str) -> Switch {
        launch_on(&self.machine, text)
    }
}

/// Starts a vswitch in a namespace.
pub(crate) fn launch_on(machine: &NetNs, text: &str) -> Switch {
    launch_by(machine, text, User::Root, "")
}

/// Starts one there as a user without any privilege.
pub(crate) fn launch_on_as_user(machine: &NetNs, text: &str) -> Switch {
    launch_by(machine, text, User::Ordinary, "setpriv --reuid=65534 --regid=65534 --clear-groups")
}

fn launch_by(machine: &NetNs, text: &str, user: User, become_user: &str) -> Switch {
    let enter = format!("nsenter --net={}", path_of(machine).display());
    Switch::launch_by(user, text, &format!("exec {enter} {become_user} \"$VSWITCH\" run \"$FILE\""))
}

type Station<'a> = (&'a NetNs, (Ipv4Addr, Ipv6Addr));

#[track_caller]
fn meet((outside, (four, six)): Station<'_>, (inside, (inner4, inner6)): Station<'_>, mac: [u8; 6]) {
    const MEGABYTE: usize = 1 << 20;
    echo((inside, outside), four, 4 * MEGABYTE);
    echo((outside, inside), inner4, 4 * MEGABYTE);
    echo((inside, outside), six, MEGABYTE);
    echo((outside, inside), inner6, MEGABYTE);
    datagrams(&udp(inside, inner4), &udp(outside, four));
    datagrams(&udp(outside, six), &udp(inside, inner6));
    assert_eq!(found_at(outside, inner4), mac);
}

/// An uplink on the machine's interface.
pub(crate) fn uplink() -> String {
    format!(
        r#"
        [uplink]
        kind = "interface"
        interface = "{PARENT}"
        ipv4 = "{MACHINE}/24"
        ipv6 = "{MACHINE6}/64"
        gateway = ["{}", "{}"]
        "#,
        host(0),
        host6(0)
    )
}

/// A path by which other processes find a namespace as long as this one holds it.
pub(crate) fn path_of(netns: &NetNs) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd()))
}

/// Settings of an interface: with IPv6 only if it has an IPv6 address.
fn settings(name: &str, addresses: &[&str]) -> InterfaceSettings {
    let addresses: Vec<ipnet::IpNet> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    InterfaceSettings {
        name: name.to_owned(),
        mac: None,
        mtu: 1500,
        txqueuelen: None,
        ipv6: addresses.iter().any(|address| address.addr().is_ipv6()),
        addresses,
        default_gateways: Vec::new(),
        on_link: Vec::new(),
        link_local: true,
        accept_ra: false,
        arp: true,
        loopback: true,
    }
}

fn configure(netns: &NetNs, name: &str, addresses: &[&str]) {
    netns
        .within(|| Netlink::open().unwrap().configure_interface(&settings(name, addresses)).unwrap())
        .unwrap();
}

/// Gives a host on the LAN further addresses, and routers for everything else.
pub(crate) fn extend(netns: &NetNs, addresses: &[&str], routers: &[IpAddr]) {
    let settings =
        InterfaceSettings { default_gateways: routers.to_vec(), ipv6: true, ..settings("eth0", addresses) };
    netns.within(|| Netlink::open().unwrap().configure_interface(&settings).unwrap()).unwrap();
}

/// Makes a namespace pass packets on.
pub(crate) fn forward(netns: &NetNs) {
    let write = || {
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
        }
    };
    netns.within(write).unwrap();
}

/// The MAC address of an interface.
pub(crate) fn mac_of(netns: &NetNs, name: &str) -> [u8; 6] {
    netns.within(|| Netlink::open().unwrap().link(name).unwrap().mac.unwrap()).unwrap()
}
