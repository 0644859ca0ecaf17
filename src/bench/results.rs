//! From single readings to figures that can be compared.
//!
//! A ratio to a baseline is taken within each round, where both met the same state of the machine, and the median is
//! taken of those ratios: drift between rounds cancels, which it would not in a ratio of two medians. A round in
//! which either failed has no ratio.

use super::error::BenchError;
use super::measure::Step;
use super::measurement::{Part, Reading};
use super::metric::Metric;
use super::statistics::Summary;

/// Everything a run of one part found.
#[derive(Debug)]
pub(crate) struct Results {
    /// Which measurements were taken.
    pub(crate) part: Part,
    /// On what; [`Step::backend`] is an index into this.
    pub(crate) backends: Vec<Backend>,
    /// How often each was taken.
    pub(crate) rounds: usize,
    /// One per step, in the order taken.
    pub(crate) outcomes: Vec<Outcome>,
}

/// One thing measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// Its short name.
    pub(crate) name: String,
    /// The exact driver and datapath.
    pub(crate) description: String,
}

/// What came of one step.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The step.
    pub(crate) step: Step,
    /// What it found, or why it found nothing.
    pub(crate) reading: Result<Reading, BenchError>,
}

/// One metric of one backend over all rounds.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    /// What is told.
    pub(crate) metric: Metric,
    /// Of what.
    pub(crate) backend: &'a Backend,
    /// The value of each round, in the metric's base unit; `None` where the measurement failed.
    pub(crate) rounds: Vec<Option<f64>>,
    /// Of the rounds that have a value.
    pub(crate) summary: Option<Summary>,
    /// For each of [`Part::baselines`], the median over the rounds of the ratio to it in the same round.
    pub(crate) ratios: Vec<(&'static str, Option<f64>)>,
    /// Median CPU seconds of the switch per [`Metric::cpu_unit`].
    pub(crate) cpu_seconds: Option<f64>,
}

impl Figure<'_> {
    /// The ratio to the backend of this name.
    pub(crate) fn ratio_to(&self, baseline: &str) -> Option<f64> {
        self.ratios.iter().find(|(name, _)| *name == baseline)?.1
    }
}

impl Results {
    /// Every metric of the run, in the order of the measurements.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        self.part.measurements().iter().flat_map(|&measurement| Metric::of(measurement)).collect()
    }

    /// One figure per backend for `metric`, in the order of the backends.
    pub(crate) fn figures(&self, metric: Metric) -> Vec<Figure<'_>> {
        let value = |reading: &Reading| metric.value(reading);
        let rounds: Vec<_> =
            (0..self.backends.len()).map(|backend| self.by_round(backend, metric, value)).collect();
        let ratio_to = |baseline: &str, own: &[Option<f64>]| {
            let baseline = self.backends.iter().position(|backend| backend.name == baseline)?;
            if metric.is_comparable() { median_ratio(own, &rounds[baseline]) } else { None }
        };
        let baselines = self.part.baselines();
        let figure = |(index, backend): (usize, _)| Figure {
            metric,
            backend,
            summary: Summary::of(rounds[index].iter().copied().flatten()),
            ratios: baselines.iter().map(|(name, _)| (*name, ratio_to(name, &rounds[index]))).collect(),
            cpu_seconds: self.cpu_seconds(index, metric),
            rounds: rounds[index].clone(),
        };
        self.backends.iter().enumerate().map(figure).collect()
    }

    /// The steps that failed, each with its backend and the reason.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (Step, &Backend, &BenchError)> {
        self.outcomes.iter().filter_map(|Outcome { step, reading }| {
            let error = reading.as_ref().err()?;
            Some((*step, &self.backends[step.backend], error))
        })
    }

    fn cpu_seconds(&self, backend: usize, metric: Metric) -> Option<f64> {
        let rounds = self.by_round(backend, metric, |reading| metric.cpu_seconds(reading));
        Some(Summary::of(rounds.into_iter().flatten())?.median)
    }

    /// What `value` reads, round by round, off the measurement that `metric` belongs to.
    fn by_round(
        &self,
        backend: usize,
        metric: Metric,
        value: impl Fn(&Reading) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let mut rounds = vec![None; self.rounds];
        for Outcome { step, reading } in &self.outcomes {
            if step.backend == backend && step.measurement == metric.measurement() {
                rounds[step.round] = reading.as_ref().ok().and_then(&value);
            }
        }
        rounds
    }
}

