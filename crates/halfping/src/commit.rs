//! Commits as a Rust program writes them down.

use halfping_engine::{Action, Condition, Json, JsonError, Limits, Patch, States, Write};
use serde::Serialize;

use crate::error::{Error, parse_path};
use crate::tag::{self, Given};

/// Several writes that happen together or not at all.
///
/// A condition belongs to the write before it. It speaks of the state before the commit; if one
/// does not hold, nothing is written ([`Refusal::Precondition`](crate::Refusal::Precondition)).
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use halfping::{Api, Commit, Error, Options, Refusal};
///
/// let api = Api::new(Options::default());
/// let count = loop {
///     let count = api.read::<u32>("/count")?;
///     let next = count.value.unwrap_or(0) + 1;
///     match api.commit(Commit::new().put("/count", &next).if_unchanged(&count)).await {
///         Ok(_) => break next,
///         Err(Error::Refused(Refusal::Precondition(_))) => {} // somebody was faster
///         Err(error) => return Err(error),
///     }
/// };
/// assert_eq!(count, 1);
/// # Ok::<(), halfping::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Commit {
    drafts: Vec<Draft>,
}

/// Outcome of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// True if nothing was there before.
    pub created: bool,
    /// The resource's cursor now, which HTTP clients see as its `ETag`.
    pub cursor: String,
}

/// A resource as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading<T> {
    /// The value; `None` when nothing is there.
    pub value: Option<T>,
    /// The cursor of that state, which HTTP clients see as its `ETag`.
    pub cursor: String,
}

/// One write of a commit, before it is read.
#[derive(Clone, Debug)]
struct Draft {
    path: String,
    /// The body as JSON, or the reason why it is none.
    body: Result<Vec<u8>, String>,
    kind: Kind,
    condition: Condition,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Merge,
    Patch,
    Delete,
}

impl Commit {
    /// A commit without writes.
    pub fn new() -> Commit {
        Commit::default()
    }

    /// Make the resource exactly this value.
    #[must_use]
    pub fn put<T: Serialize + ?Sized>(self, path: &str, value: &T) -> Commit {
        self.with(path, Kind::Put, to_json(value))
    }

    /// Apply an RFC 7396 merge patch: members that are `null` go, others are set, the rest stays.
    #[must_use]
    pub fn merge<T: Serialize + ?Sized>(self, path: &str, patch: &T) -> Commit {
        self.with(path, Kind::Merge, to_json(patch))
    }

    /// Apply RFC 6902 operations, all or none.
    #[must_use]
    pub fn patch<T: Serialize + ?Sized>(self, path: &str, operations: &T) -> Commit {
        self.with(path, Kind::Patch, to_json(operations))
    }

    /// Remove the resource. The commit fails if there is none.
    #[must_use]
    pub fn delete(self, path: &str) -> Commit {
        self.with(path, Kind::Delete, Ok(Vec::new()))
    }

    /// Condition as `If-Match`: the resource is as it was at this cursor, or `"*"`: there is
    /// anything. With several, one has to hold.
    ///
    /// # Panics
    /// Panics if there is no write before it.
    #[must_use]
    pub fn if_match(mut self, cursor: &str) -> Commit {
        name_state(&mut self.condition().is, cursor);
        self
    }

    /// Condition as `If-None-Match`: the resource is not as it was at this cursor, or `"*"`:
    /// there is nothing. With several, all have to hold.
    ///
    /// # Panics
    /// Panics if there is no write before it.
    #[must_use]
    pub fn if_none_match(mut self, cursor: &str) -> Commit {
        name_state(&mut self.condition().is_not, cursor);
        self
    }

    /// Condition that the resource is as it was [read](crate::Api::read): in the same state, or
    /// still not there.
    ///
    /// # Panics
    /// Panics if there is no write before it.
    #[must_use]
    pub fn if_unchanged<T>(self, read: &Reading<T>) -> Commit {
        match read.value {
            Some(_) => self.if_match(&read.cursor),
            None => self.if_none_match("*"),
        }
    }

    fn with(mut self, path: &str, kind: Kind, body: Result<Vec<u8>, String>) -> Commit {
        self.drafts.push(Draft {
            path: path.to_owned(),
            body,
            kind,
            condition: Condition::default(),
        });
        self
    }

    fn condition(&mut self) -> &mut Condition {
        &mut self
            .drafts
            .last_mut()
            .expect("a condition follows the write that it belongs to")
            .condition
    }

    /// The writes, as the engine takes them.
    pub(crate) fn writes(self, limits: &Limits) -> Result<Vec<Write>, Error> {
        self.drafts.into_iter().map(|draft| draft.write(limits)).collect()
    }
}

impl Draft {
    fn write(self, limits: &Limits) -> Result<Write, Error> {
        let body = self.body.map_err(Error::Value)?;
        let json =
            || Json::parse(&body, limits).map_err(|e: JsonError| Error::Value(e.to_string()));
        let action = match self.kind {
            Kind::Put => Action::Put(json()?),
            Kind::Merge => Action::Merge(json()?),
            Kind::Patch => {
                Action::Patch(Patch::parse(&body, limits).map_err(|e| Error::Value(e.to_string()))?)
            }
            Kind::Delete => Action::Delete,
        };
        Ok(Write { path: parse_path(&self.path, limits)?, action, condition: self.condition })
    }
}

/// Adds a state to those that a condition names. A cursor of another server is none here.
fn name_state(states: &mut Option<States>, cursor: &str) {
    match states.get_or_insert(States::These(Vec::new())) {
        named if cursor == "*" => *named = States::Any,
        States::These(cursors) => cursors.extend(tag::cursor(cursor).and_then(Given::open)),
        States::Any => {}
    }
}

fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|e| e.to_string())
}
