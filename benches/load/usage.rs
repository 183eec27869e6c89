//! What processes cost, read from /proc: processor time and memory. Asks nobody and changes nothing.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// Processor time of one process, user and system; that of children who have ended, if it waited
/// for them, is told apart.
#[derive(Debug, Clone, Copy)]
struct Times {
    parent: i32,
    own: Duration,
    ended_children: Duration,
}

/// Processor time that a process has used.
pub(crate) fn cpu(process: u32) -> Result<Duration> {
    Ok(times(process)?.own)
}

/// Processor time of a process, of its children, and of those that have ended.
pub(crate) fn family_cpu(parent: u32) -> Result<Duration> {
    let head = times(parent)?;
    let entries = fs::read_dir("/proc").context("/proc is needed to measure")?;
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Whoever ends while we look is counted by its parent the next time.
    let children = ids.filter_map(|id: u32| times(id).ok());
    let children = children.filter(|child| u32::try_from(child.parent) == Ok(parent));
    Ok(head.own + head.ended_children + children.map(|child| child.own).sum::<Duration>())
}

/// The process that started this one.
pub(crate) fn parent(process: u32) -> Result<u32> {
    Ok(u32::try_from(times(process)?.parent)?)
}

/// Bytes of memory that are resident now, and the most that ever were.
pub(crate) fn memory(process: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1024).with_context(|| format!("no {name} in /proc/{process}/status"))
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

fn times(process: u32) -> Result<Times> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("process {process} does not run"))?;
    // The name before it is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(") ").context("/proc/PID/stat has a name")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| -> Result<i64> {
        Ok(fields.get(at).context("/proc/PID/stat is too short")?.parse()?)
    };
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock tick")?;
    let time = |from: usize| -> Result<Duration> {
        let ticks = number(from)? + number(from + 1)?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    };
    // Counted from the field after the name: state is 0, parent 1, utime 11, cutime 13.
    Ok(Times { parent: i32::try_from(number(1)?)?, own: time(11)?, ended_children: time(13)? })
}
