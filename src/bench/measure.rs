//! What is measured, on what, in which order.
//!
//! A [`Plan`] is a list of measurements and a number of rounds; [`run`] carries it out on a list of topologies (two
//! namespaces joined by one backend each). Every round takes every measurement on every backend, back to back, so that
//! slow drift of the machine meets all of them alike, and each round begins with another backend, so that none always
//! runs first or always after the same neighbour. Comparisons are made within a round and only then combined
//! (see `results`).
//!
//! A measurement that fails is recorded with its reason and the run goes on: one broken backend must not cost the
//! figures of the others.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::error::BenchError;
use super::generator::{self, Tune, Window, round_trip, tcp, udp};
use super::measurement::{Measurement, Part, Reading};
use super::results::{Backend, Outcome, Results};

/// Fewer rounds have no median worth the name.
pub(crate) const MINIMUM_ROUNDS: usize = 3;

/// The [`Topology::name`] of the ceiling: two taps and a loop that copies between them, without a switch.
pub(crate) const TWO_TAP_LOOP: &str = "two-tap-loop";

/// The [`Topology::name`] of the kernel's own switch.
pub(crate) const LINUX_BRIDGE: &str = "linux-bridge";

/// The [`Topology::name`] of the kernel's own gateway: bridge, routing and nftables.
pub(crate) const LINUX_ROUTER: &str = "linux-router";

/// Two namespaces joined by the backend under test.
pub(crate) trait Topology {
    /// A short name, the same in every run: `vswitch`, [`TWO_TAP_LOOP`], [`LINUX_BRIDGE`].
    fn name(&self) -> &str;

    /// The exact driver and datapath measured, with the offloads in force and the version of foreign software.
    fn description(&self) -> String;

    /// The side that sends.
    fn left(&self) -> &dyn Side;

    /// The side that receives.
    fn right(&self) -> &dyn Side;

    /// The port by which the right side reaches the left one, which has an address of its own behind a gateway.
    /// None where both are on one network.
    fn published(&self) -> Option<Published> {
        None
    }

    /// CPU time, user and system, that the switch has spent so far in all its threads; `None` where the forwarding
    /// is the kernel's and nobody's account.
    fn cpu_time(&self) -> Option<Duration>;
}

/// A port of the gateway that leads to a port of the left side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    /// Where the right side connects to.
    pub(crate) outside: SocketAddr,
    /// Where the left side listens.
    pub(crate) inside: SocketAddr,
}

/// One of the two namespaces of a topology.
pub(crate) trait Side: Sync {
    /// The address of this side, reachable from the other.
    fn address(&self) -> IpAddr;

    /// Runs `work` to its end on a thread in this side's network namespace. It is short: it makes sockets.
    ///
    /// # Errors
    /// When the namespace cannot be entered; `work` has then not been run.
    fn within(&self, work: Work<'_>) -> io::Result<()>;
}

/// Something to be done inside a namespace.
pub(crate) type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

/// A list of measurements and how often to take them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    part: Part,
    rounds: usize,
    window: Window,
}

/// One measurement on one backend in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The round, from 0.
    pub(crate) round: usize,
    /// What is measured.
    pub(crate) measurement: Measurement,
    /// On which of the topologies, by index.
    pub(crate) backend: usize,
}

impl Plan {
    /// A plan that takes each measurement of `part` in `rounds` rounds, `measured` long each time, warm-up excluded.
    ///
    /// # Errors
    /// [`BenchError::TooFewRounds`], [`BenchError::NoTime`].
    pub(crate) fn new(part: Part, rounds: usize, measured: Duration) -> Result<Self, BenchError> {
        if rounds < MINIMUM_ROUNDS {
            return Err(BenchError::TooFewRounds { asked: rounds });
        }
        if measured.is_zero() {
            return Err(BenchError::NoTime);
        }
        Ok(Self { part, rounds, window: Window::measuring(measured) })
    }

    /// Every step, in the order in which it is taken.
    fn steps(&self, backends: usize) -> Vec<Step> {
        let measurements = self.part.measurements();
        let mut steps = Vec::with_capacity(self.rounds * measurements.len() * backends);
        for round in 0..self.rounds {
            for &measurement in measurements {
                for place in 0..backends {
                    steps.push(Step { round, measurement, backend: (place + round) % backends });
                }
            }
        }
        steps
    }
}

