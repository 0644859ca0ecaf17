//! CPUs: which there are, which a thread runs on, and how much of them a process used.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Error, Result};

/// The CPUs the calling thread may run on.
pub fn available_cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).map_err(|errno| failed("read the CPUs of", errno.into()))?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Lets the calling thread run on these CPUs only. Fails if none of them exists.
pub fn pin_current_thread(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus.iter().copied().filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    sched_setaffinity(None, &set).map_err(|errno| failed("pin to its CPUs a thread of", errno.into()))
}

/// The CPU time, user and system, that all threads of `pid` have used; in the kernel's units of 10 ms.
pub fn cpu_time_of(pid: u32) -> Result<Duration> {
    let failed = |cause| Error::Process { operation: "read the CPU time of", pid, cause };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(failed)?;
    let ticks = parse_cpu_ticks(&stat).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
    let per_second = clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(ticks.saturating_mul(1000) / per_second))
}

/// proc(5): fields 14 and 15, `utime` and `stime`; counted from behind the command, which may contain spaces.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn failed(operation: &'static str, cause: io::Error) -> Error {
    Error::Process { operation, pid: std::process::id(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_the_14th_and_15th_field() {
        let stat = "12 (a b) c) R 1 12 12 0 -1 4194304 100 0 0 0 30 12 5 5 20 0 1 0 99";
        assert_eq!(parse_cpu_ticks(stat), Some(42));
        assert_eq!(parse_cpu_ticks("12 (a) R 1 12"), None);
    }

    #[test]
    fn a_busy_thread_shows_in_the_cpu_time() {
        let own = std::process::id();
        let before = cpu_time_of(own).unwrap();
        let mut sum = 0_u64;
        // Not a matter of speed: it runs for as long as the kernel counts nothing.
        while cpu_time_of(own).unwrap() == before {
            sum = sum.wrapping_add((0..100_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
        }
        assert!(cpu_time_of(own).unwrap() > before, "{sum}");
        assert!(cpu_time_of(u32::MAX).is_err());
    }

    #[test]
    fn a_pinned_thread_has_the_cpus_it_was_given() {
        let all = available_cpus().unwrap();
        let last = *all.last().unwrap();
        std::thread::spawn(move || {
            pin_current_thread(&[last, usize::MAX]).unwrap();
            assert_eq!(available_cpus().unwrap(), [last]);
            assert!(pin_current_thread(&[]).is_err());
        })
        .join()
        .unwrap();
        assert_eq!(available_cpus().unwrap(), all, "another thread's pinning is not ours");
    }
}
