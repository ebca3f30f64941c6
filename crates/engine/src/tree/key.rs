//! Member names, each stored once.

use std::borrow::Cow;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::grow::List;
use crate::tree::text::Text;

/// A member name's number. Equal names have equal numbers while anyone holds them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyId(u32);

impl KeyId {
    /// No name: a slot whose member was forgotten.
    pub(crate) const NONE: KeyId = KeyId(u32::MAX);
}

struct Entry {
    name: Text,
    holders: u32,
    /// True if the name's JSON text is the name between quotes: nothing in it needs an escape.
    plain: bool,
}

/// Tables of names: so many that a million names are moved in portions that take a millisecond.
const TABLES: usize = 64;

/// All names in use, counted by their holders: members, tombstones and interest. Collections of
/// alike documents are the common case, and theirs are stored once.
pub(crate) struct Keys {
    entries: List<Entry>,
    free: Vec<KeyId>,
    /// Tables by a part of the hash. When one grows, all its names are moved, and everybody waits.
    tables: [HashTable<KeyId>; TABLES],
    // Seeded per process, since clients choose the names.
    hasher: DefaultHashBuilder,
    /// Bytes of the names of tombstones, each as often as there are tombstones of that name.
    buried_bytes: usize,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys {
            entries: List::default(),
            free: Vec::new(),
            tables: [const { HashTable::new() }; TABLES],
            hasher: DefaultHashBuilder::default(),
            buried_bytes: 0,
        }
    }
}

/// The number of the table for a name of this hash. The tables themselves use the ends of the hash.
fn table_of(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

impl Keys {
    /// The name's number, if anyone holds it.
    pub(crate) fn find(&self, name: &str) -> Option<KeyId> {
        let hash = self.hasher.hash_one(name.as_bytes());
        self.tables[table_of(hash)].find(hash, |id| self.bytes(*id) == name.as_bytes()).copied()
    }

    /// The name's number; that of no name if nobody holds it.
    pub(crate) fn known(&self, name: &str) -> KeyId {
        self.find(name).unwrap_or(KeyId::NONE)
    }

    /// Takes hold of a name. Every call is owed one [`Keys::release`].
    pub(crate) fn hold(&mut self, name: &str) -> KeyId {
        if let Some(id) = self.find(name) {
            self.entries[id.0 as usize].holders += 1;
            return id;
        }
        let entry = Entry { name: Text::new(name), holders: 1, plain: is_plain(name) };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id.0 as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                KeyId(self.entries.len() as u32 - 1)
            }
        };
        let Keys { entries, tables, hasher, .. } = self;
        let hash_of = |id: &KeyId| hasher.hash_one(entries[id.0 as usize].name.as_bytes());
        let hash = hash_of(&id);
        tables[table_of(hash)].insert_unique(hash, id, hash_of);
        id
    }

    /// Takes hold of a name that has a holder.
    pub(crate) fn hold_again(&mut self, id: KeyId) {
        self.entries[id.0 as usize].holders += 1;
    }

    pub(crate) fn release(&mut self, id: KeyId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.holders -= 1;
        if entry.holders > 0 {
            return;
        }
        let hash = self.hasher.hash_one(entry.name.as_bytes());
        entry.name = Text::new("");
        if let Ok(found) = self.tables[table_of(hash)].find_entry(hash, |other| *other == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// Notes that a holder of the name has become a tombstone.
    pub(crate) fn bury(&mut self, id: KeyId) {
        self.buried_bytes += self.bytes(id).len();
    }

    /// Notes that a holder of the name is no longer a tombstone.
    pub(crate) fn unbury(&mut self, id: KeyId) {
        self.buried_bytes -= self.bytes(id).len();
    }

    /// Bytes of the names of tombstones.
    pub(crate) fn buried_bytes(&self) -> usize {
        self.buried_bytes
    }

    /// The name's bytes, which compare as names do.
    pub(crate) fn bytes(&self, id: KeyId) -> &[u8] {
        self.entries[id.0 as usize].name.as_bytes()
    }

    pub(crate) fn name(&self, id: KeyId) -> &str {
        self.entries[id.0 as usize].name.as_str()
    }

    /// Writes the name as a JSON string.
    pub(crate) fn write(&self, id: KeyId, out: &mut Vec<u8>) {
        let entry = &self.entries[id.0 as usize];
        if entry.plain {
            out.push(b'"');
            out.extend_from_slice(entry.name.as_bytes());
            out.push(b'"');
        } else {
            write_json_string(entry.name.as_str(), out);
        }
    }

    /// Length of the text that [`Keys::write`] writes.
    pub(crate) fn json_len(&self, id: KeyId) -> usize {
        let entry = &self.entries[id.0 as usize];
        if entry.plain {
            return entry.name.len() + 2;
        }
        let mut text = Vec::new();
        write_json_string(entry.name.as_str(), &mut text);
        text.len()
    }

    /// Names in use.
    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(HashTable::len).sum()
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') && !has_breaks(name)
}

/// Writes a string as JSON with no escape that is not needed; those of [`escape_breaks`] are.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    if is_plain(text) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if has_breaks(text) {
        // A `str` is always JSON.
        let json = serde_json::to_string(text).unwrap_or_default();
        out.extend_from_slice(escape_breaks(&json).as_bytes());
    } else {
        // Writing to a vector does not fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// JSON text in which U+007F to U+009F, U+2028 and U+2029 are written as escapes (PROTOCOL V6).
/// JSON does not ask for that, but there are readers that end a line at U+0085, U+2028 and U+2029,
/// and terminals that obey the others.
pub fn escape_breaks(json: &str) -> Cow<'_, str> {
    if !has_breaks(json) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => escaped.push(c),
        }
    }
    escaped.into()
}

