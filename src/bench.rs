//! `vswitch bench`: measures this machine, our switch beside the kernel's bridge and whatever peers are installed.
//!
//! Every backend joins two namespaces, as hosts of one network or by a gateway with NAT; the same generator sends the
//! same traffic over each in turn ([`measure`]), and comparisons are made within a round ([`results`]).

pub(crate) mod chart;
pub(crate) mod error;
pub(crate) mod generator;
pub(crate) mod measure;
pub(crate) mod measurement;
pub(crate) mod metric;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod results;
pub(crate) mod statistics;
pub(crate) mod topology;
