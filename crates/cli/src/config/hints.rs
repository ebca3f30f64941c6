//! Hints for settings with a misspelled name, a value of another kind, or in the wrong section.

use halfping::{Cors, Hosts, Limits, NameError, Pattern};
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::{Config, at_line, in_plain_numbers};
use crate::report::{Blame, Failure};
use crate::units;

/// The most names that an error lists.
const NAMES_MAX: usize = 12;

/// Refuses a section that is written as a value: `cors = ["*"]`; and one of which there may be
/// several that is written as if it were the only one.
pub(super) fn sections_are_tables(text: &str) -> Result<(), Failure> {
    let Ok(table) = DeTable::parse(text) else { return Ok(()) };
    for (name, value) in table.get_ref() {
        let section = SECTIONS.iter().find(|section| section.name == &**name.get_ref());
        let Some(section @ Section { name, settings, .. }) = section else {
            if let Some(failure) = almost_many(name.get_ref(), value.get_ref()) {
                return Err(at_line(failure, text, name.span().start));
            }
            continue;
        };
        let is_as_it_should_be = match value.get_ref() {
            DeValue::Array(tables) => {
                section.is_many && tables.iter().all(|table| table.get_ref().is_table())
            }
            value => value.is_table() && !section.is_many,
        };
        if !is_as_it_should_be {
            let written = text.get(value.span()).unwrap_or_default();
            let example = settings.first().unwrap_or(&LIMIT).line(written);
            let what = if section.is_many { "a section for each" } else { "a section" };
            let failure = Failure::new(Blame::Input, format!("`{name}` is {what}"));
            let header = section.header();
            let failure =
                failure.hint(format!("write {header}, and on the line below it {example}"));
            return Err(at_line(failure, text, value.span().start));
        }
    }
    Ok(())
}

/// The failure of a section whose name is almost that of one of which there may be several, such as
/// `[[views]]`.
fn almost_many(name: &str, value: &DeValue<'_>) -> Option<Failure> {
    let is_section = match value {
        DeValue::Array(tables) => tables.iter().any(|table| table.get_ref().is_table()),
        value => value.is_table(),
    };
    let all: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
    let near = nearest(name, &all).filter(|_| is_section)?;
    let section = SECTIONS.iter().find(|section| section.is_many && section.name == near)?;
    let failure = Failure::new(Blame::Input, format!("unknown setting `{name}`"));
    Some(failure.hint(format!("did you mean `{}`?", section.header())))
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
    match section_of(name) {
        // `limit` is one of a view, but `[limit]` is meant to be `[limits]`.
        Some(section) if section.is_many && nearest(name, known).is_some() => {
            nearest(name, known).map(|near| format!("did you mean `{near}`?"))
        }
        Some(section) if section.name.is_empty() => {
            Some(format!("`{name}` stands before the first [section]"))
        }
        Some(section) => Some(format!("`{name}` stands in {}", section.header())),
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

/// The place of a setting's value in the text: `limits.links`, `view[0].order`.
pub(super) fn value_at(table: &DeTable<'_>, setting: &str) -> Option<usize> {
    let (name, rest) = match setting.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (setting, None),
    };
    let (name, place) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((name, place)) => (name, place.parse::<usize>().ok()),
        None => (name, None),
    };
    let (_, value) = table.iter().find(|(known, _)| &**known.get_ref() == name)?;
    let value = match (place, value.get_ref()) {
        (Some(place), DeValue::Array(values)) => values.get(place)?,
        _ => value,
    };
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

/// The section that a setting stands in; that without a name before the first.
fn section_of(name: &str) -> Option<&'static Section> {
    let has_it = |section: &&Section| match section.name {
        "limits" => is_limit(name),
        _ => section.settings.iter().any(|known| known.name == name),
    };
    SECTIONS.iter().find(has_it)
}

/// A section of the file. Settings before the first section have none.
pub(super) struct Section {
    pub(super) name: &'static str,
    /// True if the file may have several.
    is_many: bool,
    pub(super) settings: &'static [Setting<'static>],
}

impl Section {
    /// The line above its settings.
    fn header(&self) -> String {
        match self.is_many {
            true => format!("[[{}]]", self.name),
            false => format!("[{}]", self.name),
        }
    }
}

/// A setting and the values that it takes.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) name: &'a str,
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
    /// A list of texts. The text that was probably meant by one that is refused, if it is known.
    List(fn(&str) -> Option<String>),
    Other,
}

impl Setting<'_> {
    /// A line of the file that was probably meant by a value, or one as an example. It is accepted.
    fn line(&self, value: &str) -> String {
        let mut values = self.meant(value);
        values.push(self.example.to_owned());
        let lines = values.iter().map(|value| format!("{} = {value}", self.name));
        let accepted = lines.into_iter().find(|line| self.is_accepted(line));
        accepted.unwrap_or_else(|| format!("{} = {}", self.name, default_of(self.name)))
    }

    /// The values that were probably meant, the most probable first.
    fn meant(&self, value: &str) -> Vec<String> {
        match self.form {
            Form::Switch => {
                let word = value.trim_matches(['"', '\'']).to_lowercase();
                vec![(!["no", "off", "0", "false"].contains(&&*word)).to_string()]
            }
            Form::Text if !value.is_empty() && !value.contains(['"', '\'', '[', '{']) => {
                vec![format!("\"{value}\"")]
            }
            Form::List(meant) => {
                let items = value.trim_start_matches('[').trim_end_matches(']');
                let list = toml::from_str(&format!("texts = [{items}]"));
                let Ok(Texts { texts }) = list else { return Vec::new() };
                let others = texts.iter().filter(|text| *text != "none");
                let others = others.map(|text| meant(text).unwrap_or_else(|| text.clone()));
                let lists = [texts.clone(), others.collect()].map(|list| format!("{list:?}"));
                if texts.is_empty() { Vec::new() } else { lists.into() }
            }
            _ => Vec::new(),
        }
    }

    /// True if a file with just this line can be used.
    fn is_accepted(&self, line: &str) -> bool {
        let text = match section_of(self.name) {
            Some(section) if section.is_many => {
                // What a view needs besides.
                let others = ["path = \"/a\"", "from = \"/b\"", "limit = 20"];
                let name = |line: &str| line.split(' ').next().map(str::to_owned);
                let others = others.into_iter().filter(|other| name(other) != name(line));
                let is_count = self.name == "count";
                let others = others.filter(|other| !is_count || !other.starts_with("limit"));
                format!("{}\n{line}\n{}", section.header(), others.collect::<Vec<_>>().join("\n"))
            }
            Some(section) if !section.name.is_empty() => format!("{}\n{line}", section.header()),
            _ => line.to_owned(),
        };
        let plain = in_plain_numbers(&text).ok();
        let config = plain.and_then(|text| toml::from_str::<Config>(&text).ok());
        config.is_some_and(|config| config.check(Blame::Input).is_ok())
    }
}

