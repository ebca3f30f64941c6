//! What is measured: a server in a process of its own, and what the system says that it used.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::report::{Blame, Failure};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Halfping,
    Floor,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Halfping => "halfping",
            Kind::Floor => "floor",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Kind::Halfping => {
                &["serve", "--memory", "--listen", "127.0.0.1:0", "--log", "warn", "--until-stdin-ends"]
            }
            Kind::Floor => &["bench", "floor-server"],
        }
    }
}

/// A running server. If it was started here, it ends with its owner.
pub(super) struct Subject {
    child: Option<Child>,
    pub(super) address: SocketAddr,
}

impl Subject {
    /// A server that runs already.
    pub(super) fn at(address: SocketAddr) -> Subject {
        Subject { child: None, address }
    }

    pub(super) fn start(kind: Kind) -> Result<Subject, Failure> {
        let broken = |why: String| Failure::new(Blame::Peer, format!("cannot start a server: {why}"));
        let program = std::env::current_exe().map_err(|error| broken(error.to_string()))?;
        let mut command = Command::new(program);
        // What is set for servers of the user's own is not for this one.
        for name in ["HALFPING_LISTEN", "HALFPING_DATA", "HALFPING_CONFIG", "HALFPING_LOG_FORMAT"] {
            command.env_remove(name);
        }
        command.args(kind.arguments()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| broken(error.to_string()))?;
        let says = child.stderr.take();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in says.into_iter().flat_map(|says| BufReader::new(says).lines()).map_while(Result::ok) {
                match address(&line) {
                    Some(address) => drop(tell.send(address)),
                    // Whatever it warns of may be the reason for a strange figure.
                    None if !line.starts_with("try:") => eprintln!("{}: {line}", kind.name()),
                    None => {}
                }
            }
        });
        match told.recv_timeout(START) {
            Ok(address) => Ok(Subject { child: Some(child), address }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(broken(format!("{} does not say where it listens", kind.name())))
            }
        }
    }

    pub(super) fn cpu(&self) -> Option<Cpu> {
        Cpu::of(self.child.as_ref()?.id())
    }

    /// Memory that the process holds now.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address in the line that a server begins with.
fn address(line: &str) -> Option<SocketAddr> {
    line.split_once("listening on http://")?.1.trim().parse().ok()
}

/// Processor time that a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cpu {
    pub(super) user_s: f64,
    pub(super) system_s: f64,
}

impl Cpu {
    /// That of a process; `None` where the system does not tell.
    pub(super) fn of(pid: u32) -> Option<Cpu> {
        Cpu::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_first_line() {
        let found = address("halfping 0.1.0 listening on http://127.0.0.1:4711").map(|a| a.port());
        assert_eq!(found, Some(4711));
        assert_eq!(address("try: curl -N 'http://127.0.0.1:4711/?watch'"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_is_read_past_any_name() {
        let cpu = Cpu::parse("7 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0").unwrap();
        assert_eq!(cpu.total_s() * rustix::param::clock_ticks_per_second() as f64, 300.0);
        assert!(Cpu::of(std::process::id()).is_some());
    }
}
