//! Resources that this process uses, where the system tells: Linux, in `/proc`.

use std::fs;

/// Figures of this process; `None` for those that the system does not tell.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// Processor time so far, in its own code and in the kernel's.
    pub(crate) cpu_seconds: Option<f64>,
    /// Memory that is in use.
    pub(crate) resident_bytes: Option<u64>,
    /// Addresses that are in use.
    pub(crate) virtual_bytes: Option<u64>,
    /// Open files and sockets.
    pub(crate) open_fds: Option<u64>,
    /// Limit on open files and sockets.
    pub(crate) max_fds: Option<u64>,
    /// Start time, in seconds since 1970.
    pub(crate) start_time_seconds: Option<f64>,
}

impl Process {
    /// Looks all figures up. With very many open files, an old kernel takes some milliseconds for
    /// it.
    pub(crate) fn now() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program comes before, and may have anything in it.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // Numbered as in proc(5), where the first after the name is the third.
        let field =
            |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second();
        Process {
            cpu_seconds: field(14).zip(field(15)).map(|(own, kernel)| seconds(own + kernel)),
            resident_bytes: resident_bytes(),
            virtual_bytes: field(23),
            open_fds: open_fds(),
            max_fds: max_fds(),
            start_time_seconds: field(22)
                .zip(booted())
                .map(|(after, boot)| boot as f64 + seconds(after)),
        }
    }
}

/// Memory of this process that is in use.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Start time of the machine, in seconds since 1970.
fn booted() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_fds() -> Option<u64> {
    let directory = "/proc/self/fd";
    match fs::metadata(directory).ok()?.len() {
        // Kernels before 6.2 leave the counting to the caller.
        0 => Some(fs::read_dir(directory).ok()?.count() as u64),
        count => Some(count),
    }
}

fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The unit of times in `/proc`.
fn ticks_per_second() -> f64 {
    #[cfg(target_os = "linux")]
    return rustix::param::clock_ticks_per_second() as f64;
    #[cfg(not(target_os = "linux"))]
    100.0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_this_process() {
        let before = Process::now();
        let files: Vec<_> = (0..20).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        // Until it has taken some processor time, which is counted in ticks.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut now = Process::now();
        while now.cpu_seconds <= before.cpu_seconds {
            assert!(std::time::Instant::now() < until, "{before:?} {now:?}");
            now = Process::now();
        }
        assert!(
            now.open_fds.unwrap() >= 20 && now.open_fds < now.max_fds,
            "{now:?} {}",
            files.len()
        );
        assert!(
            now.resident_bytes.unwrap() > 1 << 20 && now.virtual_bytes > now.resident_bytes,
            "{now:?}"
        );
        let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let age = clock - now.start_time_seconds.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age} {now:?}");
    }
}
