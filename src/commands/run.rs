//! `vswitch run`.

use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use vswitch_ports::userns;

use super::{CommandError, configuration};
use crate::cli::RunArgs;
use crate::{control_socket, daemon};

pub(super) fn run(args: &RunArgs, socket: Option<PathBuf>) -> Result<ExitCode, CommandError> {
    let read = configuration::read(&args.file)?;
    let config = read.loaded.map_err(|diagnostics| {
        configuration::complain(&read.source, &diagnostics);
        CommandError::InvalidConfiguration
    })?;
    let root = userns::is_root();
    let socket =
        socket.unwrap_or_else(|| control_socket::default_path(&config.switch.name, root, userns::user_id()));
    log_to_stderr();
    // While there is one thread only, and before anything is made.
    if !root {
        userns::enter_user_namespace()?;
    }
    userns::check_tun()?;
    Ok(daemon::run(config, &socket, !root, args.exit_code_from.as_deref())?)
}

/// Log lines go to standard error; `VSWITCH_LOG` chooses how many, as `debug` or `vswitch=debug,info`.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("VSWITCH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .with_target(false)
        .without_time()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
