//! Hints for settings with a misspelled name or in the wrong section.

use halfping::Limits;
use toml::de::DeTable;

use super::at_line;
use crate::report::{Blame, Failure};

/// Refuses a section that is written as a value: `cors = ["*"]`.
pub(super) fn sections_are_tables(text: &str) -> Result<(), Failure> {
    let Ok(table) = DeTable::parse(text) else { return Ok(()) };
    for (name, value) in table.get_ref() {
        let section = SECTIONS.iter().find(|section| section.name == &**name.get_ref());
        if let (Some(Section { name, example, .. }), false) = (section, value.get_ref().is_table()) {
            let failure = Failure::new(Blame::Input, format!("`{name}` is a section"));
            let failure = failure.hint(format!("write [{name}], and on the line below it {example}"));
            return Err(at_line(failure, text, value.span().start));
        }
    }
    Ok(())
}

/// Adds a hint if a setting's name is misspelled or belongs to another section.
pub(super) fn with_hint(failure: Failure, message: &str) -> Failure {
    let Some(names) = message.strip_prefix("unknown field ") else { return failure };
    let mut names = names.split('`').skip(1).step_by(2);
    let Some(name) = names.next() else { return failure };
    let known: Vec<&str> = names.collect();
    let of_others = SECTIONS.iter().find(|section| section.settings.contains(&name));
    let of_others = of_others.map(|section| section.name);
    match if is_limit(name) { Some("limits") } else { of_others } {
        Some("") => failure.hint(format!("`{name}` stands before the first [section]")),
        Some(section) => failure.hint(format!("`{name}` stands in [{section}]")),
        None => match (hint_of_word(name, &known), nearest(name, &known)) {
            (Some(hint), _) => failure.hint(hint),
            (None, Some(near)) => failure.hint(format!("did you mean `{near}`?")),
            (None, None) => failure,
        },
    }
}

/// The hint for a word of the command line that stands before the first section.
fn hint_of_word(name: &str, known: &[&str]) -> Option<&'static str> {
    let (_, hint) = OTHER_WORDS.iter().find(|(word, _)| *word == name.replace('-', "_"))?;
    known.contains(&"listen").then_some(hint)
}

pub(super) fn is_limit(name: &str) -> bool {
    serde_json::to_value(Limits::default()).is_ok_and(|all| all.get(name).is_some())
}

/// A section of the file. Settings before the first section have none.
struct Section {
    name: &'static str,
    settings: &'static [&'static str],
    /// An example line of it.
    example: &'static str,
}

/// All sections. The settings of `[limits]` are the members of [`Limits`].
const SECTIONS: [Section; 5] = [
    Section {
        name: "",
        settings: &["listen", "data", "allowed_hosts", "read_only"],
        example: "listen = 7070",
    },
    Section { name: "regions", settings: &["ephemeral"], example: "ephemeral = [\"/vehicles/*/position\"]" },
    Section { name: "limits", settings: &[], example: "body_bytes = \"1MB\"" },
    Section { name: "cors", settings: &["origins"], example: "origins = [\"*\"]" },
    Section { name: "console", settings: &["enabled"], example: "enabled = true" },
];

/// Words of the command line that the file spells otherwise or does not have.
const OTHER_WORDS: [(&str, &str); 4] = [
    ("port", "a port is written `listen = 7171`, or with its address `listen = \"127.0.0.1:7171\"`"),
    ("memory", "only the command line has it: --memory"),
    ("log", "only the command line has it (--log), and the environment: HALFPING_LOG"),
    ("log_format", "only the command line has it (--log-format), and the environment: HALFPING_LOG_FORMAT"),
];

/// The known name that was probably meant.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase().replace('-', "_");
    let likeness = known.iter().map(|known| (strsim::jaro_winkler(&name, known), *known));
    let (likeness, near) = likeness.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.8).then_some(near)
}
