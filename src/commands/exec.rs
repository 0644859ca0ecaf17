//! `vswitch exec`: becomes the command, inside a container's namespaces.

use std::process::{Command, ExitCode};

use vswitch_ports::process::exec_in;
use vswitch_ports::view::NamespacePaths;

use super::{CommandError, Socket};
use crate::api::client;
use crate::api::types::{Container, Namespaces, NewContainer};
use crate::cli::ExecArgs;

pub(super) fn exec(args: &ExecArgs, socket: &Socket) -> Result<ExitCode, CommandError> {
    let container = match (&args.container, &args.network) {
        (Some(name), _) => client::get::<Container>(&socket.0, &format!("/v1/containers/{name}"))?,
        (None, network) => {
            // The switch takes the container away when this process ends, which is the command by then.
            let new = NewContainer { network: network.clone().unwrap_or_default(), pid: std::process::id() };
            client::post::<Container>(&socket.0, "/v1/containers", &new)?
        }
    };
    let Some(Namespaces { user, net, mount, uts }) = container.namespaces else {
        let why = container.reason.unwrap_or_else(|| "it has no namespaces".to_owned());
        return Err(CommandError::Failed(format!("container {} is down: {why}", container.name)));
    };
    // Clap requires a command.
    let (program, arguments) = args.command.split_first().unwrap_or((&container.name, &[]));
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(environment) = container.configuration["environment"].as_object() {
        command.envs(environment.iter().filter_map(|(name, value)| Some((name, value.as_str()?))));
    }
    let error = exec_in(&NamespacePaths { user, net, mount, uts }, &mut command);
    eprintln!("vswitch: {error}");
    Ok(ExitCode::from(error.exit_status()))
}
