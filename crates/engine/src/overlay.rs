//! Working out writes: a [`Change`] laid over the tree, edited without touching the tree.

use crate::base::{Base, View, whole};
use crate::change::{Change, Members};
use crate::json::{Json, elements, nesting};
use crate::key::Keys;
use crate::limits::Limits;
use crate::patch::{Action, Patch, display};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::text::Text;

/// A node as it will be: what is written over what the tree has.
struct Node<'c, 't> {
    change: &'c mut Change,
    /// What is here without it; nothing when something above it is made anew.
    base: Base<'t>,
    /// Something above it is made anew, in this commit: nothing that the tree has here may shine through.
    is_replaced: bool,
}

/// The commit being worked out.
pub(crate) struct Overlay<'t> {
    pub(crate) change: Change,
    root: Base<'t>,
    keys: &'t Keys,
    limits: &'t Limits,
    /// Bytes that JSON Patch operations have copied, compared and rewritten.
    patch_work: usize,
}

impl<'c, 't> Node<'c, 't> {
    fn exists(&self) -> bool {
        match self.change {
            Change::Keep => self.base.exists(),
            Change::Remove => false,
            _ => true,
        }
    }

    fn is_object(&self) -> bool {
        match self.change {
            Change::Keep => self.base.is_object(),
            Change::Object { .. } => true,
            _ => false,
        }
    }

    fn kind(&self) -> &'static str {
        match &self.change {
            Change::Keep => self.base.kind(),
            change => change.kind(),
        }
    }

    fn reborrow(&mut self) -> Node<'_, 't> {
        Node { change: &mut *self.change, base: self.base, is_replaced: self.is_replaced }
    }

    /// The member of an object, to be edited.
    fn member(self, keys: &Keys, name: &str) -> Node<'c, 't> {
        if matches!(self.change, Change::Keep) {
            *self.change = Change::Object { anew: false, members: Members::new() };
        }
        let Change::Object { anew, members } = self.change else { unreachable!("asked only of objects") };
        let is_replaced = self.is_replaced || *anew;
        let base = if *anew { Base::NOTHING } else { self.base.child(keys, name) };
        // Looked up twice rather than boxing the name each time: it is there in most cases.
        if !members.contains_key(name) {
            members.insert(name.into(), Change::Keep);
        }
        Node { change: &mut members[name], base, is_replaced }
    }

    /// The text of the array that is here, if one is.
    fn array(&self) -> Option<&str> {
        let text = match (&*self.change, self.base.view()) {
            (Change::Leaf(text), _) | (Change::Keep, View::Leaf(text)) => text,
            _ => return None,
        };
        text.is_array().then(|| text.as_str())
    }
}

/// A JSON Patch operation that cannot be applied, or a limit.
enum Fault {
    Failed(String),
    Refused(Refusal),
}

/// What to do where a pointer leads.
enum Edit {
    Add(Change),
    Replace(Change),
    Remove,
}

impl<'t> Overlay<'t> {
    pub(crate) fn new(root: Base<'t>, keys: &'t Keys, limits: &'t Limits) -> Overlay<'t> {
        Overlay { change: Change::Keep, root, keys, limits, patch_work: 0 }
    }

    fn root(&mut self) -> Node<'_, 't> {
        Node { change: &mut self.change, base: self.root, is_replaced: false }
    }

    /// Where a path leads, if everything above it is an object.
    fn find(&mut self, path: &Path) -> Result<Node<'_, 't>, Refusal> {
        let keys = self.keys;
        let mut node = self.root();
        for (i, name) in path.segments().iter().enumerate() {
            if !node.is_object() {
                if !node.exists() {
                    // Where something was removed or replaced just now, nothing of it may shine through. Elsewhere there is nothing, and if
                    // by the time when this is applied there is, it stays.
                    let anew = node.base.exists() || node.is_replaced;
                    *node.change = Change::Object { anew, members: Members::new() };
                } else {
                    let mut at = Path::ROOT;
                    path.segments()[..i].iter().for_each(|s| at = at.child(s));
                    return Err(Refusal::NotAnObject { path: at, kind: node.kind() });
                }
            }
            node = node.member(keys, name);
        }
        Ok(node)
    }

    /// Whether something is at the path as things stand in this commit.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        let (mut change, mut base) = (&self.change, self.root);
        for name in path.segments() {
            let beneath = base.child(self.keys, name);
            (change, base) = match change {
                Change::Keep => (change, beneath),
                Change::Object { anew, members } => {
                    let beneath = if *anew { Base::NOTHING } else { beneath };
                    (members.get(name).unwrap_or(&Change::Keep), beneath)
                }
                Change::Leaf(_) | Change::Remove => return false,
            };
        }
        match change {
            Change::Keep => base.exists(),
            Change::Remove => false,
            _ => true,
        }
    }

