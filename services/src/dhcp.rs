//! A DHCP client (RFC 2131): how the uplink gets its address, keeps it and gives it up.
//!
//! It holds one state of RFC 2131 figure 5, the moment the state wants attention, and at most one event that
//! nobody has taken yet. [`DhcpClient::receive`] only changes the state; all frames leave by
//! [`DhcpClient::poll`]. So the two can be called from different places, and a server that talks without end
//! costs the reading of what it says and nothing else.
//!
//! ```text
//!            ┌────────────── setback: pause, new transaction ◀──────────────┐
//!            ▼                                          NAK │ silence       │ conflict: DECLINE
//! Waiting ─▶ Selecting ──OFFER──▶ Requesting ──ACK──▶ Probing ──nobody has it──▶ Bound
//!            DISCOVER             REQUEST             ARP                        │ ▲ T1
//!            ▲                                                                   ▼ │ ACK
//!            └────── Lost: the lease ended, or NAK ◀── Rebinding ◀──T2── Renewing
//! ```
//!
//! Invariants: whoever uses the address has been told by [`DhcpEvent::Bound`] and is told [`DhcpEvent::Lost`]
//! before the client begins again. The address of a lease never changes: a server that has another one must
//! refuse (NAK) or let the lease end. After a poll without an event the next one is due later.
//!
//! Left out: INIT-REBOOT (nothing is kept over a restart), RELEASE (addresses are given back by letting them
//! end, as most clients do) and defending the address once it is ours, which is the gateway's (RFC 5227 §2.4).

mod arp;
mod lease;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::wire::DhcpMessageType as Kind;
use vswitch_switch::Time;
use vswitch_switch::hash::Seed;
use vswitch_wire::MacAddr;

use self::arp::{announcement, is_claimed_by_another, probe};
pub use self::lease::{Lease, Route};
use self::lease::{Terms, granted};
use self::reply::Reply;
use self::request::Request;

/// Silence after REQUEST for as many tries, a minute in all, and the offer is given up (RFC 2131 §3.1 step 5).
const REQUEST_TRIES: u32 = 4;

/// The pause between two tries to renew is at least this (RFC 2131 §4.4.5).
const RENEW_PAUSE: Duration = Duration::from_secs(60);

/// The pause after a DECLINE is at least this (RFC 2131 §3.1 step 5).
const DECLINE_PAUSE: Duration = Duration::from_secs(10);

/// The pause after a lease in use was refused, so that a server that takes leases back does not keep us busy.
const NAK_PAUSE: Duration = Duration::from_secs(1);

/// How often, and how far apart, the link is asked whether somebody has the address. RFC 5227 §1.1 would take
/// five to seven seconds; this is a second look, because servers probe before they offer (RFC 2131 §2.2), and
/// the containers behind the uplink wait for it.
const PROBES: u32 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(300);

/// How often, and how far apart, the address is announced (RFC 5227 §1.1).
const ANNOUNCEMENTS: u32 = 2;
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(2);

/// What whoever uses the address has to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DhcpEvent {
    /// This lease holds: a new one, or after a renewal the same address on new terms.
    Bound(Lease),
    /// The address is no longer ours, and must not be used from now on.
    Lost,
}

/// A client for one interface. See the module for what it holds.
#[derive(Debug)]
pub struct DhcpClient {
    mac: MacAddr,
    hostname: Option<String>,
    seed: Seed,
    /// Random numbers drawn so far.
    drawn: u64,
    state: State,
    /// When the state wants attention; none: never again.
    due: Option<Time>,
    event: Option<DhcpEvent>,
    xid: u32,
    /// When this transaction's first message was sent.
    began: Time,
    /// When its last message was sent, from which a lease counts (RFC 2131 §4.4.1).
    asked: Time,
    /// An address that was ours and may be again.
    former: Option<Ipv4Addr>,
    /// Leases that came to nothing since the last good one.
    setbacks: u32,
}

