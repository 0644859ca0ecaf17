//! How far a TCP connection has come, as somebody sees it who is in the middle and does not see everything.
//!
//! # Theory of operation
//! Every segment with SYN, FIN or RST is seen, and every segment until the connection is established; after that
//! workers forward plain segments by themselves. So the state is made of facts that flagged segments tell: which
//! side sent SYN, which acknowledged the other's, which sent FIN. It covers the three-way handshake and the
//! simultaneous open (RFC 5382 REQ-2a) without telling them apart, after the machine of RFC 7857 §2.1:
//!
//! * *established* when both sides sent SYN and both acknowledged;
//! * one FIN leaves it established as far as timeouts go, since the other side may go on sending for hours;
//! * RST only makes it *closed* in a manner of speaking, since anybody could have forged it: it stays for the
//!   closing timeout, and a segment that is no RST brings it back (RFC 7857 §2.3);
//! * a SYN after both FINs or a RST begins anew between the same endpoints.

use vswitch_wire::TcpHeader;

use super::connection::Side;

/// Where a TCP connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpState {
    /// One side sent SYN.
    SynSent,
    /// The other answered; the handshake is not complete.
    SynReceived,
    /// Both sides acknowledged.
    Established,
    /// One side has sent its last byte.
    FinWait,
    /// Both have.
    TimeWait,
    /// A side aborted it.
    Closed,
}

impl TcpState {
    /// The name used in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::Established => "established",
            Self::FinWait => "fin-wait",
            Self::TimeWait => "time-wait",
            Self::Closed => "closed",
        }
    }
}

/// The facts, one bit each; those of the outside three bits higher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Handshake(u8);

const SYN: u8 = 1;
const ACK: u8 = 1 << 1;
const FIN: u8 = 1 << 2;
const RESET: u8 = 1 << 6;

impl Handshake {
    /// Whether a segment with these flags, and no connection to belong to, begins one.
    pub(crate) fn begins_with(flags: u8) -> bool {
        const DECISIVE: u8 = TcpHeader::SYN | TcpHeader::ACK | TcpHeader::RST | TcpHeader::FIN;
        flags & DECISIVE == TcpHeader::SYN
    }

    /// After a segment from `side`.
    #[must_use]
    pub(crate) fn after(self, side: Side, flags: u8) -> Self {
        if flags & TcpHeader::RST != 0 {
            return Self(self.0 | RESET);
        }
        let over = matches!(self.state(), TcpState::TimeWait | TcpState::Closed);
        let before = if over && Self::begins_with(flags) { Self::default() } else { Self(self.0 & !RESET) };
        let mut facts = before.0;
        if flags & TcpHeader::SYN != 0 {
            facts |= of(side, SYN);
        }
        if flags & TcpHeader::ACK != 0 && before.has(side.other(), SYN) {
            facts |= of(side, ACK);
        }
        if flags & TcpHeader::FIN != 0 && before.has(side, SYN) {
            facts |= of(side, FIN);
        }
        Self(facts)
    }

    /// What the facts amount to.
    pub(crate) fn state(self) -> TcpState {
        let both = |fact| self.has(Side::Inside, fact) && self.has(Side::Outside, fact);
        let either = |fact| self.has(Side::Inside, fact) || self.has(Side::Outside, fact);
        match () {
            () if self.0 & RESET != 0 => TcpState::Closed,
            () if both(FIN) => TcpState::TimeWait,
            () if both(SYN) && both(ACK) && either(FIN) => TcpState::FinWait,
            () if both(SYN) && both(ACK) => TcpState::Established,
            () if both(SYN) => TcpState::SynReceived,
            () => TcpState::SynSent,
        }
    }

    fn has(self, side: Side, fact: u8) -> bool {
        self.0 & of(side, fact) != 0
    }
}

fn of(side: Side, fact: u8) -> u8 {
    match side {
        Side::Inside => fact,
        Side::Outside => fact << 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{Inside, Outside};

    const S: u8 = TcpHeader::SYN;
    const A: u8 = TcpHeader::ACK;
    const F: u8 = TcpHeader::FIN;
    const R: u8 = TcpHeader::RST;

    fn states(segments: &[(Side, u8)]) -> Vec<&'static str> {
        let mut handshake = Handshake::default();
        let mut names = Vec::new();
        for (side, flags) in segments {
            handshake = handshake.after(*side, *flags);
            names.push(handshake.state().name());
        }
        names
    }

    #[test]
    fn three_ways_and_a_close() {
        let walk = [
            (Outside, S),
            (Inside, S | A),
            (Outside, A),
            (Inside, F | A),
            (Outside, A),
            (Outside, F | A),
            (Inside, A),
        ];
        let expected =
            ["syn-sent", "syn-received", "established", "fin-wait", "fin-wait", "time-wait", "time-wait"];
        assert_eq!(states(&walk), expected);
    }

    #[test]
    fn simultaneous_open() {
        let walk = [(Inside, S), (Outside, S), (Inside, S | A), (Outside, S | A)];
        assert_eq!(states(&walk), ["syn-sent", "syn-received", "syn-received", "established"]);
        // One SYN|ACK is lost and answered by a plain ACK.
        let walk = [(Inside, S), (Outside, S), (Inside, S | A), (Outside, A)];
        assert_eq!(states(&walk)[3], "established");
    }

    #[test]
    fn nothing_but_acknowledged_syns_establishes() {
        assert_eq!(states(&[(Inside, S), (Inside, A), (Outside, A), (Inside, A)]), ["syn-sent"; 4]);
        assert_eq!(states(&[(Outside, S), (Inside, S | A), (Inside, A)])[2], "syn-received");
        assert!(
            !Handshake::begins_with(S | A) && !Handshake::begins_with(A) && !Handshake::begins_with(S | R)
        );
        assert!(Handshake::begins_with(S | TcpHeader::ECE | TcpHeader::CWR));
    }

    #[test]
    fn a_reset_may_have_been_forged() {
        let open = [(Inside, S), (Outside, S | A), (Inside, A)];
        let walk = [&open[..], &[(Outside, R), (Outside, A)]].concat();
        assert_eq!(states(&walk)[3..], ["closed", "established"]);
        let anew = [&open[..], &[(Outside, R), (Inside, S)]].concat();
        assert_eq!(states(&anew)[3..], ["closed", "syn-sent"]);
    }

    #[test]
    fn a_closed_pair_of_endpoints_begins_anew() {
        let walk =
            [(Inside, S), (Outside, S | A), (Inside, A), (Inside, F | A), (Outside, F | A), (Outside, S)];
        assert_eq!(states(&walk)[4..], ["time-wait", "syn-sent"]);
    }
}
