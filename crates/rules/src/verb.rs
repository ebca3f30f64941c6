//! Verbs: what a rule is about.

use std::collections::BTreeSet;
use std::fmt;

/// A deed that somebody may do with a resource.
///
/// ```
/// use halfping_rules::Verb;
///
/// assert_eq!("update".parse(), Ok(Verb::Update));
/// assert_eq!(Verb::Update.to_string(), "update");
/// assert!("write".parse::<Verb>().is_err()); // three verbs, in a rule
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verb {
    /// To read and to watch.
    Read,
    /// To write where nothing is.
    Create,
    /// To change what is there.
    Update,
    /// To remove what is there.
    Delete,
}

impl Verb {
    const ALL: [Verb; 4] = [Verb::Read, Verb::Create, Verb::Update, Verb::Delete];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Read => "read",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        })
    }
}

impl std::str::FromStr for Verb {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Verb, &'static str> {
        let found = Verb::ALL.into_iter().find(|verb| verb.to_string() == text);
        found.ok_or("expected read, create, update or delete")
    }
}

/// Words that others use for verbs.
const OTHER_WORDS: [(&[&str], &str); 5] = [
    (&["get", "list", "watch", "view", "select", "subscribe", "see"], "read"),
    (&["post", "insert", "add", "new"], "create"),
    (&["put", "patch", "edit", "change", "modify", "merge", "set"], "update"),
    (&["remove", "destroy", "drop", "unset"], "delete"),
    (&["all", "any", "*", "full", "admin"], "read\", \"write"),
];

/// The verbs of a word of a rule; `write` is three. Else the word that was probably meant.
pub(crate) fn verbs_of(word: &str) -> Result<BTreeSet<Verb>, Option<&'static str>> {
    if word == "write" {
        return Ok([Verb::Create, Verb::Update, Verb::Delete].into());
    }
    word.parse().map(|verb| [verb].into()).map_err(|_| {
        let word = word.to_lowercase();
        let likely = ["read", "create", "update", "delete", "write"];
        let other = OTHER_WORDS.iter().find(|(words, _)| words.contains(&&*word));
        let begins = |verb: &&str| word.get(..2).is_some_and(|start| verb.starts_with(start));
        other.map(|(_, verb)| *verb).or_else(|| likely.into_iter().find(begins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_verb_has_the_one_that_was_meant() {
        assert_eq!(verbs_of("write").unwrap().len(), 3);
        for (word, meant) in [
            ("Read", Some("read")),
            ("reads", Some("read")),
            ("reed", Some("read")),
            ("remove", Some("delete")),
            ("patch", Some("update")),
            ("*", Some("read\", \"write")),
            ("fly", None),
            ("", None),
        ] {
            assert_eq!(verbs_of(word), Err(meant), "{word}");
        }
    }
}
