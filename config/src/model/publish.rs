//! `ports` of a container: what of it is reachable from outside.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

/// Ports of a container that the uplink's addresses answer for. Those of a family that the container has no address of
/// on a bridge network are not reachable in that family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PublishedPort {
    /// Only at this external address, one of [`super::Uplink::addresses`] or given by DHCP; an unspecified one: at every
    /// one of its family; absent: at every one.
    pub host_ip: Option<IpAddr>,
    /// External ports, first and last; 1..=65535, the first not above the last.
    pub host_ports: (u16, u16),
    /// The container's ports, first and last; as many as `host_ports`, in the same order.
    pub container_ports: (u16, u16),
    /// The transport protocol.
    pub protocol: Protocol,
}

/// Ports that a container's programs listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExposedPorts {
    /// First and last; 1..=65535, the first not above the last.
    pub ports: (u16, u16),
    /// The transport protocol.
    pub protocol: Protocol,
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Docker's short syntax: `127.0.0.1:5353:53/udp`, `9000-9010:9000-9010/tcp`.
impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(first, last): (u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        let (host, container) = (range(self.host_ports), range(self.container_ports));
        if let Some(address) = self.host_ip {
            // Only a socket address brackets IPv6.
            let text = SocketAddr::new(address, 0).to_string();
            write!(f, "{}:", text.trim_end_matches(":0"))?;
        }
        write!(f, "{host}:{container}/{}", self.protocol)
    }
}
