//! A node as it will be, to be read: a commit's change over the base without it.

use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::tree::key::Keys;
use crate::tree::text::Text;
use crate::write::base::{Base, View};
use crate::write::change::{Change, Members};
use crate::write::json::{Json, elements};

/// Cost of a member that is compared, in bytes that are scanned.
const COMPARED_MEMBER: usize = 128;
/// Cost of a member that is copied, in bytes that are scanned: it is also put into the tree.
const COPIED_MEMBER: usize = 1024;
/// Bytes that are copied, or found to be the same, in the time in which one is scanned.
const BYTES_AT_ONCE: usize = 16;
/// Cost of parsing a byte of text into members, in bytes that are scanned.
const PARSED_BYTE: usize = 8;

/// Work of a JSON Patch, in bytes that are scanned: a nanosecond or so each. It is charged before
/// it is done.
pub(crate) struct Work {
    done: usize,
    max: usize,
}

impl Work {
    /// A placeholder while the real one is in use.
    pub(crate) const NONE: Work = Work { done: 0, max: 0 };

    pub(crate) fn new(limits: &Limits) -> Work {
        Work { done: 0, max: limits.patch_work_bytes }
    }

    /// Charges for text that is scanned.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.done = self.done.saturating_add(bytes);
        match self.done > self.max {
            false => Ok(()),
            true => Err(Refusal::Limit {
                limit: "patch_work_bytes",
                max: self.max,
                what: "the patch compares, copies and rewrites too much; send it in parts".into(),
            }),
        }
    }

    /// Charges for text that is copied.
    pub(crate) fn charge_copy(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.charge(bytes / BYTES_AT_ONCE)
    }
}

/// A node as it will be, to be read.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'c> {
    change: &'c Change,
    base: Base<'c>,
}

impl<'c> Seen<'c> {
    pub(crate) fn new(change: &'c Change, base: Base<'c>) -> Seen<'c> {
        Seen { change, base }
    }

    pub(crate) fn exists(self) -> bool {
        match self.change {
            Change::Keep => self.base.exists(),
            Change::Remove => false,
            _ => true,
        }
    }

    pub(crate) fn is_object(self) -> bool {
        match self.change {
            Change::Keep => self.base.is_object(),
            Change::Object { .. } => true,
            _ => false,
        }
    }

    /// The text that is here, if it is no object.
    pub(crate) fn leaf(self) -> Option<&'c Text> {
        match (self.change, self.base.view()) {
            (Change::Leaf(text), _) | (Change::Keep, View::Leaf(text)) => Some(text),
            _ => None,
        }
    }

    /// The base of the members without the change; nothing where an object is made anew.
    fn base_of_members(self) -> Base<'c> {
        match self.change {
            Change::Object { anew: true, .. } => Base::NOTHING,
            _ => self.base,
        }
    }

    fn written(self) -> Option<&'c Members> {
        if let Change::Object { members, .. } = self.change { Some(members) } else { None }
    }

    pub(crate) fn child(self, keys: &Keys, name: &str) -> Seen<'c> {
        match self.change {
            Change::Leaf(_) | Change::Remove => Seen::new(&Change::Keep, Base::NOTHING),
            _ => {
                let change =
                    self.written().and_then(|members| members.get(name)).unwrap_or(&Change::Keep);
                Seen::new(change, self.base_of_members().child(keys, name))
            }
        }
    }

    /// Upper bound of the members of the object that is here.
    fn members_at_most(self) -> usize {
        self.base_of_members().members_at_most() + self.written().map_or(0, Members::len)
    }

    /// Names of the members of the object that is here, in their order; and of some that are
    /// removed.
    fn names(self, keys: &'c Keys) -> Vec<&'c str> {
        let base = self.base_of_members();
        let mut names = base.names(keys);
        let written = self.written().into_iter().flat_map(Members::names);
        names.extend(written.filter(|name| !base.child(keys, name).exists()));
        names
    }

    /// True if this is the value that a patch expects, as RFC 6902, section 4.6, has it: numbers by
    /// value, objects without order.
    pub(crate) fn equals(
        self,
        expected: &Change,
        keys: &Keys,
        work: &mut Work,
    ) -> Result<bool, Refusal> {
        let members = match (expected, self.leaf()) {
            (Change::Leaf(expected), Some(text)) => {
                return equal_texts(text.as_str(), expected.as_str(), work);
            }
            (Change::Object { members, .. }, None) if self.is_object() => members,
            _ => return Ok(false),
        };
        // Each that is expected has to be there, and there must be no more.
        let others = self.members_at_most();
        if others < members.len() {
            return Ok(false);
        }
        work.charge(COMPARED_MEMBER * members.len())?;
        for (name, expected) in members.iter() {
            if !self.child(keys, name).equals(expected, keys, work)? {
                return Ok(false);
            }
        }
        work.charge(COMPARED_MEMBER * self.overlaid())?;
        Ok(self.members(keys) == members.len())
    }

    /// Members that are not simply those of the tree.
    fn overlaid(self) -> usize {
        self.base_of_members().overlaid() + self.written().map_or(0, Members::len)
    }

    fn members(self, keys: &Keys) -> usize {
        let base = self.base_of_members();
        let mut count = base.members();
        for (name, member) in self.written().into_iter().flat_map(Members::iter) {
            match (base.child(keys, name).exists(), member) {
                (true, Change::Remove) => count -= 1,
                (false, Change::Leaf(_) | Change::Object { .. }) => count += 1,
                _ => {}
            }
        }
        count
    }

    /// Copies the value.
    pub(crate) fn copy(self, keys: &Keys, work: &mut Work) -> Result<Change, Refusal> {
        if let Some(text) = self.leaf() {
            work.charge_copy(text.len())?;
            return Ok(Change::Leaf(text.clone()));
        }
        work.charge(COPIED_MEMBER * (self.members_at_most() + 1))?;
        let mut members = Members::default();
        for name in self.names(keys) {
            let member = self.child(keys, name);
            if member.exists() {
                work.charge_copy(name.len())?;
                members.insert(name.into(), member.copy(keys, work)?);
            }
        }
        Ok(Change::object(true, members))
    }
}

