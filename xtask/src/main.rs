//! Checks that CI runs, and a contributor before a push: `cargo xtask test`.
//!
//! Plain Rust without dependencies, so that it builds in a second. Each step is one command that
//! can also be typed by hand. This program orders them, sets up what they need, times them and
//! prints a summary.

mod fuzz;
mod run;
mod setup;
mod steps;
mod world;

use std::process::ExitCode;

use crate::steps::STEPS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help" | "--help" | "-h", ..] | ["test", "help" | "--help" | "-h"] => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        ["test", words @ ..] => {
            let (options, names): (Vec<&str>, Vec<&str>) =
                words.iter().partition(|word| **word == "--fail-fast");
            match steps::named(&names) {
                Ok(steps) => run::run(&steps, !options.is_empty()),
                Err(unknown) => misuse(&format!("there is no step `{unknown}`")),
            }
        }
        ["sim", arguments @ ..] => run::sim(arguments),
        ["fuzz", words @ ..] => fuzz::run(words).unwrap_or_else(|wrong| misuse(&wrong)),
        [unknown, ..] => misuse(&format!("there is no command `{unknown}`")),
    }
}

fn misuse(what: &str) -> ExitCode {
    eprintln!("xtask: {what}\n\n{}", help());
    ExitCode::from(2)
}

fn help() -> String {
    let mut help = String::from(
        "cargo xtask test            everything that CI runs, in this order; sums up at the end\n\
         cargo xtask test STEP...    some of it\n\
         cargo xtask test --fail-fast [STEP]...\n\
         \x20                           the same, and stops at the first failure\n\
         cargo xtask sim ...         the simulator: --seeds N [--from N], --seed N, --mutants [NAME]\n\
         cargo xtask fuzz [TARGET]... [--seconds N]\n\
         \x20                           fuzzing: all targets, or these, each for a minute or N seconds\n\n\
         Steps:\n",
    );
    for step in STEPS {
        help.push_str(&format!("  {:13} {}\n", step.name, step.about));
    }
    help.push_str(
        "\nWhat the steps need is set up in .tools/ and in node_modules/ of their folders (and, as root, by apt).\n\
         With CI=true, a step that cannot run for want of a program is a failure, and Cargo.lock must be up to date.\n",
    );
    help
}
