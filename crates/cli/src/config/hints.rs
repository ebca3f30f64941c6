//! Hints for settings with a misspelled name, a value of another kind, or in the wrong section.

use halfping::{Limits, NameError};
use toml::de::{DeTable, DeValue};

use super::at_line;
use crate::report::{Blame, Failure};
use crate::units;

/// The most names that an error lists.
const NAMES_MAX: usize = 8;

/// Refuses a section that is written as a value: `cors = ["*"]`.
pub(super) fn sections_are_tables(text: &str) -> Result<(), Failure> {
    let Ok(table) = DeTable::parse(text) else { return Ok(()) };
    for (name, value) in table.get_ref() {
        let section = SECTIONS.iter().find(|section| section.name == &**name.get_ref());
        if let (Some(Section { name, settings }), false) = (section, value.get_ref().is_table()) {
            let written = text.get(value.span()).unwrap_or_default();
            let example = settings.first().unwrap_or(&LIMIT).line(written);
            let failure = Failure::new(Blame::Input, format!("`{name}` is a section"));
            let failure =
                failure.hint(format!("write [{name}], and on the line below it {example}"));
            return Err(at_line(failure, text, value.span().start));
        }
    }
    Ok(())
}

/// The failure of a text that `toml` cannot read, with its line and a hint.
pub(super) fn unreadable(error: &toml::de::Error, text: &str) -> Failure {
    let offset = error.span().map(|span| span.start);
    let of_value = offset.and_then(|offset| wrong_value(error.message(), text, offset));
    let failure = of_value.unwrap_or_else(|| unknown_name(Blame::Input, error.message()));
    match offset {
        Some(offset) => at_line(failure, text, offset),
        None => failure,
    }
}

/// The failure for a value that is not what its setting expects. `None`: the message is about
/// something else.
fn wrong_value(message: &str, text: &str, offset: usize) -> Option<Failure> {
    if ["unknown field", "duplicate key"].iter().any(|start| message.starts_with(start)) {
        return None;
    }
    let line_start = text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
    let (name, _) = text[line_start..offset].split_once('=')?;
    let (_, value) = text[line_start..].lines().next()?.split_once('=')?;
    let setting = setting(name.rsplit('.').next()?.trim())?;
    let value = value.split(" #").next()?.trim();
    // The number is too large, or negative: only the message says so.
    let is_out_of_range = message.starts_with("invalid value") && is_limit(setting.name);
    let why = match is_out_of_range {
        true => in_one_line(message),
        false => format!("`{}` is {}", setting.name, setting.expects),
    };
    Some(Failure::new(Blame::Input, why).hint(format!("write {}", setting.line(value))))
}

/// The failure for a message of a parser. An unknown name has a hint in place of a long list.
pub(super) fn unknown_name(blame: Blame, message: &str) -> Failure {
    let plain = || Failure::new(blame, in_one_line(message));
    let Some(names) = message.strip_prefix("unknown field ") else { return plain() };
    let mut names = names.split('`').skip(1).step_by(2);
    let Some(name) = names.next() else { return plain() };
    let known: Vec<&str> = names.collect();
    let unknown = || Failure::new(blame, format!("unknown setting `{name}`"));
    match hint_of_name(name, &known) {
        Some(hint) => unknown().hint(hint),
        None if known.len() > NAMES_MAX => unknown().hint("halfping.example.toml has all of them"),
        None => unknown().hint(format!("known here: {}", known.join(", "))),
    }
}

/// The hint for a name that is misspelled or belongs to another section.
fn hint_of_name(name: &str, known: &[&str]) -> Option<String> {
    let has_it = |section: &&Section| section.settings.iter().any(|known| known.name == name);
    let of_others = SECTIONS.iter().find(has_it);
    let of_others = of_others.map(|section| section.name);
    match if is_limit(name) { Some("limits") } else { of_others } {
        Some("") => Some(format!("`{name}` stands before the first [section]")),
        Some(section) => Some(format!("`{name}` stands in [{section}]")),
        None => hint_of_word(name, known)
            .map(str::to_owned)
            .or_else(|| nearest(name, known).map(|near| format!("did you mean `{near}`?"))),
    }
}

/// Adds the line of the first setting that a failure names (`limits.body_bytes`) and the file has.
pub(super) fn at_setting(failure: Failure, text: &str) -> Failure {
    let Ok(table) = DeTable::parse(text) else { return failure };
    let mut words = failure.message().split([' ', ':', ',']);
    match words.find_map(|word| value_at(table.get_ref(), word)) {
        Some(offset) => at_line(failure, text, offset),
        None => failure,
    }
}

/// The place of a setting's value in the text.
fn value_at(table: &DeTable<'_>, setting: &str) -> Option<usize> {
    let (name, rest) = match setting.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (setting, None),
    };
    let (_, value) = table.iter().find(|(known, _)| &**known.get_ref() == name)?;
    match (rest, value.get_ref()) {
        (None, _) => Some(value.span().start),
        (Some(rest), DeValue::Table(table)) => value_at(table, rest),
        _ => None,
    }
}

