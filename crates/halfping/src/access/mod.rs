//! Access: the rights of a request's sender. One value, made once for each request.
//!
//! There are three ways into the tree: to read, to follow and to write. Each takes only what an
//! [`Access`] has allowed (see `allowed.rs`), so nothing has to be checked anywhere else.

mod allowed;
mod console;
mod door;
mod host;
mod named;
mod open;
mod origin;
mod rights;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use halfping_engine::{Path, Watch};
use halfping_rules::Verb;

use crate::auth::{Auth, Bound, Rights};
use crate::problem::{Kind, Problem};
use crate::shape::{Extent, Shape};

pub(crate) use allowed::{Allowed, Follower, Granted, Judged, Parent, Writable};
pub use console::Console;
pub(crate) use door::Door;
pub use host::{Hosts, NameError};
pub use named::{NamedView, NamedViewError, NamedViews};
pub use origin::Cors;

/// Rules for the requests that a listener lets in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) cors: Cors,
    pub(crate) console: Console,
    pub(crate) hosts: Hosts,
    pub(crate) read_only: bool,
    /// True if it is read-only because nobody said who may write.
    pub(crate) closed: bool,
    pub(crate) views: NamedViews,
    pub(crate) auth: Auth,
}

impl Rules {
    /// The rules with origins and names as they are compared. One that could never match is logged.
    pub(crate) fn canonical(self) -> Rules {
        let each = |texts: Vec<String>, canonical: fn(&str) -> Result<String, NameError>| {
            let one = |text: String| {
                canonical(&text).unwrap_or_else(|error| {
                    tracing::warn!("{error}: it lets nobody in");
                    text
                })
            };
            texts.into_iter().map(one).collect()
        };
        let cors = match self.cors {
            Cors::Origins(origins) => Cors::Origins(each(origins, Cors::origin)),
            cors => cors,
        };
        let hosts = match self.hosts {
            Hosts::Named(names) => Hosts::Named(each(names, Hosts::name)),
            hosts => hosts,
        };
        Rules { cors, hosts, ..self }
    }

    /// The rules for a listener at an address.
    pub(crate) fn at(&self, address: SocketAddr) -> Rules {
        let hosts = match &self.hosts {
            Hosts::ByAddress if host::is_loopback(address.ip()) => Hosts::Named(Vec::new()),
            hosts => hosts.clone(),
        };
        Rules { hosts, ..self.clone() }
    }
}

/// The rights of a request's sender. Cheap to clone, and small: every session has one.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// All that is known of the sender, where it matters.
    sender: Option<Arc<Sender>>,
    read_only: bool,
    closed: bool,
    sees_own: bool,
    console: Console,
    views: NamedViews,
    /// True for the program that has the API, which may do all that the engine can.
    is_program: bool,
    /// True if the credential stood in the query: it is good for streams and sessions only.
    by_query: bool,
}

/// The sender of a request.
#[derive(Debug)]
struct Sender {
    /// The page of another origin that sent it, if it was one and may not use the API.
    stranger: Option<String>,
    /// Identity, and what the rules allow it; `None` where nobody is told apart.
    rights: Option<Rights>,
}

impl Sender {
    fn of(stranger: Option<&str>, rights: Option<Rights>) -> Option<Arc<Sender>> {
        let matters = stranger.is_some() || rights.is_some();
        matters.then(|| Arc::new(Sender { stranger: stranger.map(str::to_owned), rights }))
    }
}

impl Access {
    /// The access of the program that has the API.
    pub(crate) fn of_program(views: NamedViews) -> Access {
        Access {
            sender: None,
            read_only: false,
            closed: false,
            sees_own: true,
            console: Console::default(),
            views,
            is_program: true,
            by_query: false,
        }
    }

    /// A path to read at, and the part to read there. A name of the server's own that is not there
    /// gets just that for an answer (PROTOCOL P4).
    pub(crate) fn read(
        &self,
        path: Path,
        shape: &Shape,
    ) -> Result<(Allowed<Path>, Extent), Problem> {
        self.is_not_by_query()?;
        let (path, shape) = self.views.resolve(path, shape)?;
        match own_name(&path) {
            _ if self.is_program => {}
            Some(OWN) => self.may_see_own(&path)?,
            Some(_) => {
                let detail = format!("there is nothing of the server's own to read at {path}");
                let problem = Problem::new(Kind::NotFound, detail);
                return Err(problem
                    .hint("it has /_server; /_health and /_metrics are read with a plain GET"));
            }
            None => return self.read_in_sight(path, &shape),
        }
        Ok((Allowed::new(path), shape.extent()?))
    }