    pub(crate) fn put(&mut self, path: &Path, value: &Json) -> Result<(), Refusal> {
        *self.find(path)?.change = value.0.clone();
        Ok(())
    }

    pub(crate) fn delete(&mut self, path: &Path) -> Result<(), Refusal> {
        if !self.exists(path) {
            return Err(Refusal::NotFound(path.clone()));
        }
        *self.find(path)?.change = Change::Remove;
        Ok(())
    }

    pub(crate) fn merge(&mut self, path: &Path, patch: &Json) -> Result<(), Refusal> {
        let keys = self.keys;
        merge(keys, self.find(path)?, &patch.0);
        Ok(())
    }

    /// Applies all operations of a patch to what is at the path.
    pub(crate) fn patch(&mut self, path: &Path, patch: &Patch) -> Result<(), Refusal> {
        if !self.exists(path) && !patch.starts_afresh() {
            return Err(Refusal::NotFound(path.clone()));
        }
        for (index, operation) in patch.0.iter().enumerate() {
            self.operation(path, &operation.path, &operation.action).map_err(|fault| match fault {
                Fault::Failed(why) => Refusal::PatchFailed { index, why },
                Fault::Refused(refusal) => refusal,
            })?;
        }
        // What was removed whole and not set again: the resource is gone, and that is what DELETE is for.
        match self.exists(path) {
            true => Ok(()),
            false => Err(Refusal::PatchFailed {
                index: patch.0.len() - 1,
                why: "the whole resource is removed; use DELETE".into(),
            }),
        }
    }

    fn operation(&mut self, path: &Path, pointer: &[String], action: &Action) -> Result<(), Fault> {
        match action {
            Action::Add(value) => self.edit(path, pointer, Edit::Add(value.clone())),
            Action::Replace(value) => self.edit(path, pointer, Edit::Replace(value.clone())),
            Action::Remove => self.edit(path, pointer, Edit::Remove),
            Action::Move { from } => {
                if pointer.len() > from.len() && pointer.starts_with(from) {
                    return Err(Fault::Failed("a value cannot be moved into itself".into()));
                }
                let value = self.read(path, from)?;
                if from != pointer {
                    self.edit(path, from, Edit::Remove)?;
                    self.edit(path, pointer, Edit::Add(value))?;
                }
                Ok(())
            }
            Action::Copy { from } => {
                let value = self.read(path, from)?;
                self.edit(path, pointer, Edit::Add(value))
            }
            Action::Test(expected) => {
                let value = self.read(path, pointer)?;
                match equal(&value, expected) {
                    true => Ok(()),
                    false => Err(Fault::Failed(format!("the value at {:?} is another", display(pointer)))),
                }
            }
        }
    }

    fn edit(&mut self, path: &Path, pointer: &[String], edit: Edit) -> Result<(), Fault> {
        let (keys, limits) = (self.keys, self.limits);
        let mut work = self.patch_work;
        let node = self.find(path).map_err(Fault::Refused)?;
        let done = apply_edit(node, keys, limits, pointer, 0, edit, &mut work);
        self.patch_work = work;
        done
    }

    /// A copy of what a pointer leads to.
    fn read(&mut self, path: &Path, pointer: &[String]) -> Result<Change, Fault> {
        let (keys, limits) = (self.keys, self.limits);
        let mut work = self.patch_work;
        let mut node = self.find(path).map_err(Fault::Refused)?;
        let missing = || Fault::Failed(format!("there is nothing at {:?}", display(pointer)));
        for (i, token) in pointer.iter().enumerate() {
            if let Some(array) = node.array() {
                charge(&mut work, array.len(), limits).map_err(Fault::Refused)?;
                let value = read_element(array, &pointer[i..], limits).ok_or_else(missing)?;
                self.patch_work = work;
                return Ok(value);
            }
            if !node.is_object() {
                return Err(missing());
            }
            node = node.member(keys, token);
        }
        if !node.exists() {
            return Err(missing());
        }
        let value = whole(keys, node.change, node.base);
        let mut text = Vec::new();
        value.write(&mut text);
        charge(&mut work, text.len(), limits).map_err(Fault::Refused)?;
        self.patch_work = work;
        Ok(value)
    }

