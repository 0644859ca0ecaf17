//! `vswitch check`.

use std::io::Write;
use std::process::ExitCode;

use super::{CommandError, configuration, table};
use crate::cli::CheckArgs;

pub(super) fn check(args: &CheckArgs) -> Result<ExitCode, CommandError> {
    let read = configuration::read(&args.file)?;
    match read.loaded {
        Ok(config) if args.json => {
            table::print_json(&config)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(config) => {
            writeln!(
                std::io::stdout(),
                "{}: valid: {} networks, {} containers",
                read.source.name,
                config.networks.len(),
                config.containers.len()
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Err(diagnostics) => {
            if args.json {
                table::print_json(&diagnostics.located(&read.source))?;
            } else {
                configuration::complain(&read.source, &diagnostics);
            }
            Err(CommandError::InvalidConfiguration)
        }
    }
}
