//! The checkout in which the steps run, and commands in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checkout, and the mode of the run.
pub(crate) struct World {
    /// The root of the checkout.
    pub(crate) root: PathBuf,
    /// True if CI runs the steps (`CI=true`): then nothing may be left out.
    pub(crate) ci: bool,
    /// True to stop at the first failure.
    pub(crate) fail_fast: bool,
    pub(crate) cargo: OsString,
}

impl World {
    pub(crate) fn new() -> Self {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the checkout");
        World {
            root: root.to_owned(),
            ci: std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1"),
            fail_fast: false,
            cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        }
    }

    /// A command in the checkout, without input: no command may wait for somebody to type.
    pub(crate) fn command(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: &[&str],
    ) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        self.command(&self.cargo, arguments)
    }

    /// A command of Cargo, which in CI may not change `Cargo.lock`. `last` goes behind the option.
    pub(crate) fn cargo_locked(&self, arguments: &[&str], last: &[&str]) -> Command {
        let mut command = self.cargo(arguments);
        if self.ci {
            command.arg("--locked");
        }
        command.args(last);
        command
    }

    /// A Node script that starts the binary.
    pub(crate) fn node(&self, script: &str) -> Command {
        let mut command = self.beside_binary("node");
        command.arg(script);
        command
    }

    /// A program that starts the binary. It is taken from the folder of this program, as the same
    /// Cargo built both.
    pub(crate) fn beside_binary(&self, program: &str) -> Command {
        let mut command = self.command(program, &[]);
        if std::env::var_os("HALFPING_BIN").is_none()
            && let Ok(xtask) = std::env::current_exe()
        {
            command.env("HALFPING_BIN", xtask.with_file_name("halfping"));
        }
        command
    }
}

/// The text of a command, as typed in the checkout.
pub(crate) fn typed(command: &Command) -> String {
    let mut words: Vec<String> = Vec::new();
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default().to_string_lossy();
        words.push(format!("{}='{value}'", name.to_string_lossy()));
    }
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    words.push(program.to_string_lossy().into_owned());
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}