    /// Checks what the commit would make against the limits, before any of it is made.
    /// `tree_bytes`: how large the tree is, at most.
    pub(crate) fn check(&self, tree_bytes: usize) -> Result<(), Refusal> {
        match &self.change {
            Change::Leaf(_) | Change::Remove => return Err(Refusal::Root { kind: self.change.kind() }),
            Change::Object { members, .. } => {
                // `Keep` too: whoever names it meant to write there.
                if let Some(name) = members.keys().find(|name| name.starts_with('_')) {
                    return Err(Refusal::Reserved(name.to_string()));
                }
            }
            Change::Keep => {}
        }
        let max = self.limits.tree_bytes;
        if self.change.adds() && tree_bytes + self.change.added_bytes() > max {
            let what = "the tree has no room for the write".into();
            return Err(Refusal::Limit { limit: "tree_bytes", max, what });
        }
        check(&self.change, self.root, self.keys, self.limits, &mut Vec::new())
    }
}

/// Checks how many members the objects will have that a change makes or writes to, and how deep they are nested.
pub(crate) fn check<'c>(
    change: &'c Change,
    base: Base<'_>,
    keys: &Keys,
    limits: &Limits,
    at: &mut Vec<&'c str>,
) -> Result<(), Refusal> {
    let Change::Object { anew, members } = change else { return Ok(()) };
    let base = if *anew { Base::NOTHING } else { base };
    let refuse = |limit, max, what: String, at: &[&str]| {
        let mut path = Path::ROOT;
        at.iter().for_each(|s| path = path.child(s));
        Err(Refusal::Limit { limit, max, what: format!("{what} at {path}") })
    };
    if at.len() > limits.path_depth + limits.json_depth {
        return refuse("json_depth", limits.json_depth, "objects nested too deep".into(), &[]);
    }
    let (mut added, mut removed) = (0, 0);
    for (name, member) in members {
        let beneath = base.child(keys, name);
        match (beneath.exists(), member) {
            (true, Change::Remove) => removed += 1,
            (false, Change::Leaf(_) | Change::Object { .. }) => added += 1,
            _ => {}
        }
        at.push(name);
        check(member, beneath, keys, limits, at)?;
        at.pop();
    }
    // With many commits in line, it takes long to count: only where it matters.
    if added > removed {
        let count = base.members(keys) + added - removed;
        if count > limits.members_per_object {
            let what = format!("{count} members");
            return refuse("members_per_object", limits.members_per_object, what, at);
        }
    }
    Ok(())
}

fn merge(keys: &Keys, node: Node<'_, '_>, patch: &Change) {
    let Change::Object { members, .. } = patch else {
        *node.change = patch.clone();
        return;
    };
    let mut node = node;
    if !node.is_object() {
        *node.change = Change::empty_object();
    }
    for (name, value) in members {
        match value {
            Change::Leaf(text) if text.is_null() => {
                *node.reborrow().member(keys, name).change = Change::Remove;
            }
            _ => merge(keys, node.reborrow().member(keys, name), value),
        }
    }
}

fn charge(work: &mut usize, bytes: usize, limits: &Limits) -> Result<(), Refusal> {
    *work += bytes;
    match *work > limits.patch_work_bytes {
        false => Ok(()),
        true => Err(Refusal::Limit {
            limit: "patch_work_bytes",
            max: limits.patch_work_bytes,
            what: "the patch copies, compares and rewrites too many bytes".into(),
        }),
    }
}

