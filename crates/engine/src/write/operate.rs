//! JSON Patch (RFC 6902), worked out on a commit. An operation compares in place, and its work is
//! charged before it is done.

use crate::limits::Limits;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::tree::text::Text;
use crate::write::change::Change;
use crate::write::json::nesting;
use crate::write::overlay::{Node, Overlay};
use crate::write::patch::{Action, Patch, display};
use crate::write::seen::{Seen, Work, copy_text, text_equals};
use crate::write::splice::{self, Place};

/// Cost of an operation besides its operands, in bytes that are scanned.
const OPERATION: usize = 256;
/// Cost of each name on its way, in bytes that are scanned.
const NAME: usize = 64;

/// A JSON Patch operation that cannot be applied, or a limit.
enum Fault {
    Failed(String),
    Refused(Refusal),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::Refused(refusal)
    }
}

/// An edit of the value that a pointer leads to.
enum Edit {
    Add(Change),
    Replace(Change),
    Remove,
}

/// The value that a pointer leads to.
enum Found<'c> {
    Node(Seen<'c>),
    /// A part of an array's text.
    Text(&'c str),
}

impl Overlay<'_> {
    /// Applies all operations of a patch to the value at the path.
    pub(crate) fn patch(&mut self, path: &Path, patch: &Patch) -> Result<(), Refusal> {
        if !self.exists(path) && !patch.starts_afresh() {
            return Err(Refusal::NotFound(path.clone()));
        }
        for (index, operation) in patch.0.iter().enumerate() {
            self.operation(path, &operation.path, &operation.action).map_err(
                |fault| match fault {
                    Fault::Failed(why) => Refusal::PatchFailed { index, why },
                    Fault::Refused(refusal) => refusal,
                },
            )?;
        }
        // The patch must not remove the whole resource without setting it again: that is what
        // DELETE is for.
        match self.exists(path) {
            true => Ok(()),
            false => Err(Refusal::PatchFailed {
                index: patch.0.len() - 1,
                why: "the whole resource is removed; use DELETE".into(),
            }),
        }
    }

    fn operation(&mut self, path: &Path, pointer: &[String], action: &Action) -> Result<(), Fault> {
        self.work.charge(OPERATION + NAME * (path.segments().len() + pointer.len()))?;
        match action {
            Action::Add(value) => self.edit(path, pointer, Edit::Add(value.clone())),
            Action::Replace(value) => self.edit(path, pointer, Edit::Replace(value.clone())),
            Action::Remove => self.edit(path, pointer, Edit::Remove),
            Action::Move { from } => {
                if pointer.len() > from.len() && pointer.starts_with(from) {
                    return Err(Fault::Failed("a value cannot be moved into itself".into()));
                }
                if from == pointer {
                    return self.read(path, from, |_, _, _| Ok(()));
                }
                let value = self.copy(path, from)?;
                self.edit(path, from, Edit::Remove)?;
                self.edit(path, pointer, Edit::Add(value))
            }
            Action::Copy { from } => {
                let value = self.copy(path, from)?;
                self.edit(path, pointer, Edit::Add(value))
            }
            Action::Test(expected) => {
                let is_equal = self.read(path, pointer, |found, keys, work| match found {
                    Found::Node(seen) => seen.equals(expected, keys, work),
                    Found::Text(text) => text_equals(text, expected, work),
                })?;
                match is_equal {
                    true => Ok(()),
                    false => Err(Fault::Failed(format!(
                        "the value at {:?} is another",
                        display(pointer)
                    ))),
                }
            }
        }
    }

    fn copy(&mut self, path: &Path, pointer: &[String]) -> Result<Change, Fault> {
        self.read(path, pointer, |found, keys, work| match found {
            Found::Node(seen) => seen.copy(keys, work),
            Found::Text(text) => copy_text(text, work),
        })
    }

    /// Calls `look` with the value that a pointer leads to.
    fn read<T>(
        &mut self,
        path: &Path,
        pointer: &[String],
        look: impl FnOnce(Found<'_>, &crate::tree::key::Keys, &mut Work) -> Result<T, Refusal>,
    ) -> Result<T, Fault> {
        let mut work = std::mem::replace(&mut self.work, Work::NONE);
        let missing = || Fault::Failed(format!("there is nothing at {:?}", display(pointer)));
        let mut seen = self.seen(path);
        let mut found = None;
        for (i, token) in pointer.iter().enumerate() {
            if let Some(text) = seen.leaf() {
                let text = part(text.as_str(), &pointer[i..], &mut work)?.ok_or_else(missing)?;
                found = Some(Found::Text(text));
                break;
            }
            seen = seen.child(self.keys, token);
        }
        let found = match found {
            Some(found) => found,
            None if seen.exists() => Found::Node(seen),
            None => return Err(missing()),
        };
        let done = look(found, self.keys, &mut work)?;
        self.work = work;
        Ok(done)
    }

    fn edit(&mut self, path: &Path, pointer: &[String], edit: Edit) -> Result<(), Fault> {
        let (keys, limits) = (self.keys, self.limits);
        let mut work = std::mem::replace(&mut self.work, Work::NONE);
        let mut node = self.find(path)?;
        let mut done = 0;
        while done < pointer.len() && node.is_object() {
            node = node.member(keys, &pointer[done]);
            done += 1;
        }
        let missing =
            || Fault::Failed(format!("there is nothing at {:?}", display(&pointer[..done])));
        if done == pointer.len() {
            *node.change = match edit {
                Edit::Add(value) => value,
                Edit::Replace(_) | Edit::Remove if !node.exists() => return Err(missing()),
                Edit::Replace(value) => value,
                Edit::Remove => Change::Remove,
            };
        } else if !node.exists() {
            return Err(missing());
        } else if node.seen().leaf().is_some_and(Text::is_array) {
            let depth = path.segments().len() + done;
            let mut text = take_text(&mut node, &mut work)?;
            if depth > limits.path_depth {
                // Its depth after that is found by another look at all of it.
                work.charge(text.len())?;
            }
            edit_text(&mut text, pointer, done, edit, limits, &mut work)?;
            *node.change = Change::Leaf(Text::from_string(text));
        } else {
            return Err(Fault::Failed(format!(
                "{:?} is {}",
                display(&pointer[..done]),
                node.kind()
            )));
        }
        self.work = work;
        Ok(())
    }
}

/// The text that is at a node, to be edited: its own, or a copy.
fn take_text(node: &mut Node<'_, '_>, work: &mut Work) -> Result<String, Refusal> {
    let len = node.seen().leaf().map_or(0, Text::len);
    work.charge_copy(len)?;
    if let Change::Leaf(text) = std::mem::take(node.change) {
        return Ok(text.into_string());
    }
    Ok(node.seen().leaf().map_or_else(String::new, |text| text.as_str().to_owned()))
}

/// The value that a pointer leads to in the text of a value.
fn part<'t>(
    mut text: &'t str,
    pointer: &[String],
    work: &mut Work,
) -> Result<Option<&'t str>, Refusal> {
    for token in pointer {
        work.charge(text.len())?;
        let place = match text.as_bytes()[0] {
            b'[' => splice::index_of(token).ok().and_then(|index| splice::element(text, index)),
            b'{' => Some(splice::member(text, token)),
            _ => None,
        };
        let Some(Place::At(range)) = place else { return Ok(None) };
        text = &text[range];
    }
    Ok(Some(text))
}

