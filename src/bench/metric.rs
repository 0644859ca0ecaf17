//! The figures that measurements give: their names, units and what is good.

use super::generator::udp::PAYLOAD_BYTES;
use super::measurement::{Measurement, Reading};

/// A figure read off a measurement; some measurements give several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Payload received by so many TCP streams together, in bit/s.
    TcpThroughput {
        /// Parallel connections.
        streams: usize,
    },
    /// Payload received by one TCP stream through a published port, in bit/s.
    TcpInThroughput,
    /// Small datagrams received per second.
    UdpReceived,
    /// Small datagrams sent per second.
    UdpSent,
    /// The share of small datagrams lost, 0 to 1.
    UdpLoss,
    /// Small datagrams that arrived late or twice, in the window.
    UdpReordered,
    /// Median TCP round trip, in ns.
    RoundTripP50,
    /// The TCP round trip that 99 % do not exceed, in ns.
    RoundTripP99,
}

impl Metric {
    /// What `measurement` tells.
    pub(crate) fn of(measurement: Measurement) -> Vec<Self> {
        match measurement {
            Measurement::Tcp { streams } => vec![Self::TcpThroughput { streams }],
            Measurement::TcpIn => vec![Self::TcpInThroughput],
            Measurement::Udp => vec![Self::UdpReceived, Self::UdpSent, Self::UdpLoss, Self::UdpReordered],
            Measurement::RoundTrip => vec![Self::RoundTripP50, Self::RoundTripP99],
        }
    }

    /// What it is read off.
    pub(crate) fn measurement(self) -> Measurement {
        match self {
            Self::TcpThroughput { streams } => Measurement::Tcp { streams },
            Self::TcpInThroughput => Measurement::TcpIn,
            Self::UdpReceived | Self::UdpSent | Self::UdpLoss | Self::UdpReordered => Measurement::Udp,
            Self::RoundTripP50 | Self::RoundTripP99 => Measurement::RoundTrip,
        }
    }

    /// The name by which programs know it.
    pub(crate) fn key(self) -> String {
        match self {
            Self::TcpThroughput { streams: 1 } => "tcp_1_stream".into(),
            Self::TcpThroughput { streams } => format!("tcp_{streams}_streams"),
            Self::TcpInThroughput => "tcp_1_stream_in".into(),
            Self::UdpReceived => format!("udp_{PAYLOAD_BYTES}b_received"),
            Self::UdpSent => format!("udp_{PAYLOAD_BYTES}b_sent"),
            Self::UdpLoss => format!("udp_{PAYLOAD_BYTES}b_loss"),
            Self::UdpReordered => format!("udp_{PAYLOAD_BYTES}b_reordered"),
            Self::RoundTripP50 => "tcp_round_trip_p50".into(),
            Self::RoundTripP99 => "tcp_round_trip_p99".into(),
        }
    }

    /// The name by which people know it.
    pub(crate) fn label(self) -> String {
        let measurement = self.measurement();
        match self {
            Self::TcpThroughput { .. } | Self::TcpInThroughput => measurement.to_string(),
            Self::UdpReceived => format!("{measurement} received"),
            Self::UdpSent => format!("{measurement} sent"),
            Self::UdpLoss => format!("{measurement} lost"),
            Self::UdpReordered => format!("{measurement} out of order"),
            Self::RoundTripP50 => format!("{measurement} p50"),
            Self::RoundTripP99 => format!("{measurement} p99"),
        }
    }

