//! What holds for every file: loading never panics, and what it accepts keeps the promises of the model.

#![allow(clippy::expect_used, clippy::panic, reason = "what a test cannot go on without, it fails for")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use vswitch_config::{
    AllotError, Allotter, Config, DEFAULT_EPHEMERAL_PORTS, Diagnostics, Source, Surroundings, load,
};

fn load_text(text: String) -> (Source, Result<Config, Diagnostics>) {
    let source = Source { name: "vswitch.toml".into(), text };
    let result = load(
        &source,
        &Surroundings {
            netns_exists: &|_| Ok(()),
            ula_seed: 7,
            ephemeral_ports: DEFAULT_EPHEMERAL_PORTS,
            port_is_reserved: &|_| false,
        },
    );
    (source, result)
}

fn accepted(text: String) -> Config {
    let (source, result) = load_text(text);
    result.unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(&source, false)))
}

/// The promises at the head of `model.rs`.
fn assert_sound(config: &Config) {
    let subnets: Vec<&IpNet> = config.networks.values().flat_map(|n| &n.ipam).map(|s| &s.subnet).collect();
    for (i, a) in subnets.iter().enumerate() {
        assert!(subnets[i + 1..].iter().all(|b| !a.contains(&b.network()) && !b.contains(&a.network())));
    }
    let mut taken = BTreeSet::new();
    for network in config.networks.values() {
        for subnet in &network.ipam {
            assert!(subnet.gateway.is_none_or(|gateway| subnet.subnet.contains(&gateway)));
            taken.extend(subnet.gateway.map(|gateway| (network.name.clone(), gateway)));
            taken.extend(subnet.aux_addresses.values().map(|address| (network.name.clone(), *address)));
        }
    }
    let mut macs = BTreeSet::new();
    for container in config.containers.values() {
        let mut names = BTreeSet::new();
        let holders4 = container.attachments.iter().filter(|a| a.gateway4.is_some() || a.default_on_device4);
        let holders6 = container.attachments.iter().filter(|a| a.gateway6.is_some() || a.default_on_device6);
        assert!(holders4.count() <= 1 && holders6.count() <= 1);
        for attachment in &container.attachments {
            assert!(names.insert(&attachment.interface_name));
            assert!(attachment.mac_address.is_unicast());
            assert_ne!(attachment.mac_address, config.networks[&attachment.network].gateway_mac);
            assert!(macs.insert((&attachment.network, attachment.mac_address)));
            let network = &config.networks[&attachment.network];
            assert_eq!(attachment.ipv4_address.is_some(), network.enable_ipv4);
            assert_eq!(attachment.ipv6_address.is_some(), network.enable_ipv6);
            let nets = attachment
                .ipv4_address
                .map(IpNet::V4)
                .into_iter()
                .chain(attachment.ipv6_address.map(IpNet::V6));
            for net in nets {
                let subnet =
                    network.ipam.iter().find(|s| s.subnet == net.trunc()).expect("a subnet of the network");
                assert!(taken.insert((attachment.network.clone(), net.addr())), "{net} is taken twice");
                if let IpNet::V4(subnet) = subnet.subnet
                    && subnet.prefix_len() < 31
                {
                    assert!(net.addr() != subnet.network() && net.addr() != subnet.broadcast());
                }
            }
        }
    }
}