/// Edits the value that a pointer leads to in the text of an array. `from`: the number of its names
/// that led to the array.
fn edit_text(
    text: &mut String,
    pointer: &[String],
    from: usize,
    edit: Edit,
    limits: &Limits,
    work: &mut Work,
) -> Result<(), Fault> {
    let fail = |tokens: usize, why: &str| {
        Fault::Failed(format!("{:?} {why}", display(&pointer[..tokens])))
    };
    let missing = |tokens: usize| {
        Fault::Failed(format!("there is nothing at {:?}", display(&pointer[..tokens])))
    };
    let mut inside = 0..text.len();
    for (done, token) in pointer.iter().enumerate().skip(from) {
        let list = &text[inside.clone()];
        let is_last = done + 1 == pointer.len();
        let is_array = list.starts_with('[');
        let place = match list.as_bytes()[0] {
            b'[' if is_last && token == "-" && matches!(edit, Edit::Add(_)) => splice::end_of(list),
            b'[' => {
                let index = splice::index_of(token).map_err(|why| fail(done + 1, why))?;
                work.charge(list.len())?;
                match splice::element(list, index) {
                    Some(Place::Missing { at, first })
                        if is_last && matches!(edit, Edit::Add(_)) =>
                    {
                        Place::Missing { at, first }
                    }
                    Some(Place::At(range)) => Place::At(range),
                    _ => return Err(fail(done + 1, "is beyond the array's end")),
                }
            }
            b'{' => {
                work.charge(list.len())?;
                splice::member(list, token)
            }
            _ => return Err(fail(done, &format!("is {}", Text::new(list).kind()))),
        };
        let whole =
            |range: std::ops::Range<usize>| inside.start + range.start..inside.start + range.end;
        let range = match (place, is_last) {
            (Place::At(range), false) => {
                inside = whole(range);
                continue;
            }
            (Place::Missing { .. }, false) => return Err(missing(done + 1)),
            (Place::Missing { .. }, true) if !matches!(edit, Edit::Add(_)) => {
                return Err(missing(done + 1));
            }
            (place, true) => place,
        };
        let (range, new) = match (range, edit) {
            (Place::At(range), Edit::Remove) => {
                let range = if is_array { range } else { splice::with_name(range, token) };
                (splice::with_comma(list, range), String::new())
            }
            (Place::At(range), Edit::Add(value)) if is_array => {
                (range.start..range.start, text_of(&value) + ",")
            }
            (Place::At(range), Edit::Add(value) | Edit::Replace(value)) => (range, text_of(&value)),
            (Place::Missing { at, first }, Edit::Add(value)) => {
                let mut new = Vec::new();
                if !first {
                    new.push(b',');
                }
                if !is_array {
                    crate::tree::key::write_json_string(token, &mut new);
                    new.push(b':');
                }
                value.write(&mut new);
                (at..at, String::from_utf8(new).unwrap_or_default())
            }
            (Place::Missing { .. }, _) => return Err(missing(done + 1)),
        };
        work.charge(new.len())?;
        // The text around it is as deep as before.
        if done + 1 - from + nesting(&new) > limits.json_depth {
            let what = "arrays nested too deep".into();
            return Err(Refusal::Limit { limit: "json_depth", max: limits.json_depth, what }.into());
        }
        let range = whole(range);
        text.reserve_exact(new.len().saturating_sub(range.len()));
        text.replace_range(range, &new);
        return Ok(());
    }
    Ok(())
}

fn text_of(value: &Change) -> String {
    let mut out = Vec::new();
    value.write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}
