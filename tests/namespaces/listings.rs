//! `check`, `status`, the listings and `--json`; exit codes.

use std::process::Stdio;

use serde_json::Value;

use super::support::place::Place;
use super::support::switch::{Switch, command_in, text};
use super::support::user::User;

scenarios! {
    by_commands: [
        check_prints_every_error,
        check_of_a_valid_file,
        an_invalid_file_does_not_run,
        wrong_usage,
        without_a_switch,
        every_listing_as_a_table_and_as_json,
        a_reader_that_goes_away,
    ],
}

/// Five mistakes, on five lines.
const WRONG: &str = r#"[networks.lan]
mtuu = 1500
ipam = [{ subnet = "10.0.0.0/8" }]
[networks.other]
ipam = [{ subnet = "10.1.0.0/16" }]
[containers.one.networks.lan]
ipv4_address = "192.168.1.1"
mac_address = "01:00:00:00:00:00"
[containers.two]
networks = ["nowhere"]
"#;

const TWO_NETWORKS: &str = r#"
    [networks.front]
    labels = { tier = "web" }
    [networks.back]
    enable_ipv6 = true
    internal = true
    mtu = 1400
    [containers]
    web.networks = ["front", "back"]
    db.networks = ["back"]
"#;

fn check_prints_every_error(user: User) {
    let place = Place::new(user);
    let file = place.write("wrong.toml", WRONG);
    let check = |arguments: &[&str]| {
        command_in(&place, user).arg("check").arg(&file).args(arguments).output().unwrap()
    };
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for expected in [
        "wrong.toml:2:1",
        "wrong.toml:5:",
        "wrong.toml:7:",
        "wrong.toml:8:",
        "wrong.toml:10:",
        "`mtuu`",
        "`mtu`",
        "nowhere",
        "^^^",
    ] {
        assert!(said.contains(expected), "{expected} is missing: {said}");
    }
    assert_eq!(said.matches("5 errors").count(), 1, "{said}");

    let output = check(&["--json"]);
    assert_eq!(output.status.code(), Some(2));
    let errors: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines: Vec<_> =
        errors.as_array().unwrap().iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 5, 7, 8, 10]);
    for error in errors.as_array().unwrap() {
        has_fields(error, &["file", "line", "column", "end_line", "end_column", "message", "label", "help"]);
    }
}

fn check_of_a_valid_file(user: User) {
    let place = Place::new(user);
    let file = place.write("right.toml", TWO_NETWORKS);
    let output = command_in(&place, user).arg("check").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("valid: 2 networks, 2 containers"), "{}", text(&output.stdout));
    let output = command_in(&place, user).arg("check").arg(&file).arg("--json").output().unwrap();
    let configuration: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(configuration["networks"]["back"]["mtu"], 1400);
    assert_eq!(configuration["networks"]["front"]["mtu"], 1500, "defaults are filled in");
}

fn an_invalid_file_does_not_run(user: User) {
    let ended = Switch::launch(user, WRONG, &[]).ended();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("`mtuu`") && ended.stderr.contains("nowhere"), "{}", ended.stderr);
    let later = "[networks.lan]\ndriver = \"overlay\"\n[containers.web]\nnetworks = [\"lan\"]";
    let ended = Switch::launch(user, later, &[]).ended();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("not supported yet"), "{}", ended.stderr);
    let missing =
        "[networks.lan]\n[containers.web]\nnetworks = [\"lan\"]\nnetns = \"vswitch-e2e-no-such-name\"";
    let ended = Switch::launch(user, missing, &[]).ended();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("ip netns add vswitch-e2e-no-such-name"), "{}", ended.stderr);
}

