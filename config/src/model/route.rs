//! `routes` of a network: where its gateway sends what is not for its own subnets.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::names::NetworkName;

/// One configured route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StaticRoute {
    /// The addresses it is for; host bits are zero. Only one route of a network has it.
    pub destination: IpNet,
    /// Where to.
    pub via: RouteVia,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteVia {
    /// To routers on the network itself, each in one of its subnets and of the family of the destination, none of them
    /// the gateway; never empty, no duplicates. Several share the flows.
    Gateways(Vec<IpAddr>),
    /// Into another network of the switch, whose table decides further.
    Network(NetworkName),
    /// Nowhere, in silence.
    Blackhole,
    /// Nowhere; the sender hears that the host is unreachable.
    Unreachable,
    /// Nowhere; the sender hears that it is prohibited.
    Prohibit,
}
