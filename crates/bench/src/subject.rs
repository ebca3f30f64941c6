//! The subject of a measurement: a server in a process of its own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::link;
use crate::process::{
    Cpu, busy, forget_peak, open_files, own_bytes, peak_bytes, resident_bytes, threads,
};
use crate::program;

/// Time that a server may take to start.
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
}

/// Settings for the start of a server.
#[derive(Debug, Default)]
pub(super) struct Setup {
    /// The server that is measured, if it is not the one beside this program.
    pub(super) program: Option<PathBuf>,
    /// The limits that differ from the defaults.
    pub(super) limits: Vec<(&'static str, u64)>,
    /// True if its memory is measured: then the allocator holds what is needed, and keeps no freed
    /// memory.
    pub(super) counts_memory: bool,
    /// Directory of its state, if that is not in memory only.
    pub(super) data: Option<PathBuf>,
    /// True if Ctrl-C in the terminal must not end it, because the measurement goes on to its own
    /// end.
    pub(super) outlives_interrupts: bool,
    /// Capacity of the readers' link, if they have one, in kbit/s.
    pub(super) link_kbits: Option<u32>,
    /// A directory in which a new one is made for durable writes.
    pub(super) durable_in: Option<PathBuf>,
}

impl Setup {
    /// The arguments of its command line. `data`: the directory for durable writes.
    fn arguments(&self, kind: Kind, data: Option<&Path>) -> Vec<String> {
        let listen = if self.link_kbits.is_some() { "0.0.0.0:0" } else { "127.0.0.1:0" };
        let fixed: &[&str] = match kind {
            Kind::Halfping => &["serve", "--log", "warn", "--until-stdin-ends", "--listen", listen],
            Kind::Floor => &["floor-server", "--listen", listen],
        };
        let mut arguments: Vec<String> =
            fixed.iter().map(|argument| (*argument).to_owned()).collect();
        match (kind, data) {
            (_, Some(data)) => arguments.extend(["--data".to_owned(), data.display().to_string()]),
            (Kind::Halfping, None) => arguments.push("--memory".to_owned()),
            (Kind::Floor, None) => {}
        }
        for (name, value) in &self.limits {
            match kind {
                Kind::Halfping => {
                    arguments.extend(["--limit".to_owned(), format!("{name}={value}")]);
                }
                // The only limit that the floor has.
                Kind::Floor if *name == UNSENT_BYTES => {
                    arguments.extend(["--unsent-bytes".to_owned(), value.to_string()]);
                }
                Kind::Floor => {}
            }
        }
        arguments
    }
}

/// The limit on a connection's bytes that the system holds unsent.
pub(super) const UNSENT_BYTES: &str = "unsent_bytes";

/// A running server. If it was started here, it ends with its owner.
pub(super) struct Subject {
    pub(super) kind: Kind,
    child: Option<Child>,
    /// Its directory on disk, which is removed with it.
    data: Option<PathBuf>,
    /// Address for writing.
    pub(super) address: SocketAddr,
    /// Address for reading: another one if readers have a link of their own.
    pub(super) readers_address: SocketAddr,
    /// Log lines since it began to listen.
    log: Arc<Mutex<Vec<String>>>,
}

impl Subject {
    /// A server that runs already.
    pub(super) fn at(address: SocketAddr) -> Subject {
        Subject {
            kind: Kind::Halfping,
            child: None,
            data: None,
            address,
            readers_address: address,
            log: Arc::default(),
        }
    }

