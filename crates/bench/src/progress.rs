//! Progress of what takes long.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::ProgressBar;

/// What is being done, on stderr: a line that moves on a terminal, else a line each.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress(io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            // Seldom enough not to be seen in the figures.
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

    /// What changes all the time, where there is a line that moves.
    pub(crate) fn turn(&self, what: impl FnOnce() -> String) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(what());
        }
    }

    /// The same where there is none, now and then.
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
