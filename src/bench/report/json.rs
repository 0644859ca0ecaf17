//! The report as JSON, for programs.
//!
//! The shape, stable within a `format` number (keys may be added, none changes its meaning):
//!
//! ```json
//! {
//!   "format": 1,
//!   "date": "2026-08-01",
//!   "command": "vswitch bench",
//!   "machine": { "kernel": "6.18.0", "cpus": 2, "congestion_control": "bbr", "mtu": 1500, "pinning": "none" },
//!   "rounds": 3,
//!   "seconds": 2.0,
//!   "warm_up_seconds": 0.5,
//!   "backends": [{ "name": "vswitch", "part": "bridge", "description": "the exact driver and datapath" }],
//!   "figures": [{
//!     "metric": "tcp_1_stream",
//!     "label": "TCP 1 stream",
//!     "unit": "bit/s",
//!     "more_is_better": true,
//!     "backend": "vswitch",
//!     "rounds": [12.1e9, 12.4e9, null],
//!     "median": 12.25e9, "min": 12.1e9, "max": 12.4e9,
//!     "ratio_to_two_tap_loop": 0.98,
//!     "ratio_to_linux_bridge": 0.91,
//!     "ratio_to_linux_router": null,
//!     "cpu": { "median": 0.41, "unit": "s/GB" }
//!   }],
//!   "failures": [{ "round": 3, "measurement": "TCP 1 stream", "backend": "vswitch", "error": "…" }]
//! }
//! ```
//!
//! `part` is `bridge` (two hosts of one network) or `router` (a host behind NAT and one in the world); no two backends
//! share a name. `metric` is one of `tcp_1_stream`, `tcp_N_streams`, `tcp_1_stream_in` (from the world by a published
//! port; bit/s received), `udp_16b_received`, `udp_16b_sent`
//! (datagram/s), `udp_16b_loss` (0 to 1), `udp_16b_reordered` (datagrams per window), `tcp_round_trip_p50`,
//! `tcp_round_trip_p99` (ns). What is not known is `null`: a round that failed, a ratio without its baseline, the CPU
//! time of a backend that is part of the kernel. Ratios are medians of the ratios of each round. GB is 10⁹ bytes of
//! payload, Mpkt 10⁶ datagrams received.

use serde::Serialize;

use super::{Machine, Report};
use crate::bench::measure::{LINUX_BRIDGE, LINUX_ROUTER, TWO_TAP_LOOP};
use crate::bench::results::{Backend, Figure, Results};

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    date: &'a str,
    command: &'a str,
    machine: &'a Machine,
    rounds: usize,
    seconds: f64,
    warm_up_seconds: f64,
    backends: Vec<BackendEntry<'a>>,
    figures: Vec<FigureEntry<'a>>,
    failures: Vec<FailureEntry<'a>>,
}

#[derive(Serialize)]
struct BackendEntry<'a> {
    name: &'a str,
    part: &'static str,
    description: &'a str,
}

#[derive(Serialize)]
struct FigureEntry<'a> {
    metric: String,
    label: String,
    unit: &'static str,
    more_is_better: bool,
    backend: &'a str,
    rounds: Vec<Option<f64>>,
    median: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    ratio_to_two_tap_loop: Option<f64>,
    ratio_to_linux_bridge: Option<f64>,
    ratio_to_linux_router: Option<f64>,
    cpu: Option<CpuEntry>,
}

#[derive(Serialize)]
struct CpuEntry {
    median: f64,
    unit: &'static str,
}

#[derive(Serialize)]
struct FailureEntry<'a> {
    round: usize,
    measurement: String,
    backend: &'a str,
    error: String,
}

impl Report {
    /// The whole report as one indented JSON document; the module says what is in it.
    ///
    /// # Errors
    /// None in practice: every value is plain.
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&Document {
            format: 1,
            date: &self.date,
            command: &self.command,
            machine: &self.machine,
            rounds: self.rounds,
            seconds: self.window.measured.as_secs_f64(),
            warm_up_seconds: self.window.warm_up.as_secs_f64(),
            backends: self.parts.iter().flat_map(backend_entries).collect(),
            figures: self.parts.iter().flat_map(figures).map(FigureEntry::from).collect(),
            failures: self.failure_entries(),
        })
    }

    fn failure_entries(&self) -> Vec<FailureEntry<'_>> {
        self.parts
            .iter()
            .flat_map(Results::failures)
            .map(|(step, backend, error)| FailureEntry {
                round: step.round + 1,
                measurement: step.measurement.to_string(),
                backend: &backend.name,
                error: error.to_string(),
            })
            .collect()
    }
}

