//! `vswitch exec`: a command inside a container there is, or in one made for it.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::support::eventually;
use super::support::switch::{Switch, text};
use super::support::user::User;

scenarios! {
    by_commands: [
        exit_codes_pass_through,
        standard_streams_pass_through,
        names_inside_lead_to_addresses,
        hosts_and_resolver_as_configured,
        the_hosts_own_files_are_untouched,
        an_ephemeral_container_lasts_as_long_as_its_command,
        many_ephemeral_containers_at_once,
        what_does_not_exist_is_named,
    ],
}

const PAIR: &str = r#"
    [networks.lan]
    [containers]
    left.networks = ["lan"]
    right.networks = ["lan"]
"#;

fn exit_codes_pass_through(user: User) {
    let switch = Switch::start(user, PAIR);
    let code = |command: &[&str]| switch.vswitch(&[&["exec", "left", "--"], command].concat()).status.code();
    assert_eq!(code(&["true"]), Some(0));
    assert_eq!(code(&["sh", "-c", "exit 42"]), Some(42));
    assert_eq!(code(&["no-such-program-anywhere"]), Some(127));
    assert_eq!(code(&["/etc/passwd"]), Some(126));
    assert_eq!(code(&["/no/such/path"]), Some(127));
    // It becomes the command, so a signal is one to both.
    assert_eq!(code(&["sh", "-c", "kill -TERM $$"]), None);
    let missing = switch.vswitch(&["exec", "left", "--", "no-such-program-anywhere"]);
    assert!(text(&missing.stderr).contains("no-such-program-anywhere"), "{}", text(&missing.stderr));
    switch.stop();
}

