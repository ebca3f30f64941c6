//! The programs that are measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The server to measure: the one that was asked for, or the `halfping` that was built beside this
/// program.
pub(crate) fn server(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    let this = own()?;
    let beside = this.with_file_name(format!("halfping{}", std::env::consts::EXE_SUFFIX));
    if !beside.is_file() {
        bail!(
            "there is no server to measure at {}: `{}` builds it, or --server PATH names another",
            beside.display(),
            build_command(&beside)
        );
    }
    Ok(beside)
}

/// This program, which is the floor's server too.
pub(crate) fn own() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program")
}

/// The command that builds a server there. Cargo names a profile's directory after it.
fn build_command(server: &Path) -> String {
    let directory = server.parent().and_then(Path::file_name).unwrap_or_default();
    let profile = match &*directory.to_string_lossy() {
        "debug" => String::new(),
        "release" => " --release".to_owned(),
        other => format!(" --profile {other}"),
    };
    format!("cargo build{profile} -p halfping-cli")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_built_with_the_profile_of_its_directory() {
        for (server, expect) in [
            ("target/debug/halfping", "cargo build -p halfping-cli"),
            ("target/release/halfping", "cargo build --release -p halfping-cli"),
            ("target/dist/halfping", "cargo build --profile dist -p halfping-cli"),
        ] {
            assert_eq!(build_command(Path::new(server)), expect);
        }
    }

    #[test]
    fn the_server_that_is_asked_for_is_measured() {
        let asked = Path::new("before/halfping");
        assert_eq!(server(Some(asked)).unwrap(), asked);
    }
}
