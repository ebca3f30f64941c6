//! Paths, links and writes that an [`Access`] has allowed. The hub reads, follows and writes
//! nothing else.

use std::ops::Deref;
use std::sync::Arc;

use halfping_engine::{Action, Condition, Cursor, Path, Refusal, States, Watch, Write};
use halfping_rules::Verb;

use super::{Access, is_own};
use crate::auth::{Bound, Only, Rights, Standing, reason};
use crate::problem::{Kind, Problem};
use crate::shape::{Extent, Shape};

/// A path to read at, a link to be opened, or a write, which is allowed to whoever asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Allowed<T>(T);

impl<T> Allowed<T> {
    pub(super) fn new(allowed: T) -> Allowed<T> {
        Allowed(allowed)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Allowed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A client that may follow. Subscriptions are made for nobody else.
#[derive(Clone, Debug)]
pub(crate) struct Follower(Access);

impl Follower {
    /// From here on its credential is that of a stream or session.
    pub(super) fn new(access: Access) -> Follower {
        Follower(Access { by_query: false, ..access })
    }

    /// Takes other rights from here on.
    pub(crate) fn take_rights(&mut self, rights: Rights) {
        self.0 = self.0.with_rights(rights);
    }

    /// Checks that a link at a path, opened with the rights that its reader had `before`, may go on
    /// with those that it has now.
    pub(crate) fn may_go_on(&self, path: &Path, before: &Rights) -> Result<(), Problem> {
        let reads_same = self.rights().is_some_and(|now| now.read_same(before, path));
        match before.may(Verb::Read, path) {
            _ if reads_same && !is_own(path) => Ok(()),
            Ok(()) => self.0.may_follow(path),
            // Who was shown a part may see another now, or all.
            Err(_) => Err(is_another_part(path)),
        }
    }

    /// Checks that its rights, with which it began to wait for a change at a path, are not over, and
    /// let the same be read there.
    pub(crate) fn may_wait(&self, path: &Path, timeout_ms: u64) -> Result<(), Problem> {
        match self.standing(timeout_ms) {
            Standing::Same => Ok(()),
            Standing::Over(why) => Err(reason(why)),
            Standing::Other(now) => {
                let is_same = self.rights().is_some_and(|before| now.read_same(before, path));
                if is_same { Ok(()) } else { Err(is_another_part(path)) }
            }
        }
    }

    /// A link to be opened.
    pub(crate) fn watch(&self, path: Path, shape: &Shape) -> Result<Allowed<Watch>, Problem> {
        self.0.watch(path, shape)
    }

    /// A link that hears of changes of what may be read, and is told no state.
    pub(crate) fn hear(&self, path: &Allowed<Path>) -> Allowed<Watch> {
        Allowed(Watch { from_now: true, ..Watch::new(Path::clone(path)) })
    }

    /// The same of the part that may be seen; with a cursor, of changes since.
    pub(crate) fn hear_part(
        &self,
        path: &Allowed<Path>,
        extent: &Extent,
        since: Option<Cursor>,
    ) -> Allowed<Watch> {
        let (Extent { depth, view, .. }, from_now) = (extent.clone(), since.is_none());
        Allowed(Watch { since, from_now, depth, view, ..Watch::new(Path::clone(path)) })
    }
}

/// The problem of a link that shows what other rights let its reader see.
fn is_another_part(path: &Path) -> Problem {
    let detail = format!("what may be read of {path} has changed with the identity, or the rules");
    Problem::new(Kind::Forbidden, detail).hint("watch it again, to get what may be read now")
}

impl Deref for Follower {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.0
    }
}

/// A path to write at. A client that may write a resource may write all that is beneath it.
#[derive(Clone, Debug)]
pub(crate) struct Writable {
    path: Path,
    bound: Bound,
    /// The client, if it may not see all, or if the write is judged.
    reader: Option<Access>,
    /// The refusal of a patch that reads, if not all of it may be read.
    blind: Option<Box<Problem>>,
}

/// A path to make something new beneath, and who may.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    path: Path,
    access: Access,
}

