//! A worker: one thread that carries frames, and nothing else.
//!
//! # Theory of operation
//! The loop has one list, the ports known to have something to receive. Each pass gives every port of the
//! list one turn, so a busy port delays the others by one turn; a port that was drained leaves the
//! list. epoll is edge-triggered: it names a port once when something arrives, which is why only a port that was
//! read until empty may leave.
//!
//! When the list is empty the worker sleeps in `epoll_wait` without a time-out and uses no CPU. Before that it
//! looks once more without sleeping as long as frames keep coming ([`Idle`]): going to sleep and being woken
//! costs far more than a look. Commands wake it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use crossbeam::channel::{Receiver, Sender};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use vswitch_ports::device::PortDevice;
use vswitch_switch::fdb::FdbEntry;
use vswitch_switch::hash::Seed;
use vswitch_switch::router::Router;
use vswitch_switch::shard::{Chore, Heard};
use vswitch_switch::tables::BridgeSettings;
use vswitch_switch::{NetworkCounters, NetworkId, PortCounters, PortId, Serviced, Shard, Tables, Time};

use super::Event;
use super::idle::Idle;

/// How many commands may wait for a worker.
pub(super) const MAILBOX: usize = 1024;

/// Events taken from epoll at once.
const EVENTS: usize = 256;

/// The token of the waker; ports' tokens are their numbers, which are smaller.
const WAKER: Token = Token(usize::MAX);

/// How often learned addresses are aged, while there may be any.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// How soon after traffic the chores are looked at. It may have left a neighbour to be asked again in a second.
const CHORES_AFTER_TRAFFIC: Duration = Duration::from_millis(250);

/// What a worker can be asked.
pub(super) enum Command {
    OpenNetwork { id: NetworkId, settings: BridgeSettings, counters: Arc<NetworkCounters> },
    Attach { port: PortId, device: PortDevice, counters: Arc<PortCounters> },
    Detach { port: PortId, done: Sender<()> },
    ListLearned { network: NetworkId, reply: Sender<Vec<FdbEntry>> },
    Heard(Heard),
    AddChore(Chore),
    Stop,
}

/// The daemon's end of a worker.
#[derive(Debug)]
pub(super) struct Worker {
    commands: Sender<Command>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Sends a command; one for a worker that died is lost with it.
    pub(super) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
        self.wake();
    }

    /// Makes the worker look at its commands and the tables.
    pub(super) fn wake(&self) {
        // Fails only when the counter behind the waker would overflow, and then it is awake.
        let _ = self.waker.wake();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has been reported already.
            let _ = thread.join();
        }
    }
}

/// Everything a worker starts with.
pub(super) struct Setup {
    pub(super) index: usize,
    pub(super) seed: Seed,
    pub(super) router: Arc<Router>,
    pub(super) epoch: Instant,
    pub(super) tables: Arc<ArcSwap<Tables>>,
    pub(super) commands: Receiver<Command>,
    pub(super) peers: Vec<Sender<Command>>,
    pub(super) notify: Box<dyn Fn(Event) + Send>,
}

impl Setup {
    /// Starts the thread; `commands` is the sending end of its mailbox.
    pub(super) fn start(self, commands: Sender<Command>) -> io::Result<Worker> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let name = format!("worker-{}", self.index);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let mut sentinel = Sentinel { worker: self.index, notify: Some(self.notify) };
            let work = Work {
                shard: Shard::new(self.seed, self.router),
                poll,
                ready: ReadyList::default(),
                epoch: self.epoch,
                commands: self.commands,
                peers: self.peers,
                may_have_learned: false,
                expire_at: Instant::now(),
                chores_at: (self.index == 0).then(Time::default),
                does_chores: self.index == 0,
                idle: Idle::new(Instant::now()),
            };
            work.run(Cache::new(self.tables), &sentinel);
            sentinel.notify = None;
        })?;
        Ok(Worker { commands, waker, thread: Some(thread) })
    }
}

/// Reports the death of a worker that did not end by command.
struct Sentinel {
    worker: usize,
    notify: Option<Box<dyn Fn(Event) + Send>>,
}

impl Sentinel {
    fn notify(&self, event: Event) {
        if let Some(notify) = &self.notify {
            notify(event);
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.notify(Event::WorkerDied { worker: self.worker });
    }
}

/// Ports that may have something to receive, each at most once.
#[derive(Default)]
struct ReadyList {
    queue: VecDeque<PortId>,
    listed: Vec<bool>,
}

impl ReadyList {
    fn push(&mut self, port: PortId) {
        let index = port.index();
        if self.listed.len() <= index {
            self.listed.resize(index + 1, false);
        }
        if !std::mem::replace(&mut self.listed[index], true) {
            self.queue.push_back(port);
        }
    }

