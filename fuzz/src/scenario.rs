//! The language of the pipeline's inputs: any bytes are a scenario, and a scenario can be written as bytes.
//!
//! The first byte are the [`Settings`]. Then steps, one after another until the bytes end:
//!
//! | first byte | then | step |
//! |---|---|---|
//! | `???00ppp` | length (2), filler (1), bytes | [`Step::Frame`] to port `ppp` without offload header |
//! | `???01ppp` | header (10), length (2), filler (1), bytes | [`Step::Frame`] with one, as virtio lays it out |
//! | `???10???` | seconds (1), units of 4 ms (1) | [`Step::Wait`] |
//! | `???11000` | network (1) | [`Step::Change`] |
//! | `???11001` | port (1), failure (1) | [`Step::Fail`] |
//! | `???11???` | port (1) | [`Step::Replug`] |
//!
//! Numbers are big-endian and taken modulo what there is. A frame is its bytes and then `filler` × 256 bytes
//! of a pattern, so that large frames need no large inputs. What is queued is carried by a [`Step::Wait`] and
//! at the end. One bit of the settings says whether all this happens on networks that only bridge, or in a town.

use vswitch_switch::OffloadHeader;

/// How many ports there are on networks that only bridge.
pub const PORTS: usize = 6;

/// How many there are in a town with routers.
pub const TOWN_PORTS: usize = 8;

/// How many networks it has.
pub const TOWN_NETWORKS: usize = 4;

/// Choices for a whole scenario, from its first byte.
#[derive(Clone, Copy, Debug)]
pub struct Settings(u8);

impl Settings {
    /// Whether unknown destinations are dropped rather than flooded.
    pub fn drops_unknown(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether storm control is tight rather than off.
    pub fn limits_storms(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the learned table is so small that it is full soon.
    pub fn has_small_fdb(self) -> bool {
        self.0 & 4 != 0
    }

    /// Whether MTUs are 576 rather than 1500.
    pub fn has_small_mtu(self) -> bool {
        self.0 & 8 != 0
    }

    /// Whether there are two workers that tell each other what they hear.
    pub fn has_two_workers(self) -> bool {
        self.0 & 16 != 0
    }

    /// Whether it happens in a [town](crate::town), where networks have gateways and a way out.
    pub fn is_routed(self) -> bool {
        self.0 & 32 != 0
    }

    /// In a town: whether one network only routes, and leaves with its own addresses.
    pub fn has_untranslated(self) -> bool {
        self.0 & 64 != 0
    }

    /// In a town: whether the members on the parent share its MAC address.
    pub fn shares_mac(self) -> bool {
        self.0 & 128 != 0
    }

    fn ports(self) -> usize {
        if self.is_routed() { TOWN_PORTS } else { PORTS }
    }

    fn networks(self) -> usize {
        if self.is_routed() { TOWN_NETWORKS } else { 2 }
    }
}

/// One thing that happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A port is sent a frame.
    Frame {
        /// Which one.
        port: usize,
        /// With this offload header.
        offload: OffloadHeader,
        /// All its bytes.
        bytes: Vec<u8>,
    },
    /// What is queued is carried, and time goes by.
    Wait {
        /// So much.
        milliseconds: u64,
    },
    /// A network's tables are published anew, under a new generation.
    Change {
        /// Which one.
        network: usize,
    },
    /// A port's device refuses what it is to transmit from now on.
    Fail {
        /// Which one.
        port: usize,
        /// 0 not at all, 1 down, 2 full, 3 refused.
        how: u8,
    },
    /// A port loses its device and gets a new one.
    Replug {
        /// Which one.
        port: usize,
    },
}

/// Splits an input into its settings and its steps.
pub fn read(input: &[u8]) -> (Settings, Steps<'_>) {
    let (settings, rest) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
    let settings = Settings(settings);
    (settings, Steps { rest, settings })
}

/// Writes a step as [`read`] reads it; a frame's filler is written out.
pub fn write(step: &Step, input: &mut Vec<u8>) {
    match step {
        Step::Frame { port, offload, bytes } => {
            let with_header = *offload != OffloadHeader::NONE;
            input.push(low(*port) | if with_header { 0b01_000 } else { 0 });
            if with_header {
                input.extend([offload.flags, offload.gso_type]);
                for field in
                    [offload.header_length, offload.gso_size, offload.checksum_start, offload.checksum_offset]
                {
                    input.extend(field.to_be_bytes());
                }
            }
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            input.extend(length.to_be_bytes());
            input.push(0);
            input.extend(&bytes[..length.into()]);
        }
        Step::Wait { milliseconds } => {
            let [.., seconds] = (milliseconds / 1000).to_be_bytes();
            let [.., units] = (milliseconds % 1000 / 4).to_be_bytes();
            input.extend([0b10_000, seconds, units]);
        }
        Step::Change { network } => input.extend([0b11_000, low(*network)]),
        Step::Fail { port, how } => input.extend([0b11_001, low(*port), *how]),
        Step::Replug { port } => input.extend([0b11_010, low(*port)]),
    }
}

fn low(number: usize) -> u8 {
    let [.., low] = number.to_be_bytes();
    low
}

/// The steps of an input.
#[derive(Debug)]
pub struct Steps<'a> {
    rest: &'a [u8],
    settings: Settings,
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let kind = self.byte()?;
        match (kind >> 3 & 3, kind & 7) {
            (0, port) => self.frame(port, OffloadHeader::NONE),
            (1, port) => {
                let offload = OffloadHeader {
                    flags: self.byte()?,
                    gso_type: self.byte()?,
                    header_length: self.word()?,
                    gso_size: self.word()?,
                    checksum_start: self.word()?,
                    checksum_offset: self.word()?,
                };
                self.frame(port, offload)
            }
            (2, _) => {
                let (seconds, units) = (u64::from(self.byte()?), u64::from(self.byte()?));
                Some(Step::Wait { milliseconds: seconds * 1000 + units * 4 })
            }
            (_, 0) => Some(Step::Change { network: usize::from(self.byte()?) % self.settings.networks() }),
            (_, 1) => Some(Step::Fail { port: self.port()?, how: self.byte()? & 3 }),
            _ => Some(Step::Replug { port: self.port()? }),
        }
    }
}

