//! What can go wrong while measuring, in words for the person who ran `vswitch bench`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::measure::MINIMUM_ROUNDS;

/// Why a measurement, or the whole plan, could not be carried out.
///
/// A measurement that fails is recorded beside the others: the report names the backend and the measurement, so
/// these texts do not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The plan asks for fewer rounds than a median needs.
    #[error("{asked} rounds are too few for a median: ask for at least {MINIMUM_ROUNDS}")]
    TooFewRounds {
        /// The number of rounds asked for.
        asked: usize,
    },
    /// The plan measures for no time at all.
    #[error("a measured time of zero shows nothing: ask for a second or more")]
    NoTime,
    /// One side's namespace could not be entered.
    #[error("cannot enter the namespace on the {side}: {cause}")]
    Enter {
        /// `left` (sends) or `right` (receives).
        side: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// The way in was to be measured where there is none.
    #[error("this backend publishes no port")]
    NothingPublished,
    /// A socket could not be bound to its side's address.
    #[error("cannot bind a socket to {address}: {cause}; is the address configured and the interface up?")]
    Bind {
        /// The address of the side.
        address: IpAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The other side could not be reached.
    #[error("cannot connect to {target}: {cause}; does this backend forward frames at all?")]
    Connect {
        /// Where the receiver listens.
        target: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// A connection that the sender saw established never reached the receiver.
    #[error("the receiver could not accept a connection: {cause}")]
    Accept {
        /// What the system said.
        cause: io::Error,
    },
    /// A socket option was refused.
    #[error("cannot set an option of a measuring socket: {cause}; is the congestion control available?")]
    Tune {
        /// What the system said.
        cause: io::Error,
    },
    /// A traffic thread could not be started.
    #[error("cannot start a traffic thread: {cause}; raise the limit on threads (ulimit -u)")]
    Thread {
        /// What the system said.
        cause: io::Error,
    },
    /// The traffic ended before the window did.
    #[error("the traffic broke off while measuring: {cause}")]
    BrokeOff {
        /// What the system said.
        cause: io::Error,
    },
    /// The window passed without one arrival.
    #[error("nothing arrived in the measured window{}", refusal(.cause))]
    NothingArrived {
        /// The last refusal the sender met, if it met one.
        cause: Option<io::Error>,
    },
}

fn refusal(cause: &Option<io::Error>) -> String {
    cause.as_ref().map(|cause| format!("; the sender was last told: {cause}")).unwrap_or_default()
}
