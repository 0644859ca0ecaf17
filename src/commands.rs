//! What each command does: from parsed arguments to an exit code.
//!
//! 0 is done, 1 failed, 2 wrong usage or invalid configuration. Results go to standard output, everything else
//! to standard error; a reader that goes away (`| head`) is no failure.

mod bench;
mod check;
mod configuration;
mod exec;
mod inspect;
mod port;
mod run;
mod show;
mod status;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::api::client::ClientError;
use crate::cli::{Cli, Command, ContainerCommand, NetworkCommand, ShowCommand, SwitchName};
use crate::control_socket;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// Everything was said already.
    #[error("invalid configuration")]
    InvalidConfiguration,
    #[error("{message}")]
    Usage { message: String },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Daemon(#[from] crate::daemon::DaemonError),
    #[error(transparent)]
    Ports(#[from] vswitch_ports::Error),
    #[error("{0}")]
    Failed(String),
    #[error("cannot write the result: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs a command to its end.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let socket = cli.socket;
    let outcome = match cli.command {
        Command::Run(args) => run::run(&args, socket),
        Command::Check(args) => check::check(&args),
        Command::Status(args) => status::status(&args, &Socket::of(socket, &args.listing.name)),
        Command::Exec(args) => exec::exec(&args, &Socket::of(socket, &args.name)),
        Command::Network(NetworkCommand::Ls(listing)) => {
            inspect::list_networks(&listing, &Socket::of(socket, &listing.name))
        }
        Command::Network(NetworkCommand::Inspect(args)) => {
            inspect::inspect_network(&args, &Socket::of(socket, &args.listing.name))
        }
        Command::Container(ContainerCommand::Ls(listing)) => {
            inspect::list_containers(&listing, &Socket::of(socket, &listing.name))
        }
        Command::Container(ContainerCommand::Inspect(args)) => {
            inspect::inspect_container(&args, &Socket::of(socket, &args.listing.name))
        }
        Command::Show(ShowCommand::Ports(args)) => {
            show::ports(&args, &Socket::of(socket, &args.listing.name))
        }
        Command::Show(ShowCommand::Fdb(args)) => show::fdb(&args, &Socket::of(socket, &args.listing.name)),
        Command::Show(ShowCommand::Neighbors(args)) => {
            show::neighbors(&args, &Socket::of(socket, &args.listing.name))
        }
        Command::Show(ShowCommand::Routes(args)) => {
            show::routes(&args, &Socket::of(socket, &args.listing.name))
        }
        Command::Show(ShowCommand::Conntrack(args)) => {
            show::conntrack(&args, &Socket::of(socket, &args.listing.name))
        }
        Command::Port(args) => port::port(&args, &Socket::of(socket, &args.listing.name)),
        Command::Show(ShowCommand::Counters(args)) => {
            show::counters(&args, &Socket::of(socket, &args.listing.name))
        }
        Command::Bench(args) => bench::bench(&args),
        Command::BenchRelay(args) => bench::relay(&args),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &CommandError) -> ExitCode {
    match error {
        CommandError::Output(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        CommandError::InvalidConfiguration => ExitCode::from(2),
        CommandError::Usage { message } => {
            eprintln!("vswitch: {message}");
            ExitCode::from(2)
        }
        error => {
            eprintln!("vswitch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The control socket a command talks to.
struct Socket(PathBuf);

impl Socket {
    fn of(given: Option<PathBuf>, name: &SwitchName) -> Self {
        Self(given.unwrap_or_else(|| own_socket(&name.switch)))
    }
}

/// This user's socket of the switch `name`.
fn own_socket(name: &str) -> PathBuf {
    control_socket::default_path(name, vswitch_ports::userns::is_root(), vswitch_ports::userns::user_id())
}

/// Names consist of letters, digits, `_`, `.` and `-`; what does not is not found, whatever it would mean in a URI.
fn in_uri(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.replace(|c| !safe(c), "-")
}
