//! `vswitch show neighbors`, `routes` and `conntrack`: what routing knows.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use super::uri;
use crate::api::client;
use crate::api::types::{Connection, Connections, Neighbor, NextHop, Route, Tuple};
use crate::cli::ShowArgs;
use crate::commands::{CommandError, Socket, table};

pub(in crate::commands) fn neighbors(args: &ShowArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let neighbors: Vec<Neighbor> = client::get(&socket.0, &uri("neighbors", args))?;
    if args.listing.json {
        table::print_json(&neighbors)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = neighbors.iter().map(|neighbor| {
        [
            neighbor.network.clone(),
            neighbor.address.clone(),
            or_dash(neighbor.mac_address.as_ref()),
            neighbor.state.clone(),
            or_dash(neighbor.age.map(|age| format!("{age}s")).as_ref()),
            or_dash(neighbor.container.as_ref()),
        ]
    });
    table::print_rows(["NETWORK", "ADDRESS", "MAC", "STATE", "AGE", "CONTAINER"], rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

pub(in crate::commands) fn routes(args: &ShowArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let routes: Vec<Route> = client::get(&socket.0, &uri("routes", args))?;
    if args.listing.json {
        table::print_json(&routes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = routes.iter().map(|route| [route.network.clone(), route.destination.clone(), leads_to(route)]);
    table::print_rows(["NETWORK", "DESTINATION", "ROUTE"], rows.collect())?;
    Ok(ExitCode::SUCCESS)
}

pub(in crate::commands) fn conntrack(args: &ShowArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let connections = all_connections(args, socket)?;
    if args.listing.json {
        table::print_json(&connections)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = connections.iter().map(|connection| {
        [
            connection.network.clone(),
            or_dash(connection.container.as_ref()),
            connection.protocol.clone(),
            connection.direction.clone(),
            connection.original.to_string(),
            connection.reply.to_string(),
            connection.state.clone(),
            format!("{}s", connection.idle),
            format!("{}s", connection.remaining),
        ]
    });
    let headings =
        ["NETWORK", "CONTAINER", "PROTOCOL", "DIRECTION", "ORIGINAL", "REPLY", "STATE", "IDLE", "EXPIRES"];
    table::print_rows(headings, rows.collect())?;
    let plural = if connections.len() == 1 { "" } else { "s" };
    writeln!(std::io::stdout(), "{} connection{plural}", connections.len())?;
    Ok(ExitCode::SUCCESS)
}

/// Asks for one part of the table after the other, so that the switch never stops for all of it.
fn all_connections(args: &ShowArgs, socket: &Socket) -> Result<Vec<Connection>, CommandError> {
    let first = uri("conntrack", args);
    let mut part: Connections = client::get(&socket.0, &first)?;
    let mut all = part.connections;
    while let Some(next) = part.next {
        let and = if first.contains('?') { '&' } else { '?' };
        part = client::get(&socket.0, &format!("{first}{and}from={next}"))?;
        all.append(&mut part.connections);
    }
    all.sort();
    Ok(all)
}

/// As `ip route` says it.
fn leads_to(route: &Route) -> String {
    let hop = |NextHop { via, network }: &NextHop| match via {
        Some(via) => format!("via {via} dev {network}"),
        None => format!("connected {network}"),
    };
    if route.next_hops.is_empty() {
        return route.kind.clone();
    }
    route.next_hops.iter().map(hop).collect::<Vec<_>>().join(", ")
}

fn or_dash(value: Option<&String>) -> String {
    value.map_or("-", String::as_str).to_owned()
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |address: IpAddr, port: Option<u16>| match port {
            Some(port) => SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        };
        let source = end(self.source, self.source_port);
        write!(f, "{source} > {}", end(self.destination, self.destination_port))?;
        match self.identifier {
            Some(identifier) => write!(f, " id {identifier}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(kind: &str, hops: &[(Option<&str>, &str)]) -> Route {
        let hop = |(via, network): &(Option<&str>, &str)| NextHop {
            via: via.map(ToOwned::to_owned),
            network: (*network).to_owned(),
        };
        Route {
            network: "front".to_owned(),
            destination: "0.0.0.0/0".to_owned(),
            kind: kind.to_owned(),
            next_hops: hops.iter().map(hop).collect(),
        }
    }

    #[test]
    fn routes_read_as_those_of_ip_route() {
        assert_eq!(leads_to(&route("connected", &[(None, "front")])), "connected front");
        let two = [(Some("192.0.2.1"), "uplink"), (Some("192.0.2.2"), "uplink")];
        assert_eq!(leads_to(&route("via", &two)), "via 192.0.2.1 dev uplink, via 192.0.2.2 dev uplink");
        assert_eq!(leads_to(&route("blackhole", &[])), "blackhole");
    }

    #[test]
    fn tuples_show_what_tells_them_apart() {
        let tcp = Tuple {
            source: "fd00::2".parse().unwrap(),
            source_port: Some(5000),
            destination: "2001:db8::7".parse().unwrap(),
            destination_port: Some(80),
            identifier: None,
        };
        assert_eq!(tcp.to_string(), "[fd00::2]:5000 > [2001:db8::7]:80");
        let ping = Tuple { source_port: None, destination_port: None, identifier: Some(9), ..tcp };
        assert_eq!(ping.to_string(), "fd00::2 > 2001:db8::7 id 9");
    }
}