/// What [`run`] tells whoever watches it. Steps are numbered from 1 to `of`.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A step begins.
    Begun {
        /// Its number.
        number: usize,
        /// How many there are.
        of: usize,
        /// What is being done.
        step: Step,
        /// The name of its backend.
        backend: &'a str,
    },
    /// The step that had begun is done.
    Done(Result<Reading, &'a BenchError>),
}

/// Carries out `plan` on `topologies`, all of them up and forwarding. `tune` is applied to both ends of every TCP
/// connection; `watch` is told of every step.
pub(crate) fn run(
    plan: &Plan,
    topologies: &[Box<dyn Topology>],
    tune: Tune<'_>,
    watch: &mut dyn FnMut(Event<'_>),
) -> Results {
    let steps = plan.steps(topologies.len());
    let of = steps.len();
    let mut outcomes = Vec::with_capacity(of);
    for (index, step) in steps.into_iter().enumerate() {
        let topology = &*topologies[step.backend];
        watch(Event::Begun { number: index + 1, of, step, backend: topology.name() });
        let reading = take(step.measurement, topology, plan.window, tune);
        watch(Event::Done(reading.as_ref().copied()));
        outcomes.push(Outcome { step, reading });
    }
    let backends = topologies
        .iter()
        .map(|topology| Backend { name: topology.name().to_owned(), description: topology.description() })
        .collect();
    Results { part: plan.part, backends, rounds: plan.rounds, outcomes }
}

fn take(
    measurement: Measurement,
    topology: &dyn Topology,
    window: Window,
    tune: Tune<'_>,
) -> Result<Reading, BenchError> {
    let cpu = || topology.cpu_time();
    match measurement {
        Measurement::Tcp { streams } => {
            let (senders, receivers) = tcp_connections(topology, streams, tune)?;
            tcp::transfer(senders, receivers, window, &cpu).map(Reading::Tcp)
        }
        Measurement::TcpIn => {
            let (senders, receivers) = published_connection(topology, tune)?;
            tcp::transfer(senders, receivers, window, &cpu).map(Reading::Tcp)
        }
        Measurement::Udp => {
            let right = topology.right().address();
            let receiver = inside(topology.right(), "right", || generator::bind(right))??;
            let left = topology.left().address();
            let sender = inside(topology.left(), "left", || generator::bind(left))??;
            let target = receiver.local_addr().map_err(|cause| BenchError::Bind { address: right, cause })?;
            sender.connect(target).map_err(|cause| BenchError::Connect { target, cause })?;
            udp::flood(&sender, &receiver, window, &cpu).map(Reading::Udp)
        }
        Measurement::RoundTrip => {
            let (mut clients, mut servers) = tcp_connections(topology, 1, tune)?;
            let (Some(client), Some(server)) = (clients.pop(), servers.pop()) else {
                return Err(BenchError::NothingArrived { cause: None });
            };
            round_trip::ping_pong(client, server, window).map(Reading::RoundTrip)
        }
    }
}

type Connections = (Vec<TcpStream>, Vec<TcpStream>);

/// `streams` connections from left to right, and their other ends.
fn tcp_connections(
    topology: &dyn Topology,
    streams: usize,
    tune: Tune<'_>,
) -> Result<Connections, BenchError> {
    let address = topology.right().address();
    let listener = inside(topology.right(), "right", || generator::listen((address, 0).into()))??;
    let target = listener.local_addr().map_err(|cause| BenchError::Bind { address, cause })?;
    let near = inside(topology.left(), "left", || generator::connect(target, streams, tune))??;
    Ok((near, generator::accept(&listener, streams, tune)?))
}

/// A connection from right to left by the published port, and its other end.
fn published_connection(topology: &dyn Topology, tune: Tune<'_>) -> Result<Connections, BenchError> {
    let Published { outside, inside: listens } = topology.published().ok_or(BenchError::NothingPublished)?;
    let listener = inside(topology.left(), "left", || generator::listen(listens))??;
    let near = inside(topology.right(), "right", || generator::connect(outside, 1, tune))??;
    Ok((near, generator::accept(&listener, 1, tune)?))
}

/// What `work` answers when it is run inside `side`.
fn inside<T: Send>(
    side: &dyn Side,
    name: &'static str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, BenchError> {
    let mut answer = None;
    side.within(Box::new(|| answer = Some(work())))
        .map_err(|cause| BenchError::Enter { side: name, cause })?;
    answer.ok_or_else(|| BenchError::Enter { side: name, cause: io::Error::other("its thread ended early") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    const SHORT: Window = Window { warm_up: Duration::from_millis(10), measured: Duration::from_millis(30) };

    /// Both sides are this host: what is measured is the loopback.
    struct Loopback {
        cpu: Cell<Duration>,
    }

    struct Here;

    impl Side for Here {
        fn address(&self) -> IpAddr {
            Ipv4Addr::LOCALHOST.into()
        }

        fn within(&self, work: Work<'_>) -> io::Result<()> {
            work();
            Ok(())
        }
    }

    impl Topology for Loopback {
        fn name(&self) -> &str {
            "loopback"
        }

        fn description(&self) -> String {
            "the host's loopback".into()
        }

        fn left(&self) -> &dyn Side {
            &Here
        }

        fn right(&self) -> &dyn Side {
            &Here
        }

        /// Another 10 ms at every look.
        fn cpu_time(&self) -> Option<Duration> {
            self.cpu.set(self.cpu.get() + Duration::from_millis(10));
            Some(self.cpu.get())
        }
    }

    /// A topology whose namespaces are gone.
    struct Gone;

    impl Side for Gone {
        fn address(&self) -> IpAddr {
            Ipv4Addr::LOCALHOST.into()
        }

        fn within(&self, _: Work<'_>) -> io::Result<()> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    impl Topology for Gone {
        fn name(&self) -> &str {
            "gone"
        }

        fn description(&self) -> String {
            "nothing".into()
        }

        fn left(&self) -> &dyn Side {
            self
        }

        fn right(&self) -> &dyn Side {
            self
        }

        fn cpu_time(&self) -> Option<Duration> {
            None
        }
    }

    #[test]
    fn a_plan_needs_rounds_for_a_median_and_time() {
        let second = Duration::from_secs(1);
        assert!(matches!(Plan::new(Part::Bridge, 2, second), Err(BenchError::TooFewRounds { asked: 2 })));
        assert!(matches!(Plan::new(Part::Bridge, 3, Duration::ZERO), Err(BenchError::NoTime)));
        assert!(Plan::new(Part::Bridge, 3, second).is_ok());
    }

    #[test]
    fn every_round_takes_each_measurement_on_each_backend_and_begins_with_another() {
        let plan = Plan::new(Part::Bridge, 5, Duration::from_secs(1)).unwrap();
        let steps = plan.steps(4);
        assert_eq!(steps.len(), 5 * 4 * 4);
        for (round, steps) in steps.chunks(16).enumerate() {
            for (measurement, steps) in Measurement::BRIDGE.iter().zip(steps.chunks(4)) {
                assert!(steps.iter().all(|step| step.round == round && step.measurement == *measurement));
                assert_eq!(steps[0].backend, round % 4);
                let backends: HashSet<usize> = steps.iter().map(|step| step.backend).collect();
                assert_eq!(backends.len(), 4);
            }
        }
    }

    #[test]
    fn a_plan_without_backends_has_no_steps() {
        let plan = Plan::new(Part::Bridge, 3, Duration::from_secs(1)).unwrap();
        assert_eq!(plan.steps(0), []);
    }

    #[test]
    fn a_run_measures_what_works_and_records_what_does_not() {
        let plan = Plan { part: Part::Bridge, rounds: 1, window: SHORT };
        let topologies: [Box<dyn Topology>; 2] =
            [Box::new(Loopback { cpu: Cell::default() }), Box::new(Gone)];
        let mut seen = Vec::new();
        let results = run(&plan, &topologies, &|_| Ok(()), &mut |event| {
            seen.push(match event {
                Event::Begun { number, of, backend, .. } => format!("{number}/{of} {backend}"),
                Event::Done(reading) => format!("ok: {}", reading.is_ok()),
            });
        });
        assert_eq!(seen.len(), 16);
        assert_eq!(seen[..4], ["1/8 loopback", "ok: true", "2/8 gone", "ok: false"]);
        for Outcome { step, reading } in &results.outcomes {
            match (step.backend, step.measurement, reading) {
                (0, Measurement::Tcp { .. }, Ok(Reading::Tcp(reading))) => {
                    assert_eq!(reading.cpu, Some(Duration::from_millis(10)));
                }
                (0, Measurement::Udp, Ok(Reading::Udp(reading))) => assert_eq!(reading.reordered, 0),
                (0, Measurement::RoundTrip, Ok(Reading::RoundTrip(_))) => {}
                (1, _, Err(BenchError::Enter { side: "right", .. })) => {}
                unexpected => panic!("{unexpected:?}"),
            }
        }
        assert_eq!(results.backends[0].description, "the host's loopback");
    }
}
