//! A server of our own: this program again, in a process whose memory and time nothing else uses.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::report::{Blame, Failure, tell};

/// A running server, in memory. It ends when this value is dropped, and when this process ends.
pub(super) struct OwnServer {
    child: Child,
    pub(super) url: String,
}

impl OwnServer {
    /// Starts a server for so many connections, on a free port.
    pub(super) fn start(connections: u64) -> Result<OwnServer, Failure> {
        let broken = |why| Failure::new(Blame::Peer, format!("cannot start a server: {why}"));
        let program = std::env::current_exe().map_err(|error| broken(error.to_string()))?;
        let mut command = Command::new(program);
        // The user's settings for other servers do not apply to this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALFPING_") {
                command.env_remove(name);
            }
        }
        // Ctrl-C in the terminal must not reach it: its metrics are read afterwards.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
            .args(["serve", "--memory", "--listen", "127.0.0.1:0", "--until-stdin-ends"])
            .args(["--log", "warn", "--limit", &format!("connections={connections}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| broken(error.to_string()))?;
        let says = child.stderr.take();
        // An early return ends the process too.
        let mut server = OwnServer { child, url: String::new() };
        let lines = says.into_iter().flat_map(|says| BufReader::new(says).lines());
        let mut lines = lines.map_while(Result::ok);
        let mut said = Vec::new();
        for line in lines.by_ref() {
            if let Some((_, url)) = line.split_once("listening on ") {
                server.url = url.trim().to_owned();
                break;
            }
            said.push(line);
        }
        if server.url.is_empty() {
            return Err(broken(said.join("; ")));
        }
        // A warning of the server may be the reason for a strange figure, so it is shown.
        thread::spawn(move || {
            lines
                .filter(|line| !line.starts_with("try:"))
                .for_each(|line| tell(format_args!("server: {line}")));
        });
        Ok(server)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