/// The texts of a list.
#[derive(Deserialize)]
struct Texts {
    texts: Vec<String>,
}

/// The default of a limit.
fn default_of(name: &str) -> String {
    let all = serde_json::to_value(Limits::default());
    all.ok().and_then(|all| Some(all.get(name)?.to_string())).unwrap_or_default()
}

/// All sections. The settings of `[limits]` are the members of [`Limits`].
pub(super) const SECTIONS: [Section; 7] = [
    Section {
        name: "",
        is_many: false,
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
                form: Form::List(meant_host),
                expects: "a list of host names",
                example: "[\"api.example.org\"]",
            },
            Setting {
                name: "read_only",
                form: Form::Switch,
                expects: "true or false, without quotes",
                example: "true",
            },
            Setting {
                name: "open",
                form: Form::Switch,
                expects: "true or false, without quotes",
                example: "true",
            },
        ],
    },
    Section {
        name: "regions",
        is_many: false,
        settings: &[Setting {
            name: "ephemeral",
            form: Form::List(meant_pattern),
            expects: "a list of patterns of paths",
            example: "[\"/vehicles/*/position\"]",
        }],
    },
    Section { name: "limits", is_many: false, settings: &[] },
    Section {
        name: "cors",
        is_many: false,
        settings: &[Setting {
            name: "origins",
            form: Form::List(meant_origin),
            expects: "a list of origins",
            example: "[\"https://app.example.org\"]",
        }],
    },
    Section {
        name: "console",
        is_many: false,
        settings: &[Setting {
            name: "enabled",
            form: Form::Switch,
            expects: "true or false, without quotes",
            example: "true",
        }],
    },
    Section {
        name: "view",
        is_many: true,
        settings: &[
            Setting {
                name: "path",
                form: Form::Text,
                expects: "the path at which the view is read, as text in quotes",
                example: "\"/fastest\"",
            },
            Setting {
                name: "from",
                form: Form::Text,
                expects: "the path of the resource that it is a view of, as text in quotes",
                example: "\"/vehicles\"",
            },
            Setting {
                name: "where",
                form: Form::Text,
                expects: "a condition, as text in quotes",
                example: "'line == \"U4\"'",
            },
            Setting {
                name: "select",
                form: Form::Text,
                expects: "names of members, as text in quotes",
                example: "\"line,speed\"",
            },
            Setting {
                name: "order",
                form: Form::Text,
                expects: "names of members, as text in quotes",
                example: "\"-speed\"",
            },
            Setting {
                name: "limit",
                form: Form::Other,
                expects: "a number of members, without quotes",
                example: "20",
            },
            Setting {
                name: "count",
                form: Form::Switch,
                expects: "true or false, without quotes",
                example: "true",
            },
        ],
    },
    Section {
        name: "rule",
        is_many: true,
        // `halfping rules` reports what is wrong within one.
        settings: &[Setting {
            name: "allow",
            form: Form::Other,
            expects: "a list of verbs",
            example: "[\"read\"]",
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

/// The origin that was probably meant by a text that is none.
pub(super) fn meant_origin(text: &str) -> Option<String> {
    let scheme = text.split_once("://").map_or("https", |(scheme, _)| scheme);
    Cors::origin(text).or_else(|_| Cors::origin(&format!("{scheme}://{}", bare_host(text)))).ok()
}

/// The name of a host that was probably meant by a text that is none.
pub(super) fn meant_host(text: &str) -> Option<String> {
    let bare = bare_host(text);
    let without_port = bare.rsplit_once(':').map_or(bare, |(name, _)| name);
    [text, bare, without_port].into_iter().find_map(|name| Hosts::name(name).ok())
}

/// The pattern that was probably meant by a text that is none.
fn meant_pattern(text: &str) -> Option<String> {
    let from_root = format!("/{text}");
    let is_pattern = |text: &str| Pattern::parse(text, &Limits::default()).is_ok();
    (!is_pattern(text) && is_pattern(&from_root)).then_some(from_root)
}

/// The host of a URL, with its port if there is one.
fn bare_host(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// A reason with the text that was probably meant, if that is known.
pub(super) fn with_meant(why: &NameError, meant: Option<String>) -> String {
    match meant {
        Some(meant) => format!("{why}; write \"{meant}\""),
        None => why.to_string(),
    }
}

/// The known name that was probably meant.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase().replace('-', "_");
    let likeness = known.iter().map(|known| (strsim::jaro_winkler(&name, known), *known));
    let (likeness, near) = likeness.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.8).then_some(near)
}
