//! `router_advertisements` beside the other settings of a network: is there a prefix to tell of, and somebody to tell it?

use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    model::{Network, RouterAdvertisements},
    parse::{RawAdvertisements, RawSubnet},
};

/// The prefix length that host addresses are formed in: 128 less the 64 bits of an interface identifier (RFC 4291 §2.5.1).
const SLAAC_PREFIX_LEN: u8 = 64;

/// What the gateway tells members of the bridge `network`; `subnets` are those it names.
pub(super) fn advertisements(
    network: &Network,
    raw: &RawAdvertisements,
    subnets: &[RawSubnet],
    report: &mut Diagnostics,
) -> Option<RouterAdvertisements> {
    let (value, span, autonomous) = match raw {
        RawAdvertisements::Off => return None,
        RawAdvertisements::Absent => {
            return network.enable_ipv6.then(|| RouterAdvertisements::of_network(network.internal));
        }
        RawAdvertisements::On { value, span, autonomous } => (value, span, autonomous),
    };
    if !network.enable_ipv6 {
        let message = format!("network `{}` has no router advertisements", network.name);
        report.push(
            Diagnostic::new(message, span.clone(), "they are a part of IPv6, which the network has not")
                .help("write `enable_ipv6 = true`, or remove `router_advertisements`"),
        );
        return None;
    }
    let of_another_length = |subnet: &&RawSubnet| {
        let net = subnet.subnet.value;
        net.addr().is_ipv6() && net.prefix_len() != SLAAC_PREFIX_LEN
    };
    if let Some(autonomous) = autonomous
        && let Some(subnet) = subnets.iter().find(of_another_length)
    {
        let message = format!("members of network `{}` cannot form addresses of their own", network.name);
        let label = format!("in {}, which is no /{SLAAC_PREFIX_LEN}", subnet.subnet.value);
        report.push(
            Diagnostic::new(message, autonomous.clone(), label)
                .also(subnet.subnet.span.clone(), "the subnet")
                .help(format!(
                    "write a subnet with prefix length {SLAAC_PREFIX_LEN}, or remove `autonomous`"
                )),
        );
    }
    Some(*value)
}
