//! The control API: HTTP/1.1 and JSON over the control socket (docs/api.md).
//!
//! The same types are what the server answers, what the CLI reads and what `--json` prints.

pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod types;
