//! vswitch: a userspace virtual switch.
//!
//! This package is the program: the command line ([`cli`], [`commands`]), the daemon that `vswitch run` is
//! ([`daemon`]), its worker threads ([`dataplane`]), the control API ([`api`]) and the benchmark ([`bench`]).
//! Everything else is in the workspace's libraries, which never print, read the environment or exit.

mod api;
mod bench;
mod cli;
mod commands;
mod control_socket;
mod daemon;
mod dataplane;
mod host;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(cli::parse())
}