fn backend_entries(part: &Results) -> impl Iterator<Item = BackendEntry<'_>> {
    part.backends.iter().map(|Backend { name, description }| BackendEntry {
        name,
        part: part.part.name(),
        description,
    })
}

fn figures(part: &Results) -> impl Iterator<Item = Figure<'_>> {
    part.metrics().into_iter().flat_map(|metric| part.figures(metric))
}

impl<'a> From<Figure<'a>> for FigureEntry<'a> {
    fn from(figure: Figure<'a>) -> Self {
        Self {
            metric: figure.metric.key(),
            label: figure.metric.label(),
            unit: figure.metric.base_unit(),
            more_is_better: figure.metric.more_is_better(),
            backend: &figure.backend.name,
            median: figure.summary.map(|summary| summary.median),
            min: figure.summary.map(|summary| summary.min),
            max: figure.summary.map(|summary| summary.max),
            ratio_to_two_tap_loop: figure.ratio_to(TWO_TAP_LOOP),
            ratio_to_linux_bridge: figure.ratio_to(LINUX_BRIDGE),
            ratio_to_linux_router: figure.ratio_to(LINUX_ROUTER),
            cpu: figure
                .cpu_seconds
                .zip(figure.metric.cpu_unit())
                .map(|(median, unit)| CpuEntry { median, unit }),
            rounds: figure.rounds,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bench::error::BenchError;
    use crate::bench::measure::TWO_TAP_LOOP;
    use crate::bench::report::tests::of_backends;
    use serde_json::{Value, json};

    #[test]
    fn a_figure_has_the_documented_keys() {
        let report = of_backends(&[("vswitch", 1.2), (TWO_TAP_LOOP, 1.5)]);
        let document: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        let expected = json!({
            "metric": "tcp_1_stream",
            "label": "TCP 1 stream",
            "unit": "bit/s",
            "more_is_better": true,
            "backend": "vswitch",
            "rounds": [14.4e9, 12e9, 9.6e9],
            "median": 12e9, "min": 9.6e9, "max": 14.4e9,
            "ratio_to_two_tap_loop": 0.8,
            "ratio_to_linux_bridge": null,
            "ratio_to_linux_router": null,
            "cpu": { "median": 0.5, "unit": "s/GB" },
        });
        assert_eq!(document["figures"][0], expected);
    }

    #[test]
    fn the_document_says_how_the_figures_came_about() {
        let report = of_backends(&[("vswitch", 1.0), ("veth", 2.0)]);
        let document: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(document["format"], 1);
        assert_eq!(document["date"], "2026-08-01");
        assert_eq!(document["command"], report.command);
        assert_eq!(
            document["machine"],
            json!({ "kernel": "6.18.44", "cpus": 2, "congestion_control": "bbr", "mtu": 1500, "pinning": "none" })
        );
        assert_eq!((&document["rounds"], &document["seconds"]), (&json!(3), &json!(2.0)));
        assert_eq!(
            document["backends"][1],
            json!({ "name": "veth", "part": "bridge", "description": "the veth <driver>" })
        );
        assert_eq!(document["figures"].as_array().unwrap().len(), 8 * 2);
        assert_eq!(document["failures"], json!([]));
    }

    #[test]
    fn a_failure_is_a_null_and_a_reason() {
        let mut report = of_backends(&[("vswitch", 1.0)]);
        report.parts[0].outcomes[0].reading = Err(BenchError::NothingArrived { cause: None });
        let document: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(document["figures"][0]["rounds"][0], Value::Null);
        let failure = json!({
            "round": 1,
            "measurement": "TCP 1 stream",
            "backend": "vswitch",
            "error": "nothing arrived in the measured window",
        });
        assert_eq!(document["failures"], json!([failure]));
    }
}
