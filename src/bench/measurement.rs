//! The kinds of traffic that are measured, and what each finds.

use std::fmt;

use super::generator::round_trip::RoundTripReading;
use super::generator::tcp::TcpReading;
use super::generator::udp::{self, UdpReading};
use super::measure::{LINUX_BRIDGE, LINUX_ROUTER, TWO_TAP_LOOP};

/// What is measured together, on backends that do the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Two hosts of one network.
    Bridge,
    /// A host behind a gateway that translates addresses, and one in the world.
    Router,
}

impl Part {
    /// The name by which people and programs know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Router => "router",
        }
    }

    /// What it is, in one line.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Bridge => "Two hosts of one network",
            Self::Router => "A host behind a gateway with NAT, and one in the world",
        }
    }

    /// What a label of this part begins with where it stands beside those of another.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Bridge => "",
            Self::Router => "NAT, ",
        }
    }

    /// The backends that the others are compared with: each one's name, and its name in a column's head.
    pub(crate) fn baselines(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bridge => &[(TWO_TAP_LOOP, "two-tap loop"), (LINUX_BRIDGE, "Linux bridge")],
            Self::Router => &[(LINUX_ROUTER, "Linux router")],
        }
    }

    /// What is measured.
    pub(crate) fn measurements(self) -> &'static [Measurement] {
        match self {
            Self::Bridge => &Measurement::BRIDGE,
            Self::Router => &Measurement::ROUTER,
        }
    }
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measurement {
    /// Bulk TCP in this many parallel streams.
    Tcp {
        /// Connections, each with a thread at either end.
        streams: usize,
    },
    /// Bulk TCP in one stream from right to left, by the published port.
    TcpIn,
    /// 16-byte datagrams as fast as one sender can.
    Udp,
    /// One byte there and back over TCP.
    RoundTrip,
}

impl Measurement {
    /// What is measured between two hosts of one network.
    pub(crate) const BRIDGE: [Self; 4] =
        [Self::Tcp { streams: 1 }, Self::Tcp { streams: 4 }, Self::Udp, Self::RoundTrip];

    /// What is measured through a gateway that translates addresses.
    pub(crate) const ROUTER: [Self; 4] =
        [Self::Tcp { streams: 1 }, Self::Tcp { streams: 4 }, Self::TcpIn, Self::Udp];
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { streams: 1 } => f.write_str("TCP 1 stream"),
            Self::Tcp { streams } => write!(f, "TCP {streams} streams"),
            Self::TcpIn => f.write_str("TCP 1 stream in"),
            Self::Udp => write!(f, "UDP {} B", udp::PAYLOAD_BYTES),
            Self::RoundTrip => f.write_str("TCP round trip"),
        }
    }
}

/// What one measurement found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading {
    /// Of [`Measurement::Tcp`] and [`Measurement::TcpIn`].
    Tcp(TcpReading),
    /// Of [`Measurement::Udp`].
    Udp(UdpReading),
    /// Of [`Measurement::RoundTrip`].
    RoundTrip(RoundTripReading),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_named_as_people_say_them() {
        let names = Measurement::BRIDGE.map(|measurement| measurement.to_string());
        assert_eq!(names, ["TCP 1 stream", "TCP 4 streams", "UDP 16 B", "TCP round trip"]);
    }
}
