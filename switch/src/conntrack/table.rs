//! Every connection, found from either side. See [`super`].

use std::sync::Arc;

use crate::address::Tuple;
use crate::hash::Seed;
use crate::id::PortId;
use vswitch_wire::{TcpHeader, protocol};

use super::activity::{Activity, ConnectionRef};
use super::connection::{Class, Connection, Side, Timeouts};
use super::index::Index;
use super::owners::Owners;
use super::slab::{List, NONE, Slab};

/// The realm beside the networks' numbers.
pub(crate) const OUTSIDE: u16 = u16::MAX;

/// How many of a list's records a search for one to evict looks at.
const GLANCE: usize = 32;

/// See [`super`].
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    connections: Slab<Connection>,
    /// Values are twice the place, plus one for the key from outside.
    index: Index,
    lists: [List; Class::LISTED.len()],
    pub(crate) owners: Owners,
    activity: Arc<Activity>,
    seed: Seed,
}

impl ConnectionTable {
    /// As many connections as there is room for in `activity`.
    pub(crate) fn new(activity: Arc<Activity>, seed: Seed) -> Self {
        let capacity = activity.capacity();
        Self {
            connections: Slab::new(capacity),
            index: Index::new(2 * capacity),
            lists: [List::EMPTY; Class::LISTED.len()],
            owners: Owners::default(),
            activity,
            seed,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// How many there can be.
    pub(crate) fn capacity(&self) -> usize {
        self.activity.capacity()
    }

    /// How many of a class there are.
    pub(crate) fn count(&self, class: Class) -> usize {
        self.lists.get(class as usize).map_or(0, List::len)
    }

    /// How many places [`at`](Self::at) answers for.
    pub(crate) fn places(&self) -> u32 {
        self.connections.places()
    }

    /// The connection in a place; none in a free one.
    pub(crate) fn at(&self, place: u32) -> Option<&Connection> {
        let connection = &self.connections[place];
        (connection.class != Class::Free).then_some(connection)
    }

    /// The connection that a packet belongs to, and which side sent it. `realm` is the network's number or
    /// [`OUTSIDE`]. Also finds those that are over; see [`over`](Self::over).
    #[inline]
    pub(crate) fn find(&self, realm: u16, tuple: &Tuple) -> Option<(u32, Side)> {
        let value = self.index.find(self.hash(realm, tuple), |value| {
            let connection = &self.connections[value >> 1];
            let side = side(value);
            (side == Side::Outside || connection.network.number() == realm)
                && (side == Side::Outside) == (realm == OUTSIDE)
                && connection.tuple(side) == *tuple
        })?;
        Some((value >> 1, side(value)))
    }

    /// Whether a connection exists only because nobody has removed it yet: it was silent for too long, or its
    /// attachment is gone.
    pub(crate) fn over(&self, place: u32, timeouts: &Timeouts, now: u32) -> bool {
        let connection = &self.connections[place];
        // "In less than" two minutes counts from the packet, whose second is rounded down: hence greater than.
        self.idle(place, now) > timeouts.of(connection.class) || self.void(place)
    }

    /// Whether its attachment is gone.
    pub(crate) fn void(&self, place: u32) -> bool {
        let connection = &self.connections[place];
        self.owners.epoch(connection.owner) != connection.epoch
    }

    /// Seconds since the last packet that kept it alive. A worker's clock may be ahead of the caller's.
    pub(crate) fn idle(&self, place: u32, now: u32) -> u32 {
        now.saturating_sub(self.activity.seen(place))
    }

    /// Adds a connection whose keys are not there yet. None when every place is taken.
    pub(crate) fn insert(&mut self, mut connection: Connection, now: u32) -> Option<u32> {
        connection.class = connection.due_class();
        connection.queued = now;
        connection.epoch = self.owners.epoch(connection.owner);
        let inside = self.hash(connection.network.number(), &connection.tuple(Side::Inside));
        let outside = self.hash(OUTSIDE, &connection.tuple(Side::Outside));
        let place = self.connections.insert(connection)?;
        self.activity.begin(place, now);
        self.index.insert(inside, place << 1);
        self.index.insert(outside, place << 1 | 1);
        self.owners.count(connection.owner);
        self.lists[connection.class as usize].push(&mut self.connections, place);
        Some(place)
    }

    /// Removes a connection and voids what was made from it.
    pub(crate) fn remove(&mut self, place: u32) {
        let connection = self.connections[place];
        self.activity.renew(place);
        let inside = self.hash(connection.network.number(), &connection.tuple(Side::Inside));
        let outside = self.hash(OUTSIDE, &connection.tuple(Side::Outside));
        self.index.remove(inside, place << 1);
        self.index.remove(outside, place << 1 | 1);
        self.owners.uncount(connection.owner, connection.epoch);
        self.lists[connection.class as usize].remove(&mut self.connections, place);
        self.connections[place].class = Class::Free;
        self.connections.free(place);
    }

    /// Notes a packet from `side`. A TCP connection that changes class is timed anew.
    pub(crate) fn advance(&mut self, place: u32, side: Side, tcp_flags: u8, now: u32) {
        let connection = &mut self.connections[place];
        let was_cacheable = connection.cacheable();
        connection.advance(side, tcp_flags);
        let (class, due) = (connection.class, connection.due_class());
        let tcp = connection.protocol == protocol::TCP;
        // RST refreshes nothing by itself (RFC 7857 §7.1 for outbound ones), but starts the closing timeout.
        let reset = tcp && tcp_flags & TcpHeader::RST != 0;
        if (tcp && class != due) || (connection.refreshed_by(side) && !reset) {
            self.activity.refresh(place, now);
        }
        if was_cacheable && !self.connections[place].cacheable() {
            self.activity.renew(place);
        }
        if class != due {
            self.lists[class as usize].remove(&mut self.connections, place);
            self.connections[place].class = due;
            self.queue(place, now);
        }
    }

    fn queue(&mut self, place: u32, at: u32) {
        let connection = &mut self.connections[place];
        connection.queued = at;
        self.lists[connection.class as usize].push(&mut self.connections, place);
    }

    /// What a cache needs to know to ask for the connection.
    pub(crate) fn reference(&self, place: u32, side: Side) -> ConnectionRef {
        self.activity.reference(place, self.connections[place].refreshed_by(side))
    }

    /// Looks at up to `budget` connections of a class that it is time to look at, and answers the first that is
    /// over. What `budget` is left, is left.
    ///
    /// Transitory classes are in the order of last use, as far as that is known, and due at their timeout. The
    /// others, busier and longer-lived, come round eight times per timeout, so that a dead one is found at most
    /// an eighth late.
    pub(crate) fn next_due(
        &mut self,
        class: Class,
        timeouts: &Timeouts,
        now: u32,
        budget: &mut usize,
    ) -> Option<u32> {
        let timeout = timeouts.of(class);
        let period = if class.transitory() { timeout } else { timeout / 8 };
        while *budget > 0 {
            let place = self.lists[class as usize].front()?;
            if now.saturating_sub(self.connections[place].queued) <= period {
                return None;
            }
            *budget -= 1;
            if self.over(place, timeouts, now) {
                return Some(place);
            }
            let at = if class.transitory() { self.activity.seen(place) } else { now };
            self.requeue(place, at);
        }
        None
    }

    fn requeue(&mut self, place: u32, at: u32) {
        let class = self.connections[place].class;
        self.lists[class as usize].remove(&mut self.connections, place);
        self.queue(place, at);
    }

    /// The transitory connection that was used longest ago, nearly: one that was used after it was queued gets
    /// a second chance, but only so many do. Never `keep`.
    pub(crate) fn oldest(&mut self, keep: Option<u32>) -> Option<u32> {
        self.spare(keep);
        let transitory = Class::LISTED.into_iter().filter(|class| class.transitory());
        let fronts = transitory.filter_map(|class| Some((class, self.lists[class as usize].front()?)));
        let (class, _) =
            fronts.min_by_key(|(_, front)| (self.connections[*front].queued, Some(*front) == keep))?;
        self.oldest_in(class, keep)
    }

    /// The same of one class.
    pub(crate) fn oldest_of(&mut self, class: Class, keep: Option<u32>) -> Option<u32> {
        self.spare(keep);
        self.oldest_in(class, keep)
    }

    fn oldest_in(&mut self, class: Class, keep: Option<u32>) -> Option<u32> {
        for _ in 0..GLANCE {
            let place = self.lists[class as usize].front()?;
            let seen = self.activity.seen(place);
            if seen <= self.connections[place].queued {
                break;
            }
            self.requeue(place, seen);
        }
        self.lists[class as usize].front().filter(|front| Some(*front) != keep)
    }

    /// Puts a transitory connection behind all others of its class.
    fn spare(&mut self, keep: Option<u32>) {
        if let Some(place) = keep.filter(|place| self.connections[*place].class.transitory()) {
            self.requeue(place, self.activity.seen(place));
        }
    }

    /// The first near the front of a class's list that is wanted.
    pub(crate) fn near_front(&self, class: Class, wanted: impl Fn(u32, &Connection) -> bool) -> Option<u32> {
        let mut place = self.lists[class as usize].front()?;
        for _ in 0..GLANCE {
            if wanted(place, &self.connections[place]) {
                return Some(place);
            }
            place = self.connections[place].links.next;
            if place == NONE {
                break;
            }
        }
        None
    }

    /// For the NAT's rings of peers.
    pub(crate) fn connection_mut(&mut self, place: u32) -> &mut Connection {
        &mut self.connections[place]
    }

    /// The attachment is gone.
    pub(crate) fn end_owner(&mut self, owner: PortId) {
        self.owners.end(owner);
    }

    #[inline]
    fn hash(&self, realm: u16, tuple: &Tuple) -> u64 {
        let [s0, s1]: [u64; 2] = zerocopy::transmute!(tuple.source.address);
        let [d0, d1]: [u64; 2] = zerocopy::transmute!(tuple.destination.address);
        let rest = u64::from(tuple.source.port) << 48
            | u64::from(tuple.destination.port) << 32
            | u64::from(realm) << 16
            | u64::from(tuple.protocol) << 8
            | tuple.family as u64;
        self.seed.hash_key([s0, s1, d0, d1, rest])
    }

    /// What it occupies, for the record.
    pub(crate) fn bytes(&self) -> usize {
        self.connections.bytes() + self.index.bytes() + self.connections.places() as usize * size_of::<u64>()
    }
}

fn side(value: u32) -> Side {
    if value & 1 == 0 { Side::Inside } else { Side::Outside }
}
