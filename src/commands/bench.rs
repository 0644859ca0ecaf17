//! `vswitch bench`.

use std::process::ExitCode;

use super::CommandError;
use crate::cli::BenchArgs;

pub(super) fn bench(_args: &BenchArgs) -> Result<ExitCode, CommandError> {
    Ok(ExitCode::SUCCESS)
}