    /// The part of a path of the tree that may be read.
    fn read_in_sight(&self, path: Path, shape: &Shape) -> Result<(Allowed<Path>, Extent), Problem> {
        let (at, shape) = self.in_sight(&path, shape)?;
        let asked = (at != path).then_some(path);
        Ok((Allowed::new(at), Extent { asked, ..shape.extent()? }))
    }

    /// The resource and the shape in which a reader is shown what it may see of a path.
    fn in_sight<'s>(
        &self,
        path: &Path,
        shape: &'s Shape,
    ) -> Result<(Path, Cow<'s, Shape>), Problem> {
        let sight = self.rights().map_or(Ok(None), |rights| rights.sight(path))?;
        let Some(sight) = sight else { return Ok((path.clone(), Cow::Borrowed(shape))) };
        let at = sight.path.clone();
        let shape = shape.in_sight(sight).map_err(|name| {
            let detail =
                format!("'{name}' cannot be asked of {path}, of which only a part may be read");
            Problem::new(Kind::Forbidden, detail).hint(format!("leave out '{name}'"))
        })?;
        Ok((at, Cow::Owned(shape)))
    }

    /// The right to follow. A page that is not let in could not read what it gets, but it could
    /// have many streams open.
    pub(crate) fn follow(&self) -> Result<Follower, Problem> {
        self.is_no_stranger("follow anything here")?;
        Ok(Follower::new(self.clone()))
    }

    /// A link to be opened.
    fn watch(&self, path: Path, shape: &Shape) -> Result<Allowed<Watch>, Problem> {
        let (path, shape) = self.views.resolve(path, shape)?;
        let since = shape.since.and_then(|given| self.take(given));
        let watch = match self.is_program || own_name(&path).is_some() {
            true => {
                self.may_follow(&path)?;
                shape.watch(path)?
            }
            false => {
                let (path, shape) = self.in_sight(&path, &shape)?;
                shape.watch(path)?
            }
        };
        Ok(Allowed::new(Watch { since, ..watch }))
    }

    /// Checks that all of a path may be followed.
    fn may_follow(&self, path: &Path) -> Result<(), Problem> {
        match own_name(path) {
            _ if self.is_program => Ok(()),
            Some(OWN) => self.may_see_own(path),
            Some(_) => Err(reserved(path)),
            None => self.may(Verb::Read, path),
        }
    }

    /// A path to change: to make what is there, or what is to be there.
    pub(crate) fn write(&self, path: Path) -> Result<Writable, Problem> {
        self.may_write(&path, |_| Ok(()))?;
        let bound = self.bound(|rights| rights.may_change(&path))?;
        let may_read = self.may(Verb::Read, &path);
        let writable = self.writable(path, bound);
        Ok(match may_read {
            Ok(()) => writable,
            Err(problem) => writable.blind(problem),
        })
    }

    /// A path to remove.
    pub(crate) fn delete(&self, path: Path) -> Result<Writable, Problem> {
        self.may_write(&path, |_| Ok(()))?;
        let bound = self.bound(|rights| rights.may_only(Verb::Delete, &path))?;
        Ok(self.writable(path, bound))
    }

    /// The bound on a write, by the sender's rights.
    fn bound(&self, of: impl FnOnce(&Rights) -> Result<Bound, Problem>) -> Result<Bound, Problem> {
        self.rights().map_or(Ok(Bound::None), of)
    }

    /// A resource as far as the sender is shown it, if it may be shown anything of it.
    pub(crate) fn shown(&self, path: &Path) -> Option<(Allowed<Path>, Extent)> {
        self.read(path.clone(), &Shape::default()).ok()
    }

    /// A path to write at. Who is judged is not told by a refusal what it is not shown.
    fn writable(&self, path: Path, bound: Bound) -> Writable {
        let needs_reader = self.is_partial() || matches!(bound, Bound::Judged(_));
        let reader = needs_reader.then(|| self.clone());
        Writable::new(path, bound, reader)
    }

    /// A path to make something new beneath. Which names the rules allow is checked when there is
    /// one: see [`Parent::child`].
    pub(crate) fn create(&self, path: Path) -> Result<Parent, Problem> {
        self.may_write(&path, is_no_streams)?;
        self.rights().map_or(Ok(()), |rights| rights.may_somewhere(Verb::Create, &path))?;
        Ok(Parent::new(path, self.clone()))
    }

    /// Checks all but the rules.
    fn may_write(
        &self,
        path: &Path,
        check: fn(&Path) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        self.is_no_stranger("write here")?;
        self.is_not_by_query()?;
        check(path)?;
        if self.read_only {
            return Err(self.why_read_only());
        }
        self.views.may_write(path)?;
        match own_name(path) {
            Some(_) if !self.is_program => Err(reserved(path)),
            _ => Ok(()),
        }
    }

    /// The problem of a write where nothing can be written.
    fn why_read_only(&self) -> Problem {
        match self.closed {
            true => Problem::new(
                Kind::NotOpen,
                "nobody may write here: anybody who reaches this server could, since it tells nobody apart",
            )
            .hint(
                "whoever runs it says who may write, by [auth] and [[rule]] in its configuration; or with --open (HALFPING_OPEN=1) that \
                 everybody may",
            ),
            false => Problem::new(Kind::ReadOnly, "nothing can be written here")
                .hint("this server is read-only; ask whoever runs it"),
        }
    }

    /// True if a path is only read: nobody may write there.
    pub(crate) fn is_only_read(&self, path: &Path) -> bool {
        self.read_only || self.views.may_write(path).is_err()
    }

    /// Checks that the server's own state may be seen at a path. Where there are rules they decide;
    /// that a request comes from this machine counts only for who shows no credential, and only
    /// where the state is for this machine alone.
    pub(crate) fn may_see_own(&self, path: &Path) -> Result<(), Problem> {
        let is_known = self.rights().is_some_and(|rights| !rights.are_of_nobody());
        match (self.has_rules() && is_known && self.console != Console::Off) || self.sees_own {
            true => self.may(Verb::Read, path),
            false => Err(self.console.closed()),
        }
    }

    /// Checks that a page about the server's own state may be shown. It has no data: what it shows
    /// it asks for, in the name of whoever looks at it.
    pub(crate) fn may_show_console(&self) -> Result<(), Problem> {
        match (self.has_rules() && self.console != Console::Off) || self.sees_own {
            true => Ok(()),
            false => Err(self.console.closed()),
        }
    }

    /// Checks that the sender may do something to all that is at a path and beneath it.
    pub(crate) fn may(&self, verb: Verb, path: &Path) -> Result<(), Problem> {
        self.rights().map_or(Ok(()), |rights| rights.may(verb, path))
    }

    /// The page of another origin that sent the request, if it was one and may not use the API.
    pub(crate) fn stranger(&self) -> Option<&str> {
        self.sender.as_ref().and_then(|sender| sender.stranger.as_deref())
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn is_no_stranger(&self, what: &str) -> Result<(), Problem> {
        let Some(origin) = self.stranger() else { return Ok(()) };
        Err(Problem::new(Kind::ForbiddenOrigin, format!("pages of {origin} may not {what}")).hint(
            "name the page's origin in the server's [cors] origins (--cors ORIGIN); if it is the server's own, let the proxy in front pass on \
             Host",
        ))
    }
}

/// The name at the root beneath which the server's own state is read.
pub(crate) const OWN: &str = "_server";

/// True if a path leads to the server's own state.
pub(crate) fn is_own(path: &Path) -> bool {
    own_name(path) == Some(OWN)
}

/// The first name of a path, if it is one of the server's own.
pub(crate) fn own_name(path: &Path) -> Option<&str> {
    path.segments().first().map(|name| &**name).filter(|name| name.starts_with('_'))
}

/// Refuses `_streams` beneath another path: a client that posts there wants to read (PROTOCOL P9).
fn is_no_streams(path: &Path) -> Result<(), Problem> {
    if path.segments().last().is_none_or(|name| &**name != "_streams") {
        return Ok(());
    }
    let detail = format!("nothing is posted to {path}: only the root of the API has _streams");
    Err(Problem::new(Kind::ReservedPath, detail)
        .hint("the API begins at another path: give the client the URL of its root"))
}

fn reserved(path: &Path) -> Problem {
    Problem::new(Kind::ReservedPath, format!("{path} is the server's own"))
}
