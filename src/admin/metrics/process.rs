//! The process as the system sees it, under the names that all programs use for this, and which program it is.

use std::fmt;
use std::fs;

use super::{Facts, Page};

/// Ticks a second in `/proc/self/stat`: the same on every Linux this runs on (proc(5), `USER_HZ`).
const TICKS: f64 = 100.0;

/// The process. What cannot be read is not told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time, in seconds.
    pub cpu: Option<f64>,
    /// Memory in use, in bytes.
    pub resident: Option<u64>,
    /// Address space, in bytes.
    pub virtual_memory: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// How many there may be.
    pub max_fds: Option<u64>,
}

impl Process {
    /// Of this one. Blocks for a moment.
    pub fn read() -> Self {
        let text = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let Self { cpu, resident, virtual_memory, threads, max_fds, .. } =
            Self::parse(&text("stat"), &text("status"), &text("limits"));
        let open_fds = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        Self { cpu, resident, virtual_memory, threads, open_fds, max_fds }
    }

    /// From what the files say.
    fn parse(stat: &str, status: &str, limits: &str) -> Self {
        // The program's name may hold anything, also brackets: what counts is behind the last one.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            // utime and stime are fields 14 and 15 of all, 12 and 13 behind the name.
            cpu: ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) as f64 / TICKS),
            resident: number("VmRSS").map(|kib| kib << 10),
            virtual_memory: number("VmSize").map(|kib| kib << 10),
            threads: number("Threads"),
            open_fds: None,
            max_fds: files.and_then(|line| line.split_whitespace().next()?.parse().ok()),
        }
    }
}

/// All of it.
pub(super) fn write(page: &mut Page<'_>, Facts { process, status, .. }: &Facts) -> fmt::Result {
    if let Some(cpu) = process.cpu {
        page.seconds("process_cpu_seconds", "Processor time used, user and system", cpu)?;
    }
    let gauges = [
        ("process_resident_memory_bytes", "Memory in use", process.resident),
        ("process_virtual_memory_bytes", "Address space", process.virtual_memory),
        ("process_threads", "Threads", process.threads),
        ("process_open_fds", "Open file descriptors", process.open_fds),
        ("process_max_fds", "How many file descriptors may be open", process.max_fds),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            page.gauge(name, help, value as f64)?;
        }
    }
    page.gauge("process_start_time_seconds", "When the server started, in seconds since 1970", status.started as f64)?;
    let build = [([("version", status.version.as_str())], 1.0)];
    page.gauges("qalqan_build_info", "Which program this is", build)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood_and_nonsense_is_nothing() {
        let stat =
            "7 (a) b) (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 200 18446744073709551615";
        let status = "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t   1024 kB\nThreads:\t9\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        let read = Process::parse(stat, status, limits);
        assert_eq!((read.cpu, read.resident, read.virtual_memory), (Some(3.0), Some(1 << 20), Some(2 << 20)));
        assert_eq!((read.threads, read.max_fds), (Some(9), Some(1024)));
        for nonsense in ["", ")", "7 (x", "VmRSS: x", "Max open files unlimited", "Max open files"] {
            assert_eq!(Process::parse(nonsense, nonsense, nonsense), Process::default(), "{nonsense}");
        }
        let own = Process::read();
        assert!(own.cpu.is_some() && own.resident > Some(1 << 16) && own.open_fds > Some(2), "{own:?}");
    }
}