impl Steps<'_> {
    fn frame(&mut self, port: u8, offload: OffloadHeader) -> Option<Step> {
        let port = usize::from(port) % self.settings.ports();
        let length = usize::from(self.word()?);
        let filler = usize::from(self.byte()?) * 256;
        let (bytes, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        let mut bytes = bytes.to_vec();
        bytes.extend((0..=u8::MAX).cycle().take(filler));
        Some(Step::Frame { port, offload, bytes })
    }

    fn port(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) % self.settings.ports())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u16> {
        let (first, rest) = self.rest.split_first_chunk::<2>()?;
        self.rest = rest;
        Some(u16::from_be_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let offload = OffloadHeader {
            flags: 1,
            gso_type: 5,
            header_length: 42,
            gso_size: 9,
            checksum_start: 34,
            checksum_offset: 6,
        };
        let steps = [
            Step::Frame { port: 1, offload: OffloadHeader::NONE, bytes: vec![1, 2, 3] },
            Step::Frame { port: 2, offload, bytes: vec![4; 300] },
            Step::Wait { milliseconds: 3_400 },
            Step::Change { network: 1 },
            Step::Fail { port: 3, how: 2 },
            Step::Replug { port: 2 },
        ];
        let mut input = vec![0];
        steps.iter().for_each(|step| write(step, &mut input));
        assert_eq!(read(&input).1.collect::<Vec<_>>(), steps);
    }

    #[test]
    fn a_town_has_more_ports_and_networks() {
        let steps = [Step::Replug { port: 7 }, Step::Change { network: 3 }];
        let mut input = vec![32];
        steps.iter().for_each(|step| write(step, &mut input));
        assert_eq!(read(&input).1.collect::<Vec<_>>(), steps);
        input[0] = 0;
        assert_eq!(
            read(&input).1.collect::<Vec<_>>(),
            [Step::Replug { port: 1 }, Step::Change { network: 1 }]
        );
    }
}