/// Texts near enough to a configuration that most stages see something.
fn fragments() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[networks.a]\n",
        "[networks.b]\n",
        "[containers.x]\n",
        "[containers.y.networks.a]\n",
        "[containers.z.networks]\n",
        "[switch]\n",
        "[uplink]\n",
        "[[networks.c.ipam]]\n",
        "ipam = [{ subnet = \"10.0.0.0/29\" }]\n",
        "subnet = \"10.0.0.0/30\"\n",
        "ipam = [{ subnet = \"fd00::/64\", gateway = \"fd00::9\" }, { subnet = \"10.0.0.8/30\" }]\n",
        "enable_ipv6 = true\n",
        "enable_ipv4 = false\n",
        "networks = [\"a\", \"b\"]\n",
        "networks = [\"a\"]\n",
        "network_mode = \"container:x\"\n",
        "network_mode = \"container:y\"\n",
        "network_mode = \"none\"\n",
        "netns = \"n\"\n",
        "netns = { pid = 7 }\n",
        "ipv4_address = \"10.0.0.2\"\n",
        "ipv6_address = \"fd00::2\"\n",
        "mac_address = \"02:42:0a:00:00:02\"\n",
        "interface_name = \"eth0\"\n",
        "a = { ipv4_address = \"10.0.0.3\" }\n",
        "b = {}\n",
        "internal = true\n",
        "mtu = 1300\n",
        "workers = 3\n",
        "kind = \"none\"\n",
        "kind = \"interface\"\n",
        "interface = \"eth1\"\n",
        "ipv4 = \"10.0.0.9/29\"\n",
        "kind = \"tap\"\ntap = \"vsw0\"\nipv4 = \"100.64.0.1/30\"\n[uplink.nat]\n",
        "one_to_one = [{ external = \"192.0.2.1\", internal = \"10.0.0.3\" }]\n",
        "routes = [{ destination = \"10.9.0.0/16\", via = \"network:b\" }]\n",
        "routes = [{ destination = \"0.0.0.0/0\", via = \"10.0.0.2\" }]\n",
        "driver = \"macvlan\"\n",
        "driver = \"ipvlan\"\nipvlan_mode = \"l3\"\n",
        "macvlan_mode = \"passthru\"\n",
        "parent = \"eth1.10\"\n",
        "router_advertisements = { lifetime = 0 }\n",
        "ports = [\"80\", \"8080-8081:80\", \"[::]:81:81/udp\"]\n",
        "expose = [80]\npublish_all = true\n",
        "command = \"ä b\"\n",
        "x = ",
        "\"",
        "ü",
        "]",
        "\r\n",
        "\t",
        "\u{0}",
        "= 1\n",
    ]);
    prop::collection::vec(word, 0..14).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn fragments_are_accepted_soundly_or_refused_with_a_place(text in fragments()) {
        let (source, result) = load_text(text);
        match result {
            Ok(config) => assert_sound(&config),
            Err(diagnostics) => {
                prop_assert!(!diagnostics.is_empty());
                prop_assert!(diagnostics.render(&source, true).contains("vswitch.toml"));
                let lines = source.text.split('\n').count();
                prop_assert!(diagnostics.located(&source).iter().all(|l| l.place.line >= 1 && l.place.end_line <= lines));
            }
        }
    }

    #[test]
    fn any_text_is_refused_or_accepted(text in "\\PC*") {
        let (source, result) = load_text(text);
        if let Err(diagnostics) = result {
            prop_assert!(diagnostics.render(&source, false).contains("vswitch.toml"));
        }
    }
}

