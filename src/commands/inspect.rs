//! `vswitch network` and `vswitch container`: listing and inspecting.

use std::process::ExitCode;

use serde_json::Value;

use super::{CommandError, Socket, in_uri, port, table};
use crate::api::client;
use crate::api::types::{Container, Network, NetworkInFull};
use crate::cli::{InspectArgs, Listing};

pub(super) fn list_networks(listing: &Listing, socket: &Socket) -> Result<ExitCode, CommandError> {
    let networks: Vec<Network> = client::get(&socket.0, "/v1/networks")?;
    if listing.json {
        table::print_json(&networks)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = networks.iter().map(|network| {
        let configuration = &network.configuration;
        let subnets = configuration["ipam"].as_array().into_iter().flatten();
        [
            network.name.clone(),
            text(&configuration["driver"]),
            table::list(subnets.map(|ipam| text(&ipam["subnet"]))),
            text(&configuration["mtu"]),
            text(&configuration["internal"]),
            network.containers.len().to_string(),
        ]
    });
    table::print_rows(["NAME", "DRIVER", "SUBNETS", "MTU", "INTERNAL", "CONTAINERS"], rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list_containers(listing: &Listing, socket: &Socket) -> Result<ExitCode, CommandError> {
    let containers: Vec<Container> = client::get(&socket.0, "/v1/containers")?;
    if listing.json {
        table::print_json(&containers)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = containers.iter().map(|container| {
        let attachments: Vec<&Value> =
            container.configuration["attachments"].as_array().into_iter().flatten().collect();
        let addresses = attachments.iter().flat_map(|at| [&at["ipv4_address"], &at["ipv6_address"]]);
        let command = match (container.pid, container.exit_code) {
            (Some(pid), _) => format!("running, pid {pid}"),
            (None, Some(code)) => format!("exited ({code})"),
            (None, None) => "-".to_owned(),
        };
        [
            container.name.clone(),
            container.state.clone(),
            table::list(attachments.iter().map(|at| text(&at["network"]))),
            table::list(addresses.filter(|value| !value.is_null()).map(text)),
            port::column(container),
            command,
        ]
    });
    let headings = ["NAME", "STATE", "NETWORKS", "ADDRESSES", "PORTS", "COMMAND"];
    table::print_rows(headings, rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints JSON with and without `--json`, as `docker network inspect` does.
pub(super) fn inspect_network(args: &InspectArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let network: NetworkInFull = client::get(&socket.0, &format!("/v1/networks/{}", in_uri(&args.subject)))?;
    table::print_json(&network)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints JSON with and without `--json`, as `docker container inspect` does.
pub(super) fn inspect_container(args: &InspectArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let container: Container = client::get(&socket.0, &format!("/v1/containers/{}", in_uri(&args.subject)))?;
    table::print_json(&container)?;
    Ok(ExitCode::SUCCESS)
}

/// A JSON value as a cell.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
