//! Runs steps one after the other and prints a summary.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::setup::Missing;
use crate::steps::{BUILD, Step};
use crate::world::{World, typed};

/// Runs the simulator, in a build optimised for speed.
pub(crate) fn sim(arguments: &[&str]) -> ExitCode {
    let mut command =
        World::new().cargo(&["run", "--quiet", "--package", "halfping-sim", "--profile", "sim"]);
    if arguments.first() == Some(&"--mutants") {
        command.args(["--features", "mutants"]);
    }
    match command.arg("--").args(arguments).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lines of a failed step that the summary repeats.
const LAST_LINES: usize = 30;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Outcome of a step, and its time.
type Done<'a> = (&'a Step, Outcome, Duration);

/// Runs the steps and prints the summary. After a failure, only those steps are left out that need
/// what the failed one builds; with `fail_fast`, all.
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

/// The failure because of which a step is not run: of `build`, if the step needs the binary, or of
/// any step with `fail_fast`.
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
    let (ended, last_lines) = match tell_and_keep(&mut command) {
        Ok((status, _)) if status.success() => return Outcome::Passed,
        Ok((status, last_lines)) => (status.to_string(), last_lines),
        Err(error) => (error.to_string(), Vec::new()),
    };
    let mut reason =
        format!("{ended}\n   to repeat: cargo xtask test {}\n   or: {typed}", step.name);
    for line in last_lines {
        reason.push_str("\n   | ");
        reason.push_str(&line);
    }
    Outcome::Failed(reason)
}

/// Runs a command, prints its output, and returns the end of it. The summary then says what failed,
/// although the log has thousands of lines.
fn tell_and_keep(command: &mut Command) -> io::Result<(ExitStatus, Vec<String>)> {
    let (printed, printing) = io::pipe()?;
    let mut child = command.stdout(printing.try_clone()?).stderr(printing).spawn()?;
    // The command owns the pipe's other end too; while it does, the pipe never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut kept = VecDeque::new();
    for line in BufReader::new(printed).split(b'\n') {
        let line = line?;
        io::stdout().write_all(&line)?;
        println!();
        if kept.len() == LAST_LINES {
            kept.pop_front();
        }
        kept.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    Ok((child.wait()?, kept.into()))
}

/// The summary: a line for each step with its outcome and time, then the number of each outcome.
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
    const FAILS: Step =
        Step { name: "fails", command: |world| world.command("false", &[]), ..PASSES };
    const NEEDS: Step = Step { name: "needs", needs_binary: true, ..PASSES };
    const BUILDS: Step = Step { name: "builds", ..PASSES };
    const DOES_NOT_BUILD: Step = Step { name: "builds", ..FAILS };

    /// Names and outcomes.
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
    fn the_summary_repeats_the_end_of_what_a_failed_step_printed() {
        let speaks = Step {
            command: |world| {
                world.command("sh", &["-c", "seq 1 100; echo why it failed >&2; false"])
            },
            ..FAILS
        };
        let done = perform(&World::new(), &[&speaks], &BUILDS);
        let summary = summary(&done);
        assert!(summary.contains("\n   | 100\n   | why it failed\n"), "{summary}");
        assert!(!summary.contains("| 71\n"), "{summary}");
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
