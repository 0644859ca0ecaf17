//! The uplink's address by DHCP: got, used, renewed, lost and replaced. The server is the test's own.
//!
//! ```text
//! home: the switch, up0 ── lan0 :outside
//! ```

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use vswitch_ports::netlink::{LOOPBACK_INDEX, Netlink};
use vswitch_ports::netns::NetNs;

use super::support::dhcp_server::{Asked, DECLINE, DISCOVER, DhcpServer, Grant, REQUEST};
use super::support::switch::{Switch, text};
use super::support::{PATIENCE, eventually};

scenarios! {
    as_root: [a_lease_is_used_and_renewed, a_refused_lease_is_replaced, an_address_somebody_has_is_declined],
}

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 60);
/// Somewhere behind the router.
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

const SWITCH: &str = r#"
    [uplink]
    kind = "interface"
    interface = "up0"
    ipv4 = "dhcp"
    ipv6 = "2001:db8:1::10/64"

    [networks.lan]
    ipam = [{ subnet = "10.10.0.0/24" }, { subnet = "fd00:10::/64" }]

    [containers.client]
    networks = ["lan"]
"#;

const LEASE_TIME: u8 = 51;
const RENEWAL_TIME: u8 = 58;
const ROUTER: u8 = 3;
const CLASSLESS_ROUTES: u8 = 121;

/// A lease of a minute on `address`, to be renewed every two seconds. [`SERVER`] is the router.
fn lease(address: Ipv4Addr) -> Grant {
    let number = |seconds: u32| seconds.to_be_bytes().to_vec();
    let options =
        vec![(LEASE_TIME, number(60)), (RENEWAL_TIME, number(2)), (ROUTER, SERVER.octets().to_vec())];
    Grant { address, options }
}

/// The switch's namespace and the one outside.
struct Link {
    home: NetNs,
    outside: NetNs,
}

impl Link {
    fn create() -> Self {
        let link = Self { home: NetNs::create().unwrap(), outside: NetNs::create().unwrap() };
        change(&link.outside, |netlink| {
            netlink.add_address(LOOPBACK_INDEX, "203.0.113.9/32".parse().unwrap())?;
            netlink.set_up(LOOPBACK_INDEX)
        });
        link.join();
        link
    }

    /// Makes the uplink's veth pair.
    fn join(&self) {
        change(&self.home, |netlink| {
            netlink.create_veth("up0", "lan0", Some(self.outside.as_fd()))?;
            let index = netlink.link_index("up0")?;
            netlink.set_up(index)
        });
        change(&self.outside, |netlink| {
            let index = netlink.link_index("lan0")?;
            netlink.set_up(index)?;
            netlink.add_address(index, "192.0.2.1/24".parse().unwrap())?;
            netlink.add_address(index, "2001:db8:1::1/64".parse().unwrap())
        });
    }

    fn cut(&self) {
        change(&self.home, |netlink| {
            let index = netlink.link_index("up0")?;
            netlink.delete_link(index)
        });
    }

    fn serve(&self, grant: Grant) -> DhcpServer {
        DhcpServer::start(&self.outside, SERVER, grant)
    }

    /// Has the container send datagrams to an address outside until one is received there; answers whom it came from.
    #[track_caller]
    fn sent_from(&self, switch: &Switch, to: impl Into<IpAddr>) -> IpAddr {
        let to = to.into();
        let socket = self.outside.within(|| UdpSocket::bind((to, 0))).unwrap().unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = switch.within("client", || UdpSocket::bind(any)).unwrap();
        eventually(&format!("a datagram arrives at {address}"), || {
            // While there is no way, sending fails.
            let _ = client.send_to(b"hello", address);
            socket.recv_from(&mut [0; 8]).ok().map(|(_, from)| from.ip())
        })
    }
}

#[track_caller]
fn change<T: Send>(netns: &NetNs, change: impl FnOnce(&mut Netlink) -> vswitch_ports::Result<T> + Send) -> T {
    netns.within(|| Netlink::open().and_then(|mut netlink| change(&mut netlink))).unwrap().unwrap()
}

fn is_renewal(asked: &Asked, own: Ipv4Addr) -> bool {
    asked.kind == REQUEST && asked.own == own
}

