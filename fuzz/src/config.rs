//! The configuration file of the command line: the CLI's own module, compared with the crate
//! `toml`.

use std::fmt::Display;
use std::sync::OnceLock;

use halfping::Api;

#[path = "../../crates/cli/src"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the command line uses the rest of it"
)]
mod cli {
    pub(super) mod config;
}

/// Replacement of the CLI's own module, which also deals with terminals and requests.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
}

/// The side that caused a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blame {
    Usage,
    Input,
}

impl Failure {
    pub(crate) fn new(_: Blame, message: impl Into<String>) -> Failure {
        Failure { message: message.into() }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { message: format!("{} ({})", self.message, hint.into()) }
    }

    pub(crate) fn at(self, place: impl Display) -> Failure {
        Failure { message: format!("{place}: {}", self.message) }
    }
}

pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    static FILE: OnceLock<std::path::PathBuf> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        std::env::temp_dir().join(format!("halfping-fuzz-{}.toml", std::process::id()))
    });
    std::fs::write(file, text).expect("the folder for temporary files can be written to");
    let read = cli::config::Config::read(Some(file), &[]);
    std::fs::remove_file(file).expect("it was just written");
    let table = text.parse::<toml::Table>();
    match (read, table) {
        (Ok(config), Ok(table)) => {
            assert_eq!(config.limits.check(), Ok(()));
            let known = [
                "listen",
                "data",
                "allowed_hosts",
                "read_only",
                "open",
                "regions",
                "limits",
                "cors",
                "console",
                "view",
                "auth",
                "rule",
            ];
            assert!(table.keys().all(|key| known.contains(&key.as_str())), "{table:?}");
            let debug = format!("{:?}", config.limits);
            let limits = table.get("limits").and_then(toml::Value::as_table);
            // Limits with units have a test of their own.
            for (name, value) in
                limits.into_iter().flatten().filter(|(_, value)| value.is_integer())
            {
                assert!(debug.contains(&format!(" {name}: {value}")), "{name} = {value}: {debug}");
            }
            let listen =
                config.listen.unwrap_or_else(|| "127.0.0.1:7070".parse().expect("an address"));
            // A configuration that is accepted works: a server starts with it.
            // What cannot be kept, such as a file that is not there, is refused.
            if let Ok(options) = config.options(cli::config::Asked::default(), listen) {
                drop(Api::new(options).router());
            }
        }
        (Err(failure), _) => {
            assert!(failure.message.starts_with(&file.display().to_string()), "{failure:?}");
        }
        // `toml` has signed numbers only, and a limit may be larger.
        (Ok(_), Err(error)) => {
            assert!(error.message().contains("too large"), "accepted, and is no TOML: {error}");
        }
    }
}
