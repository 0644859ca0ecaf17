//! What holds for uplinks, networks on LANs, default routes and published ports.

#![allow(clippy::expect_used, clippy::panic, reason = "what a test cannot go on without, it fails for")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use proptest::prelude::*;
use vswitch_config::{
    AllotError, Allotter, Config, DEFAULT_EPHEMERAL_PORTS, Source, Surroundings, load,
    model::{Protocol, PublishedPort},
};

const UPLINK: &str = "[uplink]\nkind = \"interface\"\ninterface = \"eth1\"\nipv4 = \"192.0.2.10/24\"\nipv6 = \"2001:db8::10/64\"\n";

/// Loads `text`; free host ports are those of `ephemeral` but for odd ones.
fn load_with(text: &str, ephemeral: (u16, u16)) -> Result<Config, String> {
    let source = Source { name: "vswitch.toml".into(), text: text.to_owned() };
    let surroundings = Surroundings {
        netns_exists: &|_| Ok(()),
        ula_seed: 7,
        ephemeral_ports: ephemeral,
        port_is_reserved: &|port| port % 2 == 1,
    };
    load(&source, &surroundings).map_err(|diagnostics| diagnostics.render(&source, false))
}

fn accepted(text: &str) -> Config {
    load_with(text, DEFAULT_EPHEMERAL_PORTS).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn ports_of(config: &Config, container: &str) -> Vec<PublishedPort> {
    config.containers[container].ports.clone()
}

/// Each host port of each protocol with whose it is, at every address.
fn host_ports(config: &Config) -> Vec<(Protocol, u16)> {
    let all = config.containers.values().flat_map(|container| &container.ports);
    all.flat_map(|port| (port.host_ports.0..=port.host_ports.1).map(|host| (port.protocol, host))).collect()
}

/// A spec as one may write it: without a host port, with one, with a choice, or as a range.
fn spec() -> impl Strategy<Value = String> {
    let port = 20u16..30;
    let protocol = prop::sample::select(vec!["", "/udp"]);
    (port.clone(), port, 0u16..4, 0u8..4, protocol).prop_map(|(host, container, more, form, protocol)| {
        match form {
            0 => format!("{container}{protocol}"),
            1 => format!("{host}:{container}{protocol}"),
            2 => format!("{host}-{}:{container}{protocol}", host + more),
            _ => format!("{host}-{}:{container}-{}{protocol}", host + more, container + more),
        }
    })
}

fn with_containers(specs: &[Vec<String>]) -> String {
    let mut text = format!("{UPLINK}[networks.n]\nipam = [{{ subnet = \"10.0.0.0/16\" }}]\n");
    for (index, specs) in specs.iter().enumerate() {
        writeln!(text, "[containers.c{index}]\nports = {specs:?}").expect("a string takes all");
    }
    text
}

proptest! {
    /// With fixed ports alone a file is accepted if and only if no two of them are one.
    #[test]
    fn fixed_ports_are_a_set(ports in prop::collection::vec((20u16..40, 0u16..3, any::<bool>()), 0..8)) {
        let specs: Vec<_> = ports
            .iter()
            .map(|(host, more, tcp)| {
                let (last, protocol) = (host + more, if *tcp { "tcp" } else { "udp" });
                vec![format!("{host}-{last}:{host}-{last}/{protocol}")]
            })
            .collect();
        let all: Vec<_> =
            ports.iter().flat_map(|(host, more, tcp)| (*host..=host + more).map(move |port| (port, *tcp))).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        let loaded = load_with(&with_containers(&specs), DEFAULT_EPHEMERAL_PORTS);
        prop_assert_eq!(loaded.is_ok(), distinct.len() == all.len());
    }

    /// Whatever is granted is nobody else's, is as long as the container's ports, and comes from where it may.
    #[test]
    fn granted_ports_are_apart(specs in prop::collection::vec(prop::collection::vec(spec(), 0..4), 0..5)) {
        let free = (26, 60);
        let Ok(config) = load_with(&with_containers(&specs), free) else { return Ok(()) };
        let all = host_ports(&config);
        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        for (index, specs) in specs.iter().enumerate() {
            let ports = ports_of(&config, &format!("c{index}"));
            prop_assert_eq!(ports.len(), specs.len());
            for (spec, port) in specs.iter().zip(ports) {
                let length = |(first, last): (u16, u16)| last - first;
                prop_assert_eq!(length(port.host_ports), length(port.container_ports));
                if !spec.contains(':') {
                    let (host, _) = port.host_ports;
                    prop_assert!((free.0..=free.1).contains(&host) && host % 2 == 0, "{}", port);
                }
            }
        }
        prop_assert_eq!(load_with(&with_containers(&specs), free).ok(), Some(config));
    }

    /// Docker's order, family by family, over networks of every kind that has default routes, or none.
    #[test]
    fn default_routes_follow_docker_s_order(kinds in prop::collection::vec((0usize..6, -1i32..2), 1..6)) {
        const KINDS: [(&str, bool, bool); 6] = [
            ("ipam = [{ subnet = \"10.N.0.0/24\" }]", true, false),
            ("ipam = [{ subnet = \"10.N.0.0/24\" }, { subnet = \"fd00:N::/64\" }]", true, true),
            ("enable_ipv4 = false\nipam = [{ subnet = \"fd00:N::/64\" }]", false, true),
            ("internal = true\nipam = [{ subnet = \"10.N.0.0/24\" }, { subnet = \"fd00:N::/64\" }]", false, false),
            ("driver = \"ipvlan\"\nipvlan_mode = \"l3\"\nipam = [{ subnet = \"10.N.0.0/24\" }, { subnet = \"fd00:N::/64\" }]", true, true),
            ("driver = \"macvlan\"\nparent = \"eth2\"\nvlan = N\nipam = [{ subnet = \"10.N.0.0/24\" }]", true, false),
        ];
        prop_assume!(kinds.iter().filter(|(kind, _)| KINDS[*kind].0.contains("l3")).count() < 2, "only one is on the uplink");
        let mut networks = UPLINK.to_owned();
        let mut attachments = "[containers.x.networks]\n".to_owned();
        for (index, (kind, priority)) in kinds.iter().enumerate() {
            let n = (index + 1).to_string();
            writeln!(networks, "[networks.n{n}]\n{}", KINDS[*kind].0.replace('N', &n)).expect("a string takes all");
            writeln!(attachments, "n{n} = {{ gw_priority = {priority} }}").expect("a string takes all");
        }
        let config = accepted(&(networks + &attachments));
        let best = |family: fn(&(&str, bool, bool)) -> bool| {
            let candidates = kinds.iter().enumerate().filter(|(_, (kind, _))| family(&KINDS[*kind]));
            let rank = |(index, (kind, priority)): (usize, &(usize, i32))| {
                let (_, v4, v6) = KINDS[*kind];
                (-priority, !(v4 && v6), format!("n{}", index + 1))
            };
            candidates.map(rank).min().map(|(.., name)| name)
        };
        let attachments = &config.containers["x"].attachments;
        let holder4 = attachments.iter().find(|a| a.gateway4.is_some() || a.default_on_device4).map(|a| a.network.to_string());
        let holder6 = attachments.iter().find(|a| a.gateway6.is_some() || a.default_on_device6).map(|a| a.network.to_string());
        prop_assert_eq!(holder4, best(|kind| kind.1));
        prop_assert_eq!(holder6, best(|kind| kind.2));
    }
}

#[test]
fn a_free_host_port_stays_when_other_lines_change() {
    let network = "[networks.n]\nipam = [{ subnet = \"10.0.0.0/24\" }]\n";
    let web = "[containers.web]\nports = [\"80\", \"53/udp\"]\n";
    let alone = ports_of(&accepted(&format!("{UPLINK}{network}{web}")), "web");
    let more = format!("{UPLINK}{network}[containers.before]\nports = [\"80\", \"8080:80\"]\n{web}");
    assert_eq!(ports_of(&accepted(&more), "web"), alone);
    assert_ne!(alone[0].host_ports, alone[1].host_ports);
    let fixed = format!("[containers.first]\nports = [\"{}:80\"]\n", alone[0].host_ports.0);
    let moved = ports_of(&accepted(&format!("{UPLINK}{network}{web}{fixed}")), "web");
    assert_eq!(moved[0].host_ports.0, alone[0].host_ports.0 + 2, "the next even one: odd ones are reserved");
    assert_eq!(moved[1], alone[1]);
}

#[test]
fn who_has_a_choice_steps_aside_for_who_has_none() {
    let config = accepted(&format!(
        "{UPLINK}[networks.n]\nipam = [{{ subnet = \"10.0.0.0/24\" }}]\n\
         [containers.a]\nnetworks = [\"n\"]\nports = [\"8080-8082:80\", \"192.0.2.10:8081-8089:81\"]\n[containers.b]\nports = [\"[2001:db8::10]:8080:80\"]\n\
         [networks.m]\nenable_ipv6 = true\n[containers.b.networks]\nm = {{}}\n"
    ));
    let hosts: Vec<_> = ports_of(&config, "a").iter().map(|port| port.host_ports.0).collect();
    assert_eq!(hosts, [8081, 8082], "8080 is taken in IPv6, which the first would have too");
    assert_eq!(ports_of(&config, "b")[0].host_ports.0, 8080);
}

#[test]
fn published_ports_print_as_docker_writes_them() {
    let config = accepted(&format!(
        "{UPLINK}[networks.n]\nipam = [{{ subnet = \"10.0.0.0/24\" }}, {{ subnet = \"fd00::/64\" }}]\n[containers.x]\n\
         ports = [\"[2001:db8::10]:80:81\", \"192.0.2.10:53:54/udp\", {{ target = 9, published = 10 }}, \"1-2:3-4/SCTP\"]\n"
    ));
    let printed: Vec<_> = ports_of(&config, "x").iter().map(ToString::to_string).collect();
    assert_eq!(printed, ["[2001:db8::10]:80:81/tcp", "192.0.2.10:53:54/udp", "10:9/tcp", "1-2:3-4/sctp"]);
}

/// What the uplink has on its LAN no container on the same LAN gets, neither from the file nor at run time.
#[test]
fn the_uplinks_addresses_are_nobody_elses() {
    let text = "[uplink]\nkind = \"interface\"\ninterface = \"eth1\"\nipv4 = \"192.0.2.2/24\"\ngateway = \"192.0.2.4\"\n\
         [uplink.nat]\naddresses = [\"192.0.2.5\"]\none_to_one = [{ external = \"192.0.2.7\", internal = \"10.0.0.9\" }]\n\
         [networks.n]\nipam = [{ subnet = \"10.0.0.0/24\" }]\n\
         [networks.lan]\ndriver = \"macvlan\"\nipam = [{ subnet = \"192.0.2.0/24\" }]\n\
         [containers.a.networks.lan]\n[containers.b.networks.lan]\n";
    let config = accepted(text);
    let mut allotter = Allotter::new(&config);
    let mut ephemeral = |name: &str| {
        let container =
            allotter.attach_ephemeral(&name.parse().expect("valid"), "lan").expect("there is room");
        container.attachments[0].ipv4_address.expect("IPv4 is enabled").to_string()
    };
    let address = |name: &str| {
        config.containers[name].attachments[0].ipv4_address.expect("IPv4 is enabled").to_string()
    };
    let all = [address("a"), address("b"), ephemeral("c"), ephemeral("d")];
    assert_eq!(all, ["192.0.2.3/24", "192.0.2.6/24", "192.0.2.8/24", "192.0.2.9/24"]);
}

#[test]
fn subnets_by_default_keep_away_from_the_uplink() {
    let config = accepted(
        "[uplink]\nkind = \"tap\"\ntap = \"vsw0\"\nipv4 = \"172.17.0.1/30\"\n\
         [uplink.nat]\naddresses = [\"172.18.5.5\"]\n[networks.n]\n",
    );
    assert_eq!(config.networks["n"].ipam[0].subnet.to_string(), "172.19.0.0/16");
}

#[test]
fn passthru_has_room_for_one_at_run_time_too() {
    let config = accepted(
        "[networks.lan]\ndriver = \"macvlan\"\nmacvlan_mode = \"passthru\"\nparent = \"eth1\"\nipam = [{ subnet = \"10.0.0.0/24\" }]\n",
    );
    let mut allotter = Allotter::new(&config);
    let (first, second) = ("first".parse().expect("valid"), "second".parse().expect("valid"));
    assert!(allotter.attach_ephemeral(&first, "lan").is_ok());
    let error = allotter.attach_ephemeral(&second, "lan").expect_err("it is taken");
    assert!(matches!(&error, AllotError::Occupied { owner, .. } if *owner == first), "{error}");
    assert!(allotter.release(&first));
    assert!(allotter.attach_ephemeral(&second, "lan").is_ok());
}

#[test]
fn at_run_time_ipvlan_l3_has_its_default_route_on_the_device() {
    let config = accepted(&format!(
        "{UPLINK}[networks.l3]\ndriver = \"ipvlan\"\nipvlan_mode = \"l3\"\nipam = [{{ subnet = \"10.0.0.0/24\" }}]\n"
    ));
    let mut allotter = Allotter::new(&config);
    let container = allotter.attach_ephemeral(&"x".parse().expect("valid"), "l3").expect("there is room");
    let attachment = &container.attachments[0];
    assert_eq!((attachment.gateway4, attachment.default_on_device4), (None, true));
    assert_eq!((attachment.gateway6, attachment.default_on_device6), (None, false));
    assert_eq!(attachment.ipv4_address.map(|net| net.to_string()).as_deref(), Some("10.0.0.1/24"));
}

/// The gateway's MAC address is the same at every start, another on every network, and no member's.
#[test]
fn gateways_keep_their_mac_addresses() {
    let network = "[networks.a]\nipam = [{ subnet = \"10.0.0.0/24\" }]\n";
    let mac = |text: &str| accepted(text).networks["a"].gateway_mac;
    let first = mac(network);
    assert!(first.is_unicast() && first.to_string().starts_with("02:42:"));
    assert_eq!(mac(&format!("{network}[networks.b]\nipam = [{{ subnet = \"10.1.0.0/24\" }}]\n")), first);
    assert_ne!(mac(&network.replace("10.0.0.0", "10.0.1.0")), first);
    let taken = format!("{network}[containers.x.networks.a]\nmac_address = \"{first}\"\n");
    let diagnostics = load_with(&taken, DEFAULT_EPHEMERAL_PORTS).expect_err("the gateway has it");
    assert!(diagnostics.contains("the gateway of network `a` has MAC address"), "{diagnostics}");
}

/// Everything of a large range is published, one port each, and none twice.
#[test]
fn publish_all_publishes_what_is_not_published_by_name() {
    let config = accepted(&format!(
        "{UPLINK}[networks.n]\nipam = [{{ subnet = \"10.0.0.0/24\" }}]\n\
         [containers.x]\nports = [\"8080:100\"]\nexpose = [\"1-2000\", \"100/udp\", 7]\npublish_all = true\n"
    ));
    let ports = ports_of(&config, "x");
    assert_eq!(ports.len(), 2001);
    let by_container: BTreeMap<_, _> =
        ports.iter().map(|port| ((port.protocol, port.container_ports.0), port.host_ports.0)).collect();
    assert_eq!(by_container.len(), 2001);
    assert_eq!(by_container[&(Protocol::Tcp, 100)], 8080);
    let all = host_ports(&config);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

/// More than there are free host ports: said once, and at once.
#[test]
fn exposing_more_than_there_are_host_ports_is_one_error() {
    let text = format!(
        "{UPLINK}[networks.n]\nipam = [{{ subnet = \"10.0.0.0/24\" }}]\n\
         [containers.x]\nexpose = [\"1-65535\"]\npublish_all = true\n"
    );
    let diagnostics = load_with(&text, DEFAULT_EPHEMERAL_PORTS).expect_err("there are 8191");
    assert!(diagnostics.ends_with("1 error in vswitch.toml\n"), "{diagnostics}");
}

#[test]
fn the_examples_of_the_documentation_are_accepted() {
    let pages = ["configuration", "routing", "nat", "lans"].map(|page| {
        let path = format!("{}/../docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("the page is in the tree")
    });
    let examples: Vec<_> = pages
        .iter()
        .flat_map(|page| page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()))
        .collect();
    assert!(examples.len() >= 9);
    for example in examples {
        let has_uplink = example.contains("[uplink] ") || example.contains("[uplink]\n");
        let uplink = if has_uplink { "" } else { UPLINK };
        accepted(&format!("{uplink}{example}"));
    }
}