    /// The unit of its values.
    pub(crate) fn base_unit(self) -> &'static str {
        match self {
            Self::TcpThroughput { .. } | Self::TcpInThroughput => "bit/s",
            Self::UdpReceived | Self::UdpSent => "datagram/s",
            Self::UdpLoss => "1",
            Self::UdpReordered => "datagram",
            Self::RoundTripP50 | Self::RoundTripP99 => "ns",
        }
    }

    /// The unit in which people read it, and what a value in the base unit is divided by to get there.
    pub(crate) fn display_unit(self) -> (&'static str, f64) {
        match self {
            Self::TcpThroughput { .. } | Self::TcpInThroughput => ("Gbit/s", 1e9),
            Self::UdpReceived | Self::UdpSent => ("k/s", 1e3),
            Self::UdpLoss => ("%", 0.01),
            Self::UdpReordered => ("datagrams", 1.0),
            Self::RoundTripP50 | Self::RoundTripP99 => ("µs", 1e3),
        }
    }

    /// `value`, given in the base unit, as a number in the display unit: with three significant digits, a share to
    /// the tenth of a percent.
    pub(crate) fn number(self, value: f64) -> String {
        let value = value / self.display_unit().1;
        if self == Self::UdpLoss { format!("{value:.1}") } else { three_digits(value) }
    }

    /// What the CPU time of the switch is told per; `None` where the metric is not the one it is told with.
    pub(crate) fn cpu_unit(self) -> Option<&'static str> {
        match self {
            Self::TcpThroughput { .. } | Self::TcpInThroughput => Some("s/GB"),
            Self::UdpReceived => Some("s/Mpkt"),
            _ => None,
        }
    }

    /// Whether more of it is better.
    pub(crate) fn more_is_better(self) -> bool {
        let throughput = matches!(self, Self::TcpThroughput { .. } | Self::TcpInThroughput);
        throughput || matches!(self, Self::UdpReceived | Self::UdpSent)
    }

    /// Whether a ratio of two backends says anything: a share or a count that is best at zero has none.
    pub(crate) fn is_comparable(self) -> bool {
        !matches!(self, Self::UdpLoss | Self::UdpReordered)
    }

    /// Its value in `reading`, in the base unit.
    pub(crate) fn value(self, reading: &Reading) -> Option<f64> {
        match (self, reading) {
            (Self::TcpThroughput { .. } | Self::TcpInThroughput, Reading::Tcp(reading)) => {
                Some(reading.bits_per_second())
            }
            (Self::UdpReceived, Reading::Udp(reading)) => Some(reading.received_per_second()),
            (Self::UdpSent, Reading::Udp(reading)) => Some(reading.sent_per_second()),
            (Self::UdpLoss, Reading::Udp(reading)) => Some(reading.loss()),
            (Self::UdpReordered, Reading::Udp(reading)) => Some(reading.reordered as f64),
            (Self::RoundTripP50, Reading::RoundTrip(reading)) => Some(reading.p50.into()),
            (Self::RoundTripP99, Reading::RoundTrip(reading)) => Some(reading.p99.into()),
            _ => None,
        }
    }

    /// CPU seconds of the switch per [`Self::cpu_unit`].
    pub(crate) fn cpu_seconds(self, reading: &Reading) -> Option<f64> {
        match (self, reading) {
            (Self::TcpThroughput { .. } | Self::TcpInThroughput, Reading::Tcp(reading)) => {
                reading.cpu_seconds_per_gigabyte()
            }
            (Self::UdpReceived, Reading::Udp(reading)) => reading.cpu_seconds_per_million(),
            _ => None,
        }
    }
}

/// `value` with three significant digits, never in exponent form.
pub(crate) fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude >= 99.95 || magnitude == 0.0 => 0,
        magnitude if magnitude >= 9.995 => 1,
        magnitude if magnitude >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_in_the_display_unit() {
        let throughput = Metric::TcpThroughput { streams: 1 };
        assert_eq!(throughput.number(13.2468e9), "13.2");
        assert_eq!(throughput.number(9.8765e9), "9.88");
        assert_eq!(throughput.number(9.9999e9), "10.0");
        assert_eq!(throughput.number(0.1234e9), "0.123");
        assert_eq!(Metric::UdpReceived.number(246_800.0), "247");
        assert_eq!(Metric::UdpReceived.number(1_234_567.0), "1235");
        assert_eq!(Metric::UdpLoss.number(0.314), "31.4");
        assert_eq!(Metric::UdpLoss.number(0.000_02), "0.0");
        assert_eq!(Metric::UdpReordered.number(0.0), "0");
        assert_eq!(Metric::RoundTripP50.number(21_345.0), "21.3");
    }

    #[test]
    fn keys_are_unique_and_stable() {
        let measurements = Measurement::BRIDGE.into_iter().chain([Measurement::TcpIn]);
        let keys: Vec<_> = measurements.flat_map(Metric::of).map(Metric::key).collect();
        assert_eq!(
            keys,
            [
                "tcp_1_stream",
                "tcp_4_streams",
                "udp_16b_received",
                "udp_16b_sent",
                "udp_16b_loss",
                "udp_16b_reordered",
                "tcp_round_trip_p50",
                "tcp_round_trip_p99",
                "tcp_1_stream_in"
            ]
        );
    }

    #[test]
    fn every_metric_is_read_off_the_measurement_it_belongs_to() {
        for measurement in Measurement::BRIDGE.into_iter().chain(Measurement::ROUTER) {
            for metric in Metric::of(measurement) {
                assert_eq!(metric.measurement(), measurement);
            }
        }
    }
}