proptest! {
    /// Dynamic addresses are the lowest free ones of the range in the order of the text, as a plain set finds them.
    #[test]
    fn allotment_is_what_a_set_does(
        prefix in 26u8..=30,
        gateway in 1u8..3,
        aux in prop::collection::btree_set(3u8..20, 0..3),
        fixed in prop::collection::btree_map(0usize..12, 3u8..62, 0..6),
        count in 0usize..12,
        steps in prop::collection::vec((any::<bool>(), 0usize..8), 0..40),
    ) {
        let subnet = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), prefix).expect("valid");
        let last = u32::from(subnet.broadcast());
        let address = |low: u8| Ipv4Addr::new(10, 0, 0, low);
        let usable = |low: u8| u32::from(address(low)) < last;
        let mut taken: BTreeSet<Ipv4Addr> = [subnet.network(), subnet.broadcast(), address(gateway)].into();
        let aux: Vec<u8> = aux.into_iter().filter(|low| usable(*low)).collect();
        taken.extend(aux.iter().map(|low| address(*low)));
        let mut given: BTreeMap<usize, Ipv4Addr> = BTreeMap::new();
        for (index, low) in fixed {
            if index < count && usable(low) && taken.insert(address(low)) {
                given.insert(index, address(low));
            }
        }
        let aux_text: Vec<_> = aux.iter().map(|low| format!("a{low} = \"10.0.0.{low}\"")).collect();
        let mut text = format!("[networks.n]\nipam = [{{ subnet = \"{subnet}\", gateway = \"{}\", aux_addresses = {{ {} }} }}]\n",
            address(gateway), aux_text.join(", "));
        // Names that sort against the order of the text.
        for index in 0..count {
            writeln!(text, "[containers.c{}.networks.n]", 99 - index).expect("a string takes all");
            if let Some(address) = given.get(&index) {
                writeln!(text, "ipv4_address = \"{address}\"").expect("a string takes all");
            }
        }
        let lowest = |taken: &BTreeSet<Ipv4Addr>| subnet.hosts().find(|host| !taken.contains(host));
        let mut expected = Vec::new();
        for index in 0..count {
            let next = given.get(&index).copied().or_else(|| lowest(&taken));
            taken.extend(next);
            expected.push(next);
        }
        let (_, result) = load_text(text);
        if expected.contains(&None) {
            prop_assert!(result.is_err());
            return Ok(());
        }
        let config = result.expect("all have room");
        assert_sound(&config);
        for (index, expected) in expected.into_iter().enumerate() {
            let attachment = &config.containers[format!("c{}", 99 - index).as_str()].attachments[0];
            prop_assert_eq!(attachment.ipv4_address.map(|net| net.addr()), expected);
        }

        // At run time as well, with containers coming and going.
        let mut allotter = Allotter::new(&config);
        let mut live: BTreeMap<usize, Ipv4Addr> = BTreeMap::new();
        for (attach, id) in steps {
            let name = format!("e{id}").parse().expect("valid");
            if attach {
                match allotter.attach_ephemeral(&name, "n") {
                    Ok(container) => {
                        let address = container.attachments[0].ipv4_address.expect("IPv4 is enabled").addr();
                        prop_assert_eq!(Some(address), lowest(&taken));
                        prop_assert!(live.insert(id, address).is_none());
                        taken.insert(address);
                    }
                    Err(AllotError::NameTaken { .. }) => prop_assert!(live.contains_key(&id)),
                    Err(AllotError::Exhausted { .. }) => prop_assert_eq!(lowest(&taken), None),
                    Err(other) => prop_assert!(false, "{}", other),
                }
            } else {
                let held = live.remove(&id);
                prop_assert_eq!(allotter.release(&name), held.is_some());
                held.inspect(|address| { taken.remove(address); });
            }
        }
    }
}

#[test]
fn a_second_subnet_takes_over_when_the_first_is_full() {
    let mut text =
        "[networks.n]\nipam = [{ subnet = \"10.0.0.0/30\" }, { subnet = \"10.0.1.0/29\" }]\n".to_owned();
    for i in 0..3 {
        writeln!(text, "[containers.c{i}]").expect("a string takes all");
    }
    let config = accepted(text);
    let attachment = |name: &str| config.containers[name].attachments[0].clone();
    assert_eq!(attachment("c0").ipv4_address.map(|n| n.to_string()).as_deref(), Some("10.0.0.2/30"));
    assert_eq!(attachment("c1").ipv4_address.map(|n| n.to_string()).as_deref(), Some("10.0.1.2/29"));
    assert_eq!(
        attachment("c1").gateway4,
        Some(Ipv4Addr::new(10, 0, 1, 1)),
        "the gateway is that of its own subnet"
    );
    assert_sound(&config);
}