/// True if [`escape_breaks`] has something to do. Most text has none of the first bytes of such
/// characters, which is checked for many bytes at once.
fn has_breaks(text: &str) -> bool {
    let may_begin = |b: &u8| (*b == 0x7f) | (*b == 0xc2) | (*b == 0xe2);
    let (blocks, rest) = text.as_bytes().as_chunks::<32>();
    let in_block = |block: &[u8; 32]| block.iter().fold(false, |may, b| may | may_begin(b));
    let may = blocks.iter().any(in_block) || rest.iter().any(may_begin);
    may && text.chars().any(|c| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stored_once_and_freed_with_its_last_holder() {
        let mut keys = Keys::default();
        let (a, b) = (keys.hold("latitude_of_the_vehicle"), keys.hold("latitude_of_the_vehicle"));
        assert_eq!((a, keys.len()), (b, 1));
        keys.release(a);
        assert_eq!(keys.find("latitude_of_the_vehicle"), Some(b));
        keys.release(b);
        assert_eq!((keys.find("latitude_of_the_vehicle"), keys.len()), (None, 0));
        assert_eq!(keys.hold("other"), a, "the number is used again");
    }

    #[test]
    fn lengths_are_those_of_the_written_text() {
        let mut keys = Keys::default();
        for name in [
            "",
            "plain",
            "quo\"te",
            "new\nline",
            "käse",
            "\u{0}",
            "back\\slash",
            "\u{7f}",
            "a\n\u{2028}",
        ] {
            let id = keys.hold(name);
            let mut text = Vec::new();
            keys.write(id, &mut text);
            assert_eq!(text.len(), keys.json_len(id));
            assert_eq!(serde_json::from_slice::<String>(&text).unwrap(), name);
        }
    }

    #[test]
    fn what_some_readers_take_for_the_end_of_a_line_is_escaped() {
        // PROTOCOL V6
        let written = |text: &str| {
            let mut out = Vec::new();
            write_json_string(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        for c in ('\0'..='\u{2100}').filter(|c| !matches!(c, '"' | '\\' | '\0'..='\u{1f}')) {
            let is_break = matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
            // Beyond what is looked at together as well.
            for before in ["", &"x".repeat(63), &"°“".repeat(40)] {
                let text = match is_break {
                    true => format!("\"{before}\\u{:04x}\"", u32::from(c)),
                    false => format!("\"{before}{c}\""),
                };
                assert_eq!(written(&format!("{before}{c}")), text);
            }
        }
        assert_eq!(written("\\\u{2028}\n"), r#""\\\u2028\n""#);
        assert_eq!(escape_breaks("[\"\u{85}\"]"), r#"["\u0085"]"#);
        assert!(matches!(escape_breaks("[\"ä°…\"]"), Cow::Borrowed(_)));
    }
}
