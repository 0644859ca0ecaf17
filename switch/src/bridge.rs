//! The bridge: learns where stations are and decides where a frame goes. The slow path of L2.
//!
//! Stages, in order: guard → learn → gateway → look up → flood. Each is a few lines and says why it drops; the first
//! drop ends the walk. What a stage knows lives in its own module; this one only asks them in order.
//!
//! The gateway is a station of the network that no port leads to. It hears what is sent to all, answers what it can
//! answer itself, and takes what is sent to its MAC address: that is routed.

use vswitch_wire::Parsed;

use crate::counters::NetworkCounters;
use crate::drop_reason::DropReason;
use crate::fdb::{Fdb, Learned};
use crate::guard;
use crate::id::PortId;
use crate::parent::Parent;
use crate::router::hearing::GatewayStage;
use crate::storm::{Bum, Storm};
use crate::tables::{Network, Port, UnknownUnicast};
use crate::time::Time;
use crate::verdict::Verdict;

/// Everything a decision about one frame may look at or change.
#[derive(Debug)]
pub struct Stages<'a> {
    /// The ingress port, as configured.
    pub port: &'a Port,
    /// Its network, as configured.
    pub network: &'a Network,
    /// What this worker learned on the network.
    pub fdb: &'a mut Fdb,
    /// The ingress port's storm control.
    pub storm: &'a mut Storm,
    /// Where to count.
    pub counters: &'a NetworkCounters,
    /// The network's router.
    pub gateway: GatewayStage<'a>,
}

/// A decision, and what else came of making it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What becomes of the frame.
    pub verdict: Verdict,
    /// Whether frames with the same headers may be given the same verdict without asking again.
    pub cacheable: bool,
    /// Whether the source was learned, renewed or moved, which other workers want to hear.
    pub learned: bool,
}

