//! Who can reach whom: every container and the outside call everybody, by every address there is for them, and each
//! call ends as the configuration says it must.
//!
//! The expectation is a function of the configuration, below; the calls are TCP connections, and who is called says its
//! name. Calls that must fail are made first. So, when all that must succeed have, those are known to have failed too,
//! without waiting for any time.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use vswitch_ports::netns::NetNs;

use super::support::PATIENCE;
use super::support::switch::Switch;
use super::support::talk::listen;
use super::support::world::{INTERFACE_UPLINK, SERVER, SWITCH, World, ip};

scenarios! {
    as_root: [who_can_reach_whom],
}

/// A network, as far as it matters here.
struct Network {
    name: &'static str,
    /// Its subnets are 10.N.0.0/24 and fd00:N::/64.
    number: u8,
    keys: &'static str,
    internal: bool,
    icc: bool,
    /// Its members keep their addresses outside.
    untranslated: bool,
    /// The network that its `routes` lead to, and whose lead back.
    routed_to: Option<&'static str>,
}

const PLAIN: Network = Network {
    name: "plain",
    number: 11,
    keys: "",
    internal: false,
    icc: true,
    untranslated: false,
    routed_to: None,
};
const NETWORKS: [Network; 6] = [
    PLAIN,
    Network { name: "inner", number: 12, keys: "internal = true", internal: true, ..PLAIN },
    Network { name: "quiet", number: 13, keys: "icc = false", icc: false, ..PLAIN },
    Network { name: "bare", number: 14, keys: "nat = \"none\"", untranslated: true, ..PLAIN },
    Network {
        name: "east",
        number: 15,
        keys: "routes = [{ destination = \"10.16.0.0/24\", via = \"network:west\" }, \
               { destination = \"fd00:16::/64\", via = \"network:west\" }]",
        routed_to: Some("west"),
        ..PLAIN
    },
    Network {
        name: "west",
        number: 16,
        keys: "routes = [{ destination = \"10.15.0.0/24\", via = \"network:east\" }, \
               { destination = \"fd00:15::/64\", via = \"network:east\" }]",
        routed_to: Some("east"),
        ..PLAIN
    },
];

/// What everybody listens on.
const PORT: u16 = 80;