fn median_ratio(own: &[Option<f64>], baseline: &[Option<f64>]) -> Option<f64> {
    let ratios = own.iter().zip(baseline).filter_map(|(own, baseline)| Some((*own)? / (*baseline)?));
    Some(Summary::of(ratios)?.median)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::generator::round_trip::RoundTripReading;
    use crate::bench::generator::tcp::TcpReading;
    use crate::bench::generator::udp::UdpReading;
    use crate::bench::measure::{LINUX_BRIDGE, LINUX_ROUTER, TWO_TAP_LOOP};
    use crate::bench::measurement::Measurement;
    use std::time::Duration;

    const ONE_STREAM: Metric = Metric::TcpThroughput { streams: 1 };

    /// Three rounds on a machine that gets slower: `speed` × 12, 10 and 8 Gbit/s, and the rest to match.
    pub(crate) fn of_backends(part: Part, backends: &[(&str, f64)]) -> Results {
        let mut outcomes = Vec::new();
        for (round, drift) in [12.0, 10.0, 8.0].into_iter().enumerate() {
            for &measurement in part.measurements() {
                for (backend, (_, speed)) in backends.iter().enumerate() {
                    let step = Step { round, measurement, backend };
                    outcomes.push(Outcome { step, reading: Ok(reading(measurement, speed * drift)) });
                }
            }
        }
        let describe = |&(name, _): &(&str, f64)| Backend {
            name: name.into(),
            description: format!("the {name} <driver>"),
        };
        Results { backends: backends.iter().map(describe).collect(), part, rounds: 3, outcomes }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers made for a test"
    )]
    fn reading(measurement: Measurement, gigabits: f64) -> Reading {
        let elapsed = Duration::from_secs(2);
        let cpu = Some(Duration::from_millis(1500));
        let count = gigabits * 1e6;
        match measurement {
            Measurement::Tcp { streams } => {
                let bytes = (gigabits * 1e9 / 4.0).round() as u64 * streams as u64;
                Reading::Tcp(TcpReading { bytes, elapsed, cpu })
            }
            Measurement::TcpIn => reading(Measurement::Tcp { streams: 1 }, gigabits),
            Measurement::Udp => {
                let received = count as u64;
                Reading::Udp(UdpReading { sent: received * 2, received, reordered: 0, elapsed, cpu })
            }
            Measurement::RoundTrip => {
                let p50 = (3e5 / gigabits) as u32;
                Reading::RoundTrip(RoundTripReading { count: 1000, p50, p99: p50 * 2 })
            }
        }
    }

    #[test]
    fn summaries_are_over_the_rounds() {
        let results = of_backends(Part::Bridge, &[("vswitch", 1.0)]);
        let figures = results.figures(ONE_STREAM);
        assert_eq!(figures[0].rounds, [Some(6e9 * 2.0), Some(5e9 * 2.0), Some(4e9 * 2.0)]);
        assert_eq!(figures[0].summary, Some(Summary { median: 10e9, min: 8e9, max: 12e9 }));
        assert_eq!(figures[0].cpu_seconds, Some(1.5 / 2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Medians of 10 against 10, but in each round one of them was clearly ahead.
        let mut results = of_backends(Part::Bridge, &[("vswitch", 1.0), (TWO_TAP_LOOP, 1.0)]);
        for outcome in &mut results.outcomes {
            if outcome.step.backend == 1 && outcome.step.measurement == (Measurement::Tcp { streams: 1 }) {
                outcome.reading =
                    Ok(reading(outcome.step.measurement, [10.0, 8.0, 12.0][outcome.step.round]));
            }
        }
        let figures = results.figures(ONE_STREAM);
        assert_eq!(figures[0].summary.unwrap().median, figures[1].summary.unwrap().median);
        assert_eq!(figures[0].ratio_to(TWO_TAP_LOOP), Some(1.2));
        assert_eq!(figures[1].ratio_to(TWO_TAP_LOOP), Some(1.0));
    }

    #[test]
    fn without_the_baseline_there_is_no_ratio() {
        let results = of_backends(Part::Bridge, &[("vswitch", 1.0), (LINUX_BRIDGE, 2.0)]);
        let figures = results.figures(Metric::UdpReceived);
        assert_eq!(figures[0].ratio_to(LINUX_BRIDGE), Some(0.5));
        assert_eq!(figures[0].ratio_to(TWO_TAP_LOOP), None);
    }

    #[test]
    fn a_share_has_no_ratio_and_no_cost() {
        let results = of_backends(Part::Bridge, &[("vswitch", 1.0), (LINUX_BRIDGE, 2.0)]);
        let figures = results.figures(Metric::UdpLoss);
        assert_eq!(figures[0].summary.unwrap().median, 0.5);
        assert_eq!((figures[0].ratio_to(LINUX_BRIDGE), figures[0].cpu_seconds), (None, None));
    }

    #[test]
    fn a_failed_round_leaves_the_others() {
        let mut results = of_backends(Part::Bridge, &[("vswitch", 1.0), (LINUX_BRIDGE, 2.0)]);
        results.outcomes[1].reading = Err(BenchError::NothingArrived { cause: None });
        let figures = results.figures(ONE_STREAM);
        assert_eq!(figures[1].rounds[0], None);
        assert_eq!(figures[1].summary, Some(Summary { median: 18e9, min: 16e9, max: 20e9 }));
        assert_eq!(figures[0].ratio_to(LINUX_BRIDGE), Some(0.5));
        let failures: Vec<_> =
            results.failures().map(|(step, backend, _)| (step.round, &*backend.name)).collect();
        assert_eq!(failures, [(0, LINUX_BRIDGE)]);
    }

    #[test]
    fn routers_are_compared_with_a_router() {
        let results = of_backends(Part::Router, &[("vswitch-router", 1.0), (LINUX_ROUTER, 2.0)]);
        let figures = results.figures(Metric::TcpInThroughput);
        assert_eq!(figures[0].summary.unwrap().median, 10e9);
        assert_eq!((figures[0].ratio_to(LINUX_ROUTER), figures[0].ratio_to(LINUX_BRIDGE)), (Some(0.5), None));
    }
}