/// Where in RFC 2131 figure 5 the client is. `tries` counts the messages sent in this state.
#[derive(Clone, Debug)]
enum State {
    /// Before the first message of a new transaction.
    Waiting,
    Selecting {
        tries: u32,
    },
    Requesting {
        address: Ipv4Addr,
        server: Ipv4Addr,
        tries: u32,
    },
    /// The server has granted it, but does somebody have it?
    Probing {
        grant: Grant,
        probes: u32,
    },
    /// Somebody does, and the server is to be told.
    Declining {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    Bound {
        grant: Grant,
        announced: u32,
    },
    Renewing {
        grant: Grant,
        terms: Terms,
    },
    Rebinding {
        grant: Grant,
        terms: Terms,
    },
}

#[derive(Clone, Debug)]
struct Grant {
    lease: Lease,
    /// None: for ever.
    terms: Option<Terms>,
    /// The station by which the server was heard, and is reached.
    server_mac: MacAddr,
}

impl DhcpClient {
    /// A client for the interface with this MAC address, which begins at its first poll.
    ///
    /// Servers are told `hostname`; one that is empty or longer than 253 bytes is kept to ourselves.
    /// Transaction numbers and pauses are random by `seed`, so that clients started together do not stay in step.
    pub fn new(mac: MacAddr, hostname: Option<String>, seed: u64) -> Self {
        Self {
            mac,
            hostname: hostname.filter(|name| (1..=253).contains(&name.len())),
            seed: Seed::new(seed),
            drawn: 0,
            state: State::Waiting,
            due: Some(Time::default()),
            event: None,
            xid: 0,
            began: Time::default(),
            asked: Time::default(),
            former: None,
            setbacks: 0,
        }
    }

    /// When to call [`DhcpClient::poll`] next, at the latest; a moment that has passed: at once. None: only
    /// after the next [`DhcpClient::receive`].
    pub fn next_poll(&self) -> Option<Time> {
        if self.event.is_some() { Some(Time::default()) } else { self.due }
    }

    /// The address that is being looked for on the link; while there is one, ARP that names it is of use to
    /// [`DhcpClient::receive`], and else none.
    pub fn probed(&self) -> Option<Ipv4Addr> {
        match &self.state {
            State::Probing { grant, .. } => Some(grant.lease.address.addr()),
            _ => None,
        }
    }

