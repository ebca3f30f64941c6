//! The system's figures of a process.

use std::fs::{read_dir, read_to_string};
use std::time::Duration;

/// Processor time that a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cpu {
    pub(super) user_s: f64,
    pub(super) system_s: f64,
}

impl Cpu {
    /// The processor time of a process; `None` if the system does not report it.
    pub(super) fn of(pid: u32) -> Option<Cpu> {
        Cpu::parse(&read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    #[cfg(target_os = "linux")]
    fn parse(stat: &str) -> Option<Cpu> {
        // The second field is the program's name, and may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / per_second);
        Some(Cpu { user_s: seconds()?, system_s: seconds()? })
    }

    #[cfg(not(target_os = "linux"))]
    fn parse(_: &str) -> Option<Cpu> {
        None
    }

    pub(super) fn since(self, before: Cpu) -> Cpu {
        Cpu { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }

    pub(super) fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }
}

/// Processor time so far, to the nanosecond, of the threads that a process has now.
pub(super) fn busy(pid: u32) -> Option<Duration> {
    let mut busy = Duration::ZERO;
    for thread in read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        busy += Duration::from_nanos(text.split(' ').next()?.parse().ok()?);
    }
    Some(busy)
}

/// Memory of a process alone: neither shared memory nor the system's memory for its sockets.
pub(super) fn own_bytes(pid: u32) -> Option<u64> {
    let rollup = read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let anonymous = rollup.and_then(|text| kilobytes(&text, "Anonymous:"));
    // Older systems have no summary.
    anonymous.map(|kilobytes| kilobytes * 1024).or_else(|| resident_bytes(pid))
}

/// Resident memory of a process, shared memory included.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The largest resident memory since the last [`forget_peak`], however short.
pub(super) fn peak_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Resets the peak. If that is not possible, the peak is that of all time.
pub(super) fn forget_peak(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Files that a process has open, sockets included.
pub(super) fn open_files(pid: u32) -> Option<u64> {
    Some(read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

pub(super) fn threads(pid: u32) -> Option<u64> {
    Some(read_dir(format!("/proc/{pid}/task")).ok()?.count() as u64)
}

fn status_bytes(pid: u32, name: &str) -> Option<u64> {
    Some(kilobytes(&read_to_string(format!("/proc/{pid}/status")).ok()?, name)? * 1024)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_is_read_past_any_name() {
        let cpu = Cpu::parse("7 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0").unwrap();
        assert_eq!(cpu.total_s() * rustix::param::clock_ticks_per_second() as f64, 300.0);
        assert!(Cpu::of(std::process::id()).is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_makes_a_process_busy() {
        let start = std::time::Instant::now();
        loop {
            let (before, now) = (busy(std::process::id()).unwrap(), std::time::Instant::now());
            while now.elapsed() < Duration::from_millis(20) {}
            // Threads of other tests end meanwhile, and take their share with them.
            if busy(std::process::id()).unwrap() > before {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "work leaves no trace");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_grows_when_it_is_written() {
        let before = own_bytes(std::process::id()).unwrap();
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(own_bytes(std::process::id()).unwrap() >= before + (32 << 20));
        assert!(peak_bytes(std::process::id()) >= resident_bytes(std::process::id()));
        drop(held);
    }
}
