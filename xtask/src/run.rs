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
    /// Whether the first failure is the last thing that is looked at.
    pub(crate) fail_fast: bool,
    cargo: OsString,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the checkout");
        World {
            root: root.to_owned(),
            ci: std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1"),
            fail_fast: false,
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

#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// What became of a step, and how long it took.
type Done<'a> = (&'a Step, Outcome, Duration);

/// Runs the steps and prints the summary. A step that fails keeps none from running but those that
/// need what it builds, unless `fail_fast`.
pub(crate) fn run(steps: &[&Step], fail_fast: bool) -> ExitCode {
    let done = perform(&World { fail_fast, ..World::new() }, steps, &BUILD);
    print!("\n{}", summary(&done));
    if done.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_))) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs the steps, and `build` before the first that needs the binary.
fn perform<'a>(world: &World, steps: &[&'a Step], build: &'a Step) -> Vec<Done<'a>> {
    let mut done: Vec<Done<'_>> = Vec::new();
    let perform_one = |done: &mut Vec<Done<'a>>, step: &'a Step| {
        let started = Instant::now();
        let outcome = match reason_not_to(world, step, build, done) {
            Some(reason) => Outcome::Skipped(reason),
            None => run_step(world, step),
        };
        done.push((step, outcome, started.elapsed()));
    };
    for &step in steps {
        if step.needs_binary && done.iter().all(|(done, ..)| done.name != build.name) {
            perform_one(&mut done, build);
        }
        perform_one(&mut done, step);
    }
    done
}

/// The failure before it that a step cannot do without, or is not to be run after.
fn reason_not_to(world: &World, step: &Step, build: &Step, done: &[Done<'_>]) -> Option<String> {
    let is_reason = |(before, outcome, _): &&Done<'_>| {
        let counts = world.fail_fast || (step.needs_binary && before.name == build.name);
        counts && matches!(outcome, Outcome::Failed(_))
    };
    let (before, ..) = done.iter().find(is_reason)?;
    Some(format!("not run, as {} failed", before.name))
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

/// The verdict on each step and its time, a line each; then how many there are of each verdict.
fn summary(done: &[Done<'_>]) -> String {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut lines = String::new();
    for (step, outcome, took) in done {
        let (count, word, reason) = match outcome {
            Outcome::Passed => (&mut passed, "passed", ""),
            Outcome::Failed(reason) => (&mut failed, "FAILED", reason.as_str()),
            Outcome::Skipped(reason) => (&mut skipped, "SKIPPED", reason.as_str()),
        };
        *count += 1;
        let line = format!("{:13} {word:8} {:6.1} s  {reason}", step.name, took.as_secs_f64());
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines + &format!("{passed} passed, {failed} failed, {skipped} skipped\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    const PASSES: Step = Step {
        name: "passes",
        about: "",
        prepare: |_| Ok(()),
        command: |world| world.command("true", &[]),
        needs_binary: false,
    };
    const FAILS: Step = Step { name: "fails", command: |world| world.command("false", &[]), ..PASSES };
    const NEEDS: Step = Step { name: "needs", needs_binary: true, ..PASSES };
    const BUILDS: Step = Step { name: "builds", ..PASSES };
    const DOES_NOT_BUILD: Step = Step { name: "builds", ..FAILS };

    /// Names and verdicts.
    fn verdicts(steps: &[&Step], build: &Step, fail_fast: bool) -> Vec<String> {
        let done = perform(&World { fail_fast, ..World::new() }, steps, build);
        let show = |(step, outcome, _): &Done<'_>| match outcome {
            Outcome::Passed => format!("{} passed", step.name),
            Outcome::Failed(_) => format!("{} failed", step.name),
            Outcome::Skipped(reason) => format!("{} {reason}", step.name),
        };
        done.iter().map(show).collect()
    }

    #[test]
    fn a_step_that_fails_hides_none_after_it() {
        assert_eq!(
            verdicts(&[&FAILS, &PASSES, &NEEDS], &BUILDS, false),
            ["fails failed", "passes passed", "builds passed", "needs passed"]
        );
    }

    #[test]
    fn nothing_is_run_after_the_first_failure_if_that_is_asked_for() {
        assert_eq!(
            verdicts(&[&PASSES, &FAILS, &PASSES, &BUILDS, &NEEDS], &BUILDS, true),
            [
                "passes passed",
                "fails failed",
                "passes not run, as fails failed",
                "builds not run, as fails failed",
                "needs not run, as fails failed"
            ]
        );
    }

    #[test]
    fn what_needs_a_build_that_fails_is_not_run_and_it_is_not_built_again() {
        assert_eq!(
            verdicts(&[&NEEDS, &PASSES, &NEEDS], &DOES_NOT_BUILD, false),
            [
                "builds failed",
                "needs not run, as builds failed",
                "passes passed",
                "needs not run, as builds failed"
            ]
        );
    }

    #[test]
    fn the_summary_has_a_verdict_and_a_time_for_each() {
        let second = Duration::from_secs(1);
        let done = [
            (&PASSES, Outcome::Passed, second),
            (&FAILS, Outcome::Failed("exit status: 1".to_owned()), 90 * second),
            (&NEEDS, Outcome::Skipped("no Node".to_owned()), Duration::ZERO),
        ];
        let lines = "passes        passed      1.0 s\n\
                     fails         FAILED     90.0 s  exit status: 1\n\
                     needs         SKIPPED     0.0 s  no Node\n\
                     1 passed, 1 failed, 1 skipped\n";
        assert_eq!(summary(&done), lines);
    }
}
