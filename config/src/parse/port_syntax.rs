//! Docker's short syntax of ports: `[[ADDRESS:][PORT[-PORT]]:]PORT[-PORT][/PROTOCOL]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Protocol;

/// What is to be published, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortSpec {
    /// Only at this address.
    pub(crate) host_ip: Option<IpAddr>,
    /// First and last; absent: any free one.
    pub(crate) host_ports: Option<(u16, u16)>,
    /// First and last. As many as `host_ports`, or one: then any free one of `host_ports`.
    pub(crate) container_ports: (u16, u16),
    pub(crate) protocol: Protocol,
}

/// Why a text is no port. Its `Display` stands under the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortError {
    #[error("the container's port is missing")]
    NoContainerPort,
    #[error("`{0}` is not a port, which is a number from 1 to 65535")]
    NotAPort(String),
    #[error("a range counts upwards")]
    Backwards,
    #[error("`{0}` is not an IP address")]
    NotAnAddress(String),
    #[error("an IPv6 address stands in brackets")]
    Unbracketed,
    #[error("`{0}` is not a protocol with ports")]
    UnknownProtocol(String),
    #[error("{0} host ports for {1} of the container")]
    Lengths(u32, u32),
}

/// Reads Docker's short syntax.
pub(crate) fn short(text: &str) -> Result<PortSpec, PortError> {
    let (ports, protocol) = with_protocol(text)?;
    let (front, container) = match ports.rsplit_once(':') {
        Some((front, container)) => (Some(front), container),
        None => (None, ports),
    };
    if container.is_empty() {
        return Err(PortError::NoContainerPort);
    }
    let container_ports = port_range(container)?;
    let (host_ip, host) = match front {
        None => (None, ""),
        Some(front) => address_and_port(front)?,
    };
    spec(host_ip, host, container_ports, protocol)
}

/// Puts the parts together. `host` may be empty or 0, for any free port.
pub(crate) fn spec(
    host_ip: Option<IpAddr>,
    host: &str,
    container_ports: (u16, u16),
    protocol: Protocol,
) -> Result<PortSpec, PortError> {
    let host_ports = match host {
        "" | "0" => None,
        host => Some(port_range(host)?),
    };
    let count = |(first, last): (u16, u16)| u32::from(last - first) + 1;
    if let Some(host) = host_ports.map(count)
        && count(container_ports) != 1
        && host != count(container_ports)
    {
        return Err(PortError::Lengths(host, count(container_ports)));
    }
    Ok(PortSpec { host_ip, host_ports, container_ports, protocol })
}

/// `80`, `80/udp` or `80-90/tcp`.
pub(crate) fn exposed(text: &str) -> Result<((u16, u16), Protocol), PortError> {
    let (ports, protocol) = with_protocol(text)?;
    Ok((port_range(ports)?, protocol))
}

/// `80` or `80-90`.
pub(crate) fn port_range(text: &str) -> Result<(u16, u16), PortError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first <= last { Ok((first, last)) } else { Err(PortError::Backwards) }
}

/// As Docker does, without regard to case.
pub(crate) fn protocol(text: &str) -> Result<Protocol, PortError> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(PortError::UnknownProtocol(text.escape_debug().to_string())),
    }
}

fn with_protocol(text: &str) -> Result<(&str, Protocol), PortError> {
    match text.split_once('/') {
        Some((ports, name)) => Ok((ports, protocol(name)?)),
        None => Ok((text, Protocol::Tcp)),
    }
}

/// What stands before the container's port: `ADDRESS:PORT`, `ADDRESS:` or `PORT`.
fn address_and_port(front: &str) -> Result<(Option<IpAddr>, &str), PortError> {
    let not_an_address = |text: &str| PortError::NotAnAddress(text.escape_debug().to_string());
    if let Some(rest) = front.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(|| not_an_address(front))?;
        let address: Ipv6Addr = address.parse().map_err(|_| not_an_address(address))?;
        let port = port.strip_prefix(':').ok_or_else(|| not_an_address(front))?;
        return Ok((Some(address.into()), port));
    }
    let Some((address, port)) = front.rsplit_once(':') else { return Ok((None, front)) };
    if address.contains(':') {
        return Err(PortError::Unbracketed);
    }
    let address: Ipv4Addr = address.parse().map_err(|_| not_an_address(address))?;
    Ok((Some(address.into()), port))
}