/// A write that is allowed, if what is there is what the client may change. The engine checks this
/// together with the write.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) write: Allowed<Write>,
    /// The refusal, if it is allowed only where something is, or only where nothing is.
    pub(crate) only: Option<Box<Only>>,
    /// The refusals, if rules judge it by what it changes.
    pub(crate) judged: Option<Box<Judged>>,
    /// The refusal of a patch that cannot be applied, if its client may not read all that is there:
    /// why it cannot would tell.
    pub(crate) blind: Option<Box<Problem>>,
}

/// The refusals of a write that rules judge by what it changes. A client that is not shown what is
/// there gets the one that it would get if nothing were there.
#[derive(Debug)]
pub(crate) struct Judged {
    path: Path,
    /// The client.
    reader: Option<Access>,
    /// The refusal by the rules.
    pub(crate) forbidden: Problem,
    /// The refusal where nothing is.
    pub(crate) absent: Problem,
}

impl Parent {
    pub(super) fn new(path: Path, access: Access) -> Parent {
        Parent { path, access }
    }

    /// The path of something new of this name.
    pub(crate) fn child(&self, name: &str) -> Result<Writable, Problem> {
        let path = self.path.child(name);
        let bound = self.access.bound(|rights| rights.may_only(Verb::Create, &path))?;
        Ok(self.access.writable(path, bound))
    }
}

impl Writable {
    pub(super) fn new(path: Path, bound: Bound, reader: Option<Access>) -> Writable {
        Writable { path, bound, reader, blind: None }
    }

    /// The client, if it may not see all, and the resource as far as it is shown it.
    pub(crate) fn shown_in_part(&self) -> Option<(&Access, Allowed<Path>, Extent)> {
        let reader = self.reader.as_ref().filter(|reader| reader.is_partial())?;
        let (path, extent) = reader.shown(&self.path)?;
        Some((reader, path, extent))
    }

    /// The same of a path of which not all may be read, for this reason.
    pub(super) fn blind(self, problem: Problem) -> Writable {
        Writable { blind: Some(Box::new(problem)), ..self }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.path.is_root()
    }

    /// The write. A patch may not tell by `test`, `copy` or `move` what its client may not read.
    pub(crate) fn write(
        self,
        action: Action,
        mut condition: Condition,
    ) -> Result<Granted, Problem> {
        let blind = self.blind.filter(|_| matches!(action, Action::Patch(_)));
        if let (Action::Patch(patch), Some(problem)) = (&action, &blind)
            && patch.reads()
        {
            return Err((**problem).clone());
        }
        let (mut only, mut judged) = (None, None);
        match self.bound {
            Bound::None => {}
            Bound::Only(bound) => {
                match bound.creates {
                    true => condition.is_not = Some(States::Any),
                    // Cursors match only what is there.
                    false => condition.is = condition.is.or(Some(States::Any)),
                }
                only = Some(bound);
            }
            Bound::Judged(rights) => {
                judged = Some(Box::new(Judged::new(
                    &self.path,
                    self.reader,
                    &action,
                    &condition,
                    &rights,
                )));
                condition.judge = Some(Arc::new(rights));
            }
        }
        let write = Allowed(Write { path: self.path, action, condition });
        Ok(Granted { write, only, judged, blind })
    }
}

impl Judged {
    /// The resource, as far as the client is shown it.
    pub(crate) fn shown(&self) -> Option<(Allowed<Path>, Extent)> {
        self.reader.as_ref()?.shown(&self.path)
    }

    fn new(
        path: &Path,
        reader: Option<Access>,
        action: &Action,
        condition: &Condition,
        rights: &Rights,
    ) -> Judged {
        let forbidden = rights.not_so(path);
        let needs_something = match action {
            Action::Delete => true,
            Action::Patch(patch) => !patch.starts_afresh(),
            Action::Put(_) | Action::Merge(_) => false,
        };
        let absent = match needs_something {
            _ if condition.is.is_some() => Refusal::Precondition(path.clone()).into(),
            true => Refusal::NotFound(path.clone()).into(),
            false => forbidden.clone(),
        };
        Judged { path: path.clone(), reader, forbidden, absent }
    }
}
