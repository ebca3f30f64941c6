//! `halfping rules`: rules about who may see and write what, checked and tried out.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use halfping_rules::{Pattern, Reads, Segment, Severity, Subject, Verb};
use serde_json::{Map, Value};

use crate::args::{CheckRules, Rules, RulesCommand, TryRules};
use crate::config;
use crate::print::printable;
use crate::report::{Blame, Failure, tell};

pub(crate) fn rules(args: Rules) -> Result<(), Failure> {
    match args.command {
        RulesCommand::Check(args) => check(&args),
        RulesCommand::Try(args) => try_out(&args),
    }
}

fn check(args: &CheckRules) -> Result<(), Failure> {
    let file = args.file.display();
    let text = read(&args.file)?;
    let (rules, findings) = match halfping_rules::Rules::parse_among(&text) {
        Ok(rules) => {
            let warnings = rules.warnings().to_vec();
            (Some(rules), warnings)
        }
        Err(refused) => (None, refused.findings),
    };
    let mut out = io::stdout().lock();
    for found in &findings {
        let severity = match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let line = found.line.map_or(String::new(), |line| format!(":{line}"));
        let rule = found.rule.map_or(String::new(), |rule| format!("rule {rule}: "));
        writeln!(out, "{file}{line}: {severity}: {rule}{}", printable(&found.text))?;
        if let Some(hint) = &found.hint {
            writeln!(out, "  hint: {}", printable(hint))?;
        }
    }
    let Some(rules) = rules else {
        let errors = findings.iter().filter(|found| found.severity == Severity::Error).count();
        return Err(Failure::new(Blame::Refused, format!("{file}: {}", count(errors, "error"))));
    };
    // What is not about rules, such as a section with a misspelt name.
    config::check_beside_rules(&text).map_err(|failure| failure.at(file.to_string()))?;
    let sound = match findings.len() {
        0 => "all sound".to_owned(),
        warnings => count(warnings, "warning"),
    };
    match rules.len() {
        0 => writeln!(out, "no rules")?,
        many => writeln!(out, "{}, {sound}", count(many, "rule"))?,
    }
    Ok(())
}

fn try_out(args: &TryRules) -> Result<(), Failure> {
    let file = args.file.display();
    let rules = halfping_rules::Rules::parse_among(&read(&args.file)?).map_err(|refused| {
        let errors = refused.findings.iter().filter(|of| of.severity == Severity::Error);
        let why = format!("{file}: {}", count(errors.count(), "error"));
        Failure::new(Blame::Input, why).hint(format!("`halfping rules check {file}` tells them"))
    })?;
    let nobody = Subject::default();
    let subject = Subject {
        claims: args.claims.as_deref().map_or(Ok(nobody.claims), json_of_file)?,
        me: args.me.as_deref().map_or(Ok(nobody.me), json_of_file)?,
    };
    let path = names("--path", &args.path)?;
    let above = match &args.at {
        Some(at) => names("--at", at)?,
        None => path.clone(),
    };
    if !path.starts_with(&above) {
        let why = format!("--at: {} is not at or above {}", written(&above), written(&path));
        return Err(Failure::new(Blame::Usage, why));
    }
    let before = tree("--resource", args.resource.as_deref(), &above)?;
    let after = tree("--new", args.new.as_deref(), &above)?;
    let grant = rules.grant(&subject);
    for fault in grant.faults() {
        tell(format_args!("note: {}", printable(&fault.to_string())));
    }
    let before = |level: usize| follow(before.as_ref(), &path[..level]);
    let after = |level: usize| follow(after.as_ref(), &path[..level]);
    let explained = grant.explain(args.verb, &path, &before, &after);
    writeln!(io::stdout(), "{}", printable_lines(&explained.to_string()))?;
    let part = match grant.read_at(&path) {
        Reads::Part(part) if args.verb == Verb::Read && args.resource.is_none() => Some(part),
        _ => None,
    };
    match (explained.decision.allowed, part) {
        (true, None) => Ok(()),
        (_, Some(part)) => {
            let part = printable_lines(&part.to_string());
            writeln!(io::stdout(), "a part of {} is shown:\n{part}", written(&path))?;
            Ok(())
        }
        (false, None) => {
            let why = format!("{} of {} is denied", args.verb, written(&path));
            Err(Failure::new(Blame::Refused, why))
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let cannot = |error| format!("cannot read {}: {error}", file.display());
    fs::read_to_string(file).map_err(|error| Failure::new(Blame::Input, cannot(error)))
}

fn json_of_file(file: &Path) -> Result<Value, Failure> {
    serde_json::from_str(&read(file)?).map_err(|error| {
        Failure::new(Blame::Input, format!("{}: it is not JSON: {error}", file.display()))
    })
}

/// The names of a path of the command line.
fn names(option: &str, text: &str) -> Result<Vec<String>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Blame::Usage, format!("{option}: `{text}` is no path: {why}"))
    };
    let pattern = Pattern::parse(text).map_err(|error| wrong(&error))?;
    let name = |segment: &Segment| match segment {
        Segment::Name(name) => Ok(name.to_string()),
        Segment::Variable(name) => Err(wrong(&format!("write a name in place of {{{name}}}"))),
    };
    pattern.segments().iter().map(name).collect()
}

fn written(path: &[String]) -> String {
    format!("/{}", path.join("/"))
}

/// A tree in which only this value is, at this path.
fn tree(option: &str, json: Option<&str>, path: &[String]) -> Result<Option<Value>, Failure> {
    let Some(json) = json else { return Ok(None) };
    let value = serde_json::from_str(json).map_err(|error| {
        let failure = Failure::new(Blame::Usage, format!("{option}: it is not JSON: {error}"));
        failure.hint(format!("a string needs quotes for the shell and for JSON: '{}'", "\"u1\""))
    })?;
    let above = |value, name: &String| Value::Object(Map::from_iter([(name.clone(), value)]));
    Ok(Some(path.iter().rev().fold(value, above)))
}

fn follow<'v>(tree: Option<&'v Value>, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(tree?, |value, name| value.as_object()?.get(name))
}

/// Lines without what a terminal would obey.
fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// A number of things: `1 rule`, `2 rules`.
fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
