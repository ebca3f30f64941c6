//! Writes as requests and commands make them: one at a time, answered with a problem if refused.

use halfping_engine::{Action, Condition, Cursor, Json, Refusal, Revision, States};
use http::{HeaderValue, header};

use super::{Failure, Shared};
use crate::access::{Granted, Parent};
use crate::connection::Connection;
use crate::problem::Problem;

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
    Granted { write, only }: Granted,
    creates: &str,
) -> Result<(bool, Revision), Problem> {
    match shared.commit(connection.commits(), vec![write]).await {
        Ok(written) => {
            let first = written.first().expect("one write has one result");
            Ok((first.created, first.revision))
        }
        Err(Failure::Refused(Refusal::Precondition(path))) => {
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
        Err(Failure::Refused(refusal)) => Err(refusal.into()),
        Err(Failure::Storage(fault)) => Err(fault.into()),
    }
}

/// A cursor as an `ETag`.
pub(crate) fn etag(cursor: Cursor) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{cursor}\"")).expect("a cursor is visible ASCII")
}