/// Copies a value that is a part of an array's text. The text was checked when it came in, with a
/// limit that may be wider than that for one body, so it is read without one.
pub(crate) fn copy_text(text: &str, work: &mut Work) -> Result<Change, Refusal> {
    if !text.starts_with('{') {
        work.charge_copy(text.len())?;
        return Ok(Change::Leaf(Text::new(text)));
    }
    work.charge(PARSED_BYTE * text.len())?;
    let unbounded = Limits {
        json_depth: usize::MAX,
        members_per_object: usize::MAX,
        key_bytes: usize::MAX,
        ..Limits::default()
    };
    Ok(Json::known_good(text, &unbounded)
        .map_or_else(|_| Change::Leaf(Text::new(text)), |json| json.0))
}

/// True if a part of an array's text is the value that a patch expects.
pub(crate) fn text_equals(text: &str, expected: &Change, work: &mut Work) -> Result<bool, Refusal> {
    match expected {
        Change::Leaf(expected) => equal_texts(text, expected.as_str(), work),
        Change::Object { .. } if text.starts_with('{') => {
            let value = copy_text(text, work)?;
            Seen::new(&value, Base::NOTHING).equals(expected, &Keys::default(), work)
        }
        _ => Ok(false),
    }
}

fn equal_texts(a: &str, b: &str, work: &mut Work) -> Result<bool, Refusal> {
    if a.len() == b.len() {
        work.charge_copy(a.len())?;
        if a == b {
            return Ok(true);
        }
    }
    match (a.as_bytes()[0], b.as_bytes()[0]) {
        (b'[', b'[') => {
            work.charge(2 * (a.len() + b.len()))?;
            let (a, b) = (elements(a), elements(b));
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !equal_texts(a, b, work)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (b'{', b'{') => {
            let expected = copy_text(b, work)?;
            text_equals(a, &expected, work)
        }
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => {
            work.charge(a.len() + b.len())?;
            Ok(equal_numbers(a, b))
        }
        _ => Ok(false),
    }
}

/// True if two numbers are equal. Integers are compared by their digits, since a double cannot tell
/// large ones apart.
fn equal_numbers(a: &str, b: &str) -> bool {
    let integer = |text: &str| text.parse::<i128>().ok();
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.parse::<f64>().ok() == b.parse::<f64>().ok(),
    }
}