#[test]
fn default_routes_go_where_docker_puts_them() {
    let networks = "[networks.a]\n[networks.b]\nenable_ipv6 = true\n[networks.inner]\ninternal = true\n";
    let holders = |attachments: &str| {
        let config = accepted(format!("{networks}[containers.x.networks]\n{attachments}"));
        let all = &config.containers["x"].attachments;
        let holder4 = all.iter().find(|a| a.gateway4.is_some()).map(|a| a.network.to_string());
        (holder4, all.iter().find(|a| a.gateway6.is_some()).map(|a| a.network.to_string()))
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(holders("a = {}\nb = {}\n"), (some("b"), some("b")), "dual-stack before single");
    assert_eq!(
        holders("a = { gw_priority = 1 }\nb = {}\n"),
        (some("a"), some("b")),
        "the priority, where there is a gateway"
    );
    assert_eq!(
        holders("inner = { gw_priority = 9 }\na = {}\n"),
        (some("a"), None),
        "an internal network leads nowhere"
    );
    assert_eq!(holders("inner = {}\n"), (None, None));
}

#[test]
fn macs_come_from_addresses_or_names_and_step_aside() {
    let config = accepted(
        "[networks.n]\nipam = [{ subnet = \"10.0.0.0/24\" }]\n[networks.six]\nenable_ipv4 = false\nenable_ipv6 = true\n\
         [containers.a.networks.n]\n[containers.b.networks.n]\nmac_address = \"02:42:0a:00:00:02\"\n\
         [containers.c.networks.six]\n[containers.d.networks.six]\n"
            .to_owned(),
    );
    let mac = |name: &str| config.containers[name].attachments[0].mac_address.to_string();
    assert_eq!(mac("a"), "02:42:0a:00:00:03", "02 is taken by b, further down");
    assert_eq!(mac("b"), "02:42:0a:00:00:02");
    assert!(mac("c").starts_with("02:42:") && mac("c") != mac("d"));
    assert_sound(&config);
}

#[test]
fn interfaces_take_the_lowest_free_name() {
    let config = accepted(
        "[networks.a]\n[networks.b]\n[networks.c]\n[containers.x.networks]\na = {}\nb = { interface_name = \"eth1\" }\nc = {}\n".to_owned(),
    );
    let names: Vec<_> =
        config.containers["x"].attachments.iter().map(|a| a.interface_name.to_string()).collect();
    assert_eq!(names, ["eth0", "eth1", "eth2"]);
}

/// A file from elsewhere must not drive the terminal it is explained on.
#[test]
fn control_characters_of_the_file_are_not_printed() {
    let text = r#"
[networks.a]
"\u001b[2J" = 1
driver = "\u001b[2J"
[networks."\u001b[2J"]
[containers.x.networks."\u001b[2J"]
"\u001b[2J" = "\u001b[2J"
interface_name = "\u001b[2J"
[containers.y]
networks = ["b\u001b[2J"]
extra_hosts = ["\u001b[2J:\u001b[2J"]
network_mode = "container:\u001b[2J"
environment = ["\u001b[2J"]
"#;
    let (source, result) = load_text(text.to_owned());
    let diagnostics = result.expect_err("no such names");
    assert!(diagnostics.len() > 6);
    assert!(!diagnostics.render(&source, false).contains('\u{1b}'));
}

#[test]
fn the_same_text_gives_the_same_configuration() {
    let text = "[networks.a]\nenable_ipv6 = true\n[networks.b]\nenable_ipv6 = true\n[containers.x]\nnetworks = [\"a\", \"b\"]\n";
    assert_eq!(accepted(text.to_owned()), accepted(text.to_owned()));
}

#[test]
fn a_large_network_costs_what_is_on_it() {
    let mut text =
        "[networks.n]\nipam = [{ subnet = \"10.0.0.0/8\" }, { subnet = \"fd00::/64\" }]\n".to_owned();
    for i in 0..5000 {
        writeln!(text, "[containers.c{i}]").expect("a string takes all");
    }
    let config = accepted(text);
    let address = config.containers["c4999"].attachments[0].ipv4_address.expect("IPv4 is enabled").addr();
    assert_eq!(
        IpAddr::V4(address),
        "10.0.19.137".parse::<IpAddr>().expect("valid"),
        "the 5001st after the gateway"
    );
    let mut allotter = Allotter::new(&config);
    let name = "one-more".parse().expect("valid");
    let container = allotter.attach_ephemeral(&name, "n").expect("room for millions");
    assert_eq!(
        container.attachments[0].ipv4_address.map(|n| n.to_string()).as_deref(),
        Some("10.0.19.138/8")
    );
    let error =
        allotter.attach_ephemeral(&"another".parse().expect("valid"), "m").expect_err("there is no m");
    assert_eq!(error.to_string(), "there is no network `m`; the networks are: `n`");
}
