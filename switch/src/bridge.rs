//! The bridge: learns where stations are and decides where a frame goes. The slow path of L2.
//!
//! Stages, in order: guard → learn → look up → flood. Each is a few lines and says why it drops; the first
//! drop ends the walk. What a stage knows lives in its own module; this one only asks them in order.

use vswitch_wire::Parsed;

use crate::counters::NetworkCounters;
use crate::drop_reason::DropReason;
use crate::fdb::{Fdb, Learned};
use crate::guard;
use crate::id::PortId;
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
        *learned = self.learn(ingress, parsed, now)?;
        if headers.destination.is_multicast() {
            let bum = if headers.destination.is_broadcast() { Bum::Broadcast } else { Bum::Multicast };
            return self.flood(bum, ingress, now);
        }
        match self.locate(parsed, now) {
            Some(egress) if egress == ingress => Err(DropReason::SamePort),
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

    /// Notes where the source is; whether anything was written.
    fn learn(&mut self, ingress: PortId, parsed: &Parsed, now: Time) -> Result<bool, DropReason> {
        let source = parsed.headers.source;
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

    fn locate(&self, parsed: &Parsed, now: Time) -> Option<PortId> {
        let destination = parsed.headers.destination;
        let configured = self.network.static_macs.get(&destination).copied();
        configured.or_else(|| self.fdb.lookup(destination, now.seconds()))
    }

    fn flood(&mut self, bum: Bum, ingress: PortId, now: Time) -> Result<Verdict, DropReason> {
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
