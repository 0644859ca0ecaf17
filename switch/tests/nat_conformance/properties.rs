//! What holds whatever comes: a translation and that of the answer undo each other, and mappings behave as a plain
//! map would.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vswitch_switch::DropReason;
use vswitch_switch::address::{Endpoint, Tuple};
use vswitch_switch::nat::{Filtering, Origin, Packet, Query};
use vswitch_wire::protocol;

use super::world::{ACK, FIN, RST, SYN, World, applied, at, external, inside, owner, publish, tuple};

const PROTOCOLS: [u8; 6] =
    [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ICMP, protocol::ICMPV6, protocol::ESP];

/// A packet between one of a few hosts and one of a few strangers.
#[derive(Clone, Copy, Debug)]
struct Flow {
    protocol: u8,
    v6: bool,
    host: u8,
    port: u16,
    stranger: u8,
    strangers_port: u16,
}

impl Flow {
    fn tuple(self) -> Tuple {
        let ip = |v4: [u8; 4], v6: u16, last: u8| {
            if self.v6 {
                IpAddr::V6(Ipv6Addr::new(v6, 0, 0, 0, 0, 0, 0, last.into()))
            } else {
                IpAddr::V4(Ipv4Addr::new(v4[0], v4[1], v4[2], last))
            }
        };
        let (port, strangers_port) = match self.protocol {
            protocol::ESP => (0, 0),
            protocol::ICMP | protocol::ICMPV6 => (self.port, self.port),
            _ => (self.port, self.strangers_port),
        };
        let source = at(ip([10, 0, 0, 0], 0xfd00, self.host), port);
        let destination = at(ip([198, 51, 100, 0], 0x2001, self.stranger), strangers_port);
        tuple(self.protocol, source, destination)
    }

    fn packet(self, outbound: bool, tuple: Tuple, tcp_flags: u8) -> Packet {
        let icmp = matches!(self.protocol, protocol::ICMP | protocol::ICMPV6);
        let query = if outbound { Query::Request } else { Query::Reply };
        Packet { tuple, tcp_flags, icmp_query: icmp.then_some(query) }
    }
}

fn flow() -> impl Strategy<Value = Flow> {
    let hosts = (2u8..5, 1024u16..1030);
    let strangers = (1u8..4, 1u16..4);
    (0..PROTOCOLS.len(), any::<bool>(), hosts, strangers).prop_map(|(protocol, v6, host, stranger)| Flow {
        protocol: PROTOCOLS[protocol],
        v6,
        host: host.0,
        port: host.1,
        stranger: stranger.0,
        strangers_port: stranger.1,
    })
}

fn filtering() -> impl Strategy<Value = Filtering> {
    prop_oneof![
        Just(Filtering::EndpointIndependent),
        Just(Filtering::AddressDependent),
        Just(Filtering::AddressAndPortDependent)
    ]
}

/// What a NAT with endpoint-independent mappings has to know, naively.
#[derive(Default)]
struct Model {
    publics: HashMap<(u8, Endpoint), Endpoint>,
    sent: HashSet<(u8, Endpoint, Endpoint)>,
}

impl Model {
    fn inside_of(&self, protocol: u8, public: Endpoint) -> Option<Endpoint> {
        let found = self.publics.iter().find(|((of, _), other)| *of == protocol && **other == public);
        found.map(|((_, inside), _)| *inside)
    }

    fn admits(&self, filtering: Filtering, protocol: u8, inside: Endpoint, from: Endpoint) -> bool {
        self.sent.iter().any(|(of, sender, to)| {
            let exact = *to == from;
            let passes = match filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => to.address == from.address,
                Filtering::AddressAndPortDependent => exact,
            };
            (*of, *sender) == (protocol, inside) && passes
        })
    }
}

