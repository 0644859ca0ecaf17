//! Reading a configuration for `run` and `check`.

use std::io::IsTerminal;
use std::path::Path;

use vswitch_config::{Config, Diagnostics, Source, Surroundings};

use super::CommandError;
use crate::host;

/// A configuration file, and what came of reading it.
pub(super) struct Read {
    pub(super) source: Source,
    pub(super) loaded: Result<Config, Diagnostics>,
}

/// Reads and validates a file.
pub(super) fn read(file: &Path) -> Result<Read, CommandError> {
    let text = std::fs::read(file).map_err(|cause| CommandError::Usage {
        message: format!("cannot read the configuration {}: {cause}", file.display()),
    })?;
    let text = String::from_utf8(text).map_err(|error| CommandError::Usage {
        message: format!(
            "the configuration {} is not UTF-8 text: byte {} is none",
            file.display(),
            error.utf8_error().valid_up_to()
        ),
    })?;
    let source = Source { name: file.display().to_string(), text };
    let reserved_ports = host::reserved_ports();
    let surroundings = Surroundings {
        netns_exists: &host::netns_exists,
        ula_seed: host::machine_seed(),
        ephemeral_ports: host::ephemeral_ports(),
        port_is_reserved: &|port| reserved_ports.iter().any(|range| range.contains(&port)),
    };
    let loaded = vswitch_config::load(&source, &surroundings);
    Ok(Read { source, loaded })
}

/// Prints what is wrong, all of it, to standard error.
pub(super) fn complain(source: &Source, diagnostics: &Diagnostics) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", diagnostics.render(source, colour));
}
