//! The command line: one table of commands and flags.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A userspace virtual switch: gives any process, container or VM a network, with or without root.
#[derive(Debug, Parser)]
#[command(name = "vswitch", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Control socket of the switch to talk to, or to offer [default: from the switch's name and the user]
    #[arg(long, global = true, env = "VSWITCH_SOCKET", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the switch in the foreground until SIGINT or SIGTERM
    Run(RunArgs),
    /// Validate a configuration and print everything that is wrong with it
    Check(CheckArgs),
    /// Tell whether the switch is up
    Status(StatusArgs),
    /// Run a command inside a container, or in a new one on a network
    Exec(ExecArgs),
    /// List and inspect networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// List and inspect containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// List a container's published ports
    Port(PortArgs),
    /// Show the switch's tables
    #[command(subcommand)]
    Show(ShowCommand),
    /// Measure this machine: the switch beside the kernel's bridge and whatever peers are installed
    Bench(BenchArgs),
    /// Join two namespaces by two taps and a loop: what `bench` measures as the two-tap loop
    #[command(hide = true)]
    BenchRelay(RelayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// One network namespace
    pub(crate) left: PathBuf,
    /// The other
    pub(crate) right: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration
    #[arg(default_value = "vswitch.toml")]
    pub(crate) file: PathBuf,
    /// End when this container's command ends, with its exit code
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) exit_code_from: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration
    #[arg(default_value = "vswitch.toml")]
    pub(crate) file: PathBuf,
    /// Print JSON: the errors, or the whole configuration with every default filled in
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which switch, where its name is not `default`.
#[derive(Debug, Args)]
pub(crate) struct SwitchName {
    /// Name of the switch, as `name` under `[switch]` in its configuration
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub(crate) switch: String,
}

/// What every listing has.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) name: SwitchName,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) listing: Listing,
    /// Wait up to SECONDS for the switch and all its ports to be up
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<f64>,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "vswitch exec [OPTIONS] NAME -- COMMAND...\n       vswitch exec [OPTIONS] --network NETWORK -- COMMAND..."
)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) name: SwitchName,
    /// Run in a new container on this network, which lasts as long as the command
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    /// The container
    #[arg(value_name = "NAME", required_unless_present = "network", conflicts_with = "network")]
    pub(crate) container: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// List networks
    Ls(Listing),
    /// Show one network in full
    Inspect(InspectArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// List containers
    Ls(Listing),
    /// Show one container in full
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) listing: Listing,
    /// Which one
    pub(crate) subject: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShowCommand {
    /// Ports: who, where, which device, up or down, and traffic
    Ports(ShowArgs),
    /// MAC addresses and the ports they live on
    Fdb(ShowArgs),
    /// Who lives where on the networks, as their gateways know
    Neighbors(ShowArgs),
    /// Every network's routing table
    Routes(ShowArgs),
    /// Tracked connections, and how they are translated
    Conntrack(ShowArgs),
    /// Every counter: traffic by network, drops by port and reason, connections by published port
    Counters(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) listing: Listing,
    /// Only this network; `uplink` for what is outside
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    #[command(flatten)]
    pub(crate) listing: Listing,
    /// The container
    pub(crate) container: String,
    /// Only where this port of it is published; TCP unless said otherwise
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub(crate) port: Option<ContainerPort>,
}

/// One port of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerPort {
    pub(crate) port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
}

impl FromStr for ContainerPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or("a port is a number from 1 to 65535")?;
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err("the protocol is tcp, udp or sctp".to_owned());
        }
        Ok(Self { port, protocol })
    }
}

/// What `vswitch bench` measures beside the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// Two namespaces joined by a veth pair: no switch at all
    Veth,
    /// The Linux bridge (as root only)
    LinuxBridge,
    /// Two taps and a loop that copies between them: the ceiling of any switch on taps
    TwoTapLoop,
    /// This switch
    Vswitch,
    /// This switch on plain taps, without offloads
    VswitchPlain,
    /// Open vSwitch's userspace datapath with TSO (as root, when installed)
    OpenVswitch,
    /// The Linux bridge, routing and nftables as a gateway with NAT (as root, when nftables is installed)
    LinuxRouter,
    /// This switch as a gateway with NAT
    VswitchRouter,
}

/// Which of the comparisons `vswitch bench` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartName {
    /// Two hosts of one network
    Bridge,
    /// A host behind a gateway with NAT, and one in the world
    Router,
    /// Both
    All,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// How many times each measurement is taken on each backend, in turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) rounds: usize,
    /// How long each one takes
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub(crate) seconds: f64,
    /// Which comparison to make
    #[arg(long, value_enum, default_value_t = PartName::All)]
    pub(crate) part: PartName,
    /// What to measure [default: all this machine has]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) backends: Vec<BackendName>,
    /// TCP congestion control of the generators [default: the machine's]
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion_control: Option<String>,
    /// MTU of both sides
    #[arg(long, default_value_t = 1500)]
    pub(crate) mtu: u16,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Print a Markdown table instead
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
    /// Also write a bar chart
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// Parses the process's arguments; on a wrong one, prints what is right and exits with 2.
pub(crate) fn parse() -> Cli {
    Cli::parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_of_tcp_unless_it_says_otherwise() {
        let port = |text: &str| text.parse::<ContainerPort>().map(|port| (port.port, port.protocol));
        assert_eq!(port("80"), Ok((80, "tcp".to_owned())));
        assert_eq!(port("53/UDP"), Ok((53, "udp".to_owned())));
        for wrong in ["0", "65536", "http", "80/", "80/icmp", "/tcp", "80/tcp/tcp", ""] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_table_of_commands_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