impl Stages<'_> {
    /// Walks a frame from `ingress` through the stages.
    pub fn decide(&mut self, ingress: PortId, frame: &[u8], parsed: &Parsed, now: Time) -> Decision {
        let mut learned = false;
        let verdict = self.walk(ingress, frame, parsed, now, &mut learned).unwrap_or_else(Verdict::Drop);
        let cacheable = matches!(verdict, Verdict::Forward(_)) && !guard::looks_inside(parsed);
        Decision { verdict, cacheable, learned }
    }

    fn walk(
        &mut self,
        ingress: PortId,
        frame: &[u8],
        parsed: &Parsed,
        now: Time,
        learned: &mut bool,
    ) -> Result<Verdict, DropReason> {
        let headers = &parsed.headers;
        if !headers.source.is_unicast() {
            return Err(DropReason::SourceNotUnicast);
        }
        if let Some(guard) = &self.port.guard {
            guard.check(frame, parsed)?;
        }
        if headers.destination.is_link_local_multicast() {
            return Err(DropReason::LinkLocalMulticast);
        }
        if self.network.layer3_only {
            let routed = headers.is_ip() && !headers.destination.is_multicast();
            return if routed { Ok(Verdict::Route) } else { Err(DropReason::Layer3Only) };
        }
        if let Some(parent) = &self.network.parent {
            return self.walk_parent(parent, ingress, frame, parsed, now);
        }
        *learned = self.learn(ingress, parsed, now)?;
        if let Some(taken) = self.ask_gateway(frame, parsed, now)? {
            return Ok(taken);
        }
        if headers.destination.is_multicast() {
            let bum = if headers.destination.is_broadcast() { Bum::Broadcast } else { Bum::Multicast };
            return self.flood(bum, ingress, now);
        }
        match self.locate(parsed, now) {
            Some(egress) if egress == ingress => Err(DropReason::SamePort),
            Some(_) if !self.network.icc => Err(DropReason::IccOff),
            Some(egress) => {
                self.counters.unicast.add(1);
                Ok(Verdict::Forward(egress))
            }
            None if self.network.settings.unknown_unicast == UnknownUnicast::Drop => {
                Err(DropReason::UnknownUnicast)
            }
            None => self.flood(Bum::UnknownUnicast, ingress, now),
        }
    }

    /// The walk of a network on a parent, where nothing is learned.
    fn walk_parent(
        &mut self,
        parent: &Parent,
        ingress: PortId,
        frame: &[u8],
        parsed: &Parsed,
        now: Time,
    ) -> Result<Verdict, DropReason> {
        let headers = &parsed.headers;
        parent.admit(self.network, ingress, headers.source)?;
        // With one MAC address for all, what is for a member is not for the gateway.
        let to_member = headers.destination_address().is_some_and(|ip| parent.addresses.contains_key(&ip));
        if !to_member && let Some(taken) = self.ask_gateway(frame, parsed, now)? {
            return Ok(taken);
        }
        if headers.destination.is_multicast() {
            let bum = if headers.destination.is_broadcast() { Bum::Broadcast } else { Bum::Multicast };
            return self.flood(bum, ingress, now);
        }
        let verdict = parent.locate(self.network, ingress, headers)?;
        self.counters.unicast.add(1);
        Ok(verdict)
    }

    /// Notes where the source is; whether anything was written.
    fn learn(&mut self, ingress: PortId, parsed: &Parsed, now: Time) -> Result<bool, DropReason> {
        let source = parsed.headers.source;
        if self.network.gateway.as_ref().is_some_and(|gateway| gateway.mac == source) {
            return Err(DropReason::StaticMacElsewhere);
        }
        match self.network.static_macs.get(&source) {
            Some(home) if *home == ingress => return Ok(false),
            Some(_) => return Err(DropReason::StaticMacElsewhere),
            None => {}
        }
        let learned = self.fdb.learn(source, ingress, now.seconds());
        match learned {
            Learned::New => self.counters.learned.add(1),
            Learned::Moved => self.counters.moved.add(1),
            Learned::Full => self.counters.not_learned.add(1),
            Learned::Refreshed | Learned::Known => {}
        }
        Ok(matches!(learned, Learned::New | Learned::Moved | Learned::Refreshed))
    }

    /// What the gateway makes of the frame; none when it is for others, or for others too.
    fn ask_gateway(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        now: Time,
    ) -> Result<Option<Verdict>, DropReason> {
        let Some(gateway) = &self.network.gateway else { return Ok(None) };
        let destination = parsed.headers.destination;
        let to_gateway = destination == gateway.mac;
        if !to_gateway && !destination.is_multicast() {
            return Ok(None);
        }
        let taken = self.gateway.hear(gateway, self.network.icc, frame, parsed, now)?;
        match (taken, to_gateway) {
            (true, _) => Ok(Some(Verdict::Taken)),
            (false, true) => Ok(Some(Verdict::Route)),
            (false, false) => Ok(None),
        }
    }

    fn locate(&self, parsed: &Parsed, now: Time) -> Option<PortId> {
        let destination = parsed.headers.destination;
        let configured = self.network.static_macs.get(&destination).copied();
        configured.or_else(|| self.fdb.lookup(destination, now.seconds()))
    }

    fn flood(&mut self, bum: Bum, ingress: PortId, now: Time) -> Result<Verdict, DropReason> {
        if !self.network.icc {
            return Err(DropReason::IccOff);
        }
        // Each port is a member once, so that only the first two can say that there is no other.
        if self.network.members.iter().take(2).all(|member| *member == ingress) {
            return Err(DropReason::NoListener);
        }
        self.storm.admit(bum, &self.network.settings.storm, now)?;
        let counter = match bum {
            Bum::Broadcast => &self.counters.broadcast,
            Bum::Multicast => &self.counters.multicast,
            Bum::UnknownUnicast => &self.counters.unknown_unicast,
        };
        counter.add(1);
        Ok(Verdict::Flood)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use vswitch_wire::{ArpPacket, EtherType, MacAddr, build, parse};

    use super::*;
    use crate::fdb::FdbLimits;
    use crate::gateway::limit::ReplyLimit;
    use crate::hash::Seed;
    use crate::id::NetworkId;
    use crate::router::Router;
    use crate::storm::StormLimits;
    use crate::tables::BridgeSettings;

    // How ports, cache and ageing play together is proven through a whole shard, in tests/dataplane/bridge.rs.

    const LIMITS: FdbLimits = FdbLimits { entries: 8, per_port: 8, ageing: 80 };

    fn mac(number: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, number])
    }

    fn port(index: usize) -> PortId {
        PortId::new(index).unwrap()
    }

    /// Decides frames one after the other, each from its port, on a network of three.
    fn decide(frames: &[(usize, Vec<u8>)]) -> Vec<Decision> {
        let settings = BridgeSettings {
            fdb: LIMITS,
            storm: StormLimits::default(),
            unknown_unicast: UnknownUnicast::Flood,
        };
        let members = (0..3).map(port).collect();
        let network =
            Network { members, static_macs: HashMap::from([(mac(9), port(2))]), ..Network::new(settings) };
        let (mut fdb, mut storm) = (Fdb::new(LIMITS, Seed::new(1)), Storm::default());
        let mut stages = Stages {
            port: &Port { network: NetworkId::FIRST, mtu: 1500, guard: None },
            network: &network,
            fdb: &mut fdb,
            storm: &mut storm,
            counters: &NetworkCounters::default(),
            gateway: GatewayStage {
                router: &Router::new(Seed::new(1), 1),
                network: NetworkId::FIRST,
                replies: &mut ReplyLimit::default(),
                reply: &mut crate::frame::Pool::new(1).take().unwrap(),
                again: &mut Vec::new(),
            },
        };
        let one = |(from, frame): &(usize, Vec<u8>)| {
            stages.decide(port(*from), frame, &parse(frame).unwrap(), Time::from_secs(1000))
        };
        frames.iter().map(one).collect()
    }

    fn unicast(from: u8, to: u8) -> Vec<u8> {
        build::ethernet(mac(to), mac(from), EtherType(0x88b5), b"")
    }

    #[test]
    fn only_what_depends_on_headers_alone_is_cached() {
        let arp = build::arp(ArpPacket::REPLY, mac(2), [10, 0, 0, 2].into(), mac(1), [10, 0, 0, 1].into());
        let decisions = decide(&[(0, unicast(1, 2)), (1, unicast(2, 1)), (1, arp), (1, unicast(1, 9))]);
        let verdicts: Vec<_> = decisions.iter().map(|d| (d.verdict, d.cacheable)).collect();
        assert_eq!(
            verdicts,
            [
                (Verdict::Flood, false),
                (Verdict::Forward(port(0)), true),
                (Verdict::Forward(port(0)), false),
                (Verdict::Forward(port(2)), true),
            ]
        );
    }

    #[test]
    fn others_are_told_what_is_new_and_nothing_else() {
        let decisions = decide(&[
            (0, unicast(1, 2)),
            (0, unicast(1, 2)),
            (1, unicast(1, 2)),
            (2, unicast(9, 2)),
            (1, unicast(9, 2)),
        ]);
        let learned: Vec<_> = decisions.iter().map(|decision| decision.learned).collect();
        assert_eq!(learned, [true, false, true, false, false], "new, known, moved, static, static elsewhere");
        assert_eq!(decisions[4].verdict, Verdict::Drop(DropReason::StaticMacElsewhere));
    }
}
