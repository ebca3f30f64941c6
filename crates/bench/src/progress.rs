//! Progress of long work.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::ProgressBar;

/// The current step, on stderr: a line that moves on a terminal, else one line for each step.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress(io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            // The interval is long enough not to affect the figures.
            spinner.enable_steady_tick(Duration::from_millis(500));
            spinner
        }))
    }

    pub(crate) fn say(&self, what: String) {
        match &self.0 {
            Some(spinner) => spinner.set_message(what),
            None => eprintln!("{what}"),
        }
    }

    /// Updates the moving line, if there is one.
    pub(crate) fn turn(&self, what: impl FnOnce() -> String) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(what());
        }
    }

    /// Prints a line now and then if there is no moving one.
    pub(crate) fn line(&self, what: impl FnOnce() -> String) {
        if self.0.is_none() {
            eprintln!("{}", what());
        }
    }

    pub(crate) fn end(&self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}