fn wrong_usage(user: User) {
    let place = Place::new(user);
    for arguments in [
        &["no-such-command"][..],
        &["exec", "name"],
        &["show"],
        &["run", "/no/such/file.toml"],
        &["status", "--wait", "-1"],
    ] {
        let output = command_in(&place, user).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["exec", "--help"]] {
        let output = command_in(&place, user).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

fn without_a_switch(user: User) {
    let place = Place::new(user);
    for arguments in
        [&["status"][..], &["status", "--wait", "0.3"], &["show", "ports"], &["exec", "a", "--", "true"]]
    {
        let output = command_in(&place, user).args(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("no switch is running") && said.contains("vswitch run"), "{said}");
    }
}

fn every_listing_as_a_table_and_as_json(user: User) {
    let switch = Switch::start(user, TWO_NETWORKS);
    let mode = if user == User::Root { "root" } else { "rootless" };
    let status = switch.says(&["status"]);
    assert!(
        status.contains("up, 3 of 3 ports up, 1 worker,") && status.contains(&format!(", {mode}, ")),
        "{status}"
    );
    let status = switch.json(&["status"]);
    has_fields(&status, &["name", "pid", "version", "rootless", "workers", "ports_up", "ports", "ready"]);
    assert_eq!(status["rootless"], user == User::Ordinary);
    assert_eq!(status["name"], switch.place.name());

    let listings = [
        Listing {
            arguments: &["show", "ports"],
            headings: &[
                "PORT",
                "CONTAINER",
                "INTERFACE",
                "NETWORK",
                "STATE",
                "MAC",
                "ADDRESSES",
                "DRIVER",
                "OFFLOADS",
                "DROPPED",
            ],
            rows: 3,
            fields: &[
                "port",
                "network",
                "container",
                "interface",
                "mac_address",
                "ipv4_address",
                "ipv6_address",
                "mtu",
                "driver",
                "offloads",
                "queues",
                "source_guard",
                "up",
                "reason",
                "received_frames",
                "received_bytes",
                "sent_frames",
                "sent_bytes",
                "coalesced_frames",
                "dropped",
            ],
        },
        Listing {
            arguments: &["show", "fdb"],
            headings: &["NETWORK", "MAC", "PORT", "CONTAINER", "INTERFACE", "KIND", "AGE"],
            rows: 3,
            fields: &["network", "mac_address", "port", "container", "interface", "kind", "age"],
        },
        Listing {
            arguments: &["network", "ls"],
            headings: &["NAME", "DRIVER", "SUBNETS", "MTU", "INTERNAL", "CONTAINERS"],
            rows: 2,
            fields: &["name", "configuration", "containers"],
        },
        Listing {
            arguments: &["container", "ls"],
            headings: &["NAME", "STATE", "NETWORKS", "ADDRESSES", "COMMAND"],
            rows: 2,
            fields: &[
                "name",
                "state",
                "reason",
                "ephemeral",
                "pid",
                "exit_code",
                "namespaces",
                "configuration",
            ],
        },
    ];
    for Listing { arguments, headings, rows, fields } in listings {
        let table = switch.says(arguments);
        assert!(headings.iter().all(|heading| table.lines().next().unwrap().contains(heading)), "{table}");
        assert_eq!(table.lines().count(), 1 + rows, "{table}");
        let list = switch.json(arguments);
        assert_eq!(list.as_array().unwrap().len(), rows, "{list}");
        list.as_array().unwrap().iter().for_each(|one| has_fields(one, fields));
    }
    let counters = switch.json(&["show", "counters"]);
    assert_eq!(counters["networks"].as_array().unwrap().len(), 2);
    counters["networks"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(|one| has_fields(one, &["network", "counters", "drops"]));
    counters["ports"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(|one| has_fields(one, &["port", "container", "drops", "sent_frames"]));
    assert!(switch.says(&["show", "counters"]).starts_with("NETWORK"));
    assert_eq!(switch.json(&["show", "ports", "--network", "back"]).as_array().unwrap().len(), 2);
    let back = switch.json(&["network", "inspect", "back"]);
    assert_eq!(
        (&back["configuration"]["internal"], back["containers"].as_array().unwrap().len()),
        (&true.into(), 2)
    );
    has_fields(&switch.namespaces("web"), &["user", "net", "mount", "uts"]);
    switch.stop();
}

/// As with `vswitch show ports | head -0`.
fn a_reader_that_goes_away(user: User) {
    let switch = Switch::start(user, TWO_NETWORKS);
    for arguments in [
        &["show", "ports"][..],
        &["show", "counters", "--json"],
        &["status"],
        &["network", "inspect", "back"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = switch.command(arguments);
        let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
    switch.stop();
}

/// A command that lists, and what its output has.
struct Listing {
    arguments: &'static [&'static str],
    headings: &'static [&'static str],
    rows: usize,
    fields: &'static [&'static str],
}

#[track_caller]
fn has_fields(value: &Value, fields: &[&str]) {
    let missing: Vec<_> = fields.iter().filter(|field| value.get(field).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} of {value}");
}
