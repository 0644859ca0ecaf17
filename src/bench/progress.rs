//! How far a run has come, on one line that is rewritten (a terminal) or one line per step (anything else).
//!
//! ```text
//! [ 7/48] TCP 4 streams · linux-bridge · round 2 …  13.2 Gbit/s
//! ```

use std::io::{self, IsTerminal, Stderr, Write};

use super::error::BenchError;
use super::measure::Event;
use super::measurement::Reading;
use super::metric::Metric;

/// Back to the first column, and clear the line (ECMA-48 EL).
const REWRITE: &str = "\r\x1b[K";

/// Shows the events of a run as they come. An output that cannot be written to is ignored: the run matters more.
#[derive(Debug)]
pub(crate) struct Progress<W> {
    output: W,
    in_place: bool,
}

impl Progress<Stderr> {
    /// Progress on standard error, in place when that is a terminal.
    pub(crate) fn on_stderr() -> Self {
        let output = io::stderr();
        let in_place = output.is_terminal();
        Self { output, in_place }
    }
}

impl<W: Write> Progress<W> {
    /// Shows one event.
    pub(crate) fn show(&mut self, event: &Event<'_>) {
        let text = match event {
            Event::Begun { number, of, step, backend } => {
                let width = of.to_string().len();
                let start = if self.in_place { REWRITE } else { "" };
                let round = step.round + 1;
                format!("{start}[{number:width$}/{of}] {} · {backend} · round {round} …", step.measurement)
            }
            Event::Done(reading) => {
                let outcome = outcome(reading);
                // A failure stays on the screen; a figure makes room for the next.
                let end = if self.in_place && reading.is_ok() { "" } else { "\n" };
                format!("  {outcome}{end}")
            }
        };
        self.write(&text);
    }

    /// Clears the line that was rewritten, to make room for the results.
    pub(crate) fn finish(mut self) {
        if self.in_place {
            self.write(REWRITE);
        }
    }

    fn write(&mut self, text: &str) {
        let _ = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
    }
}

fn outcome(reading: &Result<Reading, &BenchError>) -> String {
    let reading = match reading {
        Ok(reading) => reading,
        Err(error) => return format!("failed: {error}"),
    };
    let told: &[(&str, Metric, &str)] = match reading {
        Reading::Tcp(_) => &[("", Metric::TcpThroughput { streams: 1 }, "")],
        Reading::Udp(_) => &[("", Metric::UdpReceived, ""), ("", Metric::UdpLoss, " lost")],
        Reading::RoundTrip(_) => &[("p50 ", Metric::RoundTripP50, ""), ("p99 ", Metric::RoundTripP99, "")],
    };
    let tell = |&(before, metric, after): &(&str, Metric, &str)| {
        let value = metric.value(reading)?;
        Some(format!("{before}{} {}{after}", metric.number(value), metric.display_unit().0))
    };
    told.iter().filter_map(tell).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::generator::round_trip::RoundTripReading;
    use crate::bench::generator::tcp::TcpReading;
    use crate::bench::generator::udp::UdpReading;
    use crate::bench::measure::Step;
    use crate::bench::measurement::Measurement;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const TCP: Reading = Reading::Tcp(TcpReading { bytes: 1_650_000_000, elapsed: SECOND, cpu: None });

    fn shown(in_place: bool, events: &[Event<'_>]) -> String {
        let mut progress = Progress { output: Vec::new(), in_place };
        events.iter().for_each(|event| progress.show(event));
        String::from_utf8(progress.output).unwrap()
    }

    fn begun() -> Event<'static> {
        let step = Step { round: 1, measurement: Measurement::Tcp { streams: 4 }, backend: 0 };
        Event::Begun { number: 7, of: 48, step, backend: "linux-bridge" }
    }

    #[test]
    fn plain_output_is_a_line_per_step() {
        let text = shown(false, &[begun(), Event::Done(Ok(TCP))]);
        assert_eq!(text, "[ 7/48] TCP 4 streams · linux-bridge · round 2 …  13.2 Gbit/s\n");
    }

    #[test]
    fn a_terminal_gets_one_line_that_is_rewritten() {
        let text = shown(true, &[begun(), Event::Done(Ok(TCP)), begun()]);
        assert_eq!(text.matches(REWRITE).count(), 2);
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_failure_stays_on_the_screen() {
        let error = BenchError::NothingArrived { cause: None };
        let text = shown(true, &[begun(), Event::Done(Err(&error))]);
        assert!(text.ends_with("…  failed: nothing arrived in the measured window\n"), "{text}");
    }

    #[test]
    fn each_measurement_tells_its_own_figures() {
        let udp = UdpReading { sent: 400_000, received: 300_000, reordered: 0, elapsed: SECOND, cpu: None };
        assert_eq!(outcome(&Ok(Reading::Udp(udp))), "300 k/s, 25.0 % lost");
        let round_trip = RoundTripReading { count: 9, p50: 21_300, p99: 48_000 };
        assert_eq!(outcome(&Ok(Reading::RoundTrip(round_trip))), "p50 21.3 µs, p99 48.0 µs");
    }
}