fn port(text: &str) -> Result<u16, PortError> {
    // `parse` takes a plus sign, which Docker does not.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.filter(|port| *port > 0).ok_or_else(|| PortError::NotAPort(text.escape_debug().to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::PublishedPort;

    fn range() -> impl Strategy<Value = (u16, u16)> {
        (1u16.., any::<u16>()).prop_map(|(first, more)| (first, first.saturating_add(more % 100)))
    }

    fn published() -> impl Strategy<Value = PublishedPort> {
        let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
        (any::<Option<IpAddr>>(), range(), any::<u16>(), protocol).prop_map(
            |(host_ip, host_ports, start, protocol)| {
                let length = host_ports.1 - host_ports.0;
                let first = start.clamp(1, u16::MAX - length);
                PublishedPort { host_ip, host_ports, container_ports: (first, first + length), protocol }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_it_was(port in published()) {
            let read = short(&port.to_string());
            let expected = PortSpec {
                host_ip: port.host_ip,
                host_ports: Some(port.host_ports),
                container_ports: port.container_ports,
                protocol: port.protocol,
            };
            prop_assert_eq!(read, Ok(expected));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9:/\\[\\].a-f-]{0,24}|\\PC*") {
            if let Ok(spec) = short(&text) {
                prop_assert!(0 < spec.container_ports.0 && spec.container_ports.0 <= spec.container_ports.1);
                prop_assert!(spec.host_ports.is_none_or(|(first, last)| 0 < first && first <= last));
            }
        }
    }

    fn assert_reads(text: &str, host_ip: &str, host_ports: Option<(u16, u16)>, rest: ((u16, u16), Protocol)) {
        let host_ip = (!host_ip.is_empty()).then(|| host_ip.parse().expect("valid"));
        let (container_ports, protocol) = rest;
        assert_eq!(short(text), Ok(PortSpec { host_ip, host_ports, container_ports, protocol }), "{text}");
    }

    #[test]
    fn docker_s_forms() {
        use Protocol::{Sctp, Tcp, Udp};
        assert_reads("80", "", None, ((80, 80), Tcp));
        assert_reads("8080:80", "", Some((8080, 8080)), ((80, 80), Tcp));
        assert_reads("0:80", "", None, ((80, 80), Tcp));
        assert_reads(":80", "", None, ((80, 80), Tcp));
        assert_reads("9000-9010:9000-9010", "", Some((9000, 9010)), ((9000, 9010), Tcp));
        assert_reads("8000-8010:80", "", Some((8000, 8010)), ((80, 80), Tcp));
        assert_reads("127.0.0.1:5353:53/udp", "127.0.0.1", Some((5353, 5353)), ((53, 53), Udp));
        assert_reads("127.0.0.1::53/UDP", "127.0.0.1", None, ((53, 53), Udp));
        assert_reads("[::1]:80:81/sctp", "::1", Some((80, 80)), ((81, 81), Sctp));
        assert_reads("[::1]::81", "::1", None, ((81, 81), Tcp));
    }

    #[test]
    fn what_is_no_port() {
        let not_a_port = |text: &str| Err(PortError::NotAPort(text.to_owned()));
        assert_eq!(short("0"), not_a_port("0"));
        assert_eq!(short("65536"), not_a_port("65536"));
        assert_eq!(short("+80"), not_a_port("+80"));
        assert_eq!(short("a:80"), not_a_port("a"));
        assert_eq!(short("8080:"), Err(PortError::NoContainerPort));
        assert_eq!(short(""), Err(PortError::NoContainerPort));
        assert_eq!(short("90-80"), Err(PortError::Backwards));
        assert_eq!(short("::1:80:80"), Err(PortError::Unbracketed));
        assert_eq!(short("localhost:80:80"), Err(PortError::NotAnAddress("localhost".to_owned())));
        assert_eq!(short("[10.0.0.1]:80:80"), Err(PortError::NotAnAddress("10.0.0.1".to_owned())));
        assert_eq!(short("80/icmp"), Err(PortError::UnknownProtocol("icmp".to_owned())));
        assert_eq!(short("8000-8001:80-82"), Err(PortError::Lengths(2, 3)));
        assert_eq!(short("8000:80-82"), Err(PortError::Lengths(1, 3)));
    }
}
