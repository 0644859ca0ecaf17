//! `vswitch bench`.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use vswitch_ports::netns::NetNs;
use vswitch_ports::{cpu, socket, tap, userns};
use vswitch_switch::Device;

use super::CommandError;
use crate::bench::chart;
use crate::bench::generator::Window;
use crate::bench::measure::{self, Plan, Topology};
use crate::bench::measurement::Part;
use crate::bench::progress::Progress;
use crate::bench::report::{Machine, Report};
use crate::bench::topology::{self, Unavailable, namespaces};
use crate::cli::{BackendName, BenchArgs, PartName, RelayArgs};

pub(super) fn bench(args: &BenchArgs) -> Result<ExitCode, CommandError> {
    let usage = |error: &dyn std::fmt::Display| CommandError::Usage { message: error.to_string() };
    let seconds = Duration::try_from_secs_f64(args.seconds).map_err(|error| usage(&error))?;
    let mut plans = Vec::new();
    for part in parts(args) {
        plans.push((part, Plan::new(part, args.rounds, seconds).map_err(|error| usage(&error))?));
    }
    if plans.is_empty() {
        return Err(usage(&"none of these backends is measured in this part"));
    }
    let root = userns::is_root();
    if !root {
        userns::enter_user_namespace()?;
    }
    userns::check_tun()?;

    // All of them before the first measurement: what cannot be built is known at once and not after minutes.
    let mut built = Vec::new();
    for (part, plan) in plans {
        built.push((plan, build_all(part, args, root)?));
    }
    let congestion_control = args.congestion_control.clone();
    let tune = |stream: &std::net::TcpStream| match &congestion_control {
        Some(name) => socket::set_congestion_control(stream, name),
        None => Ok(()),
    };
    let mut progress = Progress::on_stderr();
    let measured = built
        .iter()
        .map(|(plan, topologies)| measure::run(plan, topologies, &tune, &mut |event| progress.show(&event)));
    let parts = measured.collect();
    progress.finish();

    let report = Report {
        date: today(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        machine: Machine {
            kernel: proc("/proc/sys/kernel/osrelease"),
            cpus: cpu::available_cpus()?.len(),
            congestion_control: congestion_control
                .clone()
                .unwrap_or_else(|| proc("/proc/sys/net/ipv4/tcp_congestion_control")),
            mtu: args.mtu.into(),
            pinning: "none".to_owned(),
        },
        rounds: args.rounds,
        window: Window::measuring(seconds),
        parts,
    };
    if let Some(file) = &args.svg {
        std::fs::write(file, chart::svg(&report))
            .map_err(|error| CommandError::Failed(format!("cannot write {}: {error}", file.display())))?;
    }
    let text = if args.json {
        report.json().map_err(|error| CommandError::Failed(error.to_string()))?
    } else if args.markdown {
        report.markdown()
    } else {
        report.table()
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// Copies between two taps in two namespaces; says so once it does, and which offloads they have.
pub(super) fn relay(args: &RelayArgs) -> Result<ExitCode, CommandError> {
    let create = |path| NetNs::open_path(path)?.within(|| tap::create(namespaces::INTERFACE, 1));
    let (left, right) = (create(&args.left)??, create(&args.right)??);
    if let (Some(left), Some(right)) = (left.first(), right.first()) {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", left.offloads().names().collect::<Vec<_>>().join(","))?;
        stdout.flush()?;
        vswitch_ports::relay::relay(left, right)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The parts that were asked for and that have a backend that was.
fn parts(args: &BenchArgs) -> Vec<Part> {
    let parts: &[Part] = match args.part {
        PartName::Bridge => &[Part::Bridge],
        PartName::Router => &[Part::Router],
        PartName::All => &[Part::Bridge, Part::Router],
    };
    parts.iter().copied().filter(|part| !wanted(*part, args).is_empty()).collect()
}

/// The backends to measure in `part`.
fn wanted(part: Part, args: &BenchArgs) -> Vec<BackendName> {
    let all: &[BackendName] = match part {
        Part::Bridge => &[
            BackendName::Veth,
            BackendName::LinuxBridge,
            BackendName::TwoTapLoop,
            BackendName::Vswitch,
            BackendName::OpenVswitch,
        ],
        Part::Router => &[BackendName::LinuxRouter, BackendName::VswitchRouter],
    };
    if args.backends.is_empty() {
        return all.to_vec();
    }
    args.backends.iter().copied().filter(|backend| part_of(*backend) == part).collect()
}

fn part_of(backend: BackendName) -> Part {
    match backend {
        BackendName::LinuxRouter | BackendName::VswitchRouter => Part::Router,
        BackendName::Veth
        | BackendName::LinuxBridge
        | BackendName::TwoTapLoop
        | BackendName::Vswitch
        | BackendName::VswitchPlain
        | BackendName::OpenVswitch => Part::Bridge,
    }
}

/// Builds what was asked for, which must work; or everything, leaving out what this machine does not have.
fn build_all(part: Part, args: &BenchArgs, root: bool) -> Result<Vec<Box<dyn Topology>>, CommandError> {
    let asked = !args.backends.is_empty();
    let mut topologies = Vec::new();
    for backend in wanted(part, args) {
        let needs_root =
            matches!(backend, BackendName::LinuxBridge | BackendName::OpenVswitch | BackendName::LinuxRouter);
        let built = if needs_root && !root {
            Err(Unavailable::Absent("only measured as root".to_owned()))
        } else {
            topology::build(backend, args.mtu)
        };
        let name = backend.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        match built {
            Ok(topology) => topologies.push(topology),
            Err(Unavailable::Absent(why)) if !asked => eprintln!("vswitch: without {name}: {why}"),
            Err(error) => return Err(CommandError::Failed(format!("cannot measure {name}: {error}"))),
        }
    }
    Ok(topologies)
}

fn proc(path: &str) -> String {
    std::fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The date in UTC, as ISO 8601 has it.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The civil date of a day since 1970-01-01, by counting years and months.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_777), (2026, 11, 20));
    }
}
