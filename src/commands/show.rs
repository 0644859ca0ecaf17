//! `vswitch show`: the switch's tables.

mod routing;

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{CommandError, Socket, in_uri, table};
use crate::api::client;
use crate::api::types::{Counters, FdbEntry, Port};
use crate::cli::ShowArgs;

pub(super) use self::routing::{conntrack, neighbors, routes};

pub(super) fn ports(args: &ShowArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let ports: Vec<Port> = client::get(&socket.0, &uri("ports", args))?;
    if args.listing.json {
        table::print_json(&ports)?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = [
        "PORT",
        "CONTAINER",
        "INTERFACE",
        "NETWORK",
        "STATE",
        "MAC",
        "ADDRESSES",
        "DRIVER",
        "OFFLOADS",
        "RX",
        "TX",
        "DROPPED",
    ];
    let rows = ports.iter().map(|port| {
        [
            port.port.clone(),
            port.container.clone().unwrap_or_else(|| "-".to_owned()),
            port.interface.clone(),
            port.network.clone(),
            match &port.reason {
                None => if port.up { "up" } else { "down" }.to_owned(),
                Some(reason) => format!("{}: {reason}", if port.up { "up" } else { "down" }),
            },
            port.mac_address.clone(),
            table::list(port.ipv4_address.iter().chain(&port.ipv6_address)),
            port.driver.clone(),
            table::list(&port.offloads),
            port.traffic.received_frames.to_string(),
            port.traffic.sent_frames.to_string(),
            port.dropped.to_string(),
        ]
    });
    table::print_rows(headings, rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn fdb(args: &ShowArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let entries: Vec<FdbEntry> = client::get(&socket.0, &uri("fdb", args))?;
    if args.listing.json {
        table::print_json(&entries)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = entries.iter().map(|entry| {
        [
            entry.network.clone(),
            entry.mac_address.clone(),
            entry.port.clone(),
            entry.container.clone(),
            entry.interface.clone(),
            entry.kind.clone(),
            entry.age.map_or("-".to_owned(), |age| format!("{age}s")),
        ]
    });
    table::print_rows(["NETWORK", "MAC", "PORT", "CONTAINER", "INTERFACE", "KIND", "AGE"], rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn counters(args: &ShowArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let counters: Counters = client::get(&socket.0, &uri("counters", args))?;
    if args.listing.json {
        table::print_json(&counters)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    let mut add = |scope: &str, subject: &str, counts: &BTreeMap<String, u64>, kind: &str| {
        for (name, count) in counts {
            rows.push([scope.to_owned(), subject.to_owned(), format!("{kind}{name}"), count.to_string()]);
        }
    };
    for network in &counters.networks {
        add(&network.network, "-", &network.counters, "");
        add(&network.network, "-", &network.drops, "drop ");
    }
    for port in &counters.ports {
        let container = port.container.as_deref().unwrap_or("-");
        let subject = format!("{} {container}/{}", port.port, port.interface);
        let traffic = &port.traffic;
        let counts = BTreeMap::from([
            ("received_frames".to_owned(), traffic.received_frames),
            ("received_bytes".to_owned(), traffic.received_bytes),
            ("sent_frames".to_owned(), traffic.sent_frames),
            ("sent_bytes".to_owned(), traffic.sent_bytes),
            ("coalesced_frames".to_owned(), traffic.coalesced_frames),
        ]);
        add(&port.network, &subject, &counts, "");
        add(&port.network, &subject, &port.drops, "drop ");
    }
    for rule in &counters.rules {
        let subject = format!("{} {}", rule.container, rule.rule);
        let counts = BTreeMap::from([
            ("accepted_connections".to_owned(), rule.accepted),
            ("refused_connections".to_owned(), rule.refused),
        ]);
        add("-", &subject, &counts, "");
    }
    table::print_rows(["NETWORK", "PORT", "COUNTER", "COUNT"], rows)?;
    Ok(ExitCode::SUCCESS)
}

fn uri(table: &str, args: &ShowArgs) -> String {
    match &args.network {
        Some(network) => format!("/v1/{table}?network={}", in_uri(network)),
        None => format!("/v1/{table}"),
    }
}