fn standard_streams_pass_through(user: User) {
    let switch = Switch::start(user, PAIR);
    let mut command =
        switch.command(&["exec", "left", "--", "sh", "-c", "cat; echo to the error stream >&2"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.spawn().unwrap();
    process.stdin.take().unwrap().write_all(b"a line\0 with a zero\nno end of line").unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"a line\0 with a zero\nno end of line");
    assert_eq!(output.stderr, b"to the error stream\n");
    switch.stop();
}

fn names_inside_lead_to_addresses(user: User) {
    let configuration = r#"
        [networks.lan]
        enable_ipv6 = true
        [networks.other]
        [containers.web]
        hostname = "web.example"
        networks.lan.aliases = ["www"]
        [containers.client]
        networks = ["lan"]
        [containers.stranger]
        networks = ["other"]
    "#;
    let switch = Switch::start(user, configuration);
    let web = switch.port("web")["ipv4_address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    for name in ["web", "web.example", "www"] {
        let found = switch.says(&["exec", "client", "--", "getent", "ahostsv4", name]);
        assert!(found.starts_with(&web), "{name}: {found}");
    }
    let ipv6 = switch.port("web")["ipv6_address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    assert!(switch.says(&["exec", "client", "--", "getent", "ahostsv6", "web"]).starts_with(&ipv6));
    let hosts = switch.says(&["exec", "client", "--", "cat", "/etc/hosts"]);
    assert!(!hosts.contains("stranger"), "of another network: {hosts}");
    assert!(hosts.contains("127.0.0.1\tlocalhost"), "{hosts}");
    assert_eq!(switch.says(&["exec", "web", "--", "hostname"]), "web.example\n");
    assert_eq!(switch.says(&["exec", "web", "--", "cat", "/etc/hostname"]), "web.example\n");
    switch.stop();
}

fn hosts_and_resolver_as_configured(user: User) {
    let configuration = r#"
        [networks.lan]
        ipam = [{ subnet = "10.44.0.0/24", gateway = "10.44.0.7" }]
        [containers.web]
        networks = ["lan"]
        extra_hosts = ["host.docker.internal:host-gateway", "printer:192.0.2.9"]
        dns = ["192.0.2.53", "2001:db8::53"]
        dns_search = ["example.org", "example.net"]
        dns_options = ["ndots:2"]
    "#;
    let switch = Switch::start(user, configuration);
    let read = |file| switch.says(&["exec", "web", "--", "cat", file]);
    let expected =
        "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org example.net\noptions ndots:2\n";
    assert_eq!(read("/etc/resolv.conf"), expected);
    let hosts = read("/etc/hosts");
    for line in ["10.44.0.7\thost.docker.internal", "192.0.2.9\tprinter"] {
        assert!(hosts.lines().any(|found| found == line), "{line} is missing: {hosts}");
    }
    switch.stop();
}

fn the_hosts_own_files_are_untouched(user: User) {
    let files = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];
    let before = files.map(|file| std::fs::read(file).ok());
    let switch = Switch::start(user, PAIR);
    switch.says(&["exec", "left", "--", "sh", "-c", "echo changed > /etc/hosts"]);
    assert_eq!(switch.says(&["exec", "left", "--", "cat", "/etc/hosts"]), "changed\n");
    assert_ne!(switch.says(&["exec", "right", "--", "cat", "/etc/hosts"]), "changed\n");
    assert_eq!(files.map(|file| std::fs::read(file).ok()), before);
    switch.stop();
    assert_eq!(files.map(|file| std::fs::read(file).ok()), before);
}

fn an_ephemeral_container_lasts_as_long_as_its_command(user: User) {
    let switch = Switch::start(user, PAIR);
    let names = || -> Vec<String> {
        let containers = switch.json(&["container", "ls"]);
        containers.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), ["left", "right"]);
    // `cat` ends with its standard input.
    let mut command = switch.command(&[
        "exec",
        "--network",
        "lan",
        "--",
        "sh",
        "-c",
        "echo here; cat /etc/hosts; echo; cat",
    ]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "here");
    let hosts: Vec<_> = lines.map_while(|line| line.ok().filter(|line| !line.is_empty())).collect();
    assert!(hosts.iter().any(|line| line.ends_with("\tleft")), "{hosts:?}");
    let name = names().into_iter().find(|name| name != "left" && name != "right").expect("it is listed");
    let inspected = switch.json(&["container", "inspect", &name]);
    assert_eq!((&inspected["ephemeral"], &inspected["state"]), (&true.into(), &"up".into()));
    let address = switch.port(&name)["ipv4_address"].clone();
    drop(process.stdin.take());
    assert!(process.wait().unwrap().success());
    eventually("it is gone", || (names() == ["left", "right"]).then_some(()));
    assert_eq!(switch.json(&["show", "ports"]).as_array().unwrap().len(), 2);
    // Its address is free again, for others to take.
    let again = switch.says(&["exec", "--network", "lan", "--", "cat", "/etc/hosts"]);
    assert!(
        again.contains(address.as_str().unwrap().split('/').next().unwrap()) || address.is_null(),
        "{again}"
    );
    assert_eq!(
        switch.vswitch(&["exec", "--network", "lan", "--", "sh", "-c", "exit 9"]).status.code(),
        Some(9)
    );
    switch.stop();
}

fn many_ephemeral_containers_at_once(user: User) {
    let switch = Switch::start(user, PAIR);
    let mut commands: Vec<_> = (0..8)
        .map(|_| {
            let mut command =
                switch.command(&["exec", "--network", "lan", "--", "sh", "-c", "hostname; cat"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    eventually("all are up", || (switch.json(&["status"])["ports_up"] == 10).then_some(()));
    let ports = switch.json(&["show", "ports"]);
    let addresses = ports.as_array().unwrap().iter().map(|port| port["ipv4_address"].to_string());
    assert_eq!(addresses.collect::<std::collections::BTreeSet<_>>().len(), 10, "each has its own: {ports}");
    commands.iter_mut().for_each(|command| drop(command.stdin.take()));
    for command in commands {
        assert!(command.wait_with_output().unwrap().status.success());
    }
    eventually("all are gone", || (switch.json(&["status"])["ports"] == 2).then_some(()));
    switch.stop();
}

fn what_does_not_exist_is_named(user: User) {
    let switch = Switch::start(user, PAIR);
    for (arguments, words) in [
        (&["exec", "middle", "--", "true"][..], ["middle", "left"]),
        (&["exec", "--network", "wan", "--", "true"], ["wan", "lan"]),
        (&["container", "inspect", "middle"], ["middle", "right"]),
        (&["network", "inspect", "wan"], ["wan", "lan"]),
        (&["show", "ports", "--network", "wan"], ["wan", "lan"]),
    ] {
        let output = switch.vswitch(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    switch.stop();
}
