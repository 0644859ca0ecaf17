//! `vswitch status`.

use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{CommandError, Socket, table};
use crate::api::client::{self, ClientError};
use crate::api::types::Status;
use crate::cli::StatusArgs;

/// How often `--wait` asks again.
const ASK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn status(args: &StatusArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let patience = args.wait.map(Duration::try_from_secs_f64).transpose();
    let patience = patience
        .map_err(|error| CommandError::Usage { message: format!("--wait: {error}") })?
        .unwrap_or(Duration::ZERO);
    let deadline = Instant::now() + patience;
    let status = loop {
        let answer = client::get::<Status>(&socket.0, "/v1/status");
        let late = Instant::now() >= deadline;
        match answer {
            Ok(status) if status.ready || late => break status,
            Err(error) if late || !matches!(error, ClientError::NotRunning(_)) => return Err(error.into()),
            Ok(_) | Err(_) => sleep(ASK_EVERY),
        }
    };
    if args.listing.json {
        table::print_json(&status)?;
    } else {
        let state = if status.ready { "up" } else { "not ready" };
        let mode = if status.rootless { "rootless" } else { "root" };
        writeln!(
            std::io::stdout(),
            "{}: {state}, {} of {} ports up, {} worker{}, {mode}, pid {}",
            status.name,
            status.ports_up,
            status.ports,
            status.workers,
            if status.workers == 1 { "" } else { "s" },
            status.pid
        )?;
        if let Some(uplink) = &status.uplink {
            let state = uplink.reason.clone().unwrap_or_else(|| uplink.addresses.join(", "));
            writeln!(std::io::stdout(), "uplink {}: {state}", uplink.interface)?;
        }
    }
    Ok(if status.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