    /// Takes a frame that has reached the interface: DHCP answers and ARP are of use, others are ignored.
    ///
    /// Its checksums are held to be finished: what a device left to be done must have been done
    /// ([`vswitch_wire::checksum::complete_partial`]), else answers of a server on this machine are refused.
    pub fn receive(&mut self, frame: &[u8], now: Time) {
        if let State::Probing { grant, .. } = &self.state {
            let (address, server) = (grant.lease.address.addr(), grant.lease.server);
            if is_claimed_by_another(address, self.mac, frame) {
                self.enter(State::Declining { address, server }, now);
            }
            return;
        }
        let Some(reply) = Reply::read(frame, self.mac, self.xid) else { return };
        match (&self.state, reply.kind) {
            // The first offer that is of use is as good as a later one.
            (State::Selecting { .. }, Kind::Offer) if granted(&reply, now).is_some() => {
                self.enter(State::Requesting { address: reply.address, server: reply.server, tries: 0 }, now);
            }
            (State::Requesting { address, server, tries: 1.. }, Kind::Ack | Kind::Nak) => {
                if reply.server != *server {
                    return;
                }
                let promised = *address;
                match self.grant_in(&reply, promised, now) {
                    Some(grant) => self.enter(State::Probing { grant, probes: 0 }, now),
                    None if reply.kind == Kind::Nak => self.start_over(Duration::ZERO, now),
                    None => {}
                }
            }
            (State::Renewing { grant, .. } | State::Rebinding { grant, .. }, Kind::Ack | Kind::Nak) => {
                // While renewing only the lease's own server is asked, so only it may take the lease away.
                let may_refuse =
                    matches!(self.state, State::Rebinding { .. }) || reply.server == grant.lease.server;
                let address = grant.lease.address.addr();
                match self.grant_in(&reply, address, now) {
                    Some(grant) => self.bind(grant, ANNOUNCEMENTS, now),
                    None if reply.kind == Kind::Nak && may_refuse => {
                        self.former = None;
                        self.lose(NAK_PAUSE, now);
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// Does what is due, and answers what whoever uses the address has to know.
    ///
    /// Frames to be transmitted go to `send`, complete but for padding. After an event, poll again.
    pub fn poll(&mut self, now: Time, mut send: impl FnMut(&[u8])) -> Option<DhcpEvent> {
        // Ends: every step without an event leads towards one that sends and then waits.
        while self.event.is_none() && self.due.is_some_and(|due| due <= now) {
            self.step(now, &mut send);
        }
        self.event.take()
    }

    fn step(&mut self, now: Time, send: &mut impl FnMut(&[u8])) {
        if self.state.lease().is_some_and(|lease| lease.expires.is_some_and(|end| end <= now)) {
            return self.lose(Duration::ZERO, now);
        }
        match self.state.clone() {
            State::Waiting => {
                self.begin_transaction(now);
                self.enter(State::Selecting { tries: 0 }, now);
            }
            State::Selecting { tries } => {
                send(&Request { address: self.former, ..self.request(Kind::Discover, now) }.to_everyone());
                let pause = self.backed_off(tries);
                self.wait(State::Selecting { tries: tries.saturating_add(1) }, pause, now);
            }
            State::Requesting { tries: REQUEST_TRIES.., .. } => self.start_over(Duration::ZERO, now),
            State::Requesting { address, server, tries } => {
                let request = self.request(Kind::Request, now);
                send(&Request { address: Some(address), server: Some(server), ..request }.to_everyone());
                self.asked = now;
                let pause = self.backed_off(tries);
                self.wait(State::Requesting { address, server, tries: tries + 1 }, pause, now);
            }
            State::Probing { grant, probes: PROBES.. } => {
                self.setbacks = 0;
                self.bind(grant, 0, now);
            }
            State::Probing { grant, probes } => {
                send(&probe(self.mac, grant.lease.address.addr()));
                self.wait(State::Probing { grant, probes: probes + 1 }, PROBE_PAUSE, now);
            }
            State::Declining { address, server } => {
                let decline = self.request(Kind::Decline, now);
                send(&Request { address: Some(address), server: Some(server), ..decline }.to_everyone());
                self.former = None;
                self.start_over(DECLINE_PAUSE, now);
            }
            State::Bound { grant, announced } if announced < ANNOUNCEMENTS => {
                send(&announcement(self.mac, grant.lease.address.addr()));
                self.stay_bound(grant, announced + 1, now);
            }
            State::Bound { grant, .. } => match grant.terms {
                None => self.due = None,
                Some(terms) => {
                    self.begin_transaction(now);
                    self.enter(State::Renewing { grant, terms }, now);
                }
            },
            State::Renewing { grant, terms } if terms.rebind <= now => {
                self.enter(State::Rebinding { grant, terms }, now);
            }
            State::Renewing { grant, terms } => {
                let own = Some(grant.lease.address.addr());
                let request = Request { own, ..self.request(Kind::Request, now) };
                send(&request.to(grant.server_mac, grant.lease.server));
                self.asked = now;
                self.wait(State::Renewing { grant, terms }, renewal_pause(now, terms.rebind), now);
            }
            State::Rebinding { grant, terms } => {
                let own = Some(grant.lease.address.addr());
                send(&Request { own, ..self.request(Kind::Request, now) }.to_everyone());
                self.asked = now;
                self.wait(State::Rebinding { grant, terms }, renewal_pause(now, terms.expire), now);
            }
        }
    }

    fn enter(&mut self, state: State, now: Time) {
        self.wait(state, Duration::ZERO, now);
    }

    fn wait(&mut self, state: State, pause: Duration, now: Time) {
        self.state = state;
        self.due = Some(now.after(pause));
    }

    fn bind(&mut self, grant: Grant, announced: u32, now: Time) {
        self.former = Some(grant.lease.address.addr());
        self.event = Some(DhcpEvent::Bound(grant.lease.clone()));
        if announced < ANNOUNCEMENTS {
            self.enter(State::Bound { grant, announced }, now);
        } else {
            self.stay_bound(grant, announced, now);
        }
    }

    /// Until the next announcement, or else until the lease is to be renewed.
    fn stay_bound(&mut self, grant: Grant, announced: u32, now: Time) {
        let announce = (announced < ANNOUNCEMENTS).then(|| now.after(ANNOUNCE_PAUSE));
        self.due = announce.or(grant.terms.map(|terms| terms.renew));
        self.state = State::Bound { grant, announced };
    }

    /// Gives up an address that was in use, and begins again after at least `pause`.
    fn lose(&mut self, pause: Duration, now: Time) {
        self.event = Some(DhcpEvent::Lost);
        self.wait(State::Waiting, pause, now);
    }

    /// Begins again after `pause` at least, and later each time, lest a server that always refuses and a
    /// client that always asks keep the link busy.
    fn start_over(&mut self, pause: Duration, now: Time) {
        let backed_off = Duration::from_secs(1 << self.setbacks.min(6));
        self.setbacks = self.setbacks.saturating_add(1);
        let pause = pause.max(backed_off) + Duration::from_millis(self.random() % 1000);
        self.wait(State::Waiting, pause, now);
    }

    fn begin_transaction(&mut self, now: Time) {
        let [.., a, b, c, d] = self.random().to_be_bytes();
        self.xid = u32::from_be_bytes([a, b, c, d]);
        self.began = now;
    }

    fn request(&self, kind: Kind, now: Time) -> Request<'_> {
        Request {
            kind,
            xid: self.xid,
            since: Duration::from_nanos(now.nanos().saturating_sub(self.began.nanos())),
            mac: self.mac,
            hostname: self.hostname.as_deref(),
            own: None,
            address: None,
            server: None,
        }
    }

    /// The grant in an acknowledgement, if it is one of `promised` and not over already.
    fn grant_in(&self, reply: &Reply<'_>, promised: Ipv4Addr, now: Time) -> Option<Grant> {
        if reply.kind != Kind::Ack || reply.address != promised {
            return None;
        }
        let (lease, terms) = granted(reply, self.asked)?;
        let over = terms.is_some_and(|terms| terms.expire <= now);
        (!over).then_some(Grant { lease, terms, server_mac: reply.sender })
    }

    /// 4, 8, 16, 32 and then 64 seconds, each up to a second more or less (RFC 2131 §4.1).
    fn backed_off(&mut self, tries: u32) -> Duration {
        let seconds = 4 << tries.min(4);
        Duration::from_millis(seconds * 1000 - 1000 + self.random() % 2000)
    }

    fn random(&mut self) -> u64 {
        self.drawn += 1;
        self.seed.hash_word(self.drawn)
    }
}

impl State {
    /// The lease that is in use.
    fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Bound { grant, .. } | Self::Renewing { grant, .. } | Self::Rebinding { grant, .. } => {
                Some(&grant.lease)
            }
            _ => None,
        }
    }
}

/// Half of what is left until `end`, a minute at least, but no longer than that (RFC 2131 §4.4.5).
fn renewal_pause(now: Time, end: Time) -> Duration {
    let left = Duration::from_nanos(end.nanos().saturating_sub(now.nanos()));
    (left / 2).max(RENEW_PAUSE).min(left)
}