proptest! {
    /// Nothing expires and nothing is full: every packet that leaves has one way back, the same mapping every time,
    /// and nobody else's.
    #[test]
    fn translations_are_undone_and_mappings_are_a_map(
        steps in prop::collection::vec((flow(), any::<bool>()), 1..120),
        filtering in filtering(),
        seed: u64,
    ) {
        let mut world = World::with_seed(seed);
        world.rules.filtering = filtering;
        let mut model = Model::default();
        for (flow, outbound) in steps {
            let tuple = flow.tuple();
            let (protocol, sender, stranger) = (flow.protocol, tuple.source, tuple.destination);
            let has_ports = protocol != protocol::ESP;
            if outbound {
                let translated = world.translate(inside(sender), &flow.packet(true, tuple, SYN));
                let Ok(translated) = translated else {
                    prop_assert!(!has_ports, "{:?} for {:?}", translated, tuple);
                    prop_assert_eq!(translated.err(), Some(DropReason::NoExternalPort));
                    continue;
                };
                let left = applied(tuple, &translated);
                let answer = flow.packet(false, left.reversed(), SYN | ACK);
                let back = world.translate(Origin::Outside, &answer).unwrap();
                prop_assert_eq!(applied(answer.tuple, &back), tuple.reversed());
                prop_assert_eq!(back.to, Some(super::world::network(0)));
                if has_ports {
                    let known = *model.publics.entry((protocol, sender)).or_insert(left.source);
                    prop_assert_eq!(left.source, known, "endpoint-independent");
                    let owners = model.publics.iter()
                        .filter(|((of, _), public)| *of == protocol && **public == left.source).count();
                    prop_assert_eq!(owners, 1, "no overloading");
                    model.sent.insert((protocol, sender, if flow.protocol == protocol::ICMP || flow.protocol == protocol::ICMPV6 { Endpoint { port: 0, ..stranger } } else { stranger }));
                }
            } else if has_ports {
                // A stranger tries the outside endpoint that the host's port would have, if it were free.
                let public = Endpoint { port: sender.port, ..if flow.v6 { at("2001:db8::1".parse::<IpAddr>().unwrap(), 0) } else { external(0) } };
                let icmp = matches!(protocol, protocol::ICMP | protocol::ICMPV6);
                let from = if icmp { Endpoint { port: public.port, ..stranger } } else { stranger };
                let packet = flow.packet(false, Tuple { source: from, destination: public, ..tuple }, SYN);
                let arrived = world.translate(Origin::Outside, &packet).map(|done| applied(packet.tuple, &done).destination);
                let known = if icmp { Endpoint { port: 0, ..from } } else { from };
                let expected = match model.inside_of(protocol, public) {
                    None => Err(DropReason::NotPublished),
                    Some(to) if model.admits(filtering, protocol, to, known) => {
                        // A reply that was let in without a request is no connection.
                        let exact = model.sent.contains(&(protocol, to, known));
                        if icmp && !exact { Err(DropReason::NotAConnection) } else { Ok(to) }
                    }
                    Some(_) => Err(DropReason::Filtered),
                };
                prop_assert_eq!(arrived, expected, "{:?}", packet);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet from inside with these TCP flags, and whether it is answered.
    Out(Flow, u8, bool),
    /// A packet from inside to an outside endpoint of ours.
    Hairpin(Flow, u16),
    /// A packet from outside to one of ours.
    In(Flow, u8),
    Wait(u64),
    Tend(usize),
    Gone(u8),
    Rules(u8),
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(SYN), 1 => Just(SYN | ACK), 2 => Just(ACK), 1 => Just(FIN | ACK), 1 => Just(RST), 1 => any::<u8>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (flow(), flags(), any::<bool>()).prop_map(|(flow, flags, answered)| Step::Out(flow, flags, answered)),
        3 => (flow(), 1022u16..1034).prop_map(|(flow, port)| Step::Hairpin(flow, port)),
        4 => (flow(), flags()).prop_map(|(flow, flags)| Step::In(flow, flags)),
        2 => (0u64..400).prop_map(Step::Wait),
        2 => (0usize..40).prop_map(Step::Tend),
        1 => (2u8..5).prop_map(Step::Gone),
        1 => (0u8..8).prop_map(Step::Rules),
    ]
}

proptest! {
    /// Tables are small, rules change, attachments go: nothing panics, limits hold, what leaves finds back, and no
    /// two connections look the same from either side.
    #[test]
    fn whatever_comes(steps in prop::collection::vec(step(), 1..200), seed: u64) {
        let mut world = World::with_seed(seed);
        world.rules.max_connections = 20;
        world.rules.max_half_open = 6;
        world.rules.max_per_port = 12;
        world.rules.ports = 1024..=1031;
        for step in steps {
            match step {
                Step::Wait(seconds) => world.now += seconds,
                Step::Tend(budget) => { world.nat.tend(&world.rules, world.time(), budget); }
                Step::Gone(host) => world.nat.remove_owner(owner(host.into())),
                Step::Rules(which) => {
                    // Without the housekeeping that follows: packets come in between.
                    world.rules.generation += 1;
                    world.rules.filtering = if which & 1 == 0 { Filtering::EndpointIndependent } else { Filtering::AddressDependent };
                    let rules = if which & 2 == 0 { vec![] } else { vec![publish(1025, 1024)] };
                    world.rules.published = vswitch_switch::nat::Published::new(rules).unwrap();
                    world.rules.external[0] = if which & 4 == 0 { [192, 0, 2, 1] } else { [192, 0, 2, 2] }.into();
                }
                Step::In(flow, flags) => {
                    let from = flow.tuple();
                    let to = Endpoint { port: flow.port, ..external(0) };
                    let icmp = matches!(flow.protocol, protocol::ICMP | protocol::ICMPV6);
                    if !flow.v6 {
                        let source = if icmp { Endpoint { port: to.port, ..from.destination } } else { from.destination };
                        let tuple = Tuple { source, destination: to, ..from };
                        let _ = world.translate(Origin::Outside, &flow.packet(false, tuple, flags));
                    }
                }
                Step::Hairpin(flow, port) => {
                    if !flow.v6 {
                        let icmp = matches!(flow.protocol, protocol::ICMP | protocol::ICMPV6);
                        let mut tuple = flow.tuple();
                        tuple.destination = external(if icmp { tuple.source.port } else { port });
                        if let Ok(there) = world.translate(inside(tuple.source), &flow.packet(true, tuple, SYN)) {
                            if there.to.is_none() {
                                // Not one of ours under today's rules.
                                continue;
                            }
                            let sent = applied(tuple, &there);
                            let reply = flow.packet(false, sent.reversed(), SYN | ACK);
                            let back = world.translate(inside(sent.destination), &reply);
                            prop_assert_eq!(back.map(|back| applied(reply.tuple, &back)), Ok(tuple.reversed()));
                        }
                    }
                }
                Step::Out(flow, flags, answered) => {
                    let tuple = flow.tuple();
                    if let Ok(left) = world.translate(inside(tuple.source), &flow.packet(true, tuple, flags)) {
                        prop_assert!(world.activity.touch(left.connection, world.now as u32));
                        let sent = applied(tuple, &left);
                        if answered {
                            let reply = flow.packet(false, sent.reversed(), ACK);
                            let back = world.translate(Origin::Outside, &reply);
                            prop_assert_eq!(back.map(|back| applied(reply.tuple, &back)), Ok(tuple.reversed()));
                        }
                    }
                }
            }
            prop_assert!(world.nat.len() <= 20);
            let entries = world.entries();
            let half_open = entries.iter().filter(|entry| entry.state.name().starts_with("syn")).count();
            prop_assert!(half_open <= 6);
            let from_inside: HashSet<_> = entries.iter().map(|entry| if entry.outbound { entry.original } else { entry.reply }).collect();
            let from_outside: HashSet<_> = entries.iter().map(|entry| if entry.outbound { entry.reply } else { entry.original }).collect();
            prop_assert_eq!((from_inside.len(), from_outside.len()), (entries.len(), entries.len()));
        }
        world.wait(20_000);
        prop_assert!(world.nat.is_empty());
    }
}
