//! Writes as requests and commands make them: one at a time, answered with a problem if refused.

use std::fmt;

use halfping_engine::{Action, Condition, Json, Refusal, Revision, States};
use http::{HeaderValue, header};

use super::{Failure, Shared};
use crate::access::{Granted, Judged, Parent};
use crate::connection::Connection;
use crate::mutants;
use crate::problem::Problem;
use crate::shape::Extent;

/// The write that creates a member of a resource under a new name, and that name.
pub(crate) fn creation(
    shared: &Shared,
    parent: &Parent,
    value: Json,
) -> Result<(String, Granted), Problem> {
    let name = shared.names.next(shared.clock.now());
    let condition = Condition { is_not: Some(States::Any), ..Condition::default() };
    let write = parent.child(&name)?.write(Action::Put(value), condition)?;
    Ok((name, write))
}

/// Makes a write. `creates`: the client's spelling of the condition that nothing is there.
pub(crate) async fn commit(
    shared: &Shared,
    connection: &Connection,
    Granted { write, only, judged, blind }: Granted,
    creates: &str,
) -> Result<(bool, Revision), Problem> {
    let refusal = match shared.commit(connection.commits(), vec![write]).await {
        Ok(written) => {
            let first = written.first().expect("one write has one result");
            return Ok((first.created, first.revision));
        }
        Err(Failure::Refused(refusal)) => refusal,
        Err(Failure::Storage(fault)) => return Err(fault.into()),
    };
    if let Some(problem) = judged.and_then(|judged| told(shared, *judged, &refusal)) {
        return Err(problem);
    }
    if let (Refusal::PatchFailed { .. }, Some(problem)) = (&refusal, blind) {
        return Err(*problem);
    }
    let Refusal::Precondition(path) = refusal else { return Err(refusal.into()) };
    // A client that may write may know the state that the condition was compared with.
    let now = shared.with_engine(|engine| engine.metadata(&path));
    if let Some(only) = only.filter(|only| only.creates == now.len.is_some()) {
        return Err(only.problem);
    }
    let problem = Problem::from(Refusal::Precondition(path));
    let mut problem = problem.header(header::ETAG, etag(now.cursor()));
    if now.len.is_none() {
        problem = problem.hint(format!("nothing is there; to create it, send {creates}"));
    }
    Err(problem)
}

/// The problem of a write that rules judge: the refusal, unless it would tell of something that its
/// client is not shown. `None` if the refusal is as for everybody.
fn told(shared: &Shared, judged: Judged, refusal: &Refusal) -> Option<Problem> {
    use Refusal::{Forbidden, NotAnObject, NotFound, PatchFailed, Precondition};
    let tells = matches!(
        refusal,
        Forbidden(_) | NotAnObject { .. } | NotFound(_) | PatchFailed { .. } | Precondition(_)
    );
    if !tells {
        return None;
    }
    // What is too large to be read at once is there.
    let is_shown = judged.shown().is_some_and(|(path, extent)| {
        let extent = Extent { depth: 0, ..extent };
        let read = shared.read_small(&path, &extent, usize::MAX);
        read.is_none_or(|read| read.is_ok_and(|reading| reading.value.is_some()))
    });
    match refusal {
        _ if !is_shown && !mutants::is("refusal-tells") => Some(judged.absent),
        // Why a patch fails may tell of members that are not shown.
        Forbidden(_) | PatchFailed { .. } => Some(judged.forbidden),
        _ => None,
    }
}

/// A cursor as an `ETag`.
pub(crate) fn etag(cursor: impl fmt::Display) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{cursor}\"")).expect("a cursor is visible ASCII")
}
