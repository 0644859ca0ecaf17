//! What a run found, for people (a table), for documents (Markdown) and for programs (JSON).
//!
//! All three say how the figures came about — machine, command, congestion control, what exactly each backend was —
//! because a figure without that is a rumour.

pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod table;

use serde::Serialize;

use super::error::BenchError;
use super::generator::Window;
use super::measurement::Measurement;
use super::metric::{Metric, three_digits};
use super::results::{Backend, Figure, Results};

/// A run and how it came about.
#[derive(Debug)]
pub(crate) struct Report {
    /// When, as the reader should see it.
    pub(crate) date: String,
    /// The command line that repeats it.
    pub(crate) command: String,
    /// Where.
    pub(crate) machine: Machine,
    /// How often each measurement was taken.
    pub(crate) rounds: usize,
    /// For how long each time.
    pub(crate) window: Window,
    /// What was found, part by part.
    pub(crate) parts: Vec<Results>,
}

/// What of the machine decides the figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The number of CPUs the run could use.
    pub(crate) cpus: usize,
    /// The TCP congestion control of the measuring sockets.
    pub(crate) congestion_control: String,
    /// The MTU of every interface measured through, in bytes.
    pub(crate) mtu: u32,
    /// Which threads are bound to which CPUs; `none` when the scheduler is free.
    pub(crate) pinning: String,
}

/// What stands for a figure that does not exist.
const NOTHING: &str = "–";

impl Report {
    /// The circumstances in one line.
    fn circumstances(&self) -> String {
        let Machine { kernel, cpus, congestion_control, mtu, pinning } = &self.machine;
        let rounds = self.rounds;
        let seconds = self.window.measured.as_secs_f64();
        format!(
            "kernel {kernel}, {cpus} CPUs, MTU {mtu}, congestion control {congestion_control}, pinning {pinning}; \
             {rounds} rounds of {seconds} s; {}",
            self.date
        )
    }

    /// What the reader must know besides the figures: steps that failed, datagrams out of order.
    fn remarks(&self) -> Vec<String> {
        self.out_of_order().chain(self.failed()).collect()
    }

    /// One sentence per measurement and backend that failed, with the reason of the first round.
    fn failed(&self) -> impl Iterator<Item = String> {
        let mut failed: Vec<(Measurement, &Backend, &BenchError, Vec<String>)> = Vec::new();
        for (step, backend, error) in self.parts.iter().flat_map(Results::failures) {
            let round = (step.round + 1).to_string();
            match failed.iter_mut().find(|known| known.0 == step.measurement && known.1 == backend) {
                Some(known) => known.3.push(round),
                None => failed.push((step.measurement, backend, error, vec![round])),
            }
        }
        failed.into_iter().map(|(measurement, backend, error, rounds)| {
            format!("{measurement} through {} failed (round {}): {error}", backend.name, rounds.join(", "))
        })
    }

    /// A switch must keep a flow in order.
    fn out_of_order(&self) -> impl Iterator<Item = String> {
        self.parts.iter().flat_map(|part| part.figures(Metric::UdpReordered)).filter_map(|figure| {
            let datagrams = figure.summary.filter(|summary| summary.max > 0.0)?.max;
            Some(format!(
                "Up to {datagrams} datagrams per window came out of order through {}",
                figure.backend.name
            ))
        })
    }

    /// What a chart shows: a share does not go beside rates.
    pub(crate) fn charted(&self) -> Vec<(&Results, Metric)> {
        let charted = |metric: &Metric| metric.is_comparable() && *metric != Metric::UdpSent;
        let of_part =
            |part| Results::metrics(part).into_iter().filter(charted).map(move |metric| (part, metric));
        self.parts.iter().flat_map(of_part).collect()
    }
}

/// The metrics of a part that people compare; the others are told in the remarks or left to the JSON.
fn compared(part: &Results) -> Vec<Metric> {
    let compared = |metric: &Metric| !matches!(metric, Metric::UdpSent | Metric::UdpReordered);
    part.metrics().into_iter().filter(compared).collect()
}

/// The median, in the display unit.
fn median(figure: &Figure<'_>) -> String {
    figure.summary.map_or_else(|| NOTHING.into(), |summary| figure.metric.number(summary.median))
}

/// The smallest and the largest value, in the display unit.
fn range(figure: &Figure<'_>) -> String {
    figure.summary.map_or_else(
        || NOTHING.into(),
        |summary| format!("{}–{}", figure.metric.number(summary.min), figure.metric.number(summary.max)),
    )
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| NOTHING.into(), |ratio| format!("{ratio:.2}"))
}

/// The CPU time of the switch, with its unit.
fn cpu(figure: &Figure<'_>) -> String {
    figure
        .cpu_seconds
        .zip(figure.metric.cpu_unit())
        .map_or_else(|| NOTHING.into(), |(seconds, unit)| format!("{} {unit}", three_digits(seconds)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::measurement::{Part, Reading};
    use crate::bench::results;
    use std::time::Duration;

    /// See [`results::tests::of_backends`].
    pub(crate) fn of_backends(backends: &[(&str, f64)]) -> Report {
        of_parts(&[(Part::Bridge, backends)])
    }

    /// The same for several parts.
    pub(crate) fn of_parts(parts: &[(Part, &[(&str, f64)])]) -> Report {
        Report {
            date: "2026-08-01".into(),
            command: "vswitch bench --rounds 3 && echo \"<done>\"".into(),
            machine: Machine {
                kernel: "6.18.44".into(),
                cpus: 2,
                congestion_control: "bbr".into(),
                mtu: 1500,
                pinning: "none".into(),
            },
            rounds: 3,
            window: Window::measuring(Duration::from_secs(2)),
            parts: parts
                .iter()
                .map(|(part, backends)| results::tests::of_backends(*part, backends))
                .collect(),
        }
    }

    #[test]
    fn a_clean_run_needs_no_remarks() {
        assert_eq!(of_backends(&[("vswitch", 1.0)]).remarks(), Vec::<String>::new());
    }

    #[test]
    fn failures_and_reordering_are_remarked_upon() {
        let mut report = of_backends(&[("vswitch", 1.0)]);
        for outcome in &mut report.parts[0].outcomes {
            if let Ok(Reading::Udp(reading)) = &mut outcome.reading {
                reading.reordered = 7;
            }
        }
        for outcome in &mut report.parts[0].outcomes {
            if outcome.step.measurement == Measurement::RoundTrip && outcome.step.round > 0 {
                outcome.reading = Err(BenchError::NothingArrived { cause: None });
            }
        }
        assert_eq!(
            report.remarks(),
            [
                "Up to 7 datagrams per window came out of order through vswitch",
                "TCP round trip through vswitch failed (round 2, 3): nothing arrived in the measured window"
            ]
        );
    }
}