/// Who calls, and who is called.
#[derive(Clone, Copy)]
enum Party {
    Outside,
    /// A container on a network, the first or second of two; the first publishes its port where that is allowed.
    Member(&'static Network, u8),
}

/// How somebody is called.
#[derive(Clone, Copy)]
enum Way {
    /// By their own address.
    Direct(Party),
    /// By the switch's address outside and a port.
    Published(Party),
    /// By the caller's own gateway and that port.
    ByGateway(Party),
}

/// The rules. Published ports are reachable for whoever reaches the outside, and nothing else is from outside;
/// networks are apart, save where a route joins them.
fn reaches(caller: Party, way: Way) -> bool {
    let has_way_out = match caller {
        Party::Outside => true,
        Party::Member(network, _) => !network.internal,
    };
    match (caller, way) {
        (_, Way::Direct(Party::Outside)) => has_way_out,
        (Party::Outside, Way::Direct(called @ Party::Member(network, _))) => {
            network.untranslated && called.publishes()
        }
        (Party::Member(from, _), Way::Direct(Party::Member(to, _))) => {
            if from.name == to.name {
                from.icc
            } else {
                from.routed_to == Some(to.name)
            }
        }
        (_, Way::Published(called) | Way::ByGateway(called)) => has_way_out && called.publishes(),
    }
}

fn who_can_reach_whom() {
    let world = World::create();
    let switch = world.switch(&configuration());
    for network in &NETWORKS {
        // So that it is the switch that keeps the outside out.
        world.route_to_switch(&format!("10.{}.0.0/24", network.number));
        world.route_to_switch(&format!("fd00:{}::/64", network.number));
    }
    let parties: Vec<Called> = Party::all().map(|party| Called::start(party, &switch, &world)).collect();
    for family in 0..2 {
        let mut calls: Vec<Call> = Call::all(family).collect();
        for must_succeed in [false, true] {
            for call in calls.iter_mut().filter(|call| reaches(call.caller, call.way) == must_succeed) {
                let from = parties.iter().find(|party| party.name == call.caller.name()).unwrap();
                call.make(&from.netns);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while calls.iter().any(Call::is_awaited) && Instant::now() < deadline {
            parties.iter().for_each(Called::answer);
            calls.iter_mut().for_each(Call::listen);
            std::thread::yield_now();
        }
        let table = table(&calls);
        assert!(calls.iter().all(Call::is_right), "(+ reaches, . does not, ! should, X should not)\n{table}");
    }
    switch.stop();
}

fn configuration() -> String {
    let mut text = INTERFACE_UPLINK.to_owned();
    for Network { name, number, keys, .. } in &NETWORKS {
        writeln!(
            text,
            "[networks.{name}]\n{keys}\n\
             ipam = [{{ subnet = \"10.{number}.0.0/24\" }}, {{ subnet = \"fd00:{number}::/64\" }}]"
        )
        .unwrap();
    }
    text.push_str("[containers]\n");
    for party in Party::all() {
        let Party::Member(network, place) = party else { continue };
        let name = party.name();
        let ports =
            if party.publishes() { format!("\"{}:{PORT}\"", party.public_port()) } else { String::new() };
        let number = network.number;
        writeln!(
            text,
            "{name} = {{ ports = [{ports}], networks = {{ {} = {{ ipv4_address = \"10.{number}.0.10{place}\", \
             ipv6_address = \"fd00:{number}::10{place}\" }} }} }}",
            network.name
        )
        .unwrap();
    }
    text
}

impl Party {
    fn all() -> impl Iterator<Item = Self> {
        let members = NETWORKS.iter().flat_map(|network| [1, 2].map(|place| Self::Member(network, place)));
        [Self::Outside].into_iter().chain(members)
    }

    fn name(self) -> String {
        match self {
            Self::Outside => "outside".to_owned(),
            Self::Member(network, place) => format!("{}{place}", network.name),
        }
    }

    fn publishes(self) -> bool {
        matches!(self, Self::Member(network, 1) if !network.internal)
    }

    /// The port outside that is its own, whether it publishes it or not.
    fn public_port(self) -> u16 {
        match self {
            Self::Outside => PORT,
            Self::Member(network, place) => 8000 + u16::from(network.number) * 10 + u16::from(place),
        }
    }

    fn address(self, family: usize) -> String {
        match (self, family) {
            (Self::Outside, family) => SERVER[family].to_owned(),
            (Self::Member(network, place), 0) => format!("10.{}.0.10{place}", network.number),
            (Self::Member(network, place), _) => format!("fd00:{}::10{place}", network.number),
        }
    }

    /// The address of its gateway; of the outside's there is none that is the switch's.
    fn gateway(self, family: usize) -> Option<String> {
        match (self, family) {
            (Self::Outside, _) => None,
            (Self::Member(network, _), 0) => Some(format!("10.{}.0.1", network.number)),
            (Self::Member(network, _), _) => Some(format!("fd00:{}::1", network.number)),
        }
    }
}

/// Somebody who answers calls with their name.
struct Called {
    name: String,
    netns: NetNs,
    listener: TcpListener,
}

impl Called {
    fn start(party: Party, switch: &Switch, world: &World) -> Self {
        let name = party.name();
        let netns = match party {
            Party::Outside => NetNs::open_path(&world.far.path()).unwrap(),
            Party::Member(..) => switch.netns(&name),
        };
        let listener = listen(&netns, "[::]:80".parse::<SocketAddr>().unwrap());
        listener.set_nonblocking(true).unwrap();
        Self { name, netns, listener }
    }

    /// Answers whoever has called.
    fn answer(&self) {
        while let Ok((mut caller, _)) = self.listener.accept() {
            // Those who do not wait for it were not to get here, and are found out by the bytes.
            let _ = caller.write_all(self.name.as_bytes());
        }
    }
}

/// One cell of the matrix.
struct Call {
    caller: Party,
    way: Way,
    family: usize,
    stream: Option<TcpStream>,
    answer: Option<String>,
}

impl Call {
    fn all(family: usize) -> impl Iterator<Item = Self> {
        Party::all().flat_map(move |caller| {
            let ways = Party::all()
                .flat_map(|called| [Way::Direct(called), Way::Published(called), Way::ByGateway(called)]);
            let new = move |way| Self { caller, way, family, stream: None, answer: None };
            ways.map(new).filter(|call| call.target().is_some())
        })
    }

    /// Whom to call; `None` where there is no such address, or the call would not leave the caller.
    fn target(&self) -> Option<SocketAddr> {
        let (address, port) = match self.way {
            Way::Direct(called) if called.name() == self.caller.name() => return None,
            Way::Direct(called) => (called.address(self.family), PORT),
            Way::Published(Party::Outside) | Way::ByGateway(Party::Outside) => return None,
            Way::Published(called) => (SWITCH[self.family].to_owned(), called.public_port()),
            Way::ByGateway(called) => (self.caller.gateway(self.family)?, called.public_port()),
        };
        Some(SocketAddr::new(ip(&address), port))
    }

    fn make(&mut self, from: &NetNs) {
        let to = self.target().unwrap();
        let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = from.within(|| socket_with(family, SocketType::STREAM, flags, None)).unwrap().unwrap();
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => self.stream = Some(socket.into()),
            // It has failed already, as a call without a route does.
            Err(_) => {}
        }
    }

    /// Takes the answer, if one has come.
    fn listen(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = [0; 32];
        match stream.read(&mut buffer) {
            Ok(length) => self.answer = Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return,
            Err(_) => {}
        }
        self.stream = None;
    }

    fn is_awaited(&self) -> bool {
        self.stream.is_some() && reaches(self.caller, self.way)
    }

    fn is_right(&self) -> bool {
        let (Way::Direct(called) | Way::Published(called) | Way::ByGateway(called)) = self.way;
        self.answer == reaches(self.caller, self.way).then(|| called.name())
    }

    fn sign(&self) -> String {
        match (self.is_right(), &self.answer) {
            (true, Some(_)) => "+".to_owned(),
            (true, None) => ".".to_owned(),
            (false, None) => "!".to_owned(),
            (false, Some(name)) => format!("X{name}"),
        }
    }
}

/// The matrix: a line for each caller, three columns for each called: direct, published, by gateway.
fn table(calls: &[Call]) -> String {
    let mut text = format!("{:>10}", "");
    for called in Party::all() {
        write!(text, " {:<9}", called.name()).unwrap();
    }
    for caller in Party::all() {
        write!(text, "\n{:>10}", caller.name()).unwrap();
        for called in Party::all() {
            let of_cell = calls.iter().filter(|call| {
                let (Way::Direct(one) | Way::Published(one) | Way::ByGateway(one)) = call.way;
                call.caller.name() == caller.name() && one.name() == called.name()
            });
            let signs: Vec<String> = of_cell.map(Call::sign).collect();
            write!(text, " {:<9}", signs.join(" ")).unwrap();
        }
    }
    text
}
