//! Arguments of `halfping rules`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use halfping_rules::Verb;

/// Check and try rules about who may see and write what
///
/// `halfping serve` obeys the rules of its configuration. Conditions on profiles (`me`) need the
/// setting [auth] profile, which says where these are.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping rules check rules.toml
  halfping rules try rules.toml --as claims.json --path /orders/77

A file may hold rules such as these, and the settings of `halfping serve`:
  [[rule]]
  allow = [\"read\"]                     # read, create, update, delete; \"write\" is the last three
  path = \"/orders/{order}\"              # and all beneath, unless beneath = false
  when = \"resource.owner == claims.sub || 'support' in claims.roles\"
  [[rule]]
  deny = [\"read\"]                       # a deny wins over every allow
  path = \"/orders/{order}/margin\"
  unless = \"'finance' in claims.roles\"

Nothing is allowed unless a rule allows it. A condition may speak of `claims` (of whoever asks), `me`
(their document), the variables of the path, members of `resource` (what is at the end of the path),
and, in rules about writes, of `new` (what would be there).")]
pub(crate) struct Rules {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    Check(CheckRules),
    Try(TryRules),
}

/// Say of each rule that is wrong, or can be better, where it is and what to write
///
/// Exits with 1 if a rule is wrong.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping rules check rules.toml")]
pub(crate) struct CheckRules {
    /// The file: rules, or a configuration that has some (TOML)
    pub(crate) file: PathBuf,
}

/// Say which rule decides about something that somebody wants to do, and why
///
/// Exits with 0 if it is allowed, with 1 if it is denied.
#[derive(Debug, Group)]
#[command(after_help = "\
Examples:
  halfping rules try rules.toml --as claims.json --path /orders/77 --resource '{\"owner\":\"u1\"}'
  halfping rules try rules.toml --as claims.json --path /orders/77/margin --at /orders/77 \\
      --resource '{\"owner\":\"u1\",\"margin\":5}'
  halfping rules try rules.toml --as claims.json --verb create --path /orders/9 --new '{\"owner\":\"u1\"}'")]
pub(crate) struct TryRules {
    /// The file: rules, or a configuration that has some (TOML)
    pub(crate) file: PathBuf,

    /// A file with the claims of whoever asks, as JSON [default: nobody, who has none]
    #[arg(long = "as", value_name = "FILE")]
    pub(crate) claims: Option<PathBuf>,

    /// A file with their document, as JSON [default: there is none]
    #[arg(long, value_name = "FILE")]
    pub(crate) me: Option<PathBuf>,

    /// The deed: read, create, update or delete
    #[arg(long, value_name = "VERB", default_value = "read", value_parser = str::parse::<Verb>)]
    pub(crate) verb: Verb,

    /// The path of what they want to read or write
    #[arg(long, value_name = "PATH")]
    pub(crate) path: String,

    /// Value that is there, as JSON [default: nothing]
    #[arg(long, value_name = "JSON")]
    pub(crate) resource: Option<String>,

    /// Value that would be there, as JSON [default: nothing]
    #[arg(long, value_name = "JSON")]
    pub(crate) new: Option<String>,

    /// The path of --resource and --new, if they are of something above --path
    #[arg(long, value_name = "PATH")]
    pub(crate) at: Option<String>,
}