/// A message of a parser, in one line.
fn in_one_line(message: &str) -> String {
    message.replace('\n', ", ")
}

/// The hint for a word of the command line that stands before the first section.
fn hint_of_word(name: &str, known: &[&str]) -> Option<&'static str> {
    let (_, hint) = OTHER_WORDS.iter().find(|(word, _)| *word == name.replace('-', "_"))?;
    known.contains(&"listen").then_some(hint)
}

pub(super) fn is_limit(name: &str) -> bool {
    serde_json::to_value(Limits::default()).is_ok_and(|all| all.get(name).is_some())
}

/// The setting of a name, also if it is a limit.
fn setting(name: &str) -> Option<Setting<'_>> {
    let mut known = SECTIONS.iter().flat_map(|section| section.settings);
    known.find(|known| known.name == name).copied().or_else(|| {
        let (expects, example) = is_limit(name).then(|| units::form_of(name))?;
        Some(Setting { name, form: Form::Other, expects, example })
    })
}

/// A section of the file. Settings before the first section have none.
struct Section {
    name: &'static str,
    settings: &'static [Setting<'static>],
}

/// A setting and the values that it takes.
#[derive(Clone, Copy)]
struct Setting<'a> {
    name: &'a str,
    form: Form,
    expects: &'static str,
    /// A value, as the file has it.
    example: &'static str,
}

/// The form of a setting's values.
#[derive(Clone, Copy)]
enum Form {
    Switch,
    /// One text.
    Text,
    /// A list of texts.
    List,
    Other,
}

impl Setting<'_> {
    /// A line of the file that was probably meant by a value.
    fn line(&self, value: &str) -> String {
        let items = value.trim_start_matches('[').trim_end_matches(']');
        let is_quoted = |text: &str| text.len() > 1 && text.starts_with('"') && text.ends_with('"');
        let meant = match self.form {
            Form::Switch => {
                let word = value.trim_matches(['"', '\'']).to_lowercase();
                (!["no", "off", "0", "false"].contains(&&*word)).to_string()
            }
            Form::Text if !value.is_empty() && !value.contains(['"', '\'', '[', '{']) => {
                format!("\"{value}\"")
            }
            Form::List if is_quoted(items) => format!("[{items}]"),
            _ => self.example.to_owned(),
        };
        format!("{} = {meant}", self.name)
    }
}

/// All sections. The settings of `[limits]` are the members of [`Limits`].
const SECTIONS: [Section; 5] = [
    Section {
        name: "",
        settings: &[
            Setting {
                name: "listen",
                form: Form::Other,
                expects: "an address and a port, or a port alone",
                example: "\"127.0.0.1:7070\"",
            },
            Setting {
                name: "data",
                form: Form::Text,
                expects: "a directory, as text in quotes",
                example: "\"./halfping-data\"",
            },
            Setting {
                name: "allowed_hosts",
                form: Form::List,
                expects: "a list of host names",
                example: "[\"api.example.org\"]",
            },
            Setting {
                name: "read_only",
                form: Form::Switch,
                expects: "true or false, without quotes",
                example: "true",
            },
        ],
    },
    Section {
        name: "regions",
        settings: &[Setting {
            name: "ephemeral",
            form: Form::List,
            expects: "a list of patterns of paths",
            example: "[\"/vehicles/*/position\"]",
        }],
    },
    Section { name: "limits", settings: &[] },
    Section {
        name: "cors",
        settings: &[Setting {
            name: "origins",
            form: Form::List,
            expects: "a list of origins",
            example: "[\"https://app.example.org\"]",
        }],
    },
    Section {
        name: "console",
        settings: &[Setting {
            name: "enabled",
            form: Form::Switch,
            expects: "true or false, without quotes",
            example: "true",
        }],
    },
];

/// A limit, as an example of all of them.
const LIMIT: Setting<'_> =
    Setting { name: "body_bytes", form: Form::Other, expects: "a size", example: "\"1MB\"" };

/// Words of the command line that the file spells otherwise or does not have.
const OTHER_WORDS: [(&str, &str); 4] = [
    (
        "port",
        "a port is written `listen = 7171`, or with its address `listen = \"127.0.0.1:7171\"`",
    ),
    ("memory", "only the command line has it: --memory"),
    ("log", "only the command line has it (--log), and the environment: HALFPING_LOG"),
    (
        "log_format",
        "only the command line has it (--log-format), and the environment: HALFPING_LOG_FORMAT",
    ),
];

/// The host of a URL, with its port if there is one.
pub(super) fn bare_host(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// A reason with the text that was probably meant, if that is known.
pub(super) fn with_meant(why: &NameError, meant: Result<String, NameError>) -> String {
    match meant {
        Ok(meant) => format!("{why}; write \"{meant}\""),
        Err(_) => why.to_string(),
    }
}

/// The known name that was probably meant.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase().replace('-', "_");
    let likeness = known.iter().map(|known| (strsim::jaro_winkler(&name, known), *known));
    let (likeness, near) = likeness.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.8).then_some(near)
}
