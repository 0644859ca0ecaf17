//! Published ports: where they answer, and what came of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vswitch_config::model::Container;
use vswitch_switch::nat::Publish;
use vswitch_wire::protocol;

use super::super::Daemon;
use crate::api::types;

impl Daemon {
    /// A container's published ports, as the dataplane answers for them now.
    pub(super) fn published_by(&self, spec: &Container) -> Vec<types::PublishedPorts> {
        let (Some(live), Some(nat)) = (self.containers.get(&spec.name), self.dataplane.tables().nat()) else {
            return Vec::new();
        };
        let own =
            nat.published.rules().iter().filter(|rule| live.ports.iter().any(|port| port.id == rule.owner));
        let mut published: Vec<_> = own.flat_map(by_family).collect();
        published.sort();
        published
    }

    /// What was counted on each published port of the containers on a network, or of all.
    pub(super) fn rule_counters(&self, only: Option<&str>) -> Vec<types::RuleCounters> {
        let on = |spec: &Container, only: &str| spec.attachments.iter().any(|at| at.network.as_str() == only);
        let wanted = self.rules.iter().filter(|((owner, _), _)| {
            let spec = self.config.containers.get(owner);
            only.is_none_or(|only| spec.is_some_and(|spec| on(spec, only)))
        });
        let describe = wanted.map(|((container, rule), counters)| types::RuleCounters {
            container: container.to_string(),
            rule: rule.to_string(),
            accepted: counters.accepted(),
            refused: counters.refused(),
        });
        describe.collect()
    }
}

/// The families in which a rule answers, as `docker port` lists them.
fn by_family(rule: &Publish) -> impl Iterator<Item = types::PublishedPorts> {
    let four = rule.container4.map(|_| IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let six = rule.container6.map(|_| IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let (host_first, host_last) = (*rule.host_ports.start(), *rule.host_ports.end());
    let to = rule.container_port;
    let (host, number) = (rule.host, rule.protocol);
    four.into_iter()
        .chain(six)
        .filter(move |any| host.is_none_or(|host| host.is_ipv4() == any.is_ipv4()))
        .map(move |any| types::PublishedPorts {
            // Cannot overflow: such a rule is none.
            container_ports: (to, to.saturating_add(host_last - host_first)),
            protocol: protocol_name(number),
            host_ip: host.unwrap_or(any),
            host_ports: (host_first, host_last),
        })
}

/// What a protocol is called; those without a name here by their number.
pub(super) fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vswitch_switch::{NetworkId, PortId};

    use super::*;

    fn rule(host: Option<&str>, six: bool) -> Publish {
        Publish {
            host: host.map(|host| host.parse().unwrap()),
            host_ports: 9000..=9010,
            container_port: 80,
            protocol: protocol::UDP,
            container4: Some(Ipv4Addr::new(10, 0, 0, 2)),
            container6: six.then_some(Ipv6Addr::LOCALHOST),
            network: NetworkId::FIRST,
            owner: PortId::FIRST,
            counters: Arc::default(),
        }
    }

    fn hosts(rule: &Publish) -> Vec<String> {
        by_family(rule).map(|one| one.host_ip.to_string()).collect()
    }

    #[test]
    fn a_rule_answers_in_the_families_of_its_container_and_its_host_address() {
        assert_eq!(hosts(&rule(None, true)), ["0.0.0.0", "::"]);
        assert_eq!(hosts(&rule(None, false)), ["0.0.0.0"]);
        assert_eq!(hosts(&rule(Some("::"), true)), ["::"]);
        assert_eq!(hosts(&rule(Some("192.0.2.1"), true)), ["192.0.2.1"]);
    }

    #[test]
    fn a_range_stays_one_entry() {
        let one = by_family(&rule(None, false)).next().unwrap();
        assert_eq!((one.host_ports, one.container_ports), ((9000, 9010), (80, 90)));
        assert_eq!(one.protocol, "udp");
    }
}