    fn pop(&mut self) -> Option<PortId> {
        let port = self.queue.pop_front()?;
        self.listed[port.index()] = false;
        Some(port)
    }
}

struct Work {
    shard: Shard<PortDevice>,
    poll: Poll,
    ready: ReadyList,
    epoch: Instant,
    commands: Receiver<Command>,
    peers: Vec<Sender<Command>>,
    /// Until ageing found nothing, there may be learned addresses to age.
    may_have_learned: bool,
    expire_at: Instant,
    /// Whether this worker does the switch's chores, and when the next are due.
    does_chores: bool,
    chores_at: Option<Time>,
    idle: Idle,
}

impl Work {
    fn run(mut self, mut tables: Cache<Arc<ArcSwap<Tables>>, Arc<Tables>>, sentinel: &Sentinel) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if self.obey(sentinel).is_break() {
                return;
            }
            self.wait(&mut events);
            let now = self.now();
            let tables = tables.load();
            for _ in 0..self.ready.queue.len() {
                let Some(port) = self.ready.pop() else { break };
                match self.shard.service(tables, port, now) {
                    Serviced::Drained => {}
                    Serviced::More => self.ready.push(port),
                    Serviced::Gone(error) => {
                        self.close(port);
                        sentinel.notify(Event::PortGone { port, reason: error.to_string() });
                    }
                }
            }
            self.share_heard();
            self.expire(now);
            self.do_chores(tables, now);
        }
    }

    /// Finds what arrived. With work left it only looks; without, it looks for a moment if that pays, then sleeps.
    fn wait(&mut self, events: &mut Events) {
        if !self.ready.queue.is_empty() {
            return self.look(events, Some(Duration::ZERO));
        }
        let mut before = Instant::now();
        if let Some(until) = self.idle.look_until(before) {
            while before < until {
                self.look(events, Some(Duration::ZERO));
                if !events.is_empty() {
                    return;
                }
                let looked = Instant::now();
                std::thread::yield_now();
                before = Instant::now();
                if !self.idle.yielded(looked, before) {
                    break;
                }
            }
        }
        self.look(events, self.longest_sleep(before));
        self.idle.slept(before, Instant::now());
    }

    /// Until something is due; none: until something arrives.
    fn longest_sleep(&self, now: Instant) -> Option<Duration> {
        let expiry = self.may_have_learned.then_some(EXPIRE_EVERY);
        let chores = self.chores_at.map(|at| {
            // Rounded up, or the worker would wake just before and look again and again.
            let wait = (self.epoch + Duration::from_nanos(at.nanos())).saturating_duration_since(now);
            wait + Duration::from_millis(1)
        });
        expiry.into_iter().chain(chores).min()
    }

    /// Does the switch's chores when they are due, and soon after any traffic: it may have left something to do.
    fn do_chores(&mut self, tables: &Tables, now: Time) {
        if !self.does_chores {
            return;
        }
        let soon = now.after(CHORES_AFTER_TRAFFIC);
        let at = *self.chores_at.get_or_insert(soon);
        if now >= at {
            self.chores_at = self.shard.chores(tables, now);
        } else if at > soon {
            self.chores_at = Some(soon);
        }
    }

    /// Lists the ports that epoll names.
    fn look(&mut self, events: &mut Events, timeout: Option<Duration>) {
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            // epoll_wait fails only on a descriptor or buffer that is not ours, which cannot be here.
            unreachable!("waiting for frames: {error}");
        }
        for event in events.iter() {
            if let Some(port) = PortId::new(event.token().0) {
                self.ready.push(port);
            }
        }
    }

    fn obey(&mut self, sentinel: &Sentinel) -> std::ops::ControlFlow<()> {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::OpenNetwork { id, settings, counters } => {
                    self.shard.open_network(id, &settings, counters);
                }
                Command::Attach { port, device, counters } => self.open(port, device, counters, sentinel),
                Command::Detach { port, done } => {
                    self.close(port);
                    let _ = done.send(());
                }
                Command::ListLearned { network, reply } => {
                    let _ = reply.send(self.shard.learned(network, self.now()).collect());
                }
                Command::Heard(heard) => {
                    self.shard.hear(heard, self.now());
                    self.may_have_learned = true;
                }
                Command::AddChore(chore) => {
                    let now = self.now();
                    self.shard.add_chore(chore, now);
                    self.chores_at = Some(now);
                }
                Command::Stop => return std::ops::ControlFlow::Break(()),
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    fn open(&mut self, port: PortId, device: PortDevice, counters: Arc<PortCounters>, sentinel: &Sentinel) {
        let token = Token(port.index());
        let fd = device.as_raw_fd();
        let mut source = SourceFd(&fd);
        if let Err(error) = self.poll.registry().register(&mut source, token, Interest::READABLE) {
            let reason = format!("its device cannot be watched: {error}");
            return sentinel.notify(Event::PortGone { port, reason });
        }
        self.shard.attach(port, device, counters);
        // What arrived before the registration raised no event.
        self.ready.push(port);
    }

    fn close(&mut self, port: PortId) {
        if let Some(device) = self.shard.detach(port) {
            // Closing would do as well; unregistering first keeps mio's books.
            let _ = self.poll.registry().deregister(&mut SourceFd(&device.as_raw_fd()));
        }
    }

    /// Tells the other workers what was learned; a full mailbox loses it, and they flood until they hear it
    /// themselves.
    fn share_heard(&mut self) {
        let (peers, learned) = (&self.peers, &mut self.may_have_learned);
        self.shard.take_heard(|heard| {
            *learned = true;
            for peer in peers {
                let _ = peer.try_send(Command::Heard(heard));
            }
        });
    }

    fn expire(&mut self, now: Time) {
        if self.may_have_learned {
            let instant = self.epoch + Duration::from_nanos(now.nanos());
            if instant >= self.expire_at {
                self.expire_at = instant + EXPIRE_EVERY;
                self.may_have_learned = self.shard.expire(now);
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
