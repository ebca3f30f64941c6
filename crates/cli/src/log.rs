//! Log lines, on stderr.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

/// Options of the server's log.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Format of log lines
    #[arg(long, value_name = "FORMAT", env = "HALFPING_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Log what is at least this important
    #[arg(long = "log", value_name = "LEVEL", env = "HALFPING_LOG", default_value = "info")]
    pub(crate) log_level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// True if a program reads stderr.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// True if everything on stderr must be a log line, because each line is a JSON object.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Sends log lines to stderr from here on.
pub(crate) fn start(log: &Log) {
    IS_JSON.store(log.log_format == LogFormat::Json, Ordering::Relaxed);
    let level = match log.log_level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // A line that cannot be written is lost. Reporting that on stderr as well would end the
    // process.
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    match log.log_format {
        LogFormat::Text => lines.with_target(false).with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => {
            lines.json().flatten_event(true).init();
            std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
        }
    }
}
