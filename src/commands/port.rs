//! `vswitch port`: where a container's ports are published, as `docker port` says it.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use serde_json::Value;

use super::{CommandError, Socket, in_uri, table};
use crate::api::client;
use crate::api::types::{Container, PublishedPorts};
use crate::cli::{ContainerPort, PortArgs};

pub(super) fn port(args: &PortArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let uri = format!("/v1/containers/{}/ports", in_uri(&args.container));
    let mut published: Vec<PublishedPorts> = client::get(&socket.0, &uri)?;
    if let Some(wanted) = &args.port {
        published = published.iter().filter_map(|ports| only(ports, wanted)).collect();
        if published.is_empty() {
            let ContainerPort { port, protocol } = wanted;
            let container = &args.container;
            return Err(CommandError::Failed(format!(
                "container {container} does not publish {port}/{protocol}"
            )));
        }
    }
    if args.listing.json {
        table::print_json(&published)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut stdout = std::io::stdout().lock();
    for (container, host) in one_by_one(&published) {
        match &args.port {
            Some(_) => writeln!(stdout, "{host}")?,
            None => writeln!(stdout, "{container} -> {host}")?,
        }
    }
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What the listing of containers says of a container's ports, in the form of `docker ps`: those published, then those
/// only exposed.
pub(super) fn column(container: &Container) -> String {
    let published = container.ports.iter().map(|ports| {
        let host = SocketAddr::new(ports.host_ip, ports.host_ports.0);
        format!("{host}{}->{}/{}", to(ports.host_ports), range(ports.container_ports), ports.protocol)
    });
    let exposed = container.configuration["expose"].as_array().into_iter().flatten();
    let unpublished = exposed.filter_map(|exposed| {
        let protocol = exposed["protocol"].as_str()?;
        let number = |place: usize| exposed["ports"].get(place).and_then(Value::as_u64)?.try_into().ok();
        let ports: (u16, u16) = (number(0)?, number(1)?);
        let covers = |all: &PublishedPorts| {
            all.protocol == protocol && all.container_ports.0 <= ports.0 && ports.1 <= all.container_ports.1
        };
        (!container.ports.iter().any(covers)).then(|| format!("{}/{protocol}", range(ports)))
    });
    let all: Vec<_> = published.chain(unpublished).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

/// The part of a range that is one port of the container.
fn only(ports: &PublishedPorts, wanted: &ContainerPort) -> Option<PublishedPorts> {
    let (first, last) = ports.container_ports;
    if ports.protocol != wanted.protocol || !(first..=last).contains(&wanted.port) {
        return None;
    }
    let host = ports.host_ports.0.checked_add(wanted.port - first)?;
    Some(PublishedPorts {
        container_ports: (wanted.port, wanted.port),
        host_ports: (host, host),
        ..ports.clone()
    })
}

/// Each port of the container with each place it is published at, by port.
fn one_by_one(published: &[PublishedPorts]) -> Vec<(String, SocketAddr)> {
    let mut all = Vec::new();
    for ports in published {
        let (container, host) = (ports.container_ports, ports.host_ports);
        let pairs = (container.0..=container.1).zip(host.0..=host.1);
        all.extend(pairs.map(|(port, host)| (port, &ports.protocol, SocketAddr::new(ports.host_ip, host))));
    }
    all.sort();
    all.into_iter().map(|(port, protocol, host)| (format!("{port}/{protocol}"), host)).collect()
}

fn range((first, last): (u16, u16)) -> String {
    format!("{first}{}", to((first, last)))
}

/// The end of a range of more than one port.
fn to((first, last): (u16, u16)) -> String {
    if first == last { String::new() } else { format!("-{last}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published(host_ip: &str, host: (u16, u16), container: (u16, u16)) -> PublishedPorts {
        PublishedPorts {
            container_ports: container,
            protocol: "tcp".to_owned(),
            host_ip: host_ip.parse().unwrap(),
            host_ports: host,
        }
    }

    #[test]
    fn lines_are_those_of_docker_port() {
        let range = published("192.0.2.1", (9000, 9001), (90, 91));
        let web = [published("0.0.0.0", (8080, 8080), (80, 80)), published("::", (8080, 8080), (80, 80))];
        let all = [range, web[1].clone(), web[0].clone()];
        let lines: Vec<_> = one_by_one(&all).iter().map(|(port, host)| format!("{port} -> {host}")).collect();
        assert_eq!(
            lines,
            [
                "80/tcp -> 0.0.0.0:8080",
                "80/tcp -> [::]:8080",
                "90/tcp -> 192.0.2.1:9000",
                "91/tcp -> 192.0.2.1:9001"
            ]
        );
    }

    #[test]
    fn one_port_of_a_range_is_found_by_number_and_protocol() {
        let range = published("0.0.0.0", (9000, 9010), (80, 90));
        let find =
            |port, protocol: &str| only(&range, &ContainerPort { port, protocol: protocol.to_owned() });
        assert_eq!(
            find(85, "tcp").map(|one| (one.host_ports, one.container_ports)),
            Some(((9005, 9005), (85, 85)))
        );
        assert!(find(85, "udp").is_none() && find(79, "tcp").is_none() && find(91, "tcp").is_none());
    }

    #[test]
    fn the_column_is_that_of_docker_ps() {
        let container = |ports, expose| Container {
            name: "web".to_owned(),
            state: "up".to_owned(),
            reason: None,
            ephemeral: false,
            pid: None,
            exit_code: None,
            namespaces: None,
            ports,
            configuration: json!({ "expose": expose }),
        };
        let ports =
            vec![published("0.0.0.0", (8080, 8080), (80, 80)), published("::", (9000, 9001), (90, 91))];
        let expose = json!([
            { "ports": [80, 80], "protocol": "tcp" },
            { "ports": [53, 53], "protocol": "udp" },
            { "ports": [91, 92], "protocol": "tcp" },
        ]);
        assert_eq!(
            column(&container(ports, expose)),
            "0.0.0.0:8080->80/tcp, [::]:9000-9001->90-91/tcp, 53/udp, 91-92/tcp"
        );
        assert_eq!(column(&container(Vec::new(), json!([]))), "-");
    }
}
