//! The real binary as a server.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

pub(crate) struct Halfping {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

/// The binary, without the settings of the environment.
pub(crate) fn halfping() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halfping"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HALFPING_")) {
        command.env_remove(name);
    }
    command
}

impl Halfping {
    /// Starts a server. `test` names its configuration file.
    pub(crate) fn serve(test: &str, config: &str) -> Halfping {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.toml"));
        std::fs::write(&file, config).unwrap();
        let mut command = halfping();
        let command =
            command.args(["serve", "--memory", "--listen", "127.0.0.1:0", "--config"]).arg(file);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listening on http://")?.1.trim().parse().ok())
            .expect("the server says where it listens");
        // Its further log must not fill a pipe that nobody empties.
        thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| println!("server: {line}"));
        });
        Halfping { child, address }
    }
}

impl Drop for Halfping {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
