//! Rules from TOML, with the places of what they say.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use crate::compiled::Spots;
use crate::finding::{Finding, Refused, Spot};
use crate::rule::Rule;

/// A text with rules; other tables of it are not looked at.
#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    rule: Vec<Spanned<RuleText>>,
}

/// A [`Rule`] in a text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    allow: Option<Vec<Spanned<String>>>,
    deny: Option<Vec<Spanned<String>>>,
    path: Spanned<String>,
    when: Option<Spanned<String>>,
    unless: Option<Spanned<String>>,
    beneath: Option<bool>,
}

/// Reads the rules of a text.
pub(crate) fn read(text: &str) -> Result<Vec<(Rule, Spots)>, Refused> {
    let read: Text = toml::from_str(text).map_err(|error| {
        let spot = error.span().map(|span| spot(text, span.start));
        let (what, hint) = in_words(error.message());
        let finding = Finding::error(what).at(spot);
        Refused {
            findings: vec![match hint {
                Some(hint) => finding.hint(hint),
                None => finding,
            }],
        }
    })?;
    Ok(read.rule.into_iter().map(|rule| of_text(rule, text)).collect())
}

/// Refuses a text that has other settings than rules.
pub(crate) fn nothing_else(text: &str) -> Result<(), Refused> {
    // The reader of rules reports text that is no TOML.
    let Ok(table) = DeTable::parse(text) else { return Ok(()) };
    let others = table.get_ref().keys().filter(|name| name.get_ref() != "rule");
    let findings: Vec<Finding> = others
        .map(|name| {
            let unknown = Finding::error(format!("unknown setting `{}`", name.get_ref()));
            unknown.at(Some(spot(text, name.span().start))).hint("rules are [[rule]]")
        })
        .collect();
    if findings.is_empty() { Ok(()) } else { Err(Refused { findings }) }
}

fn of_text(rule: Spanned<RuleText>, text: &str) -> (Rule, Spots) {
    let whole = spot(text, rule.span().start);
    let RuleText { allow, deny, path, when, unless, beneath } = rule.into_inner();
    let verbs = allow.iter().chain(&deny).flatten();
    let condition = when.as_ref().or(unless.as_ref());
    let spots = Spots {
        rule: Some(whole),
        verbs: verbs.map(|verb| spot(text, verb.span().start)).collect(),
        path: Some(spot(text, path.span().start)),
        condition: condition.map(|condition| spot(text, condition.span().start)),
        is_verbatim: condition.is_some_and(|condition| {
            let written = text.get(condition.span()).unwrap_or_default();
            written.get(1..written.len().saturating_sub(1)) == Some(condition.get_ref())
        }),
    };
    let words = |verbs: Option<Vec<Spanned<String>>>| {
        verbs.map(|verbs| verbs.into_iter().map(Spanned::into_inner).collect())
    };
    let rule = Rule {
        allow: words(allow),
        deny: words(deny),
        path: path.into_inner(),
        when: when.map(Spanned::into_inner),
        unless: unless.map(Spanned::into_inner),
        beneath: beneath.unwrap_or(true),
    };
    (rule, spots)
}

/// A message of the parser in one line, with a hint where one is known.
fn in_words(message: &str) -> (String, Option<&'static str>) {
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((name, _)) = rest.split_once('`')
    {
        let known = "a rule has allow, deny, path, when, unless and beneath";
        return (format!("unknown setting `{name}`"), Some(known));
    }
    let hint = match message {
        "missing field `path`" => Some("write path = \"/orders/{order}\""),
        message if message.contains("expected a sequence") => {
            Some("verbs are a list: [\"read\"]; each rule begins with [[rule]]")
        }
        _ => None,
    };
    (message.replace('\n', ", "), hint)
}

/// The place of a byte of the text.
fn spot(text: &str, at: usize) -> Spot {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Spot { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}
