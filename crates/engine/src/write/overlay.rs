//! Working out writes: a [`Change`] laid over the tree, edited without touching the tree.

use crate::limits::Limits;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::tree::key::Keys;
use crate::tree::text::Text;
use crate::write::base::Base;
use crate::write::change::{Change, Members};
use crate::write::json::{Json, nesting};
use crate::write::seen::{Seen, Work};

/// A node as it will be, to be written: a change over the tree's value.
pub(crate) struct Node<'c, 't> {
    pub(crate) change: &'c mut Change,
    /// The base without this change; nothing if something above it is made anew.
    pub(crate) base: Base<'t>,
    /// True if this commit makes something above it anew: nothing that the tree has here may remain
    /// visible.
    is_replaced: bool,
}

/// The commit being worked out.
pub(crate) struct Overlay<'t> {
    pub(crate) change: Change,
    pub(crate) root: Base<'t>,
    pub(crate) keys: &'t Keys,
    pub(crate) limits: &'t Limits,
    /// Work of JSON Patch operations: bytes compared, copied and rewritten.
    pub(crate) work: Work,
}

impl<'c, 't> Node<'c, 't> {
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen::new(self.change, self.base)
    }

    pub(crate) fn exists(&self) -> bool {
        self.seen().exists()
    }

    pub(crate) fn is_object(&self) -> bool {
        self.seen().is_object()
    }

    pub(crate) fn kind(&self) -> &'static str {
        match &self.change {
            Change::Keep => self.base.kind(),
            change => change.kind(),
        }
    }

    fn reborrow(&mut self) -> Node<'_, 't> {
        Node { change: &mut *self.change, base: self.base, is_replaced: self.is_replaced }
    }

    /// The member of an object, to be edited.
    pub(crate) fn member(self, keys: &Keys, name: &str) -> Node<'c, 't> {
        if matches!(self.change, Change::Keep) {
            *self.change = Change::object(false, Members::default());
        }
        let Change::Object { anew, members, .. } = self.change else {
            unreachable!("asked only of objects")
        };
        let is_replaced = self.is_replaced || *anew;
        let base = if *anew { Base::NOTHING } else { self.base.child(keys, name) };
        Node { change: members.at(name), base, is_replaced }
    }
}

impl<'t> Overlay<'t> {
    pub(crate) fn new(root: Base<'t>, keys: &'t Keys, limits: &'t Limits) -> Overlay<'t> {
        Overlay { change: Change::Keep, root, keys, limits, work: Work::new(limits) }
    }

    fn root(&mut self) -> Node<'_, 't> {
        Node { change: &mut self.change, base: self.root, is_replaced: false }
    }

    /// The node that a path leads to, if everything above it is an object.
    pub(crate) fn find(&mut self, path: &Path) -> Result<Node<'_, 't>, Refusal> {
        let keys = self.keys;
        let mut node = self.root();
        for (i, name) in path.segments().iter().enumerate() {
            if !node.is_object() {
                if !node.exists() {
                    // Where something was removed or replaced just now, nothing of it may remain
                    // visible. Elsewhere there is nothing; if there is something by the time this
                    // is applied, it stays.
                    let anew = node.base.exists() || node.is_replaced;
                    *node.change = Change::object(anew, Members::default());
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

    /// True if something is at the path in the state within this commit.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.seen(path).exists()
    }

    /// The node at the path in the state within this commit.
    pub(crate) fn seen(&self, path: &Path) -> Seen<'_> {
        let root = Seen::new(&self.change, self.root);
        path.segments().iter().fold(root, |seen, name| seen.child(self.keys, name))
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

    /// Checks the outcome of the commit against the limits, before any of it is made. `tree_bytes`:
    /// upper bound of the tree's bytes.
    pub(crate) fn check(&self, tree_bytes: usize) -> Result<(), Refusal> {
        match &self.change {
            Change::Leaf(_) | Change::Remove => {
                return Err(Refusal::Root { kind: self.change.kind() });
            }
            Change::Object { members, .. } => {
                // `Keep` too: a client that names it meant to write there.
                if let Some(name) = members.names().find(|name| name.starts_with('_')) {
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

/// Checks the number of members of the objects that a change makes or writes to, and the nesting of
/// what it makes.
pub(crate) fn check<'c>(
    change: &'c Change,
    base: Base<'_>,
    keys: &Keys,
    limits: &Limits,
    at: &mut Vec<&'c str>,
) -> Result<(), Refusal> {
    let refuse = |limit, max, what: String, at: &[&str]| {
        let mut path = Path::ROOT;
        at.iter().for_each(|s| path = path.child(s));
        Err(Refusal::Limit { limit, max, what: format!("{what} at {path}") })
    };
    // A value that is too deep already may be kept, and removed.
    let levels = match change {
        Change::Leaf(text) => text_levels(text, at.len(), limits),
        Change::Object { anew, .. } => usize::from(*anew || !base.is_object()),
        Change::Keep | Change::Remove => return Ok(()),
    };
    let is_new = levels > 0 || matches!(change, Change::Leaf(_));
    if is_new && at.len() + levels > limits.tree_depth {
        let what = "too many levels of objects and arrays".into();
        return refuse("tree_depth", limits.tree_depth, what, &at[..1]);
    }
    let Change::Object { anew, members, .. } = change else { return Ok(()) };
    let base = if *anew { Base::NOTHING } else { base };
    let (mut added, mut removed) = (0, 0);
    for (name, member) in members.iter() {
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
    // An object that has too many already may be changed, and made smaller.
    if added > removed {
        let count = base.members() + added - removed;
        if count > limits.members_per_object {
            let what = format!("{count} members");
            return refuse("members_per_object", limits.members_per_object, what, at);
        }
    }
    Ok(())
}

/// Levels of arrays and objects in a text at this depth, as far as they could matter.
fn text_levels(text: &Text, depth: usize, limits: &Limits) -> usize {
    // Each body was held to `json_depth`, and no level takes less than two bytes.
    let at_most = limits.json_depth.min(text.len() / 2);
    match text.is_array() && depth + at_most > limits.tree_depth {
        true => nesting(text.as_str()),
        false => 0,
    }
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
    for (name, value) in members.iter() {
        match value {
            Change::Leaf(text) if text.is_null() => {
                *node.reborrow().member(keys, name).change = Change::Remove;
            }
            _ => merge(keys, node.reborrow().member(keys, name), value),
        }
    }
}
