//! Who has which host ports.
//!
//! Holds, per protocol and set of addresses, ranges of ports that do not overlap; those of two sets may, if the sets
//! have no address in common. A claim that overlaps one in force is refused and changes nothing. A lookup is
//! O(s log n) with s the distinct addresses that ports are published at.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{allot::RangeSet, diagnostic::Span, model::Protocol, names::ContainerName};

/// The addresses that a port is published at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Every,
    EveryIpv4,
    EveryIpv6,
    Only(IpAddr),
}

/// Host ports of one container.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) ports: (u16, u16),
    pub(super) owner: ContainerName,
    pub(super) span: Span,
}

/// All claims in force.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By first port.
    ranges: BTreeMap<(Protocol, Scope), BTreeMap<u16, Claim>>,
    /// Ports that [`Claims::any_free`] does not answer: those claimed at some address, and those it found to be reserved.
    /// With them exhaustion is found at once, however many ask.
    taken: BTreeMap<Protocol, RangeSet>,
}

impl Claims {
    /// Takes the ports of `claim` at `host_ip`, or answers who has one of them.
    pub(super) fn take(
        &mut self,
        host_ip: Option<IpAddr>,
        protocol: Protocol,
        claim: Claim,
    ) -> Result<(), &Claim> {
        let scope = Scope::of(host_ip);
        if self.at(protocol, claim.ports, scope).is_some() {
            // Looked up again: a borrow that is returned lasts to the end of the function on every path.
            return self.at(protocol, claim.ports, scope).map_or(Ok(()), Err);
        }
        self.mark(protocol, claim.ports);
        self.ranges.entry((protocol, scope)).or_default().insert(claim.ports.0, claim);
        Ok(())
    }

    /// Whether nobody has a port of `ports` at `host_ip`.
    pub(super) fn are_free(&self, host_ip: Option<IpAddr>, protocol: Protocol, ports: (u16, u16)) -> bool {
        self.at(protocol, ports, Scope::of(host_ip)).is_none()
    }

    /// The first port of `first..=last` from `start` on, going round, that nobody has at any address and that is not
    /// reserved. O(log n), besides each reserved port once.
    pub(super) fn any_free(
        &mut self,
        protocol: Protocol,
        (first, last): (u16, u16),
        start: u16,
        is_reserved: &dyn Fn(u16) -> bool,
    ) -> Option<u16> {
        let taken = self.taken.entry(protocol).or_default();
        loop {
            let above = taken.lowest_free(start.into(), last.into());
            let free = above.or_else(|| taken.lowest_free(first.into(), last.into()))?;
            let port = u16::try_from(free).ok()?;
            if !is_reserved(port) {
                return Some(port);
            }
            taken.insert(free);
        }
    }

    fn mark(&mut self, protocol: Protocol, (first, last): (u16, u16)) {
        let taken = self.taken.entry(protocol).or_default();
        while let Some(free) = taken.lowest_free(first.into(), last.into()) {
            taken.insert(free);
        }
    }

    fn at(&self, protocol: Protocol, (first, last): (u16, u16), scope: Scope) -> Option<&Claim> {
        let common = self.ranges.iter().filter(|((p, s), _)| *p == protocol && s.overlaps(scope));
        // The last range that starts in time is the only one that can reach as far.
        let mut candidates = common.filter_map(|(_, ranges)| ranges.range(..=last).next_back());
        candidates.find(|(_, claim)| claim.ports.1 >= first).map(|(_, claim)| claim)
    }
}

impl Scope {
    fn of(host_ip: Option<IpAddr>) -> Self {
        match host_ip {
            None => Self::Every,
            Some(IpAddr::V4(address)) if address.is_unspecified() => Self::EveryIpv4,
            Some(IpAddr::V6(address)) if address.is_unspecified() => Self::EveryIpv6,
            Some(address) => Self::Only(address),
        }
    }

    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => a == b,
            _ => (self.has_ipv4() && other.has_ipv4()) || (self.has_ipv6() && other.has_ipv6()),
        }
    }

    fn has_ipv4(self) -> bool {
        matches!(self, Self::Every | Self::EveryIpv4 | Self::Only(IpAddr::V4(_)))
    }

    fn has_ipv6(self) -> bool {
        matches!(self, Self::Every | Self::EveryIpv6 | Self::Only(IpAddr::V6(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Two addresses of each family stand for all there are.
    const ALL: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];

    fn claim(ports: (u16, u16)) -> Claim {
        Claim { ports, owner: "web".parse().expect("valid"), span: 0..1 }
    }

    fn address() -> impl Strategy<Value = Option<&'static str>> {
        prop::sample::select(vec![
            None,
            Some("0.0.0.0"),
            Some("::"),
            Some(ALL[0]),
            Some(ALL[1]),
            Some(ALL[2]),
        ])
    }

    fn members(host_ip: Option<&str>) -> Vec<&'static str> {
        let is_member = |address: &&&str| match host_ip {
            None => true,
            Some("0.0.0.0") => address.contains('.'),
            Some("::") => address.contains(':'),
            Some(only) => **address == only,
        };
        ALL.iter().filter(is_member).copied().collect()
    }

    proptest! {
        #[test]
        fn are_a_set_of_address_port_and_protocol(
            steps in prop::collection::vec((address(), 1u16..12, 0u16..4, any::<bool>()), 0..24)
        ) {
            let mut claims = Claims::default();
            let mut model = BTreeSet::new();
            for (host_ip, first, more, tcp) in steps {
                let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
                let wanted: Vec<_> = members(host_ip)
                    .into_iter()
                    .flat_map(|address| (first..=first + more).map(move |port| (address, port, tcp)))
                    .collect();
                let free = wanted.iter().all(|one| !model.contains(one));
                let host_ip = host_ip.map(|text| text.parse().expect("valid"));
                prop_assert_eq!(claims.are_free(host_ip, protocol, (first, first + more)), free);
                prop_assert_eq!(claims.take(host_ip, protocol, claim((first, first + more))).is_ok(), free);
                if free {
                    model.extend(wanted);
                }
            }
        }
    }
}
