//! Runs steps one after the other and sums up.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::setup::Missing;
use crate::steps::{BUILD, Step};

/// What the steps know of where they run.
pub(crate) struct World {
    /// The root of the checkout.
    pub(crate) root: PathBuf,
    /// Whether a machine asks (`CI=true`): then nothing may be left out.
    pub(crate) ci: bool,
    cargo: OsString,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the checkout");
        World {
            root: root.to_owned(),
            ci: std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1"),
            cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        }
    }

    /// A command in the checkout. Nothing that runs here may wait for somebody to type.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        command
    }

    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        self.command(&self.cargo, arguments)
    }

    /// Cargo, which in CI may not touch `Cargo.lock`. `last` goes behind the option.
    pub(crate) fn cargo_locked(&self, arguments: &[&str], last: &[&str]) -> Command {
        let mut command = self.cargo(arguments);
        if self.ci {
            command.arg("--locked");
        }
        command.args(last);
        command
    }

    /// A script of Node's that starts the binary.
    pub(crate) fn node(&self, script: &str) -> Command {
        let mut command = self.beside_binary("node");
        command.arg(script);
        command
    }

    /// A program that starts the binary: the one beside this program, as both were built by the same Cargo.
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

/// Runs the simulator, built to be fast.
pub(crate) fn sim(arguments: &[&str]) -> ExitCode {
    let mut command =
        World::new().cargo(&["run", "--quiet", "--package", "halfping-sim", "--profile", "sim"]);
    if arguments.first() == Some(&"--mutants") {
        command.args(["--features", "mutants"]);
    }
    match command.arg("--").args(arguments).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs the steps, stops at the first failure, and prints the summary.
pub(crate) fn run(steps: &[&Step]) -> ExitCode {
    let world = World::new();
    let mut done: Vec<(&Step, Outcome, Duration)> = Vec::new();
    let mut built = false;
    let mut failed_at = None;
    for &step in steps {
        let started = Instant::now();
        let outcome = if let Some(name) = failed_at {
            Outcome::Skipped(format!("not reached, as {name} failed"))
        } else if step.needs_binary && !built {
            match run_step(&world, &BUILD) {
                Outcome::Passed => run_step(&world, step),
                otherwise => otherwise,
            }
        } else {
            run_step(&world, step)
        };
        built |= matches!(outcome, Outcome::Passed) && (step.name == BUILD.name || step.needs_binary);
        if let Outcome::Failed(_) = outcome {
            failed_at = Some(step.name);
        }
        done.push((step, outcome, started.elapsed()));
    }
    summary(&done)
}

fn run_step(world: &World, step: &Step) -> Outcome {
    let mut command = (step.command)(world);
    let typed = typed(&command);
    println!("\n── {}: {typed}", step.name);
    if let Err(Missing { what, remedy }) = (step.prepare)(world) {
        let reason = format!("{what}\n   {remedy}");
        if world.ci {
            return Outcome::Failed(format!("{reason}\n   (CI=true: nothing may be skipped)"));
        }
        println!("── {} SKIPPED: {reason}", step.name);
        return Outcome::Skipped(reason);
    }
    let ended = match command.status() {
        Ok(status) if status.success() => return Outcome::Passed,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Outcome::Failed(format!("{ended}\n   to repeat: cargo xtask test {}\n   or: {typed}", step.name))
}

fn summary(done: &[(&Step, Outcome, Duration)]) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    println!();
    for (step, outcome, took) in done {
        let (count, word, reason) = match outcome {
            Outcome::Passed => (&mut passed, "passed", ""),
            Outcome::Failed(reason) => (&mut failed, "FAILED", reason.as_str()),
            Outcome::Skipped(reason) => (&mut skipped, "SKIPPED", reason.as_str()),
        };
        *count += 1;
        let line = format!("{:13} {word:8} {:6.1} s  {reason}", step.name, took.as_secs_f64());
        println!("{}", line.trim_end());
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A command as one would type it in the checkout.
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
