//! What the fuzz targets check, apart from the fuzzer, so that an input can be replayed by any program.
//!
//! | target | input | module |
//! |---|---|---|
//! | `parse` | one frame | [`parsing`] |
//! | `configuration` | the text of a file | [`configuration`] |
//! | `pipeline` | a [`scenario`]: frames, ports and time | [`pipeline`]; with routers, [`routed`] |

pub mod configuration;
pub mod device;
pub mod joined;
pub mod parsing;
pub mod pipeline;
pub mod routed;
pub mod scenario;
pub mod town;