    pub(super) fn start(kind: Kind, setup: &Setup) -> Result<Subject> {
        let broken = |why: String| anyhow!("cannot start a server: {why}");
        let program = match kind {
            Kind::Halfping => program::server(setup.program.as_deref())?,
            Kind::Floor => program::own()?,
        };
        let mut words = vec![program.into_os_string()];
        let temporary = setup
            .durable_in
            .as_ref()
            .map(|directory| directory.join(format!("halfping-bench-{}", std::process::id())));
        if let Some(data) = &temporary {
            let _ = std::fs::remove_dir_all(data);
            std::fs::create_dir_all(data)
                .map_err(|error| anyhow!("cannot make {}: {error}", data.display()))?;
        }
        let data = temporary.as_ref().or(setup.data.as_ref());
        words.extend(
            setup.arguments(kind, data.map(PathBuf::as_path)).into_iter().map(OsString::from),
        );
        if setup.link_kbits.is_some() {
            words = link::in_a_namespace(words);
        }
        let mut command = Command::new(&words[0]);
        // The user's settings for other servers do not apply to this one.
        for name in [
            "HALFPING_LISTEN",
            "HALFPING_DATA",
            "HALFPING_CONFIG",
            "HALFPING_LOG_FORMAT",
            "HALFPING_LOG",
        ] {
            command.env_remove(name);
        }
        if setup.link_kbits.is_some() {
            // It listens on all addresses of its namespace, and is written to. Older servers do not
            // know the flag.
            command.env("HALFPING_OPEN", "1");
        }
        if setup.counts_memory {
            // A huge page is counted as a whole, however little of it is used; and freed memory is
            // kept for a while.
            command.envs([("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DELAY", "0")]);
        }
        #[cfg(unix)]
        if setup.outlives_interrupts {
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        command
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| broken(format!("{}: {error}", words[0].to_string_lossy())))?;
        let says = child.stderr.take();
        let (tell, told) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        thread::spawn(move || {
            for line in
                says.into_iter().flat_map(|says| BufReader::new(says).lines()).map_while(Result::ok)
            {
                match address(&line) {
                    Some(address) => drop(tell.send(address)),
                    // A warning of the server may be the reason for a strange figure.
                    None if !line.starts_with("try:") => {
                        eprintln!("{}: {line}", kind.name());
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                    None => {}
                }
            }
        });
        // An early return ends the process too.
        let mut subject = Subject::at(SocketAddr::from(([0, 0, 0, 0], 0)));
        let pid = child.id();
        (subject.child, subject.data, subject.log) = (Some(child), temporary, log);
        subject.kind = kind;
        let silent = |_| broken(format!("{} does not say where it listens", kind.name()));
        let address = told.recv_timeout(START).map_err(silent)?;
        (subject.address, subject.readers_address) = match setup.link_kbits {
            Some(kbits) => link::join(pid, address.port(), kbits)?,
            None => (address, address),
        };
        Ok(subject)
    }

    pub(super) fn cpu(&self) -> Option<Cpu> {
        Cpu::of(self.child.as_ref()?.id())
    }

    /// Processor time on a finer clock than the system's sums.
    pub(super) fn busy(&self) -> Option<Duration> {
        busy(self.child.as_ref()?.id())
    }

    /// Memory of the process alone.
    pub(super) fn own_bytes(&self) -> Option<u64> {
        own_bytes(self.child.as_ref()?.id())
    }
}

impl Subject {
    /// Resident memory of the process, shared memory included.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.child.as_ref()?.id())
    }

    /// The largest resident memory since the last reset.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        peak_bytes(self.child.as_ref()?.id())
    }

    pub(super) fn open_files(&self) -> Option<u64> {
        open_files(self.child.as_ref()?.id())
    }

    pub(super) fn threads(&self) -> Option<u64> {
        threads(self.child.as_ref()?.id())
    }

    /// True if its process runs. A server that was not started here is assumed to run.
    pub(super) fn lives(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(super) fn forget_peak(&self) {
        if let Some(child) = &self.child {
            forget_peak(child.id());
        }
    }

    /// The number of log lines that contain a word.
    pub(super) fn said(&self, word: &str) -> usize {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|line| line.contains(word)).count()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

/// The address in the first line of a server's output.
fn address(line: &str) -> Option<SocketAddr> {
    line.split_once("listening on http://")?.1.trim().parse().ok()
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

    #[test]
    fn the_floor_knows_one_limit() {
        let setup =
            Setup { limits: vec![(UNSENT_BYTES, 7), ("connections", 8)], ..Setup::default() };
        assert!(
            setup
                .arguments(Kind::Floor, None)
                .ends_with(&["--unsent-bytes".to_owned(), "7".to_owned()])
        );
        assert!(
            setup
                .arguments(Kind::Halfping, None)
                .ends_with(&["--limit".to_owned(), "connections=8".to_owned()])
        );
    }
}
