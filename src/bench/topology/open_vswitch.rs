//! Open vSwitch's userspace datapath with `userspace-tso-enable`, where it is installed and we are root.
//!
//! It runs in a namespace of its own with a database of its own, a veth pair to each side, and reads and writes
//! those through AF_PACKET, the way it serves containers.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vswitch_ports::cpu::cpu_time_of;
use vswitch_ports::netlink::Netlink;
use vswitch_ports::netns::NetNs;
use vswitch_ports::process::enter_on_exec;

use super::Unavailable;
use super::namespaces::{INTERFACE, LEFT, Namespace, RIGHT};
use crate::bench::measure::{Side, Topology};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// How long its daemons may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct OpenVswitch {
    left: Namespace,
    right: Namespace,
    daemons: Daemons,
    version: String,
}

/// Its processes and files; gone with this value.
struct Daemons {
    net: NetNs,
    directory: PathBuf,
    processes: Vec<Child>,
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl OpenVswitch {
    pub(super) fn build(mtu: u16) -> Result<Self, Unavailable> {
        let version = version().ok_or_else(|| {
            Unavailable::Absent("Open vSwitch is not installed (Debian: openvswitch-switch)".to_owned())
        })?;
        let (left, right) = (Namespace::create(LEFT)?, Namespace::create(RIGHT)?);
        let net = NetNs::create()?;
        net.within(|| -> vswitch_ports::Result<()> {
            let mut netlink = Netlink::open()?;
            for (name, side) in [("left", &left), ("right", &right)] {
                netlink.create_veth(name, INTERFACE, Some(side.net.as_fd()))?;
                let port = netlink.link_index(name)?;
                netlink.set_mtu(port, mtu.into())?;
                netlink.set_up(port)?;
            }
            Ok(())
        })??;
        left.configure(mtu)?;
        right.configure(mtu)?;
        let daemons = Daemons::start(net)?;
        Ok(Self { left, right, daemons, version })
    }
}

fn version() -> Option<String> {
    let answer = Command::new("ovs-vswitchd").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    Path::new(SCHEMA).exists().then_some(())?;
    text.lines().next()?.split_whitespace().last().map(str::to_owned)
}

impl Daemons {
    fn start(net: NetNs) -> Result<Self, Unavailable> {
        let directory = std::env::temp_dir().join(format!("vswitch-bench-{}-ovs", std::process::id()));
        std::fs::create_dir(&directory)
            .map_err(|error| Unavailable::Failed(format!("cannot make {}: {error}", directory.display())))?;
        let mut daemons = Self { net, directory, processes: Vec::new() };
        let database = daemons.directory.join("conf.db");
        let socket = daemons.directory.join("db.sock");
        let server = format!("unix:{}", socket.display());

        daemons.run("ovsdb-tool", &["create", &database.to_string_lossy(), SCHEMA])?;
        let remote = format!("--remote=p{server}");
        daemons.spawn("ovsdb-server", &[&database.to_string_lossy(), &remote])?;
        wait_for(&socket)?;
        let database = format!("--db={server}");
        let options = "other_config:userspace-tso-enable=true";
        daemons.run("ovs-vsctl", &[&database, "--no-wait", "init"])?;
        daemons.run("ovs-vsctl", &[&database, "--no-wait", "set", "Open_vSwitch", ".", options])?;
        daemons.spawn("ovs-vswitchd", &[&server])?;
        let bridge = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"];
        daemons.run("ovs-vsctl", &[&[database.as_str(), "--timeout=10"], &bridge[..]].concat())?;
        for port in ["left", "right"] {
            daemons.run("ovs-vsctl", &[&database, "--timeout=10", "add-port", "br0", port])?;
        }
        Ok(daemons)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Result<Command, Unavailable> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.directory);
        }
        enter_on_exec(&mut command, self.net.as_fd(), None)?;
        Ok(command)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Unavailable> {
        match self.command(program, arguments)?.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Unavailable::Failed(format!("{program} {}: {status}", arguments.join(" ")))),
            Err(error) => Err(Unavailable::Failed(format!("cannot run {program}: {error}"))),
        }
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) -> Result<(), Unavailable> {
        let process = self.command(program, arguments)?.spawn();
        self.processes
            .push(process.map_err(|error| Unavailable::Failed(format!("cannot run {program}: {error}")))?);
        Ok(())
    }
}

fn wait_for(socket: &Path) -> Result<(), Unavailable> {
    let deadline = Instant::now() + PATIENCE;
    while !socket.exists() {
        if Instant::now() >= deadline {
            return Err(Unavailable::Failed("ovsdb-server does not come up".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

impl Topology for OpenVswitch {
    fn name(&self) -> &str {
        "open-vswitch"
    }

    fn description(&self) -> String {
        format!(
            "Open vSwitch {}, datapath_type=netdev (userspace), userspace-tso-enable, AF_PACKET on a veth pair to each side",
            self.version
        )
    }

    fn left(&self) -> &dyn Side {
        &self.left
    }

    fn right(&self) -> &dyn Side {
        &self.right
    }

    fn cpu_time(&self) -> Option<Duration> {
        // The second daemon forwards.
        cpu_time_of(self.daemons.processes.last()?.id()).ok()
    }
}