fn a_lease_is_used_and_renewed() {
    let link = Link::create();
    let switch = Switch::launch_at(&link.home, SWITCH);

    // Without a server there is no address yet; what needs none works.
    eventually("the ports are up", || {
        let status = switch.vswitch(&["status", "--json"]);
        text(&status.stdout).contains("\"ports_up\": 1").then_some(())
    });
    let status = switch.vswitch(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let said = text(&status.stdout);
    assert!(said.contains("not ready") && said.contains("uplink up0: waiting for DHCP"), "{said}");
    let six: IpAddr = "2001:db8:1::1".parse().unwrap();
    assert_eq!(link.sent_from(&switch, six), "2001:db8:1::10".parse::<IpAddr>().unwrap());

    let server = link.serve(lease(FIRST));
    let switch = switch.ready();
    let uplink = &switch.json(&["status"])["uplink"];
    assert_eq!(uplink["addresses"], serde_json::json!(["192.0.2.50/24", "2001:db8:1::10/64"]), "{uplink}");
    assert_eq!(link.sent_from(&switch, SERVER), FIRST);
    assert_eq!(link.sent_from(&switch, FAR), FIRST, "by the router");

    // Renewals neither ask nor tell anybody anew, and connections live on.
    let (mut near, mut far) = connection(&link, &switch);
    let before = server.heard().len();
    server.hears("two renewals", 2, |asked| is_renewal(asked, FIRST));
    say(&mut near, &mut far);
    say(&mut far, &mut near);
    let discovers = server.heard()[before..].iter().filter(|asked| asked.kind != REQUEST).count();
    assert_eq!(discovers, 0, "{:?}", server.heard());
    let log = switch.stderr();
    assert_eq!(
        log.matches("192.0.2.50/24 by DHCP from 192.0.2.1, router 192.0.2.1, for ").count(),
        1,
        "{log}"
    );

    // Strangers at the client's port hear nothing, as at any port that is not published.
    let stranger = link.outside.within(|| UdpSocket::bind((SERVER, 0))).unwrap().unwrap();
    stranger.connect((FIRST, 68)).unwrap();
    stranger.send(b"offer").unwrap();
    assert_eq!(link.sent_from(&switch, FAR), FIRST);
    assert!(stranger.take_error().unwrap().is_none(), "no ICMP error");

    // The interface goes and comes back: a new client, a new lease.
    link.cut();
    eventually("it is missed", || {
        text(&switch.vswitch(&["status"]).stdout).contains("uplink up0: its interface is gone").then_some(())
    });
    link.join();
    let switch = switch.ready();
    assert_eq!(link.sent_from(&switch, FAR), FIRST);
    assert_eq!(switch.stop().status.code(), Some(0));
}

fn a_refused_lease_is_replaced() {
    let link = Link::create();
    let server = link.serve(lease(FIRST));
    let switch = Switch::launch_at(&link.home, SWITCH).ready();
    assert_eq!(link.sent_from(&switch, FAR), FIRST);

    // The next renewal is refused. No router any more, but routes: one outside, one into the container's network.
    let routes = [&[24, 203, 0, 113][..], &SERVER.octets(), &[25, 10, 10, 0, 0], &SERVER.octets()].concat();
    let mut second = lease(SECOND);
    second.options.push((CLASSLESS_ROUTES, routes));
    server.grant(second);
    let status = || text(&switch.vswitch(&["status"]).stdout);
    eventually("the other address", || status().contains("192.0.2.60/24").then_some(()));
    assert_eq!(link.sent_from(&switch, FAR), SECOND);
    let log = switch.stderr();
    assert!(log.contains("lost 192.0.2.50/24"), "{log}");
    assert!(log.contains("192.0.2.60/24 by DHCP from 192.0.2.1, no router"), "{log}");
    assert_eq!(log.matches("10.10.0.0/25 is left out").count(), 1, "{log}");
    // The old one is nobody's.
    let stranger = link.outside.within(|| UdpSocket::bind((SERVER, 0))).unwrap().unwrap();
    stranger.send_to(b"anybody?", (FIRST, 9)).unwrap();
    eventually("nobody answers for it", || (arp_state(&link, FIRST) == Some(false)).then_some(()));
    assert_eq!(arp_state(&link, SECOND), Some(true));
}

fn an_address_somebody_has_is_declined() {
    let link = Link::create();
    change(&link.outside, |netlink| {
        let index = netlink.link_index("lan0")?;
        netlink.add_address(index, "192.0.2.50/32".parse().unwrap())
    });
    let server = link.serve(lease(FIRST));
    let switch = Switch::launch_at(&link.home, SWITCH);
    server.hears("a refusal", 1, |asked| asked.kind == DECLINE && asked.address == Some(FIRST));
    let said = text(&switch.vswitch(&["status"]).stdout);
    assert!(said.contains("waiting for DHCP"), "{said}");
    server.grant(lease(SECOND));
    let switch = switch.ready();
    assert_eq!(link.sent_from(&switch, FAR), SECOND);
    assert!(!switch.stderr().contains("192.0.2.50"), "never used: {}", switch.stderr());
    assert!(server.heard().iter().filter(|asked| asked.kind == DISCOVER).count() >= 2);
}

/// What the kernel outside knows of a neighbour: whether it answers; none while it does not know.
fn arp_state(link: &Link, address: Ipv4Addr) -> Option<bool> {
    let table =
        link.outside.within(|| std::fs::read_to_string("/proc/thread-self/net/arp")).unwrap().unwrap();
    let line =
        table.lines().find(|line| line.split_whitespace().next() == Some(&address.to_string()))?.to_owned();
    // ATF_COM: the entry is complete.
    Some(line.split_whitespace().nth(2)? != "0x0")
}

/// A TCP connection of the container to the outside.
fn connection(link: &Link, switch: &Switch) -> (TcpStream, TcpStream) {
    let listener = link.outside.within(|| TcpListener::bind((FAR, 0))).unwrap().unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let near = switch.within("client", || TcpStream::connect_timeout(&address, PATIENCE)).unwrap();
    let (far, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), FIRST);
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    (near, far)
}

fn say(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
}