fn apply_edit(
    node: Node<'_, '_>,
    keys: &Keys,
    limits: &Limits,
    pointer: &[String],
    done: usize,
    edit: Edit,
    work: &mut usize,
) -> Result<(), Fault> {
    let missing =
        |tokens: usize| Fault::Failed(format!("there is nothing at {:?}", display(&pointer[..tokens])));
    let Some(token) = pointer.get(done) else {
        *node.change = match edit {
            Edit::Add(value) => value,
            Edit::Replace(_) | Edit::Remove if !node.exists() => return Err(missing(done)),
            Edit::Replace(value) => value,
            Edit::Remove => Change::Remove,
        };
        return Ok(());
    };
    if node.is_object() {
        return apply_edit(node.member(keys, token), keys, limits, pointer, done + 1, edit, work);
    }
    let Some(array) = node.array() else {
        return Err(match node.exists() {
            false => missing(done),
            true => Fault::Failed(format!("{:?} is {}", display(&pointer[..done]), node.kind())),
        });
    };
    charge(work, array.len(), limits).map_err(Fault::Refused)?;
    let mut texts: Vec<std::borrow::Cow<'_, str>> = elements(array).into_iter().map(Into::into).collect();
    let last = done + 1 == pointer.len();
    let index = match (token.as_str(), &edit) {
        ("-", Edit::Add(_)) if last => texts.len(),
        _ => element_index(token)
            .map_err(|why| Fault::Failed(format!("{:?} {why}", display(&pointer[..=done]))))?,
    };
    let inserts = last && matches!(edit, Edit::Add(_));
    if index >= texts.len() + usize::from(inserts) {
        return Err(Fault::Failed(format!("{:?} is beyond the array's end", display(&pointer[..=done]))));
    }
    let text_of = |change: &Change| {
        let mut out = Vec::new();
        change.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    };
    match edit {
        Edit::Add(value) if last => texts.insert(index, text_of(&value).into()),
        Edit::Replace(value) if last => texts[index] = text_of(&value).into(),
        Edit::Remove if last => drop(texts.remove(index)),
        edit => {
            let mut element = element_value(&texts[index], limits);
            let node = Node { change: &mut element, base: Base::NOTHING, is_replaced: true };
            apply_edit(node, keys, limits, pointer, done + 1, edit, work)?;
            texts[index] = text_of(&element).into();
        }
    }
    let text = format!("[{}]", texts.join(","));
    charge(work, text.len(), limits).map_err(Fault::Refused)?;
    if nesting(&text) > limits.json_depth {
        let what = "arrays nested too deep".into();
        return Err(Fault::Refused(Refusal::Limit { limit: "json_depth", max: limits.json_depth, what }));
    }
    *node.change = Change::Leaf(Text::new(&text));
    Ok(())
}

fn read_element(array: &str, pointer: &[String], limits: &Limits) -> Option<Change> {
    let text = *elements(array).get(element_index(&pointer[0]).ok()?)?;
    let mut value = element_value(text, limits);
    for (i, token) in pointer.iter().enumerate().skip(1) {
        value = match value {
            Change::Object { mut members, .. } => members.swap_remove(token.as_str())?,
            Change::Leaf(text) if text.is_array() => {
                return read_element(text.as_str(), &pointer[i..], limits);
            }
            _ => return None,
        };
    }
    Some(value)
}

/// The value of an array's element. Its text has been checked when it came in, with a limit that may be wider than that for one
/// body, so it is read without one.
fn element_value(text: &str, limits: &Limits) -> Change {
    let unbounded = Limits {
        json_depth: usize::MAX,
        members_per_object: usize::MAX,
        key_bytes: usize::MAX,
        ..limits.clone()
    };
    Json::known_good(text, &unbounded).map_or_else(|_| Change::Leaf(Text::new(text)), |json| json.0)
}

fn element_index(token: &str) -> Result<usize, &'static str> {
    // RFC 6901: no sign, no leading zeros.
    let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    match token.parse() {
        Ok(index) if plain => Ok(index),
        _ => Err("is no index of an array"),
    }
}

/// Equality as RFC 6902, section 4.6, has it: numbers by value, objects without order.
fn equal(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (Change::Object { members: a, .. }, Change::Object { members: b, .. }) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| equal(value, other)))
        }
        (Change::Leaf(a), Change::Leaf(b)) => equal_text(a.as_str(), b.as_str()),
        _ => false,
    }
}

fn equal_text(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (a.as_bytes()[0], b.as_bytes()[0]) {
        (b'[', b'[') => {
            let (a, b) = (elements(a), elements(b));
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_text(a, b))
        }
        (b'{', b'{') => {
            let limits = Limits::default();
            equal(&element_value(a, &limits), &element_value(b, &limits))
        }
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => equal_numbers(a, b),
        _ => false,
    }
}

/// Whether two numbers are the same. Integers are compared by their digits, since a double cannot tell large ones apart.
fn equal_numbers(a: &str, b: &str) -> bool {
    let integer = |text: &str| text.parse::<i128>().ok();
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.parse::<f64>().ok() == b.parse::<f64>().ok(),
    }
}
