//! `[auth]` and `[[rule]]`, with the files that they name.

use std::path::Path;

use halfping::{Auth, AuthConfig, AuthError, Rules, Severity};
use toml::de::DeTable;

use super::at_line;
use super::hints::value_at;
use crate::report::{Blame, Failure};

/// The settings of who is told apart, and who may do what. Files are named relative to `directory`, where the
/// configuration is.
pub(super) fn made(
    auth: Option<&AuthConfig>,
    text: &str,
    directory: &Path,
) -> Result<Auth, Failure> {
    let rules = Rules::parse_among(text).map_err(|refused| {
        let is_error = |severity| severity == Severity::Error;
        let errors = refused.findings.iter().filter(|finding| is_error(finding.severity));
        let errors: Vec<String> = errors.map(ToString::to_string).collect();
        Failure::new(Blame::Input, errors.join("\n"))
    })?;
    if auth.is_none() && rules.is_empty() {
        return Ok(Auth::default());
    }
    for warning in rules.warnings() {
        tracing::warn!("{warning}");
    }
    let nobody = AuthConfig::default();
    let read = |name: &str| std::fs::read(directory.join(name));
    Auth::new(auth.unwrap_or(&nobody), rules, read).map_err(|error| failure(&error, text))
}

/// The files of keys that a text names, relative to where it is. What cannot be read is left out.
pub(crate) fn key_files(text: &str) -> impl Iterator<Item = String> {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let issuers = table.get("auth").and_then(|auth| auth.get("issuer")?.as_array().cloned());
    issuers.unwrap_or_default().into_iter().filter_map(|issuer| {
        let file = issuer.get("file").or_else(|| issuer.get("secret_file"))?;
        file.as_str().map(str::to_owned)
    })
}

/// The failure of a setting, with its line.
fn failure(error: &AuthError, text: &str) -> Failure {
    let failure = Failure::new(Blame::Input, error.to_string());
    let Ok(table) = DeTable::parse(text) else { return failure };
    let path = path_of(&error.setting);
    // What is missing has no line; the section has.
    let section = path.rsplit_once('.').map(|(section, _)| section);
    let paths = [Some(path.as_str()), section];
    match paths.into_iter().flatten().find_map(|path| value_at(table.get_ref(), path)) {
        Some(offset) => at_line(failure, text, offset),
        None => failure,
    }
}

/// The path of a setting in the file: `auth.issuer[1].algorithms` of `[[auth.issuer]] 2:
/// algorithms`.
fn path_of(setting: &str) -> String {
    let place = |number: &str| number.parse::<usize>().map_or(0, |number| number.saturating_sub(1));
    match setting.strip_prefix("[[").and_then(|rest| rest.split_once("]] ")) {
        Some((section, rest)) => match rest.split_once(": ") {
            Some((number, name)) => format!("{section}[{}].{name}", place(number)),
            None => format!("{section}[{}]", place(rest)),
        },
        None => setting.trim_start_matches('[').replacen("] ", ".", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of a text, or what there is of it.
    fn said(text: &str) -> String {
        let auth = toml::from_str::<crate::config::Config>(text).unwrap().auth;
        match made(auth.as_ref(), text, Path::new("/nowhere")) {
            Ok(auth) => format!("on: {}, rules: {}", auth.is_on(), auth.has_rules()),
            Err(failure) => failure.message().to_owned(),
        }
    }

    #[test]
    fn errors_of_identity_and_rules_name_the_line_and_the_setting() {
        let issuer = "issuer = \"https://id\"\naudience = [\"a\"]\n";
        let rule = "[[rule]]\nallow = [\"read\"]\npath = \"/a/{b}\"\n";
        for (text, expect) in [
            ("", "on: false"),
            ("[auth]", "on: true, rules: false"),
            (rule, "on: true, rules: true"),
            ("[auth]\nprofile = \"/people/me\"", "line 2 (`profile = "),
            ("[auth]\nrevoked = \"a\"", "[auth] revoked: a path begins with '/'"),
            ("[auth]\ncookie = \"a b\"", "line 2"),
            ("[[auth.key]]\nsha256 = \"12\"", "line 2 (`sha256 = \"12\"`): [[auth.key]] 1: sha256"),
            (
                &format!("[[auth.issuer]]\n{issuer}file = \"x\"\nalgorithms = []"),
                "line 5 (`algorithms = []`): [[auth.issuer]] 1: algorithms: say which",
            ),
            (
                &format!("[[auth.issuer]]\n{issuer}file = \"keys.json\"\nalgorithms = [\"ES256\"]"),
                "keys.json cannot be read",
            ),
            (
                &format!(
                    "[[auth.issuer]]\n{issuer}jwks = \"http://id/\"\nalgorithms = [\"ES256\"]"
                ),
                "line 4 (`jwks = \"http://id/\"`): [[auth.issuer]] 1: jwks: \"http://id/\" has to begin with https://",
            ),
            (
                &format!(
                    "[[auth.issuer]]\n{issuer}jwks = \"https://id/\"\nalgorithms = [\"ES256\"]"
                ),
                "on: true, rules: false",
            ),
            (&format!("{rule}wen = \"true\""), "unknown setting `wen`"),
            (&format!("{rule}when = \"b ==\""), "line 4: rule 1"),
            (
                &format!("{rule}\n{rule}when = \"b in me.teams\""),
                "line 5 (`[[rule]]`): [[rule]] 2: `me` is the profile of whoever asks",
            ),
        ] {
            let said = said(text);
            assert!(said.contains(expect), "{text}: {said}");
        }
    }
}
